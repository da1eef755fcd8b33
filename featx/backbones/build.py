"""Steps of loading a backbone that need torch: build the network, load its state, describe it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from featx.backbones.backbone import Backbone
from featx.backbones.embedder import Embedder, cut_classifier
from featx.backbones.fetch import fetch_weights
from featx.backbones.logits import fit_classifier, keeps_classifier
from featx.backbones.request import BackboneRequest, LoadPlan
from featx.backbones.spec import LOGITS, PENULTIMATE, BackboneSpec
from featx.backbones.state_dict import digest_weights, load_into, read_state_dict
from featx.backbones.weights import WeightsChoice
from featx.backbones.wrapped import find_network
from featx.core.errors import BackboneError, WeightsError

AUXILIARY = ("AuxLogits", "aux1", "aux2")
"""First parts of the names of tensors that the Inception networks need in training only."""


def build_network(
    spec: BackboneSpec, seed: int | None = None, *, layers: Sequence[str] = (PENULTIMATE,)
) -> nn.Module:
    """Build a network and remove its classifier, unless the logits are to be read.

    Parameters
    ----------
    spec : BackboneSpec
        The backbone.
    seed : int, optional
        Seed of random weights. Default: the initial weights do not matter.
    layers : sequence of str
        Names of the layers to read.

    Returns
    -------
    nn.Module
        The network.

    Raises
    ------
    BackboneError
        If the logits are to be read beside other layers.
    """
    classifier = "" if keeps_classifier(spec, layers) else spec.classifier
    if seed is not None:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs
    return cut_classifier(spec.build(), classifier, pool=spec.pool)


def find_weights_file(choice: WeightsChoice) -> Path | None:
    """Find the file of the chosen weights, and download it if it is not on this machine.

    Parameters
    ----------
    choice : WeightsChoice
        The weights to load.

    Returns
    -------
    Path or None
        The file; None for random weights and for the network's own.

    Raises
    ------
    WeightsError
        If the file cannot be downloaded, or its SHA-256 is wrong.
    """
    return fetch_weights(choice.entry) if choice.entry else choice.file


def load_weights(
    network: nn.Module,
    spec: BackboneSpec,
    file: Path,
    key: str = "",
    *,
    layers: Sequence[str] = (PENULTIMATE,),
) -> None:
    """Load weights into a network.

    Parameters
    ----------
    network : nn.Module
        The network, as `build_network` returns it for the same layers.
    spec : BackboneSpec
        The backbone.
    file : Path
        File of weights.
    key : str
        Beginning of the names of the network in the file, such as the key of a checkpoint; empty if
        the file holds one network that fits.
    layers : sequence of str
        Names of the layers to read. For the logits, the classifier is loaded too, with as many
        outputs as it has in the file.

    Raises
    ------
    WeightsError
        If the weights cannot be read, do not fit the network, or have no classifier although the
        logits are to be read.
    """
    state = find_network(
        read_state_dict(file), network.state_dict(), key=key, rename=spec.rename, subject=str(file)
    )
    if keeps_classifier(spec, layers):
        fit_classifier(network, state, spec, subject=str(file))
    ignored = (spec.classifier.split(".")[0], *AUXILIARY)
    load_into(network, state, ignored=ignored, subject=str(file))


def describe_network(
    network: nn.Module, spec: BackboneSpec, request: BackboneRequest, plan: LoadPlan
) -> Backbone:
    """Read a network at its layers, and describe the backbone that results.

    Parameters
    ----------
    network : nn.Module
        The network, as `build_network` returns it for the layers, its weights loaded.
    spec : BackboneSpec
        The backbone.
    request : BackboneRequest
        The request, which names the layers.
    plan : LoadPlan
        Preprocessing and origin.

    Returns
    -------
    Backbone
        The backbone, with its network loaded.

    Raises
    ------
    BackboneError
        If a layer is unknown, or the network cannot take the size.
    WeightsError
        If a weight is NaN or infinite.
    """
    digest = digest_weights(network)
    example = plan.preprocess.build_example()
    is_whole = keeps_classifier(spec, request.layers)
    size = plan.origin.size
    try:
        module = Embedder(
            network.eval(),
            request.layers,
            classifier="" if is_whole else spec.classifier,
            output=LOGITS if is_whole else PENULTIMATE,
            example=plan.preprocess.normalise(torch.from_numpy(example[None].copy())),
            name=spec.name,
        )
    except RuntimeError as error:
        shape = ", ".join(map(str, (1, *example.shape)))
        raise BackboneError(
            subject=spec.name if size is None else f"{spec.name}, size {size}",
            expected="a size that the network can take"
            if size is not None
            else f"a network that takes a float32 tensor of the transform, ({shape})",
            got=str(error).splitlines()[0],
            remedy="Pass a size nearer to that of its weights."
            if size is not None
            else "Change the network or the transform.",
        ) from error
    _check_finite(module, f"{spec.name}, weights {request.weights}")
    return Backbone(
        name=spec.name,
        dims=dict(zip(module.layers, module.dims, strict=True)),
        preprocess=plan.preprocess,
        pixel_shape=example.shape,
        weights_digest=digest,
        origin=plan.origin,
        is_builtin=spec.is_builtin,
        load_module=lambda: module,
    )


def _check_finite(module: nn.Module, subject: str) -> None:
    """Refuse NaN and infinity: ``IMAGENET1K_FEATURES`` of VGG-16 has them in its classifier."""
    for path, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not math.isfinite(tensor.sum().item()):
            raise WeightsError(
                subject=subject,
                expected="finite values",
                got=f"NaN or infinity in {path.removeprefix('network.')}",
                remedy="Read a layer before it, or use other weights.",
            )
