"""Descriptions of backbones that were loaded before, which avoid the import of torch."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.backbones.backbone import Backbone
from featx.backbones.metadata import read_learnt
from featx.backbones.preprocess import ImageClassification
from featx.backbones.request import BackboneRequest
from featx.backbones.weights import resolve_weights
from featx.core.artifacts import build_key, find_kept, keep
from featx.core.errors import WeightsError
from featx.core.process import mark_process
from featx.core.provenance import Origin

if TYPE_CHECKING:
    from featx.backbones.embedder import FrozenNetwork

PACKAGES = ("torch", "torchvision")
"""Packages whose versions decide which network belongs to a name and a seed."""

_FILE = "backbone.json"


def build_request_key(request: BackboneRequest) -> str:
    """Name a request in the store.

    Parameters
    ----------
    request : BackboneRequest
        The request. A file of weights is identified by its content and name, not by its folder.

    Returns
    -------
    str
        Key that changes with the request, with the content of the file, and with the versions of
        `PACKAGES` and the code of the backbones.
    """
    content = None
    if request.file is not None:
        with request.file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
    parts = {
        "name": request.name,
        "weights": request.file.name if request.file else request.weights,
        "key": request.key,
        "content": content,
        "layers": request.layers,
        "preprocess": request.preprocess,
        "size": request.size,
        "origin": [field.name for field in fields(Origin)],  # its code lies outside this folder
    }
    return build_key(parts, packages=PACKAGES, sources=[Path(__file__).parent])


def find_backbone(
    key: str, request: BackboneRequest, build: Callable[[BackboneRequest], Backbone]
) -> Backbone | None:
    """Find the description of a backbone that was loaded before.

    Parameters
    ----------
    key : str
        Name of the request in the store.
    request : BackboneRequest
        The request.
    build : callable
        Function that builds the backbone of a request; it is called on first use of the network.

    Returns
    -------
    Backbone or None
        The backbone, without its network; None if the store has no description.
    """
    found = find_kept(key)
    if found is None:
        return None
    stored = json.loads((found / _FILE).read_text(encoding="utf-8"))

    lock = threading.Lock()
    modules: list[FrozenNetwork] = []

    def load_module() -> FrozenNetwork:
        mark_process()  # a forked process would wait for a thread that it does not have
        with lock:  # several threads may ask for the network at once, and get the same one
            if not modules:
                loaded = build(request)
                if loaded.weights_digest != stored["weights_digest"]:
                    raise WeightsError(
                        subject=f"{request.name}, weights {request.weights}",
                        expected="the tensors that these weights had before",
                        got="other tensors",
                        remedy="Another program is changing the weights: wait for it, and try "
                        "again.",
                    )
                modules.append(loaded.module)
        return modules[0]

    return _from_json(stored, request, load_module)


def keep_backbone(key: str, backbone: Backbone) -> None:
    """Keep the description of a backbone in the store.

    Parameters
    ----------
    key : str
        Name of the request in the store.
    backbone : Backbone
        One of featx's own backbones, whose preprocessing is `ImageClassification`.
    """
    text = json.dumps(_to_json(backbone))

    def write(folder: Path) -> None:
        (folder / _FILE).write_text(text, encoding="utf-8")

    keep(key, write)


def _to_json(backbone: Backbone) -> dict[str, Any]:
    assert isinstance(backbone.preprocess, ImageClassification)
    return {
        "dims": dict(backbone.dims),
        "preprocess": asdict(backbone.preprocess),
        "pixel_shape": backbone.pixel_shape,
        "weights_digest": backbone.weights_digest,
        "origin": asdict(backbone.origin),
        "is_file": Path(backbone.origin.weights).is_absolute(),
    }


def _from_json(
    stored: dict[str, Any], request: BackboneRequest, load_module: Callable[[], FrozenNetwork]
) -> Backbone:
    origin = Origin(**stored["origin"])
    if stored["is_file"] and request.file is not None:
        origin = replace(origin, weights=resolve_weights(request.weights))
    backbone = Backbone(
        name=request.name,
        dims=stored["dims"],
        preprocess=ImageClassification(
            **{name: _freeze(value) for name, value in stored["preprocess"].items()}
        ),
        pixel_shape=tuple(stored["pixel_shape"]),
        weights_digest=stored["weights_digest"],
        origin=origin,
        is_builtin=True,
        load_module=load_module,
    )
    # From the file, not from the store: the digests may take megabytes.
    return replace(backbone, learnt=read_learnt(request.file)) if request.file else backbone


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
