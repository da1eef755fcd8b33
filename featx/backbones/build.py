"""Steps of loading a backbone that need torch: build the network, load its state, describe it."""

from __future__ import annotations

import math

import torch
from torch import nn

from featx.backbones.backbone import Backbone
from featx.backbones.embedder import Embedder, cut_classifier
from featx.backbones.fetch import fetch_weights
from featx.backbones.request import BackboneRequest, LoadPlan
from featx.backbones.spec import BackboneSpec
from featx.backbones.state_dict import digest_weights, load_into, read_state_dict
from featx.backbones.weights import WeightsChoice
from featx.core.errors import BackboneError, WeightsError
from featx.core.process import GLOBAL_STATE

AUXILIARY = ("AuxLogits", "aux1", "aux2")
"""First parts of the names of tensors that the Inception networks need in training only."""


def build_network(spec: BackboneSpec, seed: int | None = None) -> nn.Module:
    """Build a network and remove its classifier.

    Parameters
    ----------
    spec : BackboneSpec
        The backbone.
    seed : int, optional
        Seed of random weights. Default: the initial weights do not matter.

    Returns
    -------
    nn.Module
        The network. If a seed is given, the random state of torch is as before.
    """
    with GLOBAL_STATE, torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        network = spec.build()
    return cut_classifier(network, spec.classifier, pool=spec.pool)


def load_weights(network: nn.Module, spec: BackboneSpec, choice: WeightsChoice) -> None:
    """Load weights into a network; do nothing for random weights and for the network's own.

    Parameters
    ----------
    network : nn.Module
        The network, without its classifier.
    spec : BackboneSpec
        The backbone.
    choice : WeightsChoice
        The weights to load.

    Raises
    ------
    WeightsError
        If the weights cannot be found, downloaded or read, or do not fit the network.
    """
    file = fetch_weights(choice.entry) if choice.entry else choice.file
    if file is None:
        return
    state = read_state_dict(file)
    if spec.rename:
        state = {spec.rename(name): tensor for name, tensor in state.items()}
    ignored = (spec.classifier.split(".")[0], *AUXILIARY)
    load_into(network, state, ignored=ignored, subject=str(file))


def describe_network(
    network: nn.Module, spec: BackboneSpec, request: BackboneRequest, plan: LoadPlan
) -> Backbone:
    """Read a network at its layers, and describe the backbone that results.

    Parameters
    ----------
    network : nn.Module
        The network, without its classifier, its weights loaded.
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
    size = plan.origin.size
    try:
        module = Embedder(
            network.eval(),
            request.layers,
            classifier=spec.classifier,
            example=plan.preprocess.normalise(torch.from_numpy(example[None].copy())),
            name=spec.name,
        )
    except RuntimeError as error:
        if size is None:
            raise
        raise BackboneError(
            subject=f"{spec.name}, size {size}",
            expected="a size that the network can take",
            got=str(error).splitlines()[0],
            remedy="Pass a size nearer to that of its weights.",
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
