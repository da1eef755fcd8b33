"""Predictors: one engine for many calls, shared by threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featx
from featx.testing import FakeEngine


@pytest.fixture
def head(photos: Path, tmp_path: Path) -> featx.Head:
    featx.extract(photos, tmp_path / "c.h5", backbone="lenet5", engine=FakeEngine(), progress=False)
    return featx.fit_head(tmp_path / "c.h5", cv=3)


def test_predictor_builds_one_engine_and_gives_it_back(head: featx.Head, photos: Path) -> None:
    engine = FakeEngine()
    with featx.open_predictor(head, engine=engine, progress=False) as predictor:
        first = predictor.predict(photos)
        assert predictor.predict(photos) == first
        assert (engine.n_built, engine.n_open) == (1, 1)
    assert engine.n_open == 0
    assert first == featx.predict(head, photos, engine=FakeEngine(), progress=False)
    assert len(first) == 12


def test_predictor_takes_paths_bytes_pillow_images_and_arrays(
    head: featx.Head, photos: Path
) -> None:
    path = photos / "val/bees/0.jpg"
    image = Image.open(path)
    with featx.open_predictor(head, engine=FakeEngine(), progress=False) as predictor:
        found = predictor.predict([path, path.read_bytes(), image, np.asarray(image)])
        (alone,) = predictor.predict(path.read_bytes(), top=2)
    assert [one.label for one in found] == [alone.label] * 4
    assert np.ptp([one.score for one in found]) < 1e-6
    assert len(alone.top) == 2


def test_predictor_is_shared_by_threads(head: featx.Head, photos: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    with featx.open_predictor(head, engine=FakeEngine(), progress=False) as predictor:
        alone = [predictor.predict(path) for path in paths]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(predictor.predict, paths * 5)) == alone * 5


def test_predictor_names_images_that_it_cannot_read(head: featx.Head, tmp_path: Path) -> None:
    with (
        featx.open_predictor(head, engine=FakeEngine(), progress=False) as predictor,
        pytest.warns(
            featx.FeatxWarning, match=r"^no prediction for 1 of 1 images, such as .*missi"
        ),
    ):
        (found,) = predictor.predict([tmp_path / "missing.jpg"])
    assert (found.label, found.error) == (None, "No such file or directory")


def test_predictor_that_is_closed_says_so(head: featx.Head, photos: Path) -> None:
    predictor = featx.open_predictor(head, engine=FakeEngine(), progress=False)
    predictor.close()
    predictor.close()
    with pytest.raises(featx.FeatxError, match=r"got a closed one\. .*featx\.open_predictor"):
        predictor.predict(photos)


def test_predictor_refuses_a_precision_before_weights_are_loaded(
    head: featx.Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.engines.choose.list_precisions", lambda *_: ["bf16"])
    with pytest.raises(featx.DeviceError, match=r"^precision fp32 on cpu: "):
        featx.open_predictor(head, weights="missing.pth", device="cpu")


def test_predictor_refuses_no_class_at_all(head: featx.Head, photos: Path) -> None:
    with (
        featx.open_predictor(head, engine=FakeEngine(), progress=False) as predictor,
        pytest.raises(featx.FeatxError, match="top: expected at least 1, got 0"),
    ):
        predictor.predict(photos, top=0)
