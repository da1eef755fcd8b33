"""Weights: what a user's word for them means, where the file is, and what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import urllib.error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.core.errors import WeightsError, suggest

if TYPE_CHECKING:
    import torch
    from torch import nn

WEIGHTS_DIR_VARIABLE = "FEATX_WEIGHTS_DIR"
"""Names a folder of already fetched weight files, looked in before any download."""

RECORD = "featx"
"""Under this key a ``.safetensors`` file's metadata says how featx made the weights."""

RECORDED = {"backbone", "preprocess_from", "size"}
"""What such a record says at least."""

FILE_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class WeightsEntry:
    """Named weights that can be fetched, or came with featx.

    Attributes
    ----------
    name : str
        Such as ``IMAGENET1K_V1``.
    url : str
        Where the file is; its name ends in the first digits of the file's SHA-256.
    preprocess : Preprocess
        What the weights were evaluated with.
    top1 : float
        Published top-1 accuracy in percent, on the data that the weights were trained on.
    n_parameters : int
        Of the whole network, classifier included.
    trained_on : str
        ImageNet-1K, or another data set.
    file : Path or None
        The file, where it came with featx; its digest is then `sha256`.
    sha256 : str
        Of a file that came with featx.
    """

    name: str
    url: str
    preprocess: Any
    top1: float
    n_parameters: int
    trained_on: str = "ImageNet-1K"
    file: Path | None = None
    sha256: str = ""

    @property
    def file_name(self) -> str:
        """The file's own name."""
        return self.file.name if self.file else self.url.rsplit("/", 1)[-1]

    @property
    def digest_prefix(self) -> str:
        """The first digits of the file's SHA-256, which its name ends in."""
        if self.file:
            return self.sha256
        match = re.search(r"-([0-9a-f]{8,})\.\w+$", self.file_name)
        return match.group(1) if match else ""


@dataclass(frozen=True)
class WeightsChoice:
    """What a user's word for weights means: exactly one of the three is set."""

    entry: WeightsEntry | None = None
    file: Path | None = None
    seed: int | None = None


def choose_weights(text: str, entries: Sequence[WeightsEntry], *, backbone: str) -> WeightsChoice:
    """Decide what ``DEFAULT``, a name, a file or ``random:SEED`` stands for.

    Parameters
    ----------
    text : str
        The user's word.
    entries : sequence of WeightsEntry
        The backbone's named weights; the last is its default, as in torchvision.
    backbone : str
        For the error.

    Raises
    ------
    WeightsError
        If it is none of these, or a file that is not there.
    """
    names = [entry.name for entry in entries]
    if text == "DEFAULT" and entries:
        return WeightsChoice(entry=entries[-1])
    if text in names:
        return WeightsChoice(entry=entries[names.index(text)])
    if re.fullmatch(r"random:\d+", text):
        return WeightsChoice(seed=int(text.removeprefix("random:")))
    file = Path(text).expanduser()
    if file.is_file():
        return WeightsChoice(file=file)
    if file.suffix in FILE_SUFFIXES:
        raise WeightsError(f"{text}: expected a weights file, got nothing there. Check the path.")
    words = ["DEFAULT", *names] if names else []
    raise WeightsError(
        f"{backbone}: expected weights among {', '.join([*words, 'random:SEED', 'a .pth file'])}, "
        f"got {text!r}. {suggest(text, [*words, 'random:0'])}"
    )


def fetch_weights(entry: WeightsEntry) -> Path:
    """Find the file of named weights: in featx, `FEATX_WEIGHTS_DIR`, torch hub's folder or server.

    Raises
    ------
    WeightsError
        If it cannot be fetched, or its SHA-256 does not begin as its name says.
    """
    if entry.file:
        _check_file_digest(entry.file, entry.digest_prefix)
        return entry.file
    import torch

    folders = [Path(torch.hub.get_dir()) / "checkpoints"]
    by_hand = os.environ.get(WEIGHTS_DIR_VARIABLE)
    if by_hand:
        folders.insert(0, Path(by_hand).expanduser())
    for folder in folders:
        file = folder / entry.file_name
        if file.is_file():
            _check_file_digest(file, entry.digest_prefix)
            return file
    file = folders[-1] / entry.file_name
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            entry.url, str(file), entry.digest_prefix, progress=sys.stderr.isatty()
        )
    except (OSError, urllib.error.URLError, RuntimeError) as error:  # RuntimeError: wrong digest
        raise WeightsError(
            f"weights {entry.name}: expected to fetch {entry.url}, got {error}. "
            f"Without internet: fetch that file elsewhere (SHA-256 begins with "
            f"{entry.digest_prefix}), put it into a folder and name the folder in "
            f"{WEIGHTS_DIR_VARIABLE}; or pass --weights FILE."
        ) from error
    return file


