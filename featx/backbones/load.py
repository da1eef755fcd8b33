"""A name, weights and layers become a frozen network with its preprocessing."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from featx.backbones.backbone import PENULTIMATE, Backbone
from featx.backbones.embedder import Embedder, cut_classifier
from featx.backbones.preprocess import CustomTransform, ImageClassification, Preprocess
from featx.backbones.registry import BackboneSpec, get_backbone_spec, load_zoo, register_spec
from featx.backbones.weights import (
    WeightsChoice,
    WeightsEntry,
    choose_weights,
    digest_weights,
    fetch_weights,
    load_into,
    read_record,
    read_state_dict,
)
from featx.core.errors import BackboneError, WeightsError, suggest

MAX_SIZE = 4096
"""Pixels per side of a picture."""


def load_backbone(
    name: str,
    *,
    weights: str = "DEFAULT",
    layers: Sequence[str] = (PENULTIMATE,),
    preprocess: str | None = None,
    size: int | None = None,
) -> Backbone:
    """Build a backbone with its weights.

    Parameters
    ----------
    name : str
        One of `list_backbones`.
    weights : str
        ``DEFAULT``, a name such as ``IMAGENET1K_V1``, a ``.pth`` or ``.safetensors`` file, or
        ``random:SEED``. A file may lack the classifier, or hold one of any number of classes.
    layers : sequence of str
        Where to read embeddings: ``"penultimate"`` or nodes such as ``layer3``; what is spatial
        is averaged over the picture.
    preprocess : str, optional
        Take the preprocessing of these named weights. Default: that of the weights themselves;
        for a file, what it says of itself (`featx.fine_tune` writes it in), else that of the named
        weights whose file name it bears, else of ``IMAGENET1K_V1``.
    size : int, optional
        Resize the shorter side to so many pixels and crop a square of it, in place of the sizes of
        the preprocessing. Small pictures need no more than their own size or a few times that, and
        run as much faster as they have fewer pixels.

    Returns
    -------
    Backbone

    Raises
    ------
    BackboneError
        If the name or a layer is unknown, or the size is none for this network.
    WeightsError
        If the weights are not to be had, or do not fit.
    """
    check_size(size)
    spec = get_backbone_spec(name)
    entries = spec.list_weights()
    if spec.own_weights and weights == "DEFAULT":
        choice = WeightsChoice()
    else:
        choice = choose_weights(weights, entries, backbone=name)
    record = read_record(choice.file) if choice.file else None
    if record is not None:
        _check_record(record, name, weights)
        preprocess = preprocess or record["preprocess_from"]
        size = size or record["size"]
        check_size(size)
    chosen, chosen_from = _choose_preprocess(spec, entries, choice, preprocess)
    if size is not None:
        chosen = _resize(chosen, size, name)
    network = cut_classifier(_build(spec, choice), spec.classifier, pool=spec.pool)
    file = fetch_weights(choice.entry) if choice.entry else choice.file
    if file is not None:
        state = read_state_dict(file)
        if spec.rename:
            state = {spec.rename(key): tensor for key, tensor in state.items()}
        head = spec.classifier.split(".")[0] + "|AuxLogits|aux1|aux2"
        load_into(network, state, head=head, file=str(file))
    digest = digest_weights(network)
    example = chosen.build_example()
    try:
        module = Embedder(
            network.eval(),
            layers or (PENULTIMATE,),
            classifier=spec.classifier,
            example=chosen.normalise(torch.from_numpy(example[None].copy())),
            name=name,
        )
    except RuntimeError as error:
        if size is None:
            raise
        raise BackboneError(
            f"{name}, size {size}: expected a size that the network can take, got "
            f"{str(error).splitlines()[0]}. Pass one nearer to its own."
        ) from error
    _check_finite(module, name, weights)
    if choice.file:
        weights = str(choice.file.resolve())
    return Backbone(
        name,
        dict(zip(module.layers, module.dims, strict=True)),
        chosen,
        example.shape,
        weights,
        digest,
        chosen_from,
        size,
        is_builtin=spec.is_builtin,
        _load=lambda: module,
    )


def _build(spec: BackboneSpec, choice: WeightsChoice) -> nn.Module:
    """Build the network; with a seed where random weights were asked for."""
    if choice.seed is None:
        return spec.build()
    if spec.own_weights:
        raise WeightsError(
            f"{spec.name}: expected DEFAULT (its own weights) or a file, got random:{choice.seed}. "
            "Register a freshly initialised network instead."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(choice.seed)
        return spec.build()


def _choose_preprocess(
    spec: BackboneSpec,
    entries: Sequence[WeightsEntry],
    choice: WeightsChoice,
    asked: str | None,
) -> tuple[Preprocess, str | None]:
    """Decide which preprocessing belongs to the weights, and whose it is; see `load_backbone`."""
    by_name = {entry.name: entry for entry in entries}
    if asked is not None:
        if asked not in by_name:
            raise WeightsError(
                f"{spec.name}: expected preprocessing of one of {', '.join(by_name) or 'none'}, "
                f"got {asked!r}. {suggest(asked, by_name)}"
            )
        entry = by_name[asked]
    elif choice.entry is not None:
        entry = choice.entry
    elif spec.preprocess is not None:
        return spec.preprocess, None
    else:
        same_file = [e for e in entries if choice.file and e.file_name == choice.file.name]
        entry = (same_file or [by_name.get("IMAGENET1K_V1", entries[-1])])[0]
    return entry.preprocess, entry.name


def check_size(size: int | None) -> None:
    """Refuse a size that no network takes.

    Raises
    ------
    BackboneError
    """
    if size is not None and not 1 <= size <= MAX_SIZE:
        raise BackboneError(
            f"size: expected 1 to {MAX_SIZE} pixels, got {size}. Pass one such as 224."
        )


def _resize(preprocess: Preprocess, size: int, name: str) -> Preprocess:
    if not isinstance(preprocess, ImageClassification):
        raise BackboneError(
            f"{name}: expected no size beside a transform of its own, got {size}. "
            "Change the transform."
        )
    return preprocess.resized(size)


def _check_record(record: Mapping[str, Any], name: str, weights: str) -> None:
    """Refuse fine-tuned weights of another network."""
    if record["backbone"] != name:
        raise WeightsError(
            f"{weights}: expected weights of {name}, got some of {record['backbone']}. "
            f"Pass --backbone {record['backbone']}."
        )


def _check_finite(module: nn.Module, name: str, weights: str) -> None:
    """Refuse weights with holes; torchvision's ``IMAGENET1K_FEATURES`` of VGG-16 has them."""
    for path, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not math.isfinite(tensor.sum().item()):
            raise WeightsError(
                f"{name}, weights {weights}: expected finite values, got NaN or infinity in "
                f"{path.removeprefix('network.')}. Read a layer before it, or take other weights."
            )


