"""Images with faint textures, their cache, and requests to tune on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import featx
from featx.cache.joined import open_cache
from featx.core.typing import Array, Float64Array
from featx.embedding.options import RunOptions
from featx.finetune.data import TuningData, read_data
from featx.finetune.paths import TuningPaths
from featx.finetune.plan import plan_tuning
from featx.finetune.recipe import Recipe
from featx.finetune.report import TuningReport
from featx.finetune.request import TuningRequest
from featx.finetune.space import FreeSpace
from featx.finetune.train import Training
from featx.finetune.trunk import KeptFeatures
from featx.finetune.tune import build_training, fine_tune, open_network

CLASSES = ("checks", "columns", "rows")
COUNTS = {"train": 14, "val": 6, "test": 3}
HOW: dict[str, Any] = {"engine": "torch", "device": "cpu", "progress": False}
RECIPE = Recipe(epochs=2, train_batch_size=8, lr=3e-3, warmup=0)


@dataclass(frozen=True)
class Scene:
    """Images, and a cache of them."""

    folder: Path
    cache: Path

    def read(self, split: str) -> tuple[Array, Array]:
        """Read vectors and labels of a split."""
        with open_cache(self.cache) as cache:
            rows = cache.select_rows(split)
            return cache.read_vectors(rows=rows), cache.labels[rows]


def draw_texture(label: str, rng: np.random.Generator, size: int = 40) -> Array:
    """Draw stripes or a checkerboard of any period and phase, faint below noise."""
    period, phase = rng.uniform(6, 12), rng.uniform(0, 12, 2)
    x, y = np.meshgrid(np.arange(size) + phase[0], np.arange(size) + phase[1])
    waves = np.sin(2 * np.pi * x / period), np.sin(2 * np.pi * y / period)
    wave = {"columns": waves[0], "rows": waves[1], "checks": waves[0] * waves[1]}[label]
    pixels = 128 + 8 * wave[..., None] + rng.normal(0, 45, (size, size, 3))
    drawn: Array = pixels.clip(0, 255).astype(np.uint8)
    return drawn


def draw_images(
    folder: Path, classes: tuple[str, ...], counts: Mapping[str, int], seed: int
) -> Path:
    """Write textures into folders of splits and classes."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for label in classes:
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = draw_texture(label, rng)
                Image.fromarray(pixels).save(folder / split / label / f"{number:02}.png")
    return folder


def tune(scene: Scene, output: Path, **options: Any) -> TuningReport:
    """Tune two blocks by `RECIPE`; options replace arguments of `featx.fine_tune`."""
    arguments: dict[str, Any] = {"unfreeze": 2, "recipe": RECIPE} | HOW | options
    return fine_tune(scene.folder, scene.cache, output, **arguments)


def build_request(scene: Scene, output: Path, **changes: Any) -> TuningRequest:
    """Build the request that `tune` makes; changes are fields of it."""
    fields: dict[str, Any] = {
        "source": scene.folder,
        "paths": TuningPaths.build(output, None),
        "head": None,
        "unfreeze": 2,
        "embedding": None,
        "split": None,
        "weights": None,
        "recipe": RECIPE,
        "max_trunk_bytes": None,
        "options": RunOptions(**HOW),
        "resume": False,
        "overwrite": False,
        "break_lock": False,
    }
    return TuningRequest(**fields | changes)


def read_scene(scene: Scene, **changes: Any) -> TuningData:
    """Read the data of a request; no network is loaded."""
    with open_cache(scene.cache) as cache:
        return read_data(cache, build_request(scene, Path("tuned.safetensors"), **changes))


def open_training(
    scene: Scene, folder: Path, *, device: str = "cpu", **changes: Any
) -> tuple[TuningData, Training]:
    """Do everything that comes before the first step: the data, and a training that may begin."""
    request = build_request(scene, folder / "tuned.safetensors", **changes)
    with open_cache(scene.cache) as cache:
        data = read_data(cache, request)
        network = open_network(request, cache, data)
        given = request.max_trunk_bytes
        limit = FreeSpace(1 << 40, 1 << 40) if given is None else given
        plan = plan_tuning(request, data, network, device=device, limit=limit)
        training = build_training(request, data, network, plan)
        if isinstance(training.request.features, KeptFeatures):
            training.request.features.fill()
    return data, training


def decide(estimator: Any, X: Array) -> Float64Array:
    """Return the decision function as logits ``(n_rows, n_classes)``."""
    values = np.asarray(estimator.decision_function(X))
    return np.stack([0 * values, values], axis=1) if values.ndim == 1 else values


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def extract_scene(folder: Path, cache: Path, **options: Any) -> Path:
    """Extract images with one engine; return the cache."""
    featx.extract(folder, cache, **HOW | options)
    return cache
