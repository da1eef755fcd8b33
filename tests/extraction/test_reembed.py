"""A sample of a cache is embedded again and compared with its source."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.core.errors import CacheError, FingerprintError, WeightsError
from featx.extraction.extract import extract
from featx.extraction.reembed import compare_with_source
from tests.builders import editing


def test_compare_with_unchanged_source_is_identical(photos: Path, photos_cache: Path) -> None:
    found = compare_with_source(photos_cache, photos, progress=False)
    assert (found.n_compared, found.n_identical) == (12, 12)
    assert (found.n_changed, found.n_gone, found.problems) == (0, 0, ())
    assert found.min_cosine == pytest.approx(1)
    assert found.max_difference == 0


def test_compare_takes_a_sample_of_the_size_asked_for(photos: Path, photos_cache: Path) -> None:
    assert compare_with_source(photos_cache, photos, sample=5, progress=False).n_compared == 5


def test_compare_finds_a_vector_that_is_another(photos: Path, photos_cache: Path) -> None:
    with editing(photos_cache) as file:
        vectors = file["embeddings/tests-tiny/vectors"]
        vectors[3] = -vectors[3]
    found = compare_with_source(photos_cache, photos, progress=False)
    assert len(found.problems) == 1
    assert found.n_identical == 11
    assert found.min_cosine == pytest.approx(-1)


def test_compare_tells_changed_and_gone_from_wrong(
    photos: Path, photos_cache: Path, make_image: Any
) -> None:
    make_image(photos / "train" / "ants" / "0.jpg", seed=99)
    (photos / "train" / "ants" / "1.jpg").unlink()
    (photos / "train" / "ants" / "2.jpg").write_bytes(b"no image")
    found = compare_with_source(photos_cache, photos, progress=False)
    assert (found.n_compared, found.n_changed, found.n_gone, found.problems) == (9, 2, 1, ())


def test_compare_with_another_source_is_refused(
    photos_cache: Path, tmp_path: Path, make_image: Any
) -> None:
    make_image(tmp_path / "other" / "a.jpg")
    with pytest.raises(CacheError, match=r"got \S+/other, which has none of the sampled rows"):
        compare_with_source(photos_cache, tmp_path / "other", progress=False)


def test_compare_with_other_weights_is_refused(photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "mini.h5"
    extract(photos, cache, backbone="lenet5", weights="random:0", progress=False)
    with pytest.raises(FingerprintError, match="expected weights "):
        compare_with_source(cache, photos, weights="random:1", progress=False)
    with pytest.raises(WeightsError, match="no_such"):
        compare_with_source(cache, photos, weights="no_such.pth", progress=False)


def test_compare_in_float16_stays_within_its_rounding(
    photos: Path, tmp_path: Path, tiny_backbone: str
) -> None:
    cache = tmp_path / "half.h5"
    extract(photos, cache, backbone=tiny_backbone, dtype="float16", progress=False)
    found = compare_with_source(cache, photos, progress=False)
    assert found.problems == ()
    assert found.n_identical == 12


def test_compare_runs_at_the_size_of_the_cache(photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "small.h5"
    extract(photos, cache, backbone="lenet5", size=33, progress=False)
    found = compare_with_source(cache, photos, progress=False)
    assert (found.n_compared, found.n_identical, found.problems) == (12, 12, ())


def test_verify_command_tells_sound_and_damaged(
    photos: Path, photos_cache: Path, run_cli: Any
) -> None:
    done = run_cli("verify", photos_cache, "--against", photos, "--sample", "4")
    assert done.code == 0
    assert "sound, 12 rows, 12 vectors checked" in done.out
    assert "4 embedded again, 4 identical" in done.out
    data = bytearray(photos_cache.read_bytes())
    data[5000] ^= 4
    photos_cache.write_bytes(data)
    done = run_cli("verify", photos_cache, "--json")
    assert done.code == 1
    (problem,) = json.loads(done.out)["problems"]
    assert "changed after the file was sealed" in problem


def test_compare_of_nothing_has_no_cosine(
    photos: Path, photos_cache: Path, make_image: Any
) -> None:
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        make_image(path, seed=500 + number)
    found = compare_with_source(photos_cache, photos, progress=False)
    assert (found.n_compared, found.n_changed) == (0, 12)
    assert math.isnan(found.min_cosine)
    assert np.isnan(found.max_difference)
