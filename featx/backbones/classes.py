"""The names of the classes that a network's own classifier tells apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.backbones.metadata import read_metadata
from featx.backbones.registry import get_backbone_spec
from featx.backbones.request import build_request
from featx.backbones.spec import BackboneSpec
from featx.backbones.weights import WeightsEntry, choose_weights
from featx.core.errors import BackboneError, WeightsError


@dataclass(frozen=True, kw_only=True)
class OwnClasses:
    """The names of the classes of a classifier, as far as its weights tell them.

    Attributes
    ----------
    names : tuple of str
        Names in the order of the outputs; empty if nobody knows them.
    assumed_from : str
        Name of the data set whose classes are assumed, because a file does not name its own; empty
        if the names are those of the weights.
    """

    names: tuple[str, ...]
    assumed_from: str = ""

    def name_outputs(self, n_outputs: int) -> tuple[str, ...]:
        """Name the outputs of a classifier; number them if the names are not those of so many.

        Parameters
        ----------
        n_outputs : int
            Number of outputs.

        Examples
        --------
        >>> OwnClasses(names=("ant", "bee")).name_outputs(3)
        ('class 0', 'class 1', 'class 2')
        """
        if len(self.names) == n_outputs:
            return self.names
        return tuple(f"class {number}" for number in range(n_outputs))


def find_own_classes(backbone: str, weights: str) -> OwnClasses:
    """Find the names of the classes that weights were trained on. No network is loaded.

    Parameters
    ----------
    backbone : str
        Name of the backbone.
    weights : str
        Word for the weights, as `featx.load_backbone` takes it.

    Returns
    -------
    OwnClasses
        The names.

    Raises
    ------
    BackboneError
        If the backbone is unknown, or one that the user registered.
    WeightsError
        If the word names no weights, or weights without a classifier that was trained.
    """
    spec = get_backbone_spec(backbone)
    if not spec.is_builtin:
        raise BackboneError(
            subject=spec.name,
            expected="a backbone of featx or torchvision, whose classes are known",
            got="a registered network",
            remedy="Run the network itself for the answers of its classifier. Or fit a head on its "
            "embeddings.",
        )
    request = build_request(spec.name, weights=weights)
    entries = spec.list_weights()
    choice = choose_weights(weights, entries, backbone=spec.name, file=request.file)
    if choice.seed is not None:
        raise _refuse(spec, weights, "random ones, which have learnt no class")
    if choice.entry is not None:
        if not choice.entry.classes:
            raise _refuse(spec, weights, "weights that were published without one")
        return OwnClasses(names=choice.entry.classes)
    assert choice.file is not None, "weights of featx and torchvision have a name, file or seed"
    metadata = read_metadata(choice.file)
    if metadata is not None:
        return OwnClasses(names=metadata.classes)
    if not entries:
        return OwnClasses(names=())
    is_published = _is_published(choice.file, entries)
    return OwnClasses(
        names=entries[-1].classes, assumed_from="" if is_published else entries[-1].trained_on
    )


def _is_published(file: Path, entries: Sequence[WeightsEntry]) -> bool:
    """Return whether a file has the content of named weights, under whatever name."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    prefixes = [entry.digest_prefix for entry in entries]
    return any(prefix and digest.startswith(prefix) for prefix in prefixes)


def _refuse(spec: BackboneSpec, weights: str, got: str) -> WeightsError:
    trained = [entry.name for entry in spec.list_weights() if entry.classes]
    remedy = f"Pass weights={trained[-1]!r}" if trained else "Pass weights=FILE"
    return WeightsError(
        subject=f"{spec.name}, weights {weights}",
        expected="weights whose classifier was trained",
        got=got,
        remedy=f"{remedy}, or fit a head.",
    )
