"""Images and rows are searched with the backbone of the cache."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featx
from featx.core.errors import (
    CacheError,
    DecodeError,
    FeatxWarning,
    FingerprintError,
    WeightsError,
)
from featx.prediction.search import search
from tests.builders import build_info, build_rows, editing, write_vectors


def test_image_of_the_cache_finds_itself_first_and_a_row_does_not(
    photos: Path, photos_cache: Path
) -> None:
    row_id = "val/bees/1.jpg"
    found = search(photos_cache, [row_id, photos / row_id], top=3, progress=False)
    assert found.queries == (row_id, str(photos / row_id))
    assert found.query_rows.tolist()[1] == -1
    assert row_id not in found.ids[0]
    assert found.ids[1, 0] == row_id
    assert found.scores[1, 0] == pytest.approx(1, abs=1e-6)
    assert found.ids[1, 1:].tolist() == found.ids[0, :2].tolist()
    assert found.scores[1, 1:] == pytest.approx(found.scores[0, :2], abs=1e-6)


def test_all_kinds_of_queries_agree(photos: Path, photos_cache: Path) -> None:
    path = photos / "train/ants/2.jpg"
    with featx.open_cache(photos_cache) as cache:
        row = cache.ids.tolist().index("train/ants/2.jpg")
        vector = cache.read_vectors(rows=np.array([row]))
    with Image.open(path) as image:
        pixels = image.convert("RGB")
    queries = [path, str(path), path.read_bytes(), pixels, np.asarray(pixels), vector]
    results = [search(photos_cache, query, top=4, progress=False) for query in queries]
    for found in results:
        assert found.rows.tolist() == results[0].rows.tolist()
        assert found.scores == pytest.approx(results[0].scores, abs=1e-6)
    by_number = search(photos_cache, np.array([row]), top=3)
    assert by_number.queries == ("train/ants/2.jpg",)
    assert by_number.ids[0].tolist() == results[0].ids[0, 1:].tolist()


def test_folder_is_a_batch_of_queries(photos: Path, photos_cache: Path) -> None:
    found = search(photos_cache, photos / "val", top=1, progress=False)
    assert [Path(name).parent.name for name in found.queries] == ["ants"] * 2 + ["bees"] * 2
    assert (found.scores[:, 0] > 0.999).all()
    assert len(found.query_images) == len(found) == 4


def test_split_and_label_choose_the_rows_to_search_in(photos_cache: Path) -> None:
    found = search(photos_cache, "val/bees/1.jpg", top=50, split="train", label="ants")
    assert found.rows.shape == (1, 4)
    assert set(found.labels[0]) == {"ants"}
    assert set(found.splits[0]) == {"train"}
    counts = found.n_searched, found.n_not_chosen, found.n_without_vector, found.n_unusable
    assert counts == (4, 8, 0, 0)
    assert found.n_rows == 12


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)
    vectors[2], vectors[5:7] = np.nan, 0
    rows = build_rows(["ants"] * 8 + ["bees"], ["train"] * 9)
    path = write_vectors(tmp_path / "c.h5", [build_info()], rows, {"tiny": vectors})
    with pytest.warns(FeatxWarning, match=r"2 rows of 7 cannot be found, because .* ants/005\.jpg"):
        found = search(path, "ants/000.jpg", top=20, label="ants")
    counts = found.n_searched, found.n_not_chosen, found.n_without_vector, found.n_unusable
    assert counts == (5, 1, 1, 2)
    assert sum(counts) == found.n_rows == 9
    assert (found.rows[0] >= 0).tolist() == [True] * 4 + [False] * 3
    assert np.isnan(found.scores[0, 4:]).all()
    assert found.ids[0, 4:].tolist() == ["", "", ""]
    said = found.to_dict()
    assert json.loads(json.dumps(said)) == said
    assert len(said["queries"][0]["found"]) == 4


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("val/ants/9.jpg", r"got 'val/ants/9.jpg', which is neither\. .*Nearest: val/ants/"),
        ([], "expected at least one image or id of a row, got none"),
    ],
    ids=["unknown", "none"],
)
def test_what_is_no_query_is_refused(query: Any, message: str, photos_cache: Path) -> None:
    with pytest.raises(CacheError, match=message):
        search(photos_cache, query)


def test_unknown_label_split_and_top_are_refused(photos_cache: Path) -> None:
    with pytest.raises(CacheError, match="Nearest: ants"):
        search(photos_cache, "val/ants/0.jpg", label="ant")
    with pytest.raises(CacheError, match="test"):
        search(photos_cache, "val/ants/0.jpg", split="test")
    with pytest.raises(CacheError, match="top: expected a number of at least 1, got 0"):
        search(photos_cache, "val/ants/0.jpg", top=0)


def test_image_that_cannot_be_read_is_refused(photos_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(DecodeError, match=r"broken\.jpg"):
        search(photos_cache, tmp_path / "broken.jpg", progress=False)


def test_other_weights_are_refused(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "lenet.h5"
    featx.extract(photos, path, backbone="lenet5", weights="random:0", progress=False)
    image = photos / "val/ants/0.jpg"
    with pytest.raises(FingerprintError, match="expected weights "):
        search(path, image, weights="random:1", progress=False)
    with pytest.raises(WeightsError):
        search(path, image, weights=str(tmp_path / "missing.pt"), progress=False)
    assert len(search(path, "val/ants/0.jpg", weights="random:1")) == 1  # no network is needed


def test_row_without_a_vector_is_no_query(tmp_path: Path) -> None:
    vectors = np.ones((3, 8), np.float32)
    vectors[1] = np.nan
    rows = build_rows(["ants"] * 3, [None] * 3)
    path = write_vectors(tmp_path / "c.h5", [build_info()], rows, {"tiny": vectors})
    with pytest.raises(CacheError, match="expected a vector for each row asked for"):
        search(path, "ants/001.jpg")
    with editing(path) as file:
        file["embeddings/tiny/vectors"][0] = 0
    with pytest.raises(CacheError, match="expected finite vectors that are not zero"):
        search(path, "ants/000.jpg")
