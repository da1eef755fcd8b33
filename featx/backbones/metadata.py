"""The metadata that `featx.fine_tune` writes into a file of weights beside the tensors."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featx.backbones.weights_file import find_format
from featx.core.errors import WeightsError
from featx.core.learnt import Digests, is_ascending
from featx.core.records import build_record, load_json

METADATA_KEY = "featx"
"""Key of a ``.safetensors`` file's metadata that holds the JSON text of `WeightsMetadata`."""

LEARNT_KEY = "featx-learnt"
"""Key of the metadata that holds the digests of the images that the network has learnt from: 64-bit
unsigned integers, little-endian, ascending, in base64. It is a key of its own, because the digests
may take megabytes, and who reads the other metadata does not need them."""

MAX_LEARNT = 9_000_000
"""Largest number of images that weights remember: their header may have 100 MB."""


@dataclass(frozen=True, kw_only=True)
class WeightsMetadata:
    """How fine-tuned weights were made, and how they are to be loaded.

    Attributes
    ----------
    backbone : str
        Name of the architecture.
    preprocess_from : str or None
        Name of the weights whose preprocessing was used; None for a preprocessing of the backbone.
    size : int or None
        Pixels per side, if the user replaced the size that belongs to the weights.
    classes : tuple of str
        Names of the classes, in the order of the classifier's outputs.
    from_weights, from_weights_digest : str
        Weights that training began with, as requested, and their digest.
    blocks : tuple of str
        Names of the blocks that were trained, the one nearest to the classifier first.
    recipe : mapping
        Settings of the training, in JSON types.
    precision, device : str
        Arithmetic of the training, and the device that it ran on.
    n_train, n_holdout : int
        Number of images to learn from, and number of images in the holdout.
    best_epoch : int
        Number of the epoch whose weights were kept.
    holdout_loss, holdout_accuracy : float
        Loss and accuracy of that epoch on the holdout.
    stopped : str
        Reason why training ended before its last epoch; empty if all epochs were run.
    time : str
        End of the training, ISO 8601, UTC.
    versions : mapping of str to str
        Version of each package that took part.
    scores : mapping
        Comparison of the tuned weights with the frozen head, in JSON types; empty before it was
        made.
    plan : mapping
        Everything that decided the result, in JSON types: the same plan gives the same result.
    report : mapping
        Further fields of the report, in JSON types; empty before the run was finished.
    """

    backbone: str
    preprocess_from: str | None
    size: int | None
    classes: tuple[str, ...] = ()
    from_weights: str = ""
    from_weights_digest: str = ""
    blocks: tuple[str, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    precision: str = ""
    device: str = ""
    n_train: int = 0
    n_holdout: int = 0
    best_epoch: int = 0
    holdout_loss: float = 0.0
    holdout_accuracy: float = 0.0
    stopped: str = ""
    time: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write the fields as one JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WeightsMetadata:
        """Read the text that `to_json` wrote.

        Parameters
        ----------
        text : str
            One JSON object.

        Raises
        ------
        ValueError
            If the text is not such an object.
        """
        try:
            return build_record(cls, load_json(text))
        except ValueError as error:
            raise ValueError(f"metadata with {error}") from error


def build_texts(metadata: WeightsMetadata, learnt: Digests) -> dict[str, str]:
    """Build the metadata of a ``.safetensors`` file of tuned weights.

    Parameters
    ----------
    metadata : WeightsMetadata
        Record of how the weights were made.
    learnt : ndarray of uint64
        Shortened digests of the images that the network has learnt from.

    Returns
    -------
    dict of str to str
        Texts by key; no text for the digests if there are none.
    """
    texts = {"format": "pt", METADATA_KEY: metadata.to_json()}  # other programs look for it
    if len(learnt):
        texts[LEARNT_KEY] = base64.b64encode(learnt.astype("<u8").tobytes()).decode("ascii")
    return texts


def read_metadata(file: Path) -> WeightsMetadata | None:
    """Read the metadata that `featx.fine_tune` wrote into a file of weights.

    Parameters
    ----------
    file : Path
        The file of weights, under whatever name.

    Returns
    -------
    WeightsMetadata or None
        None for a file that another program made.

    Raises
    ------
    WeightsError
        If the file is a damaged ``.safetensors`` file.
    """
    texts = _read_texts(file)
    try:
        return WeightsMetadata.from_json(texts[METADATA_KEY]) if METADATA_KEY in texts else None
    except ValueError as error:
        raise _refuse(file, error) from error


def read_learnt(file: Path) -> Digests:
    """Read which images the network in a file of weights has learnt from.

    Parameters
    ----------
    file : Path
        The file of weights, under whatever name.

    Returns
    -------
    ndarray of uint64
        ``(n_images,)``, shortened digests, ascending; none for a file that another program made.

    Raises
    ------
    WeightsError
        If the file is a damaged ``.safetensors`` file.
    """
    text = _read_texts(file).get(LEARNT_KEY, "")
    try:
        learnt = np.frombuffer(base64.b64decode(text, validate=True), "<u8").astype(np.uint64)
    except ValueError as error:
        raise _refuse(file, error) from error
    if not is_ascending(learnt):
        raise _refuse(file, f"digests in {LEARNT_KEY} that are not ascending")
    return learnt


def _read_texts(file: Path) -> Mapping[str, str]:
    """Read the texts beside the tensors; none if the file is of another format."""
    with file.open("rb") as stream:
        is_safetensors = stream.read(9)[8:] == b"{"
    if file.suffix != ".safetensors" and not is_safetensors:
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        find_format(file)
        with safe_open(file, framework="numpy") as opened:
            return opened.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise _refuse(file, error) from error


def _refuse(file: Path, problem: object) -> WeightsError:
    return WeightsError(
        subject=str(file),
        expected="a whole .safetensors file",
        got=str(problem),
        remedy="Copy the file again, or fine-tune again.",
    )
