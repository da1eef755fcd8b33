"""What is known of a backbone that was loaded before, without loading it: torch is not imported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.backbones.backbone import PENULTIMATE, Backbone
from featx.backbones.preprocess import ImageClassification
from featx.core.artifacts import build_key, find_kept, keep
from featx.core.errors import WeightsError

if TYPE_CHECKING:
    from featx.backbones.embedder import Embedder

PACKAGES = ("torch", "torchvision")
"""Whose versions decide which network a name and a seed stand for."""

_FILE = "backbone.json"


def recall_backbone(
    name: str,
    *,
    weights: str = "DEFAULT",
    layers: Sequence[str] = (PENULTIMATE,),
    preprocess: str | None = None,
    size: int | None = None,
) -> Backbone:
    """Do as `load_backbone` does, but leave the network for later where all else is known.

    Weights from a file are told by its content, named ones by their name.
    """
    layers = tuple(layers) or (PENULTIMATE,)
    file = Path(weights).expanduser()
    content = None
    if file.is_file():
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
    asked = {
        "name": name,
        "weights": file.name if content else weights,
        "content": content,
        "layers": layers,
        "preprocess": preprocess,
        "size": size,
    }
    key = build_key(asked, packages=PACKAGES, sources=[Path(__file__).parent])

    def load() -> Backbone:
        from featx.backbones.load import load_backbone

        return load_backbone(name, weights=weights, layers=layers, preprocess=preprocess, size=size)

    found = find_kept(key)
    if found is None:
        backbone = load()
        if backbone.is_builtin:
            keep(key, lambda folder: _write(folder / _FILE, backbone))
        return backbone
    record = json.loads((found / _FILE).read_text(encoding="utf-8"))

    def load_module() -> Embedder:
        loaded = load()
        if loaded.weights_digest != record["weights_digest"]:
            raise WeightsError(
                f"{name}, weights {weights}: expected the tensors that these weights had before, "
                f"got others. Somebody changes them just now: try again."
            )
        return loaded.module

    return Backbone(
        name,
        record["dims"],
        ImageClassification(**{key: _freeze(part) for key, part in record["pixels"].items()}),
        tuple(record["pixel_shape"]),
        str(file.resolve()) if record["is_file"] else weights,
        record["weights_digest"],
        record["preprocess_from"],
        record["size"],
        is_builtin=True,
        _load=load_module,
    )


def _write(path: Path, backbone: Backbone) -> None:
    assert isinstance(backbone.preprocess, ImageClassification)
    record = {
        "dims": dict(backbone.dims),
        "pixels": asdict(backbone.preprocess),
        "pixel_shape": backbone.pixel_shape,
        "is_file": Path(backbone.weights).is_absolute(),
        "weights_digest": backbone.weights_digest,
        "preprocess_from": backbone.preprocess_from,
        "size": backbone.size,
    }
    path.write_text(json.dumps(record), encoding="utf-8")


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
