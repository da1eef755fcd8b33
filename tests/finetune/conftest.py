"""Trunks to run over a few images, and scenes to tune on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import featx
from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.embedding.options import RunOptions
from featx.finetune import tune as tune_module
from featx.finetune.cut import cut_backbone
from featx.finetune.report import TuningReport
from featx.finetune.trunk import TrunkRun
from featx.fitting.fit import fit_head
from featx.heads.head import Head
from featx.images.sources.read import read_manifest

from .doubles_scene import (
    CLASSES,
    COUNTS,
    RECIPE,
    Scene,
    draw_images,
    extract_scene,
    tune,
)

MakeImage = Callable[..., Path]


@pytest.fixture(scope="session")
def lenet() -> Backbone:
    return load_backbone("lenet5")


@pytest.fixture
def folder(tmp_path: Path, make_image: MakeImage) -> Path:
    """Write eleven images of several sizes, old ones: new files are read twice."""
    for number in range(11):
        path = make_image(tmp_path / f"photos/{number:02}.png", (40 + number, 34), seed=number)
        os.utime(path, (1e9, 1e9))
    return tmp_path / "photos"


@pytest.fixture
def build_run(folder: Path, lenet: Backbone) -> Callable[..., TrunkRun]:
    """Build a run over the folder; changes are fields of it. A factory."""

    def build(n_top: int = 2, backbone: Backbone = lenet, **changes: Any) -> TrunkRun:
        manifest = read_manifest(folder)
        files = [(folder / entry.row.id).read_bytes() for entry in manifest.entries]
        run = TrunkRun(
            trunk=cut_backbone(backbone, n_top).trunk,
            source=manifest.source,
            entries=tuple(manifest.entries),
            digests=tuple(sha256(data).hexdigest() for data in files),
            options=RunOptions(
                engine="torch", device="cpu", batch_size=4, workers=2, progress=False
            ),
            precision="fp32",
            decode="exact",
            seed=0,
        )
        return replace(run, **changes)

    return build


@pytest.fixture(scope="session")
def make_scene(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Scene]:
    """Draw images and extract them, once for all tests; a factory."""
    made: dict[tuple[object, ...], Scene] = {}

    def make(
        n_classes: int = 3,
        *,
        seed: int = 0,
        backbone: str = "lenet5",
        counts: dict[str, int] | None = None,
        **options: Any,
    ) -> Scene:
        key = (n_classes, seed, backbone, *sorted(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("scene")
            draw_images(folder / "photos", CLASSES[:n_classes], counts or COUNTS, seed)
            cache = extract_scene(
                folder / "photos", folder / "photos.h5", backbone=backbone, **options
            )
            made[key] = Scene(folder / "photos", cache)
        return made[key]

    return make


@pytest.fixture(scope="session")
def scene(make_scene: Callable[..., Scene]) -> Scene:
    return make_scene()


@pytest.fixture
def own_scene(scene: Scene, tmp_path: Path) -> Scene:
    """Copy the scene, for a test that changes it."""
    shutil.copytree(scene.folder, tmp_path / "photos")
    shutil.copy(scene.cache, tmp_path / "photos.h5")
    return Scene(tmp_path / "photos", tmp_path / "photos.h5")


@pytest.fixture(scope="session")
def weak_head(scene: Scene) -> Head:
    """Fit a head that knows little: there is something left to learn."""
    return fit_head(scene.cache, C=1e-4)


@pytest.fixture(scope="session")
def tuned(scene: Scene, weak_head: Head, tmp_path_factory: pytest.TempPathFactory) -> TuningReport:
    """Tune two blocks for four epochs, and keep the last: for tests that only read the files."""
    output = tmp_path_factory.mktemp("tuned") / "tuned.safetensors"
    report = tune(scene, output, head=weak_head, recipe=replace(RECIPE, epochs=4))
    assert report.best_epoch > 0
    return report


@pytest.fixture(scope="session")
def tuned_cache(
    tuned: TuningReport, scene: Scene, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Extract the images with the tuned weights."""
    path = tmp_path_factory.mktemp("again") / "again.h5"
    with pytest.warns(featx.FeatxWarning, match=r"again\.h5: 42 of 69 rows were learnt from by"):
        return extract_scene(scene.folder, path, backbone="lenet5", weights=str(tuned.path))


@pytest.fixture
def no_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a network is loaded."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr(tune_module, "restore_backbone", refuse)
