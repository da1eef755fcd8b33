"""Nested cross-validation: each fold is predicted by heads that had no part of it in any choice.

A *line* is one search: the main line scores every fold by heads that are fitted on the others, and
chooses the strength of the head that is kept. Each fold has a line of its own as well, which looks
at the other folds alone: it scores them by heads that are fitted without the fold and without the
scored one. A pair of folds that are left out serves two lines. Every line tries strengths on a path
of its own, so that not even the values tried know of its fold.

A line looks only at rows whose class its heads have learnt. The only unit of a class is wrong at
every strength, and would have the search make all heads unsure: of 50 rows of each of two classes
and one row of each of 50 others, C became 1e-6, and a third of new rows were wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from featx.core.typing import Array, BoolArray, Float64Array, IntArray
from featx.heads.calibration import fit_temperature, list_losses
from featx.heads.choosing import BEYOND_DOUBT, LIKELY, SURE, choose_value, is_apart
from featx.heads.learners import Learner, Part, Task
from featx.heads.splits import Folds, leave_pairs_out

FINE_STEP = 0.5
"""Step in powers of ten, tried on both sides of the best value if its neighbours are worse."""

MAX_BEYOND = 2
"""Largest number of values that a line tries beyond the ends of the grid."""

MAX_GROWTH = 0.3
"""Largest step from the logarithm of a temperature to that of a head of one fold more."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Strengths that a search may try, as powers of ten.

    Attributes
    ----------
    exponents : tuple of float
        Exponents to try first, from strong regularisation to weak.
    is_open : bool
        Whether the search goes on beyond the ends, and between the values.
    default : float
        One of the exponents, for a line that has no rows to look at.
    """

    exponents: tuple[float, ...]
    is_open: bool
    default: float

    @property
    def n_steps(self) -> int:
        """Number of steps of a search, for its progress; the last one predicts the folds."""
        return len(self.exponents) + (MAX_BEYOND + 1) * self.is_open + 1


@dataclass(kw_only=True)
class Line:
    """One search: its parts, and what it found of each exponent.

    Attributes
    ----------
    parts : list of (int, ndarray)
        Number of each part to fit, and positions of its scored rows that this line looks at.
    rows : ndarray of int64
        ``(n_scored_rows,)``, rows of the data that the parts score for this line, in order; those
        whose class a part has not learnt are left out.
    weights : ndarray of float64
        ``(n_scored_rows,)``, weight of each row in a score; they sum to 1.
    right : dict of float to ndarray of bool
        Whether each row was predicted correctly, by exponent.
    losses : dict of float to ndarray of float32
        Log loss of each row at the temperature of the exponent.
    temperatures : dict of float to float
        Temperature of the scores of each exponent.
    is_ended : bool
        Whether the values on the grid that remain are not worth a try.
    """

    parts: list[tuple[int, IntArray]]
    rows: IntArray
    weights: Float64Array
    right: dict[float, BoolArray] = field(default_factory=dict)
    losses: dict[float, Array] = field(default_factory=dict)
    temperatures: dict[float, float] = field(default_factory=dict)
    is_ended: bool = False

    def add(self, exponent: float, scores: Array, codes: IntArray) -> None:
        """Keep what the scores of one exponent say of the line's rows."""
        temperature = fit_temperature(scores, codes, self.weights)
        self.right[exponent] = scores.argmax(axis=1) == codes
        self.losses[exponent] = list_losses(scores, codes, temperature).astype(np.float32)
        self.temperatures[exponent] = temperature

    def choose(self) -> float:
        """Choose the best exponent; see `choose_value`."""
        exponents = sorted(self.right)
        right = np.array([self.right[exponent] for exponent in exponents])
        losses = np.array([self.losses[exponent] for exponent in exponents])
        return exponents[choose_value(right, losses, self.weights)]

    def look_ahead(self, exponent: float) -> None:
        """End the line if the last value, or the last two, were worse beyond doubt."""
        tried = sorted(self.right)
        best = min(tried, key=lambda one: float(self.weights @ self.losses[one]))
        most_right = max(float(self.weights @ self.right[one]) for one in tried)

        def is_worse(one: float, n_errors: float) -> bool:
            return is_apart(self.losses[one] - self.losses[best], self.weights, n_errors) and (
                float(self.weights @ self.right[one]) < most_right
            )

        if tried[-1] == exponent and len(tried) > 2:
            is_past = best < tried[-2] and all(is_worse(one, SURE) for one in tried[-2:])
            self.is_ended = is_past or is_worse(exponent, BEYOND_DOUBT)

    def is_flat(self, exponent: float) -> bool:
        """Return whether the values beside an exponent cannot be told from it."""
        beside = [one for one in self.losses if 0 < abs(one - exponent) <= 1]
        return all(
            not is_apart(self.losses[one] - self.losses[exponent], self.weights, LIKELY)
            and not is_apart(
                np.subtract(self.right[exponent], self.right[one], dtype=np.float32),
                self.weights,
                LIKELY,
            )
            for one in beside
        )


