"""Search the kind and the strength of a head on folds, and say where the search stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from featx.core.progress import open_bar
from featx.core.typing import Array, BoolArray, Float64Array, IntArray
from featx.heads.calibration import compute_probabilities
from featx.heads.class_weights import ClassWeight
from featx.heads.evaluate import ComparedKind
from featx.heads.gains import (
    ALPHA,
    adjust_p_values,
    compute_p_value,
    sum_units,
    widen_p_value,
)
from featx.heads.kinds import HeadKind
from featx.heads.learners import Learner, LinearLearner, Task
from featx.heads.nested import Grid, Line, Nested, NestedSearch
from featx.heads.plain import PlainLearner
from featx.heads.reduced import Components, ReducedLearner
from featx.heads.splits import Folds

NO_FOLD = -1
"""Class code of a row that no fold tested."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """The result of a search on folds.

    Attributes
    ----------
    kind : str
        Kind of the head.
    best : float
        The best strength.
    values : ndarray of float64
        ``(n_values,)``, all strengths tried for the head that is kept, ascending.
    scores : ndarray of float64
        ``(n_values, n_folds)``, the score of each value on each fold; NaN for a fold without rows.
        Rows of a class that the heads of a fold have not learnt count as wrong.
    losses : ndarray of float64
        ``(n_values,)``, mean log loss of each value at its temperature, in nats, without those
        rows: they have no part in any choice.
    temperature : float
        Number that class scores are divided by to make probabilities.
    held_out : ndarray of int64
        ``(n_rows,)``, the class code of each row as predicted by a head that has not seen the row's
        fold, and whose kind and strength were chosen without it; -1 for rows that are in no fold.
    held_out_probabilities : ndarray of float64
        ``(n_rows, n_classes)``, probabilities by the same heads; NaN for rows that are in no fold.
    folds : list of (ndarray, ndarray)
        Rows of the training part and of the test part of each fold.
    compared : tuple of ComparedKind
        The kinds that were compared, the chosen one first; empty if one kind was asked for.
    """

    kind: str
    best: float
    values: Float64Array
    scores: Float64Array
    losses: Float64Array
    temperature: float
    held_out: IntArray
    held_out_probabilities: Float64Array
    folds: Folds
    compared: tuple[ComparedKind, ...] = ()


def weigh_scored(codes: IntArray, class_weight: ClassWeight, folds: Folds) -> Float64Array:
    """Return the weight of each row in the score that a search goes by.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, class codes.
    class_weight : None, "balanced" or dict
        Weights of the classes; if given, the score is the balanced accuracy.
    folds : list of (ndarray, ndarray)
        Rows of the training part and of the test part of each fold: rows that are tested count.
    """
    if class_weight is None:
        return np.ones(len(codes))
    tested = np.concatenate([test for _, test in folds])
    counts = np.bincount(codes[tested], minlength=int(codes.max()) + 1)
    return np.asarray(1 / np.maximum(counts, 1)[codes], np.float64)


def search_kinds(  # noqa: PLR0913
    task: Task,
    folds: Folds,
    *,
    kinds: Sequence[HeadKind],
    units: IntArray | None = None,
    strength: float | None = None,
    near: float | None = None,
    n_components: int | None = None,
    title: str = "",
    progress: bool | None = False,
) -> Search:
    """Search the strength of one kind of head, or the best of several kinds.

    Parameters
    ----------
    task : Task
        Rows to learn; its parts are ignored.
    folds : list of (ndarray, ndarray)
        Rows of the training part and of the test part of each fold.
    kinds : sequence of HeadKind
        Kinds to search, the one that is preferred first.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row, for what chance explains. Default: each row is alone.
    strength : float, optional
        Strength of the only kind. Default: the strength is searched.
    near : float, optional
        Strength of the only kind around which the search begins. Default: the grid of the kind.
    n_components : int, optional
        Number of principal components that the heads read, found on the rows that each is fitted
        on. Default: they read all channels.
    title : str
        First words of the progress, such as ``"dealing 2 of 10: "``.
    progress : bool or None
        Whether to show progress on standard error; None shows bars on a terminal and in a
        notebook, and elsewhere a line now and then.

    Returns
    -------
    Search
        What was chosen, and the held-out predictions.
    """
    found: list[tuple[HeadKind, Nested, NestedSearch]] = []
    weights = weigh_scored(task.codes, task.class_weight, folds)
    components = None if n_components is None else Components(task.coordinates, n_components)
    for kind in kinds:
        grid = build_grid(kind, strength, near)
        exponents = grid.exponents
        name = f"choosing {kind.strength_name}" if len(exponents) > 1 else "scoring folds"
        with open_bar(
            title + (name if len(kinds) == 1 else f"comparing kinds: {kind.name}"),
            grid.n_steps,
            unit="steps",
            show=progress,
        ) as bar:
            nested = NestedSearch(
                folds,
                task.codes,
                task.n_classes,
                weights,
                grid=grid,
                update=bar.update,
                # Probabilities of a logistic regression whose C is given are scikit-learn's own.
                is_calibrated=strength is None or kind.loss != "logistic",
            )
            of_kind = replace(task, parts=nested.parts)
            strengths = [10.0**one for one in exponents]
            result = nested.run(build_learner(kind, of_kind, strengths, components), of_kind)
        found.append((kind, result, nested))
    tested = np.concatenate([test for _, test in folds])
    weights = weights / weights[tested].sum()
    if len(found) == 1:
        kind, nested_found, _ = found[0]
        return _conclude(kind, nested_found, folds, weights, by_fold=[nested_found] * len(folds))
    return _combine(found, folds, weights, codes=task.codes, units=units)


def build_grid(kind: HeadKind, strength: float | None, near: float | None) -> Grid:
    """Build the grid of a search: the kind's, one strength, or the values around one.

    Parameters
    ----------
    kind : HeadKind
        Kind of the heads.
    strength : float or None
        The only strength to score; None to search.
    near : float or None
        Strength around which the search begins; None for all values of the kind.

    Examples
    --------
    >>> from featx.heads.kinds import get_kind
    >>> build_grid(get_kind("logreg"), None, 0.003).exponents
    (-4.0, -3.0, -2.0)
    >>> build_grid(get_kind("lda"), None, 0.5).exponents
    (0.0, -0.5, -1.0)
    """
    if strength is not None:
        exponent = float(np.log10(strength))
        return Grid(exponents=(exponent,), is_open=False, default=exponent)
    centre = float(np.log10(kind.default_strength if near is None else near))
    exponents = kind.grid
    if near is not None and kind.is_open:
        middle = float(round(centre))
        exponents = (middle - 1, middle, middle + 1)
    elif near is not None:
        exponents = tuple(one for one in kind.grid if abs(one - centre) <= 1) or kind.grid
    default = min(exponents, key=lambda one: abs(one - centre))
    return Grid(exponents=exponents, is_open=kind.is_open, default=default)


def build_learner(
    kind: HeadKind, task: Task, strengths: list[float], components: Components | None = None
) -> Learner:
    """Build the learner of a kind.

    Parameters
    ----------
    kind : HeadKind
        Kind of the heads.
    task : Task
        Rows to learn, with the parts that will be fitted.
    strengths : list of float
        Strengths of the grid.
    components : Components, optional
        Principal components that the heads read. Default: all channels.
    """
    if components is not None:
        return ReducedLearner(
            task,
            components,
            lambda part: build_learner(kind, part, strengths),
            is_kept=kind.name != "rbf-svm",
        )
    if kind.loss is not None:
        return LinearLearner(task, kind.loss)
    return PlainLearner(task, kind) if kind.learn is None else kind.learn(task, strengths)


def _conclude(
    kind: HeadKind,
    found: Nested,
    folds: Folds,
    weights: Float64Array,
    *,
    by_fold: Sequence[Nested],
    compared: tuple[ComparedKind, ...] = (),
) -> Search:
    """Put the result together; each fold is predicted as its own choice of a kind says."""
    held_out = np.full(len(weights), NO_FOLD)
    probabilities = np.full(found.scores.shape, np.nan)
    for number, (_, test) in enumerate(folds):
        chosen = by_fold[number]
        shares = compute_probabilities(chosen.scores[test], chosen.temperatures[number])
        probabilities[test], held_out[test] = shares, shares.argmax(axis=1)
    main = found.main
    exponents = sorted(main.right)
    strengths = [kind.round_strength(10.0**one) for one in exponents]
    return Search(
        kind=kind.name,
        best=kind.round_strength(10.0**found.best),
        values=np.array(strengths, np.float64),
        scores=np.array([_score_folds(main, one, folds, weights) for one in exponents]),
        losses=np.array([main.weights @ main.losses[one] for one in exponents], np.float64),
        temperature=found.temperature,
        held_out=held_out,
        held_out_probabilities=probabilities,
        folds=folds,
        compared=compared,
    )


def _score_folds(main: Line, exponent: float, folds: Folds, weights: Float64Array) -> Array:
    """Return the score of one exponent on each fold, ``(n_folds,)``."""
    right = np.zeros(len(weights), bool)
    right[main.rows] = main.right[exponent]
    return np.array([weights[test] @ right[test] / weights[test].sum() for _, test in folds])


def choose_kind(lines: Sequence[tuple[Line, float]], units: IntArray | None = None) -> int:
    """Choose among kinds by what each got right at its best strength.

    The first kind is kept unless another one is better by more than chance explains: its gain has a
    p-value below 0.05, by a test of signs of units.

    Parameters
    ----------
    lines : sequence of (Line, float)
        Line of each kind, on the same rows, and the exponent that it chose.
    units : ndarray of int64, optional
        ``(n_rows,)``, the unit of each row of the data. Default: each row is alone.

    Returns
    -------
    int
        Index of the kind.
    """
    first = lines[0][0]
    right = [line.right[one] for line, one in lines]
    best = int(np.argmax([first.weights @ one for one in right]))
    of_rows = None if units is None else units[first.rows]
    is_better = _compare(right[0], right[best], first.weights, of_rows) < ALPHA
    return best if is_better else 0


def _compare(
    first: BoolArray, second: BoolArray, weights: Float64Array, units: IntArray | None
) -> float:
    """Return the p-value of the difference of two kinds on the same rows."""
    gains = np.subtract(second, first, dtype=np.float64) * weights
    return widen_p_value(compute_p_value(sum_units(gains, units)))


def _combine(
    found: Sequence[tuple[HeadKind, Nested, NestedSearch]],
    folds: Folds,
    weights: Float64Array,
    *,
    codes: IntArray,
    units: IntArray | None,
) -> Search:
    """Choose the kind on all folds, and for each fold on the others alone."""
    chosen = choose_kind([(nested.main, nested.best) for _, nested, _ in found], units)
    by_fold = []
    for number in range(len(folds)):
        lines = [_get_line(nested, number) for _, nested, _ in found]
        by_fold.append(found[choose_kind(lines, units)][1])
    kind, nested, _ = found[chosen]
    # What is printed is nested, and of all rows: the strength of each kind was chosen without the
    # fold.
    tested = np.concatenate([test for _, test in folds])
    scored, of_tested = weights[tested], None if units is None else units[tested]
    right = {of.name: one.scores[tested].argmax(axis=1) == codes[tested] for of, one, _ in found}
    others = [name for name in right if name != kind.name]
    p_values = adjust_p_values(
        [_compare(right[kind.name], right[name], scored, of_tested) for name in others]
    )
    compared = [
        ComparedKind(kind=name, score=min(1.0, float(scored @ right[name])), p_value=p_value)
        for name, p_value in zip([kind.name, *others], [None, *p_values], strict=True)
    ]
    compared[1:] = sorted(compared[1:], key=lambda one: -one.score)
    return _conclude(kind, nested, folds, weights, by_fold=by_fold, compared=tuple(compared))


def _get_line(nested: Nested, number: int) -> tuple[Line, float]:
    """Return what the line of a fold chose, its rows ascending."""
    line, exponent = nested.lines[number], nested.chosen[number]
    order = np.argsort(line.rows, kind="stable")
    right = {exponent: line.right[exponent][order]}
    return Line(parts=[], rows=line.rows[order], weights=line.weights[order], right=right), exponent
