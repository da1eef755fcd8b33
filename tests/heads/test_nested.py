"""Nested search: no fold has a part in any choice for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from featx.core.typing import Array, Float32Array, Float64Array, IntArray
from featx.heads.coordinates import Coordinates
from featx.heads.kinds import KINDS, HeadKind, get_kind
from featx.heads.learners import Learner, Task
from featx.heads.nested import Grid, Line, Nested, NestedSearch
from featx.heads.search import build_grid, build_learner
from featx.heads.splits import Folds, build_folds


def draw(
    n_rows: int = 90, n_classes: int = 3, distance: float = 0.6
) -> tuple[Float32Array, IntArray]:
    """Draw rows about one centre per class, and their class codes."""
    rng = np.random.default_rng(0)
    codes = np.arange(n_rows) % n_classes
    X = rng.normal(size=(n_rows, 12)) + distance * rng.normal(size=(n_classes, 12))[codes]
    return X.astype(np.float32), codes


def search(
    X: Float32Array,
    codes: IntArray,
    folds: Folds,
    kind: HeadKind,
    n_classes: int = 3,
    *,
    strength: float | None = None,
) -> Nested:
    """Search one kind on folds."""
    scaler = StandardScaler().fit(X)
    task = Task(
        X=X,
        coordinates=Coordinates.find(X, scaler.mean_, scaler.scale_),
        codes=codes,
        n_classes=n_classes,
        class_weight=None,
        parts=[],
    )
    grid = build_grid(kind, strength, None)
    nested = NestedSearch(
        folds, codes, n_classes, np.ones(len(codes)), grid=grid, update=lambda: None
    )
    task = replace(task, parts=nested.parts)
    learner = build_learner(kind, task, [10.0**one for one in grid.exponents])
    return nested.run(learner, task)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("is_given", [False, True], ids=["searched", "given"])
def test_labels_of_a_fold_change_nothing_of_its_own_prediction(
    kind: HeadKind, is_given: bool
) -> None:
    X, codes = draw()
    folds = build_folds(codes, None, n_folds=4, seed=0)
    strength = kind.default_strength if is_given else None
    before = search(X, codes, folds, kind, strength=strength)
    _, test = folds[1]
    changed = codes.copy()
    changed[test] = (changed[test] + 1) % 3
    after = search(X, changed, folds, kind, strength=strength)
    # Parts that converge later change the shape of the others' matrix products: their last bits.
    np.testing.assert_allclose(after.scores[test], before.scores[test], rtol=1e-4, atol=1e-4)
    assert after.chosen[1] == before.chosen[1]
    assert after.temperatures[1] == pytest.approx(before.temperatures[1], rel=1e-4)


def test_other_folds_do_depend_on_the_labels_of_a_fold() -> None:
    X, codes = draw()
    folds = build_folds(codes, None, n_folds=4, seed=0)
    before = search(X, codes, folds, get_kind("logreg"))
    changed = codes.copy()
    changed[folds[1][1]] = 0
    after = search(X, changed, folds, get_kind("logreg"))
    assert (after.scores[folds[0][1]] != before.scores[folds[0][1]]).any()


def test_every_row_is_scored_once_by_a_head_without_it() -> None:
    X, codes = draw()
    folds = build_folds(codes, None, n_folds=5, seed=0)
    found = search(X, codes, folds, get_kind("logreg"))
    assert np.isfinite(found.scores).all()
    assert sorted(found.main.rows.tolist()) == list(range(90))
    for number, line in enumerate(found.lines):
        assert not np.isin(folds[number][1], line.rows).any()
        assert len(line.rows) == 90 - len(folds[number][1])
        assert line.weights.sum() == pytest.approx(1)


def test_fold_of_the_only_other_class_is_predicted_as_the_class_there_is() -> None:
    X, _ = draw(n_rows=60)
    codes = np.repeat([0, 1], [50, 10])
    units = np.concatenate([np.arange(50), np.full(10, 50)])
    folds = build_folds(codes, units, n_folds=5, seed=0)
    found = search(X, codes, folds, get_kind("logreg"), n_classes=2)
    assert (found.scores[codes == 1].argmax(axis=1) == 0).all()


def test_lines_pass_over_rows_whose_class_their_heads_have_not_learnt() -> None:
    X, codes = draw(n_rows=60)
    codes[:] = np.arange(60) % 2
    codes[[7, 20, 40]] = 2, 3, 3  # a class of one row, and one of two
    folds = build_folds(codes, None, n_folds=4, seed=0)
    found = search(X, codes, folds, get_kind("logreg"), n_classes=4)
    assert sorted(found.main.rows.tolist()) == [row for row in range(60) if row != 7]
    for (_, test), line in zip(folds, found.lines, strict=True):
        single = {7, 20, 40} if np.isin([20, 40], test).any() else {7}
        seen = set(range(60)) - set(test.tolist()) - single
        assert set(line.rows.tolist()) == seen
        assert line.weights.sum() == pytest.approx(1)


def test_line_without_rows_chooses_the_default_at_temperature_1() -> None:
    # The first class lies in two folds, the other one in the third: without a fold of the first,
    # no head of one of the others knows what it scores.
    X, _ = draw(n_rows=60)
    parts = np.repeat([0, 1, 2], 20)
    codes = (parts == 2).astype(np.int64)
    folds = [(np.flatnonzero(parts != one), np.flatnonzero(parts == one)) for one in range(3)]
    found = search(X, codes, folds, get_kind("linear-svm"), n_classes=2)
    assert len(found.main.rows) == 40
    assert [len(line.rows) for line in found.lines] == [0, 0, 40]
    assert found.chosen[:2] == [-2.0, -2.0]
    assert found.temperatures[:2] == [1.0, 1.0]


class Recorder(Learner):
    """A learner whose heads are right at one exponent, and which records what it is asked for."""

    def __init__(
        self, parts: list[tuple[IntArray, IntArray]], codes: IntArray, peak: float
    ) -> None:
        self.parts, self.codes, self.peak = parts, codes, peak
        self.asked: set[tuple[int, float]] = set()

    def score(self, parts: IntArray, strengths: Float64Array) -> list[Array]:
        """Score rows: the nearer an exponent is to the peak, the more rows are right."""
        found = []
        for part, exponent in zip(parts.tolist(), np.log10(strengths).round(6), strict=True):
            assert (part, exponent) not in self.asked
            self.asked.add((part, float(exponent)))
            test = self.parts[part][1]
            scores = np.zeros((len(test), 2), np.float32)
            scores[np.arange(len(test)), self.codes[test]] = 1.0
            wrong = test % 10 < min(4, abs(exponent - self.peak))
            scores[wrong] = scores[wrong][:, ::-1]
            found.append(scores)
        return found


@pytest.mark.parametrize(
    ("peak", "tried"),
    [
        (-1.0, [-3, -2, -1.5, -1, -0.5, 0]),
        (1.0, [-3, -2, -1, 0, 0.5, 1, 1.5, 2]),  # an end is best: on beyond it
        (-3.0, [-4, -3.5, -3, -2.5, -2, -1]),  # the path ends where it is worse beyond doubt
    ],
)
def test_main_line_tries_the_grid_then_beyond_and_between(peak: float, tried: list[float]) -> None:
    codes = np.arange(200) % 2
    folds = build_folds(codes, None, n_folds=4, seed=0)
    grid = Grid(exponents=(-3.0, -2.0, -1.0, 0.0, 1.0), is_open=True, default=-2.0)
    steps: list[bool] = []
    nested = NestedSearch(
        folds, codes, 2, np.ones(200), grid=grid, update=lambda: steps.append(True)
    )
    task = Task(
        X=np.zeros((200, 1)),
        coordinates=Coordinates.find(np.ones((2, 1)), np.zeros(1), np.ones(1)),
        codes=codes,
        n_classes=2,
        class_weight=None,
        parts=nested.parts,
    )
    recorder = Recorder(nested.parts, codes, peak)
    recorder_again = Recorder(nested.parts, codes, peak)
    recorder_again.asked = set()

    class Twice(Learner):
        """The recorder, which may be asked once more for the heads that predict the folds."""

        def score(self, parts: IntArray, strengths: Float64Array) -> list[Array]:
            is_again = all(
                (part, float(one)) in recorder.asked
                for part, one in zip(parts.tolist(), np.log10(strengths).round(6), strict=True)
            )
            return (recorder_again if is_again else recorder).score(parts, strengths)

    found = nested.run(Twice(), task)
    assert sorted(found.main.right) == tried
    assert found.best == peak
    assert len(steps) == grid.n_steps


WEIGHTS = np.full(100, 0.01)


def test_line_is_flat_if_its_neighbours_cannot_be_told_from_it() -> None:
    line = Line(parts=[], rows=np.arange(100), weights=WEIGHTS)
    for exponent, loss in ((-1.0, 0.5), (0.0, 0.5), (1.0, 0.5), (3.0, 9.0)):
        line.right[exponent] = np.ones(100, bool)
        line.losses[exponent] = np.full(100, loss)
    assert line.is_flat(0.0)
    line.losses[1.0] = np.full(100, 0.9)
    assert not line.is_flat(0.0)


def test_temperature_of_all_rows_goes_on_from_those_of_fewer() -> None:
    _, codes = draw()
    folds = build_folds(codes, None, n_folds=5, seed=0)
    grid = Grid(exponents=(-1.0, 0.0), is_open=False, default=-1.0)
    nested = NestedSearch(folds, codes, 3, np.ones(90), grid=grid, update=lambda: None)
    nested.main.temperatures[0.0] = 1.0
    assert nested._extrapolate(0.0) == 1.0  # nothing is known of fewer rows
    for line in nested.lines:
        line.temperatures[0.0] = 0.9
    expected = 0.9 ** -(np.log(5 / 4) / np.log(4 / 3))
    assert nested._extrapolate(0.0) == pytest.approx(expected, rel=1e-3)
    for line in nested.lines:
        line.temperatures[0.0] = 1e-3
    assert nested._extrapolate(0.0) == pytest.approx(np.exp(0.3))  # no step is larger