@dataclass(frozen=True, kw_only=True)
class Nested:
    """The result of a nested search.

    Attributes
    ----------
    best : float
        Exponent that the main line chose.
    temperature : float
        Temperature of its held-out scores.
    main : Line
        The main line, with all that it tried.
    lines : list of Line
        The line of each fold; empty if there was nothing to choose, not even a temperature.
    chosen : list of float
        Exponent of each fold's line.
    scores : ndarray of float32
        ``(n_rows, n_classes)``, class scores of each row by a head that was fitted without its fold
        and whose strength was chosen without it; NaN for rows that no fold tests.
    temperatures : list of float
        Temperature for the scores of each fold, fitted without the fold.
    """

    best: float
    temperature: float
    main: Line
    lines: list[Line]
    chosen: list[float]
    scores: Array
    temperatures: list[float]


class NestedSearch:
    """Searches the strength of one kind of head on folds, truly nested.

    Parameters
    ----------
    folds : list of (ndarray, ndarray)
        Rows of the training part and of the test part of each fold; three at least.
    codes : ndarray of int64
        ``(n_rows,)``, class codes.
    n_classes : int
        Number of classes.
    row_weights : ndarray of float64
        ``(n_rows,)``, weight of each row in a score.
    grid : Grid
        Strengths to try.
    update : callable
        Function that is called after each of the grid's steps.
    is_calibrated : bool
        Whether a temperature is fitted. If it is not, and there is one strength, no fold needs a
        line of its own.
    """

    def __init__(
        self,
        folds: Folds,
        codes: IntArray,
        n_classes: int,
        row_weights: Float64Array,
        *,
        grid: Grid,
        update: Callable[[], object],
        is_calibrated: bool = True,
    ) -> None:
        self.folds, self.codes, self.n_classes = folds, codes, n_classes
        self.row_weights, self.grid, self.update = row_weights, grid, update
        self.is_calibrated = is_calibrated
        self.parts: list[Part] = list(folds)
        self.main = self._build_line([(number, 0) for number in range(len(folds))])
        has_choice = is_calibrated or len(grid.exponents) > 1
        self.lines = self._build_lines() if has_choice else []

    def _build_lines(self) -> list[Line]:
        """Add a part for each pair of folds, and build the line of each fold."""
        pairs: list[list[tuple[int, int]]] = [[] for _ in self.folds]
        for first, second, part in leave_pairs_out(self.folds):
            number, n_first = len(self.parts), len(self.folds[first][1])
            self.parts.append(part)
            pairs[first].append((number, n_first))  # the other fold's rows come second
            pairs[second].append((number, -n_first))
        return [self._build_line(of) for of in pairs]

    def _build_line(self, parts: list[tuple[int, int]]) -> Line:
        """Build a line of parts, each with where its rows begin: from the start, or up to there."""
        looked = []
        for number, begin in parts:
            train, test = self.parts[number]
            at = np.arange(begin, len(test)) if begin >= 0 else np.arange(-begin)
            is_learnt = np.isin(self.codes[test[at]], self.codes[train])
            looked.append((number, at[is_learnt]))
        rows = np.concatenate([self.parts[number][1][at] for number, at in looked])
        weights = self.row_weights[rows]
        return Line(parts=looked, rows=rows, weights=weights / weights.sum())

    def run(self, learner: Learner, task: Task) -> Nested:
        """Search with a learner that fits this search's parts.

        Parameters
        ----------
        learner : Learner
            Fitter of the parts.
        task : Task
            The learner's task, with `parts` of this search.
        """
        self.learner, self.task = learner, task
        everyone = [self.main, *self.lines]
        for exponent in self.grid.exponents:
            going_on = [line for line in everyone if not line.is_ended]
            self._try([(line, [exponent]) for line in going_on])
            for line in going_on:
                line.look_ahead(exponent)
            self.update()
        if self.grid.is_open:
            for find in (*[self._find_beyond] * MAX_BEYOND, self._find_between):
                self._try([(line, find(line)) for line in everyone])
                self.update()
        found = self._conclude()
        del self.learner, self.task  # they hold copies of the rows
        self.update()
        return found

    def _find_beyond(self, line: Line) -> list[float]:
        """Return the exponent beyond the end of a line's path at which it chose its best value."""
        best, tried = self._choose(line), sorted(line.right)
        if best == tried[0]:
            return [best - 1]
        return [best + 1] if best == tried[-1] else []

    def _choose(self, line: Line) -> float:
        """Return the exponent that a line chose; the default if it had nothing to choose by."""
        return line.choose() if len(line.rows) else self.grid.default

    def _find_between(self, line: Line) -> list[float]:
        best = self._choose(line)
        return [] if line.is_flat(best) else [best - FINE_STEP, best + FINE_STEP]

    def _try(self, wanted: list[tuple[Line, list[float]]]) -> None:
        """Fit the parts of lines with the exponents that each asks for, in ascending order."""
        for turn in range(max((len(exponents) for _, exponents in wanted), default=0)):
            by_part: dict[int, set[float]] = {}
            asked = [(line, exponents[turn]) for line, exponents in wanted if len(exponents) > turn]
            for line, exponent in asked:
                for number, _ in line.parts:
                    by_part.setdefault(number, set()).add(exponent)
            scores: dict[tuple[int, float], Array] = {}
            while by_part:
                fits = [(number, min(exponents)) for number, exponents in by_part.items()]
                scores.update(zip(fits, self._fit(fits), strict=True))
                by_part = {
                    number: exponents - {exponent}
                    for (number, exponent), exponents in zip(fits, by_part.values(), strict=True)
                    if len(exponents) > 1
                }
            for line, exponent in asked:
                found = np.concatenate([scores[number, exponent][at] for number, at in line.parts])
                line.add(exponent, found, self.codes[line.rows])

    def _fit(self, fits: list[tuple[int, float]]) -> list[Array]:
        """Return the scores of parts, each fitted with an exponent."""
        found: list[Array | None] = [None] * len(fits)
        several = []
        for at, (number, _) in enumerate(fits):
            only = self.task.find_only_class(number)
            if only is None:
                several.append(at)
            else:  # nothing to fit: the only class there is, for each row
                scores = np.zeros((len(self.parts[number][1]), self.n_classes), np.float32)
                scores[:, only] = 1
                found[at] = scores
        if several:
            numbers = np.array([fits[at][0] for at in several])
            strengths = np.array([10.0 ** fits[at][1] for at in several])
            for at, scores in zip(several, self.learner.score(numbers, strengths), strict=True):
                found[at] = scores
        return [scores for scores in found if scores is not None]

    def _conclude(self) -> Nested:
        """Predict each fold with the strength and the temperature that its own line chose."""
        best = self._choose(self.main)
        chosen = [self._choose(line) for line in self.lines] or [best] * len(self.folds)
        temperatures = [1.0] * len(self.folds)
        if self.is_calibrated:
            temperatures = [
                line.temperatures[one] for line, one in zip(self.lines, chosen, strict=True)
            ]
        found = self._fit(list(enumerate(chosen)))
        scores = np.full((len(self.codes), self.n_classes), np.nan, np.float32)
        for (_, test), of_fold in zip(self.folds, found, strict=True):
            scores[test] = of_fold
        return Nested(
            best=best,
            temperature=self._find_temperature(best) if self.is_calibrated else 1.0,
            main=self.main,
            lines=self.lines,
            chosen=chosen,
            scores=scores,
            temperatures=temperatures,
        )

    def _extrapolate(self, best: float) -> float:
        """Return how many times larger the temperature of all rows is than that of the folds.

        At one strength, a head of more rows has larger scores. The heads of the main line have lost
        one fold, those of the folds' lines two: the next step is as large on the scale of the
        logarithms of the numbers of rows.
        """
        fewer = [
            line.temperatures[best]
            for line in self.lines
            if best in line.temperatures and len(line.rows)
        ]
        if not fewer:
            return 1.0
        n_folds = len(self.folds)
        n_rows = float(np.mean([len(train) for train, _ in self.folds]))
        n_fewer = float(np.mean([len(train) for train, _ in self.parts[n_folds:]]))
        n_all = n_rows + float(np.mean([len(test) for _, test in self.folds]))
        step = np.log(n_all / n_rows) / np.log(n_rows / n_fewer)
        growth = np.log(self.main.temperatures[best]) - float(np.mean(np.log(fewer)))
        return float(np.exp(np.clip(step * growth, -MAX_GROWTH, MAX_GROWTH)))

    def _find_temperature(self, best: float) -> float:
        """Find the temperature of the head of all rows, by heads of folds as close as that one."""
        larger = self._extrapolate(best)
        if not self.learner.tighten():
            return self.main.temperatures[best] * larger
        found = self._fit([(number, best) for number, _ in self.main.parts])
        scores = [of[at] for of, (_, at) in zip(found, self.main.parts, strict=True)]
        codes, weights = self.codes[self.main.rows], self.main.weights
        return fit_temperature(np.concatenate(scores), codes, weights) * larger
