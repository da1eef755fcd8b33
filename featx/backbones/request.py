"""The request for a backbone, and the weights and preprocessing that answer it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

from featx.backbones.metadata import WeightsMetadata
from featx.backbones.preprocess import ImageClassification, Preprocess
from featx.backbones.spec import PENULTIMATE, BackboneSpec
from featx.backbones.weights import WeightsChoice, WeightsEntry, resolve_weights, split_key
from featx.core.errors import BackboneError, WeightsError, suggest
from featx.core.provenance import Origin

MAX_SIZE = 4096
"""Largest number of pixels per side."""


@dataclass(frozen=True, kw_only=True)
class BackboneRequest:
    """The arguments of `featx.load_backbone`, checked as far as they can be without a network.

    Attributes
    ----------
    name : str
        Name of the backbone.
    weights : str
        Word for the weights.
    file : Path or None
        File that the word names; None if it names none.
    key : str
        Key of the network in the file; empty if the word has none.
    layers : tuple of str
        Names of the layers to read.
    preprocess : str or None
        Name of the weights whose preprocessing to use; None for the preprocessing that belongs to
        the weights.
    size : int or None
        Pixels per side; None for the size that belongs to the preprocessing.
    """

    name: str
    weights: str = "DEFAULT"
    file: Path | None = None
    key: str = ""
    layers: tuple[str, ...] = (PENULTIMATE,)
    preprocess: str | None = None
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """The weights and the preprocessing to load for a request.

    Attributes
    ----------
    weights : WeightsChoice
        The weights to load.
    preprocess : Preprocess
        The preprocessing, at the size asked for.
    origin : Origin
        Values that are needed to load the same backbone again.
    """

    weights: WeightsChoice
    preprocess: Preprocess
    origin: Origin


def build_request(
    name: str,
    *,
    weights: str = "DEFAULT",
    layers: Sequence[str] = (PENULTIMATE,),
    preprocess: str | None = None,
    size: int | None = None,
) -> BackboneRequest:
    """Build a request from the arguments of `featx.load_backbone`.

    Parameters
    ----------
    name, weights, layers, preprocess, size
        Arguments of `featx.load_backbone`. No layers stand for the default layer.

    Returns
    -------
    BackboneRequest
        The request, with the file that `weights` names.

    Raises
    ------
    BackboneError
        If the size is out of the range that networks take.
    """
    check_size(size)
    path, key = split_key(weights)
    file = Path(os.path.expanduser(path))
    return BackboneRequest(
        name=name,
        weights=weights,
        file=file if os.path.isfile(file) else None,
        key=key,
        layers=tuple(layers) or (PENULTIMATE,),
        preprocess=preprocess,
        size=None if size is None else int(size),  # NumPy has whole numbers of its own
    )


def check_size(size: int | None) -> None:
    """Refuse a size that no network takes.

    Parameters
    ----------
    size : int or None
        Pixels per side.

    Raises
    ------
    BackboneError
        If the size is no whole number, less than 1 or more than `MAX_SIZE`.
    """
    if size is None:
        return
    if not (isinstance(size, Integral) and 1 <= size <= MAX_SIZE):
        raise BackboneError(
            subject="size",
            expected=f"1 to {MAX_SIZE} pixels",
            got=repr(size),
            remedy="Pass a size such as size=224.",
        )


def plan_loading(
    request: BackboneRequest,
    spec: BackboneSpec,
    choice: WeightsChoice,
    metadata: WeightsMetadata | None,
) -> LoadPlan:
    """Decide which preprocessing and size belong to weights.

    Parameters
    ----------
    request : BackboneRequest
        The request. Its preprocessing and size come before those of the metadata.
    spec : BackboneSpec
        The backbone of that name.
    choice : WeightsChoice
        The weights to load.
    metadata : WeightsMetadata or None
        Metadata in the file of weights; None if there are none.

    Returns
    -------
    LoadPlan
        The weights, their preprocessing and the origin of the backbone.

    Raises
    ------
    BackboneError
        If no network takes the size in the metadata, or if a size is requested beside a transform
        of the user.
    WeightsError
        If the metadata name another backbone, or no weights have the name of the preprocessing.
    """
    preprocess_from, size = request.preprocess, request.size
    if metadata is not None:
        _check_metadata(metadata, request)
        preprocess_from = preprocess_from or metadata.preprocess_from
        size = size or metadata.size
        check_size(size)
    preprocess, preprocess_from = choose_preprocess(spec, choice, preprocess_from)
    if size is not None:
        preprocess = _resize(preprocess, size, spec.name)
    weights = resolve_weights(request.weights) if choice.file else request.weights
    return LoadPlan(
        weights=choice,
        preprocess=preprocess,
        origin=Origin(weights=weights, preprocess_from=preprocess_from, size=size),
    )


def choose_preprocess(
    spec: BackboneSpec, choice: WeightsChoice, name: str | None
) -> tuple[Preprocess, str | None]:
    """Decide which preprocessing belongs to weights.

    Parameters
    ----------
    spec : BackboneSpec
        The backbone.
    choice : WeightsChoice
        The weights to load.
    name : str or None
        Name of the weights whose preprocessing was asked for; None for that of `choice`: the
        preprocessing of named weights, else that of the backbone, else that of the named weights
        whose file has the same name, else that of ``IMAGENET1K_V1``, else that of the default.

    Returns
    -------
    preprocess : Preprocess
        The preprocessing.
    preprocess_from : str or None
        Name of the weights that it belongs to; None for a preprocessing of the backbone.

    Raises
    ------
    WeightsError
        If no weights have the name asked for.
    """
    entries = spec.list_weights()
    by_name = {entry.name: entry for entry in entries}
    entry: WeightsEntry
    if name is not None:
        matches = [entry for entry in entries if entry.name.upper() == name.upper()]
        if not matches:
            raise WeightsError(
                subject="preprocess",
                expected=f"weights of {spec.name}: {', '.join(by_name) or 'it has none'}",
                got=repr(name),
                remedy=suggest(name, by_name),
            )
        entry = matches[0]
    elif choice.entry is not None:
        entry = choice.entry
    elif spec.preprocess is not None:
        return spec.preprocess, None
    else:
        same_file = [e for e in entries if choice.file and e.file_name == choice.file.name]
        entry = (same_file or [by_name.get("IMAGENET1K_V1", entries[-1])])[0]
    return entry.preprocess, entry.name


def _resize(preprocess: Preprocess, size: int, name: str) -> Preprocess:
    if not isinstance(preprocess, ImageClassification):
        raise BackboneError(
            subject=name,
            expected="no size, since the transform is the user's own",
            got=str(size),
            remedy="Change the size in the transform.",
        )
    return preprocess.resized(size)


def _check_metadata(metadata: WeightsMetadata, request: BackboneRequest) -> None:
    """Refuse fine-tuned weights of another backbone."""
    if metadata.backbone != request.name:
        raise WeightsError(
            subject=request.weights,
            expected=f"weights of {request.name}",
            got=f"weights of {metadata.backbone}",
            remedy=f"Pass backbone={metadata.backbone!r}.",
        )
