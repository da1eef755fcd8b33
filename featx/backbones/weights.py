"""Named weights, and the choice of weights by a name, a file or a seed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from featx.backbones.preprocess import ImageClassification
from featx.core.errors import WeightsError, suggest
from featx.core.recognise import check_local

FILE_SUFFIXES = (".pth", ".pt", ".safetensors")
"""Suffixes that promise a file of weights."""


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """Named weights of a backbone, published on a server or bundled with featx.

    Attributes
    ----------
    name : str
        Name of the weights, such as ``IMAGENET1K_V1``.
    url : str
        Address of the file, whose name ends in the first digits of its SHA-256; empty for bundled
        weights.
    preprocess : ImageClassification
        Preprocessing that the weights were evaluated with.
    top1 : float
        Published top-1 accuracy in percent on the data set that the weights were trained on; NaN
        if none was published.
    n_parameters : int
        Number of parameters of the whole network, classifier included.
    trained_on : str
        Name of the data set that the weights were trained on.
    file : Path or None
        Path of bundled weights; None for published weights.
    sha256 : str
        SHA-256 of bundled weights, hexadecimal; empty for published weights.
    classes : tuple of str
        Names of the classes that the weights were trained on, in the order of the classifier's
        outputs; empty for weights without a classifier.
    """

    name: str
    url: str
    preprocess: ImageClassification
    top1: float
    n_parameters: int
    trained_on: str = "ImageNet-1K"
    file: Path | None = None
    sha256: str = ""
    classes: tuple[str, ...] = field(default=(), repr=False)

    @property
    def file_name(self) -> str:
        """Name of the file, without folders."""
        return self.file.name if self.file else self.url.rsplit("/", 1)[-1]

    @property
    def digest_prefix(self) -> str:
        """First digits of the SHA-256 of the file; all digits for bundled weights."""
        if self.file:
            return self.sha256
        match = re.search(r"-([0-9a-f]{8,})\.\w+$", self.file_name)
        return match.group(1) if match else ""


@dataclass(frozen=True)
class WeightsChoice:
    """The chosen weights: exactly one attribute is set, or none for the network's own weights.

    Attributes
    ----------
    entry : WeightsEntry or None
        Named weights.
    file : Path or None
        File of weights that the user named.
    seed : int or None
        Seed of random weights.
    """

    entry: WeightsEntry | None = None
    file: Path | None = None
    seed: int | None = None


def split_key(weights: str) -> tuple[str, str]:
    """Split the word for weights into a path and the key of a network in the file.

    Parameters
    ----------
    weights : str
        The word of the user.

    Returns
    -------
    path : str
        The word without the key.
    key : str
        The key; empty if the word has none.

    Examples
    --------
    >>> split_key("run.pth:model_ema")
    ('run.pth', 'model_ema')
    >>> split_key("random:7")
    ('random:7', '')
    """
    path, _, key = weights.rpartition(":")
    is_file = Path(path).suffix in FILE_SUFFIXES or os.path.isfile(os.path.expanduser(path))
    is_whole = re.fullmatch(r"random:\d+", weights) or os.path.isfile(os.path.expanduser(weights))
    has_key = key and not re.search(r"[\\/]", key) and is_file and not is_whole
    return (path, key) if has_key else (weights, "")


def resolve_weights(weights: str) -> str:
    """Return the word for the weights in a file from any folder: its whole path, with the key.

    Parameters
    ----------
    weights : str
        A path, with or without a key.
    """
    path, key = split_key(weights)
    return f"{Path(os.path.expanduser(path)).resolve()}:{key}".removesuffix(":")


def choose_weights(
    text: str,
    entries: Sequence[WeightsEntry],
    *,
    backbone: str,
    file: Path | None = None,
    has_own_weights: bool = False,
) -> WeightsChoice:
    """Decide which weights ``DEFAULT``, a name, a file or ``random:SEED`` stands for.

    Parameters
    ----------
    text : str
        The word of the user.
    entries : sequence of WeightsEntry
        Named weights of the backbone, the default last.
    backbone : str
        Name of the backbone, for errors.
    file : Path, optional
        File that the word names. Default: the word names no file.
    has_own_weights : bool
        Whether the network comes with its weights, as a network of the user does.

    Returns
    -------
    WeightsChoice
        The weights to load. A name comes before a file of the same name.

    Raises
    ------
    WeightsError
        If the word names no weights.

    Examples
    --------
    >>> choose_weights("random:7", [], backbone="mini")
    WeightsChoice(entry=None, file=None, seed=7)
    """
    by_name = {entry.name: entry for entry in entries}
    if text.upper() == "DEFAULT" and has_own_weights:
        return WeightsChoice()
    if text.upper() == "DEFAULT" and entries:
        return WeightsChoice(entry=entries[-1])
    for name, entry in by_name.items():
        if name.upper() == text.upper():
            return WeightsChoice(entry=entry)
    if re.fullmatch(r"random:\d+", text):
        if has_own_weights:
            raise WeightsError(
                subject=backbone,
                expected="DEFAULT (its own weights) or a file",
                got=text,
                remedy="Register a network with new random weights instead.",
            )
        return WeightsChoice(seed=int(text.removeprefix("random:")))
    if file is not None:
        return WeightsChoice(file=file)
    check_local(text, WeightsError)
    if Path(split_key(text)[0]).suffix in FILE_SUFFIXES:
        raise WeightsError(
            subject=text,
            expected="a file of weights",
            got="no such file",
            remedy="Check the path.",
        )
    words = ["DEFAULT", *by_name] if by_name or has_own_weights else []
    shown = [*words, "random:SEED", "a .pth file"] if not has_own_weights else [*words, "a file"]
    raise WeightsError(
        subject="weights",
        expected=f"weights of {backbone} ({', '.join(shown)})",
        got=repr(text),
        remedy=suggest(text, [*words, "random:0"])
        if words
        else "Pass weights=FILE with weights of this backbone.",
    )