def register_backbone(
    name: str,
    network: nn.Module | Callable[[], nn.Module],
    *,
    transform: Callable[[Any], Any],
    classifier: str = "",
    paper: str = "",
) -> None:
    """Make a network of your own known by name, for this process.

    Parameters
    ----------
    name : str
        Letters, digits and ``. _ + -``.
    network : nn.Module or callable
        The network with the weights it is to have, or a function that builds it. Its output is
        the embedding: ``(n, dim)``, or spatial and then averaged.
    transform : callable
        From an upright RGB Pillow image to a float tensor ``(3, height, width)``. Its repr (or a
        function's full name) goes into the fingerprint, so it must say what the transform does.
    classifier : str
        Path of a module to take off first, such as ``"fc"``.
    paper : str
        Where the network comes from.

    Raises
    ------
    BackboneError
        If the name is taken, the transform has no stable repr, or the network is none.
    """
    load_zoo()  # its names are taken
    chosen = CustomTransform(transform)
    chosen.identify()
    if not isinstance(network, nn.Module) and not callable(network):
        raise BackboneError(
            f"backbone {name!r}: expected an nn.Module or a function that builds one, "
            f"got {type(network).__name__}. Pass the network itself."
        )

    def build() -> nn.Module:
        return copy.deepcopy(network) if isinstance(network, nn.Module) else network()

    register_spec(
        BackboneSpec(
            name=name,
            dim=None,
            paper=paper,
            build=build,
            classifier=classifier,
            preprocess=chosen,
            own_weights=True,
        )
    )
