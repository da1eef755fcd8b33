"""The public test double of engines."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import featx
from featx.testing import FakeEngine


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(10)]


def test_fake_engine_vectors_depend_on_the_pixels_alone(images: list[np.ndarray]) -> None:
    every = featx.embed(images, backbone="lenet5", engine=FakeEngine(batch_size=4))
    again = featx.embed(images[::-1], backbone="lenet5", engine=FakeEngine(batch_size=3, n_slots=1))
    assert every.shape == (10, 84)
    assert every.tobytes() == again[::-1].tobytes()
    assert len(np.unique(every, axis=0)) == 10


def test_fake_engine_counts_batches_rows_and_engines(images: list[np.ndarray]) -> None:
    numbers: list[int] = []
    engine = FakeEngine(batch_size=4, on_batch=numbers.append)
    featx.embed(images, backbone="lenet5", engine=engine)
    featx.embed(images[:1], backbone="lenet5", engine=engine, batch_size=1)
    assert (engine.n_batches, engine.n_rows) == (4, 11)
    assert (engine.n_built, engine.n_open) == (2, 0)
    assert numbers == [0, 1, 2, 3]


def test_fake_engine_fails_at_the_batch_that_was_named(images: list[np.ndarray]) -> None:
    engine = FakeEngine(batch_size=4, fail_at=1)
    with pytest.raises(featx.DeviceError, match="engine fake"):
        featx.embed(images, backbone="lenet5", engine=engine)
    assert engine.n_open == 0


def test_fake_engine_nan_rows_become_failures(photos: Path, tmp_path: Path) -> None:
    with pytest.warns(featx.FeatxWarning, match=r"^2 images failed\."):
        report = featx.extract(
            photos,
            tmp_path / "c.h5",
            backbone="lenet5",
            engine=FakeEngine(nan_rows=[1, 3]),
            max_failures=2,
            progress=False,
        )
    assert (report.n_rows, report.n_failures, report.n_embedded) == (10, 2, 10)
    with featx.open_cache(report.path) as cache:
        assert [failure.stage for failure in cache.failures] == ["embed", "embed"]
        assert cache.get_info().provenance.engine == "fake"


def test_a_run_leaves_warning_filters_alone(photos: Path, tmp_path: Path) -> None:
    seen: list[bool] = []
    before = list(warnings.filters)
    engine = FakeEngine(batch_size=2, on_batch=lambda _: seen.append(warnings.filters == before))
    featx.extract(photos, tmp_path / "c.h5", backbone="lenet5", engine=engine, progress=False)
    assert seen == [True] * 6
    assert warnings.filters == before
