"""Heads that read several networks, or several layers of one: predictions from images."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featx
from featx.prediction.networks import list_networks
from featx.testing import FakeEngine
from tests.builders import build_fingerprint

LENET, TINY = "lenet5", "tests-tiny"


@pytest.fixture
def cache(photos: Path, tiny_backbone: str, tmp_path: Path) -> Path:
    """Return a cache of two networks, the second one with two layers."""
    path = tmp_path / "several.h5"
    featx.extract(photos, path, backbone=LENET, batch_size=4, progress=False)
    layers = ["penultimate", "conv"]
    featx.extract(photos, path, backbone=tiny_backbone, layers=layers, progress=False)
    return path


@pytest.fixture
def head(cache: Path) -> featx.Head:
    return featx.fit_head(cache, embedding=[f"{TINY}@conv", LENET, TINY], cv=3)


def list_scores(found: list[featx.Prediction]) -> list[float]:
    assert all(one.error is None for one in found)
    return [one.score or 0.0 for one in found]


def test_list_networks_runs_layers_of_one_network_together(head: featx.Head) -> None:
    first, second = list_networks(head)
    assert [one.name for one in first.embeddings] == [f"{TINY}@conv", TINY]
    assert first.positions == (0, 2)
    assert (second.first.name, second.positions) == (LENET, (1,))


@pytest.mark.parametrize(
    "change", [{"weights_digest": "cd" * 32}, {"precision": "bf16"}, {"preprocess": {"kind": "x"}}]
)
def test_list_networks_of_other_decisions_are_two(head: featx.Head, change: dict[str, Any]) -> None:
    read = head.embeddings[0]
    prints = build_fingerprint(layer="conv"), build_fingerprint(**change)
    reads = tuple(replace(read, fingerprint=one) for one in prints)
    assert len(list_networks(replace(head, embeddings=reads))) == 2


def test_predictions_from_images_equal_those_from_the_cache(
    head: featx.Head, cache: Path, photos: Path, tmp_path: Path
) -> None:
    head.save(tmp_path / "h.joblib")
    found = featx.predict(tmp_path / "h.joblib", photos, batch_size=4, progress=False)
    expected = featx.predict(head, cache)
    assert [(one.id, one.label) for one in found] == [(one.id, one.label) for one in expected]
    np.testing.assert_allclose(list_scores(found), list_scores(expected), atol=1e-5)
    assert [one.unknown for one in found] == [one.unknown for one in expected]


def test_networks_of_other_batch_sizes_keep_the_order(
    head: featx.Head, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    expected = [*map(str, paths)]
    engines = iter([FakeEngine(batch_size=2), FakeEngine(batch_size=5)])
    build = featx.RunOptions.build_engine

    def build_next(options: Any, *args: Any, **kwargs: Any) -> Any:
        return build(replace(options, engine=next(engines)), *args, **kwargs)

    monkeypatch.setattr(featx.RunOptions, "build_engine", build_next)
    with featx.open_predictor(head, progress=False) as predictor:
        assert [one.path for one in predictor.predict(paths)] == expected
        assert predictor.predict([]) == []


def test_a_predictor_builds_an_engine_for_each_network(head: featx.Head, photos: Path) -> None:
    engine = FakeEngine()
    with featx.open_predictor(head, engine=engine, progress=False) as predictor:
        paths = sorted(photos.rglob("*.jpg"))
        alone = [predictor.predict(path) for path in paths]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(predictor.predict, paths * 3)) == alone * 3
        assert (engine.n_built, engine.n_open) == (2, 2)
    assert engine.n_open == 0


def test_images_of_a_generator_are_taken_once_and_when_they_are_needed(
    head: featx.Head, photos: Path
) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    taken = []

    def generate() -> Iterator[Any]:
        for number in range(300):
            taken.append(number)
            yield np.asarray(Image.open(paths[number % len(paths)]))

    predictions = featx.iter_predictions(
        head, generate(), engine=FakeEngine(batch_size=2), workers=1, progress=False
    )
    first = next(predictions)
    assert len(taken) < 200
    rest = list(predictions)
    assert taken == [*range(300)]
    every = [first, *rest]
    assert [one.path for one in every] == [f"image {number}" for number in range(300)]
    assert every[0].score == every[12].score


def test_an_image_that_one_network_fails_on_has_its_reason(
    head: featx.Head, photos: Path, tmp_path: Path
) -> None:
    good = next(photos.glob("val/ants/*"))
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.warns(featx.FeatxWarning, match=r"^no prediction for 1 of 3 images, such as "):
        found = featx.predict(head, [good, bad, good], progress=False)
    assert [one.error is None for one in found] == [True, False, True]
    assert found[0].score == found[2].score


def test_one_file_of_weights_is_refused_for_several_networks(
    head: featx.Head, photos: Path
) -> None:
    message = (
        rf"^weights: expected none beside a head of several networks \({TINY}@conv and {LENET}\), "
        r"got 'w\.pth'\. .*FEATX_WEIGHTS_DIR"
    )
    for predict in (featx.predict, lambda *given, **how: featx.open_predictor(given[0], **how)):
        with pytest.raises(featx.HeadError, match=message):
            predict(head, photos, weights="w.pth", progress=False)


def test_other_weights_of_the_second_network_are_refused(head: featx.Head, photos: Path) -> None:
    reads = [
        replace(one, origin=replace(one.origin, weights="random:9")) if one.name == LENET else one
        for one in head.embeddings
    ]
    with pytest.raises(featx.FingerprintError, match=r"^backbone lenet5 for the head: expected "):
        featx.predict(replace(head, embeddings=tuple(reads)), photos, progress=False)
