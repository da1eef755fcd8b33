"""Load a backbone: request, look in the store, else build and describe. No torch is imported here.

The steps: `build_request` checks the arguments; `find_backbone` looks for what an earlier call
learnt; otherwise `build_backbone` chooses the weights, plans, builds the network, loads its state
and describes it; `keep_backbone` stores the description for the next call.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from featx.backbones.backbone import Backbone
from featx.backbones.lazy import build_request_key, find_backbone, keep_backbone
from featx.backbones.metadata import read_learnt, read_metadata
from featx.backbones.registry import get_backbone_spec, normalise_name
from featx.backbones.request import BackboneRequest, build_request, plan_loading
from featx.backbones.spec import PENULTIMATE
from featx.backbones.weights import choose_weights
from featx.core.progress import stage
from featx.core.torch_state import plain_torch


def load_backbone(
    name: str,
    *,
    weights: str = "DEFAULT",
    layers: Sequence[str] = (PENULTIMATE,),
    preprocess: str | None = None,
    size: int | None = None,
) -> Backbone:
    """Load a backbone with its weights.

    If the backbone was loaded before on this machine, its network is loaded only on first use.

    Parameters
    ----------
    name : str
        Name of the backbone, one of `list_backbones`.
    weights : str
        ``DEFAULT``, a name such as ``IMAGENET1K_V1``, the path of a ``.pth`` or ``.safetensors``
        file, or ``random:SEED``. A file may hold a classifier of any number of classes, or none; a
        checkpoint may hold other things beside the network, and prefixes before the names. Of
        several networks in it, ``file.pth:model_ema`` chooses the one whose names begin so.
    layers : sequence of str
        Names of the layers to read: ``"penultimate"`` or nodes of the network such as ``layer3``.
        Spatial outputs are averaged over the image. ``"logits"``, alone, keeps the classifier and
        reads its outputs.
    preprocess : str, optional
        Name of the weights whose preprocessing to use. Default: the preprocessing of the weights
        themselves. For a file: the one named in its metadata (`featx.fine_tune` writes them), else
        that of the named weights with the same file name, else that of ``IMAGENET1K_V1``.
    size : int, optional
        Length of the shorter side after resizing and of the square crop, in pixels. Default: the
        sizes of the preprocessing. For small images, their own size or a few times that is enough;
        the time of the network is proportional to the number of pixels.

    Returns
    -------
    Backbone
        The frozen network, its preprocessing, and everything that identifies it.

    Raises
    ------
    BackboneError
        If the name or a layer is unknown, or the network cannot take the size.
    WeightsError
        If the weights cannot be found, downloaded or read, or do not fit the network.

    See Also
    --------
    list_backbones : List all names.
    register_backbone : Add a network of your own.
    embed : Embed a few images.

    Examples
    --------
    >>> import featx
    >>> backbone = featx.load_backbone("mini", size=96)
    >>> dict(backbone.dims)
    {'penultimate': 768}
    >>> backbone.pixel_shape
    (96, 96, 3)
    """
    request = build_request(
        normalise_name(name), weights=weights, layers=layers, preprocess=preprocess, size=size
    )
    key = build_request_key(request)
    found = find_backbone(key, request, build_backbone)
    if found is not None:
        return found
    is_long = "torch" not in sys.modules  # the import alone takes seconds
    with stage(f"preparing {request.name}, once, kept for later runs", is_long=is_long):
        backbone = build_backbone(request)
        if backbone.is_builtin:
            keep_backbone(key, backbone)
            # A head asks for the preprocessing and the size by name: it gets the same network.
            origin = backbone.origin
            named = replace(request, preprocess=origin.preprocess_from, size=origin.size)
            if named != request:
                keep_backbone(build_request_key(named), backbone)
    return backbone


def build_backbone(request: BackboneRequest) -> Backbone:
    """Build the network of a request, load its weights and describe it.

    Parameters
    ----------
    request : BackboneRequest
        The request.

    Returns
    -------
    Backbone
        The backbone, with its network loaded.

    Raises
    ------
    BackboneError, WeightsError
        As `load_backbone` raises them.
    """
    from featx.backbones.build import (
        build_network,
        describe_network,
        find_weights_file,
        load_weights,
    )

    spec = get_backbone_spec(request.name)
    choice = choose_weights(
        request.weights,
        spec.list_weights(),
        backbone=spec.name,
        file=request.file,
        has_own_weights=spec.has_own_weights,
    )
    metadata = read_metadata(choice.file) if choice.file else None
    plan = plan_loading(request, spec, choice, metadata)
    file = find_weights_file(choice)  # a download may take minutes, and would hold the lock
    with plain_torch():
        network = build_network(spec, choice.seed, layers=request.layers)
        if file is not None:
            key = request.key if choice.file else ""
            load_weights(network, spec, file, key, layers=request.layers)
        backbone = describe_network(network, spec, request, plan)
    return replace(backbone, learnt=read_learnt(choice.file)) if choice.file else backbone