def _check_file_digest(file: Path, prefix: str) -> None:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(prefix):
        raise WeightsError(
            f"{file}: expected a SHA-256 that begins with {prefix}, got {digest}. "
            "The file is damaged or another one: fetch it again."
        )


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """Read tensors by name from ``.pth`` (``weights_only``: no code runs) or ``.safetensors``.

    A training checkpoint is looked into (``state_dict`` or ``model``), and the ``module.`` that
    data-parallel training puts before names is taken off.

    Raises
    ------
    WeightsError
        If the file holds something else.
    """
    import torch

    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: Any = load_file(file)
        else:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors raise kinds with no common base
        text = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{file}: expected a state dict (tensors by name), got {type(error).__name__}: {text}. "
            "Save it with torch.save(model.state_dict(), path)."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    names = list(loaded) if isinstance(loaded, Mapping) else []
    if not names or not all(isinstance(loaded[name], torch.Tensor) for name in names):
        raise WeightsError(
            f"{file}: expected a state dict (tensors by name), got {type(loaded).__name__}. "
            "Save it with torch.save(model.state_dict(), path)."
        )
    return {name.removeprefix("module."): loaded[name] for name in names}


def read_record(file: Path) -> dict[str, Any] | None:
    """Read what `featx.fine_tune` wrote of weights into their file; None from any other file.

    Returns
    -------
    dict or None
        With ``backbone``, ``preprocess_from`` and ``size``, and how they were made.

    Raises
    ------
    WeightsError
        If the file is damaged.
    """
    if file.suffix != ".safetensors":
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
        if RECORD not in metadata:
            return None
        record = json.loads(metadata[RECORD])
        if not isinstance(record, dict) or not record.keys() >= RECORDED:
            raise ValueError(f"the record {metadata[RECORD]!r}")
        return record
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{file}: expected a whole .safetensors file, got {error}. Copy or make it again."
        ) from error


def load_into(
    module: nn.Module, state: Mapping[str, torch.Tensor], *, head: str, file: str
) -> None:
    """Put a file's tensors into a backbone, refusing any that are missing or misshapen.

    Parameters
    ----------
    module : nn.Module
        The backbone, its classifier already taken off.
    state : mapping of str to Tensor
        May hold the classifier too, which is passed over.
    head : str
        First part of the classifier's names (``fc``), with ``|`` between several.
    file : str
        For the error.

    Raises
    ------
    WeightsError
        Naming the tensors.
    """
    expected = module.state_dict()
    # Counts of seen batches decide nothing in eval mode, and older files lack them.
    missing = [n for n in expected if n not in state and not n.endswith("num_batches_tracked")]
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    unknown = [n for n in state if n not in expected and n.split(".")[0] not in head.split("|")]
    for what, names in (("missing", missing), ("misshapen", misshapen), ("unknown", unknown)):
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise WeightsError(
                f"{file}: expected the {len(expected)} tensors of the backbone, got {what}: "
                f"{shown}. Check that the file belongs to this --backbone."
            )
    # Without its version MNASNet would take a state dict for an old one, or refuse it.
    versioned = type(expected)((name, state.get(name, expected[name])) for name in expected)
    versioned._metadata = expected._metadata  # type: ignore[attr-defined]
    module.load_state_dict(versioned)


def digest_weights(module: nn.Module) -> str:
    """Return the SHA-256 over names, shapes, dtypes and bytes of all tensors, in name order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            array = tensor.detach().cpu().contiguous().numpy()
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.reshape(-1).view("u1"))
    return digest.hexdigest()
