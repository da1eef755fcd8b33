"""What can be asked of a head: to abstain, for sets, and whether it knows an image."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.core.errors import FeatxError, FeatxWarning, HeadError
from featx.extraction.extract import extract
from featx.heads.conformal import ConformalSets
from featx.heads.head import Head
from featx.heads.unknown import UnknownDetector
from featx.prediction.answers import AnswerOptions
from featx.prediction.predict import predict
from featx.prediction.predictor import open_predictor


@pytest.fixture
def head(photos_cache: Path) -> Head:
    """A head of 12 rows, two of which say that the right class may be as unlikely as 0.2."""
    head = featx.fit_head(photos_cache)
    with featx.open_cache(photos_cache) as cache:
        X, y = cache.read_arrays()
    codes = np.searchsorted(head.classes, y)
    right = np.where(np.arange(len(y)) % 6 == 0, 0.2, 0.9)
    held_out = np.where(codes[:, None] == [0, 1], right[:, None], 1 - right[:, None])
    return dataclasses.replace(
        head,
        unknown=UnknownDetector.fit(X, codes),
        conformal=ConformalSets.fit(held_out, codes),
    )


@pytest.fixture
def stranger() -> Any:
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"top": 0}, r"^top: expected at least 1, got 0"),
        ({"min_confidence": 1.5}, r"^min_confidence: expected a score from 0 to 1, got 1\.5"),
        ({"min_confidence": float("nan")}, r"^min_confidence: .* got nan"),
        ({"sets": 1.0}, r"^sets: expected a coverage between 0 and 1, got 1\.0. Pass sets=0\.9"),
        ({"sets": 0}, r"^sets: "),
        ({"unknown_rate": 1}, r"^unknown_rate: expected a rate from 0 to below 1, got 1"),
        ({"unknown_rate": -0.1}, r"^unknown_rate: "),
    ],
    ids=["top", "confidence", "nan", "all", "none", "rate", "negative"],
)
def test_options_that_mean_nothing_are_refused(asked: Any, message: str) -> None:
    with pytest.raises(FeatxError, match=message):
        AnswerOptions(**asked)


def test_stranger_is_unknown_and_keeps_its_label(head: Head, photos: Path, stranger: Any) -> None:
    with open_predictor(head, progress=False) as predictor:
        (found,) = predictor.predict(stranger)
        assert found.unknown
        assert found.label in ("ants", "bees")
        (found,) = predictor.predict(photos / "val/ants/0.jpg")
        assert found.unknown is False
        (found,) = predictor.predict(stranger, unknown_rate=0)
        assert found.unknown is None


def test_head_without_detector_cannot_tell(head: Head, photos_cache: Path) -> None:
    head = dataclasses.replace(head, unknown=None, conformal=None)
    assert {one.unknown for one in predict(head, photos_cache)} == {None}
    with pytest.raises(HeadError, match=r"^unknown_rate: expected a head that keeps .* distances"):
        predict(head, photos_cache, unknown_rate=0.1)
    with pytest.raises(HeadError, match=r"^sets: expected a head that keeps held-out"):
        predict(head, photos_cache, sets=0.8)


def test_rate_that_rows_do_not_bear_out_is_told(head: Head, photos_cache: Path) -> None:
    assert head.unknown is not None
    assert head.unknown.n_units == 12
    with pytest.warns(FeatxWarning, match=r"^unknown_rate=0\.01: 12 units .* a rate of 0\.077"):
        predict(head, photos_cache, unknown_rate=0.01)
    predict(head, photos_cache, unknown_rate=0.1)


def test_score_below_the_least_gives_no_label(head: Head, photos_cache: Path) -> None:
    plain = predict(head, photos_cache)
    least = float(np.median([one.score for one in plain if one.score is not None]))
    with pytest.warns(FeatxWarning, match=r"^the head abstained for \d+ of 12 images$"):
        found = predict(head, photos_cache, min_confidence=least)
    for one, before in zip(found, plain, strict=True):
        assert before.score is not None
        abstains = before.score < least
        assert one.label == (None if abstains else before.label)
        assert one.abstained == (
            f"score {before.score:.3g} is below {least:g}" if abstains else None
        )
        assert (one.score, one.top) == (before.score, before.top)


def test_sets_hold_classes_best_first(head: Head, photos_cache: Path) -> None:
    assert head.conformal is not None
    with pytest.warns(
        FeatxWarning, match=r"^sets=0\.9: too few rows .*: ants and bees; the coverage"
    ):
        found = predict(head, photos_cache, sets=0.9, top=2)
    with featx.open_cache(photos_cache) as cache:
        inside = head.conformal.find_sets(head.predict_proba(cache.read_vectors()), 0.9)
    for one, line in zip(found, inside, strict=True):
        assert one.label_set is not None
        assert set(one.label_set) == set(head.classes[line])
        ranked = [label for label, _ in one.top if label in one.label_set]
        assert list(one.label_set) == ranked
    assert predict(head, photos_cache)[0].label_set is None


def test_coverage_that_rows_do_not_bear_out_is_told(head: Head, photos_cache: Path) -> None:
    with pytest.warns(FeatxWarning, match=r"^sets=0\.99: 12 units .* a coverage of 0\.92 at most"):
        found = predict(head, photos_cache, sets=0.99)
    assert all(len(one.label_set or ()) == 2 for one in found)


def test_row_without_a_vector_has_a_line_with_its_remedy(
    head: Head, photos: Path, photos_cache: Path, make_image: Any
) -> None:
    make_image(photos / "train/ants/new.png", colour=(9, 9, 9))
    extract(photos, photos_cache, backbone="lenet5", progress=False)
    name = head.fingerprint.backbone
    with pytest.warns(FeatxWarning, match=r"^no prediction for 1 of 13 images, such as .*new\.png"):
        found = predict(head, photos_cache)
    with featx.open_cache(photos_cache) as cache:
        assert [one.id for one in found] == list(cache.read_column("id"))
    (lacking,) = [one for one in found if one.error]
    assert lacking.error == f"no {name} vector: run featx extract --backbone {name}"
    assert lacking.true_label == "ants"
