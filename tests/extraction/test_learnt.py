"""What tuned weights have learnt from goes into the caches that are made with them, and stays."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from featx.backbones.load import load_backbone
from featx.backbones.metadata import WeightsMetadata, build_texts
from featx.cache.joined import open_cache
from featx.core.errors import FeatxWarning
from featx.core.learnt import Digests, shorten_digests
from featx.extraction.extract import extract
from featx.extraction.report import ExtractionReport
from featx.fitting.split import split_cache
from featx.images.sources.read import read_manifest
from tests.extraction.caches import age

TOLD = r"^{}: {} of {} rows were learnt from by the network"


@pytest.fixture
def folder(photos: Path) -> Path:
    for path in photos.rglob("*.jpg"):
        age(path)
    return photos


@pytest.fixture
def learnt(folder: Path, tmp_path: Path) -> Digests:
    """Digests of the train images of the folder, as an extraction by other weights reads them."""
    embed(folder, tmp_path / "frozen.h5", "random:0")
    with open_cache(tmp_path / "frozen.h5") as cache:
        return shorten_digests(cache.digests[cache.select_rows("train")])


@pytest.fixture
def tuned(learnt: Digests, tmp_path: Path) -> Path:
    """Weights as `fine_tune` writes them, without its training."""
    state = load_backbone("lenet5", weights="random:1").module.network.state_dict()
    metadata = WeightsMetadata(backbone="lenet5", preprocess_from=None, size=None)
    save_file(state, tmp_path / "tuned.safetensors", metadata=build_texts(metadata, learnt))
    return tmp_path / "tuned.safetensors"


def embed(source: Any, output: Path, weights: Any, **options: Any) -> ExtractionReport:
    how: dict[str, Any] = {"engine": "torch", "device": "cpu", "progress": False}
    return extract(source, output, backbone="lenet5", weights=str(weights), **how | options)


def read_learnt(path: Path, name: str = "lenet5") -> list[int]:
    with open_cache(path) as cache:
        return cache.read_learnt_digests(name).tolist()  # type: ignore[no-any-return]


def test_extract_by_tuned_weights_tells_and_keeps_what_they_have_learnt_from(
    folder: Path, tuned: Path, learnt: Digests, tmp_path: Path
) -> None:
    path = tmp_path / "tuned.h5"
    for is_changed in (True, False):  # a run that has nothing to do tells it as well
        with pytest.warns(FeatxWarning, match=TOLD.format(path, 8, 12) + r" \(8 in train\)"):
            report = embed(folder, path, tuned)
        assert (report.n_learnt, report.is_changed) == (8, is_changed)
        assert read_learnt(path) == learnt.tolist()
    with open_cache(path) as cache:
        assert (cache.read_learnt() == (cache.splits == "train")).all()


def test_extract_by_weights_that_were_not_tuned_writes_nothing_of_it(
    folder: Path, tmp_path: Path
) -> None:
    assert embed(folder, tmp_path / "c.h5", "random:0").n_learnt == 0
    assert read_learnt(tmp_path / "c.h5") == []


@pytest.mark.filterwarnings("ignore::featx.FeatxWarning")
def test_learnt_digests_survive_all_that_changes_a_cache(
    folder: Path, tuned: Path, learnt: Digests, tmp_path: Path, make_image: Any
) -> None:
    path = tmp_path / "tuned.h5"
    embed(folder, path, tuned)
    split_cache(path, val=0.3, overwrite=True)
    assert read_learnt(path) == learnt.tolist()
    age(make_image(folder / "val/bees/new.jpg", seed=99))
    assert embed(folder, path, tuned).n_embedded == 1
    shutil.rmtree(folder / "train/ants")
    assert embed(folder, path, tuned, prune=True).n_learnt == 4
    extract(folder, path, backbone="lenet5", weights="random:5", embedding="other", progress=False)
    assert read_learnt(path) == learnt.tolist()  # of rows that are gone, too
    assert read_learnt(path, "other") == []


@pytest.mark.filterwarnings("ignore::featx.FeatxWarning")
def test_images_that_were_edited_are_new_and_copies_are_not(
    folder: Path, tuned: Path, tmp_path: Path, make_image: Any
) -> None:
    age(make_image(folder / "train/ants/0.jpg", seed=77))
    shutil.copy(folder / "train/ants/1.jpg", age(folder / "train/ants/1.jpg").with_name("copy.jpg"))
    age(folder / "train/ants/copy.jpg")
    shutil.move(folder / "train/bees/0.jpg", folder / "val/bees/moved.jpg")
    with pytest.warns(FeatxWarning, match=r"8 of 13 rows .* \(7 in train, 1 in val\)"):
        embed(folder, tmp_path / "tuned.h5", tuned)
    with open_cache(tmp_path / "tuned.h5") as cache:
        found = dict(zip(cache.ids.tolist(), cache.read_learnt().tolist(), strict=True))
    assert not found["train/ants/0.jpg"]
    assert found["train/ants/copy.jpg"]
    assert found["val/bees/moved.jpg"]


@pytest.mark.filterwarnings("ignore::featx.FeatxWarning")
def test_weights_that_were_saved_anew_take_nothing_from_a_cache_and_add_nothing(
    folder: Path, tuned: Path, learnt: Digests, tmp_path: Path
) -> None:
    anew = tmp_path / "anew.safetensors"
    save_file(load_file(tuned), anew)  # the same tensors, whose metadata are lost
    known, unknown = tmp_path / "known.h5", tmp_path / "unknown.h5"
    embed(folder, known, tuned)
    embed(folder, known, anew)
    assert read_learnt(known) == learnt.tolist()
    embed(folder, unknown, anew)
    assert read_learnt(unknown) == []
    assert embed(folder, unknown, tuned).is_changed  # what the weights say is written down at last
    assert read_learnt(unknown) == learnt.tolist()


def test_extract_of_a_manifest_reports_learnt_rows_without_a_note(
    folder: Path, tuned: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(folder)
    assert embed(manifest, tmp_path / "tuned.h5", tuned).n_learnt == 8


@pytest.mark.parametrize("name", ["other.safetensors", "other.pth"])
def test_load_backbone_knows_what_copies_of_tuned_weights_have_learnt_from(
    tuned: Path, learnt: Digests, tmp_path: Path, name: str, store: Path
) -> None:
    copy = shutil.copy(tuned, tmp_path / name)
    for _ in range(2):  # built, and found in the store
        backbone = load_backbone("lenet5", weights=str(copy))
        np.testing.assert_array_equal(backbone.learnt, learnt)
    assert len(load_backbone("lenet5", weights="random:1").learnt) == 0
