"""Heads for several classes and for numbers, fitted on caches and scored on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import featx
from featx.core.errors import CacheError, HeadError
from featx.fitting.evaluate import evaluate
from featx.fitting.evaluate_target import evaluate_target
from featx.fitting.fit_target import fit_target
from featx.fitting.label import label_cache
from featx.heads.load import load_head
from featx.heads.number import NumberScores
from featx.heads.several import SeveralScores
from featx.heads.target_head import TargetHead
from tests.builders import build_info, build_rows, mark_learnt, write_vectors

N_ROWS = 60


@pytest.fixture
def vectors() -> Any:
    return np.random.default_rng(0).normal(size=(N_ROWS, 8)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path, vectors: Any) -> Path:
    """A cache whose labels name the signs of two channels; every third row is val."""
    labels = [
        ";".join([name for name, value in zip("ab", row, strict=False) if value > 0]) or ";"
        for row in vectors
    ]
    splits: list[Any] = ["val" if row % 3 == 0 else "train" for row in range(N_ROWS)]
    rows = build_rows(labels, splits)
    return write_vectors(tmp_path / "photos.h5", [build_info()], rows, {"tiny": vectors})


def record(path: Path, field: str, values: Any) -> None:
    with featx.open_cache(path) as cache:
        ids = cache.ids.tolist()
    label_cache(path, dict(zip(ids, values, strict=True)), field=field)


def test_several_classes_are_learnt_from_labels(path: Path, vectors: Any) -> None:
    head = fit_target(path, None, several=True)
    assert isinstance(head, TargetHead)
    assert (head.target.kind, head.classes.tolist()) == ("several", ["a", "b"])
    assert isinstance(head.held_out, SeveralScores)
    assert head.held_out.macro_average_precision is not None
    assert head.held_out.macro_average_precision > 0.9
    scores = evaluate_target(head, path)
    assert isinstance(scores, SeveralScores)
    assert (scores.n_rows, scores.n_seen, scores.unknown_classes) == (20, 0, ())
    assert scores.macro_f1 is not None
    assert scores.macro_f1 > 0.8
    assert head.predict(vectors).shape == head.predict_proba(vectors).shape == (N_ROWS, 2)


def test_a_column_per_class_is_learnt(path: Path, vectors: Any) -> None:
    record(path, "red", (vectors[:, 2] > 0).astype(int).tolist())
    record(path, "big", ["yes" if value > 0 else "no" for value in vectors[:, 3]])
    head = fit_target(path, ["red", "big"], several=False)
    assert (head.target.columns, head.target.classes) == (("red", "big"), ("red", "big"))
    scores = evaluate_target(head, path)
    assert isinstance(scores, SeveralScores)
    assert [one.label for one in scores.per_class] == ["red", "big"]


def test_a_number_is_learnt(path: Path, vectors: Any) -> None:
    record(path, "price", (3 * vectors[:, 0] + 10).astype(float).tolist())
    head = fit_target(path, "price", several=False)
    assert isinstance(head.held_out, NumberScores)
    assert head.held_out.r2 is not None
    assert head.held_out.r2 > 0.95
    assert head.held_out.control_r2 == pytest.approx(0, abs=0.1)
    scores = evaluate_target(head, path)
    assert isinstance(scores, NumberScores)
    assert scores.r2 is not None
    assert scores.r2_ci95 is not None
    assert scores.r2_ci95[0] <= scores.r2 <= scores.r2_ci95[1]
    assert scores.mae < scores.control_mae
    np.testing.assert_allclose(head.predict(vectors), 3 * vectors[:, 0] + 10, atol=1)


@pytest.mark.parametrize("target", ["price", None])
def test_a_head_is_the_same_when_it_is_read_again(
    path: Path, vectors: Any, tmp_path: Path, target: str | None
) -> None:
    record(path, "price", vectors[:, 0].astype(float).tolist())
    head = fit_target(path, target, several=target is None)
    head.save(tmp_path / "head.joblib")
    before = (tmp_path / "head.joblib").read_bytes()
    again = load_head(tmp_path / "head.joblib")
    assert isinstance(again, TargetHead)
    assert (again.target, again.held_out) == (head.target, head.held_out)
    np.testing.assert_array_equal(again.predict(vectors), head.predict(vectors))
    fit_target(path, target, several=target is None).save(tmp_path / "head.joblib", overwrite=True)
    assert (tmp_path / "head.joblib").read_bytes() == before


@pytest.mark.parametrize("target", ["price", None])
def test_a_head_whose_estimator_fails_predicts_by_its_matrix(
    path: Path, vectors: Any, tmp_path: Path, target: str | None
) -> None:
    record(path, "price", vectors[:, 0].astype(float).tolist())
    head = fit_target(path, target, several=target is None)
    head.save(tmp_path / "head.joblib")
    content = joblib.load(tmp_path / "head.joblib") | {"estimator": None}
    joblib.dump(content, tmp_path / "head.joblib")
    with pytest.warns(featx.FeatxWarning, match="its matrix is used in place of the estimator"):
        again = load_head(tmp_path / "head.joblib")
    np.testing.assert_allclose(again.predict(vectors), head.predict(vectors), atol=1e-4)


def test_rows_without_a_number_are_counted(path: Path, vectors: Any) -> None:
    values: list[Any] = vectors[:, 0].astype(float).tolist()
    values[1:8] = [float("nan")] * 7
    with pytest.warns(featx.FeatxWarning, match="7 lines without a price"):
        record(path, "price", values)
    with pytest.warns(featx.FeatxWarning, match="split all: of 60 rows, 7 without price were left"):
        head = fit_target(path, "price", several=False, split="all")
    assert head.fitted_on.n_rows == N_ROWS - 7


def test_rows_that_were_fitted_on_are_left_out_of_the_scores(path: Path) -> None:
    head = fit_target(path, None, several=True, split="train")
    with pytest.warns(
        featx.FeatxWarning, match="40 of 60 rows were used to fit the head: they are"
    ):
        scores = evaluate_target(head, path, split="all")
    assert (scores.n_rows, scores.n_seen) == (20, 40)
    with pytest.warns(featx.FeatxWarning, match="all are scored, too high"):
        assert evaluate_target(head, path, split="train").n_seen == 40


def test_rows_that_the_network_has_learnt_from_are_not_scored(path: Path) -> None:
    mark_learnt(path, slice(0, 30))
    with pytest.warns(featx.FeatxWarning, match="the held-out scores are of the 30 others only"):
        head = fit_target(path, None, several=True, split="all")
    assert head.held_out is not None
    assert head.held_out.n_rows == 30


def test_a_column_that_is_not_there_is_told_with_the_nearest(path: Path, vectors: Any) -> None:
    with pytest.raises(
        CacheError, match=r"price, got no recorded columns.*'table\.csv', field='pri"
    ):
        fit_target(path, "price", several=False)
    record(path, "price", vectors[:, 0].astype(float).tolist())
    with pytest.raises(CacheError, match=r"a recorded column prise, got price.*Nearest: price\."):
        fit_target(path, "prise", several=False)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            ["low"] * 30 + ["1.5"] * 30,
            r"column price: expected a finite number .*'low' in \d+",
        ),
        (["low", "high"] * 30, "Pass several=True if the cells name classes"),
        (["inf", "1"] * 30, "'inf' in"),
        ([2] * 60, "column price: expected numbers that differ, got only 2 in 40 rows"),
    ],
    ids=["text", "all-text", "infinite", "constant"],
)
def test_cells_that_are_no_numbers_are_told(path: Path, values: Any, expected: str) -> None:
    record(path, "price", values)
    with pytest.raises(HeadError, match=expected):
        fit_target(path, "price", several=False)


def test_classes_of_too_few_rows_are_named(path: Path) -> None:
    record(path, "tags", ["common;rare", *["common" if n % 2 else ";" for n in range(59)]])
    with pytest.warns(featx.FeatxWarning, match=r"fewer than 2 of 60 rows .*: rare \(1 row\)"):
        head = fit_target(path, "tags", several=True, split="all")
    assert head.target.classes == ("common",)
    record(path, "same", ["one"] * 60)
    with pytest.raises(HeadError, match=r"and 2 rows lack, got one \(40 rows\) of 40"):
        fit_target(path, "same", several=True)
    record(path, "none", [";"] * 60)
    with pytest.raises(HeadError, match="rows lack, got no classes"):
        fit_target(path, "none", several=True)


def test_words_of_a_column_for_one_class_are_told(path: Path) -> None:
    for field in ("red", "big"):
        record(path, field, ["maybe", "1", "0"] * 20)
    with pytest.raises(HeadError, match=r"column red: expected 1 or 0, .* got 'maybe' in"):
        fit_target(path, ["red", "big"], several=False, split="all")


@pytest.mark.parametrize("target", [[], ["a", "a"], " ", ["a", ""]], ids=str)
def test_a_target_that_names_no_columns_is_told(path: Path, target: Any) -> None:
    with pytest.raises(HeadError, match="target: expected the name of a column"):
        fit_target(path, target, several=False)


def test_few_rows_are_fitted_without_held_out_scores(path: Path, vectors: Any) -> None:
    with featx.open_cache(path) as cache:
        ids = cache.ids.tolist()
    label_cache(path, {ids[0]: 1.5, ids[1]: 2.5}, field="price")
    with pytest.warns(featx.FeatxWarning) as notes:
        head = fit_target(path, "price", several=False, split="all")
    assert any("too few rows for a cross-validation" in str(one.message) for one in notes)
    assert head.held_out is None
    assert np.isfinite(head.predict(vectors)).all()


def test_classes_that_the_head_does_not_know_are_named(path: Path) -> None:
    head = fit_target(path, None, several=True)
    with featx.open_cache(path) as cache:
        held = cache.ids[cache.splits == "val"].tolist()
    with pytest.warns(featx.FeatxWarning, match="new label"):
        label_cache(path, {held[0]: "a;zebra"})
    with pytest.warns(featx.FeatxWarning, match="does not know, and that are not scored: zebra"):
        scores = evaluate_target(head, path)
    assert isinstance(scores, SeveralScores)
    assert scores.unknown_classes == ("zebra",)


def test_cells_without_a_class_in_common_are_an_error(path: Path) -> None:
    head = fit_target(path, None, several=True)
    with featx.open_cache(path) as cache:
        others = dict.fromkeys(cache.ids[cache.splits == "val"].tolist(), "A;b2")
    with pytest.warns(featx.FeatxWarning, match="new label"):
        label_cache(path, others)
    with pytest.raises(HeadError, match="split val: expected classes among a, b, got A, b2"):
        evaluate_target(head, path)


def test_heads_of_the_other_kind_are_refused(path: Path, vectors: Any) -> None:
    head = fit_target(path, None, several=True)
    with pytest.raises(HeadError, match="expected a head for one class per image, got one for sev"):
        evaluate(head, path)
    with pytest.raises(HeadError, match="expected a head for one class per image"):
        head.score_classes(vectors)


def test_a_wrong_strength_is_refused(path: Path) -> None:
    with pytest.raises(HeadError, match="C: expected a finite number above 0"):
        fit_target(path, None, several=True, C=-1.0)


@pytest.mark.parametrize("kind", ["several", "number"])
def test_repeats_average_the_scores_and_leave_the_head(path: Path, vectors: Any, kind: str) -> None:
    noise = np.random.default_rng(3).normal(size=N_ROWS)
    record(path, "price", (vectors[:, 0] + noise).tolist())
    target, several = ("price", False) if kind == "number" else (None, True)
    once = fit_target(path, target, several=several)
    often = fit_target(path, target, several=several, repeats=4)
    np.testing.assert_array_equal(often.predict(vectors), once.predict(vectors))
    assert often.params == once.params
    assert often.target == once.target
    assert once.held_out is not None
    assert often.held_out is not None
    assert (once.held_out.repeats, len(often.held_out.repeats)) == ((), 4)
    assert len(set(often.held_out.repeats)) > 1
    main = "r2" if kind == "number" else "macro_average_precision"
    assert often.held_out.repeats[0] == getattr(once.held_out, main)
    assert getattr(often.held_out, main) == pytest.approx(np.mean(often.held_out.repeats))
    widths = [np.ptp(getattr(one.held_out, f"{main}_ci95")) for one in (once, often)]
    assert widths[1] == pytest.approx(widths[0], rel=0.7)
    often.save(path.with_suffix(".joblib"))
    loaded = load_head(path.with_suffix(".joblib"))
    assert isinstance(loaded, TargetHead)
    assert loaded.held_out == often.held_out
    assert type(often.held_out).from_dict(often.held_out.to_dict()) == often.held_out


@pytest.mark.parametrize("repeats", [0, 1.5, "ten"])
def test_repeats_that_are_none_are_refused(path: Path, repeats: Any) -> None:
    with pytest.raises(HeadError, match=r"^repeats: expected a whole number from 1"):
        featx.fit_head(path, several=True, repeats=repeats)


# --- unknown images


def draw_kind(n_rows: int, seed: int, dim: int = 48) -> tuple[Any, Any]:
    """Draw rows that have each of four classes by chance, and a number that they depend on."""
    kind, rng = np.random.default_rng(0), np.random.default_rng([1, seed])
    effects, base = kind.normal(size=(5, dim)), 2 * kind.normal(size=dim)
    flags, number = rng.random((n_rows, 4)) < 0.3, rng.normal(size=(n_rows, 1))
    X = base + np.concatenate([flags, number], axis=1) @ effects + rng.normal(size=(n_rows, dim))
    cells = [";".join("abcd"[at] for at in np.flatnonzero(row)) or ";" for row in flags]
    return X.astype(np.float32), (cells, number[:, 0])


@pytest.mark.parametrize("kind", ["several", "number"])
def test_head_tells_what_is_like_none_of_its_rows(tmp_path: Path, kind: str) -> None:
    X, (cells, numbers) = draw_kind(400, 0)
    path = write_vectors(
        tmp_path / "drawn.h5", [build_info(dim=48)], build_rows(cells, [None] * 400), {"tiny": X}
    )
    record(path, "size", numbers.tolist())
    head = fit_target(path, "size" if kind == "number" else None, several=kind == "several")
    assert head.unknown is not None
    assert len(head.unknown.means) == 1
    same, _ = draw_kind(2000, 1)
    assert 0.003 < head.unknown.find_unknown(same, 0.01).mean() < 0.025
    strangers = np.random.default_rng(9).normal(size=(200, 48)) * 3
    assert head.unknown.find_unknown(strangers.astype(np.float32), 0.01).mean() > 0.95
    head.save(tmp_path / "head.joblib")
    loaded = load_head(tmp_path / "head.joblib")
    assert loaded.unknown is not None
    np.testing.assert_array_equal(loaded.unknown.score(same), head.unknown.score(same))


def test_predictions_of_a_target_say_whether_an_image_is_unknown(path: Path, vectors: Any) -> None:
    record(path, "price", (3 * vectors[:, 0]).tolist())
    for head in (
        fit_target(path, None, several=True),
        fit_target(path, "price", several=False),
    ):
        assert {one.unknown for one in featx.predict(head, path)} == {False}
        none = featx.predict(head, path, unknown_rate=0)
        assert {one.unknown for one in none} == {None}
