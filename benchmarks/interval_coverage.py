"""How often the intervals of scores hold the truth, by simulation.

Run it with ``python benchmarks/interval_coverage.py``; a thousand trials of every line take three
hours on one core, ``--trials 100`` twenty minutes. Classes are two normal clouds in 20 dimensions,
so that the true accuracy of a head is known exactly; the rows of a unit share an offset.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from featx import HeadClassifier
from featx.core.typing import Array, Count, Float64Array, IntArray
from featx.fitting.fit import summarise_search
from featx.heads.intervals import estimate_balanced_interval, estimate_interval

DIM = 20
OFFSET = 0.7
"""Standard deviation of what the rows of a unit share, in that of what they do not share."""

GAPS = (0.0, 1.5, 3.0)
"""Distances of the means of the classes; 0 stands for random labels."""

SIZES = (5, 10, 20)
"""Rows of a unit."""

ACCURACY, CORRELATION = 0.85, 0.5
"""Accuracy of a head that is given, and how alike the rows of a unit are in being right."""

N_REPEATS = 5

FEW = (1, 2, 5, 20)
"""Rows of a class, where there are many classes."""

PARTS = ("evaluate", "balanced", "held-out", "imbalance", "units", "copies", "chance", "repeats")


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What trials of one kind have shown.

    Attributes
    ----------
    scores, truths : ndarray of float64
        ``(n_trials,)``, scores and true accuracies.
    ends : ndarray of float64
        ``(n_trials, 2)``, ends of the intervals.
    """

    scores: Float64Array
    truths: Float64Array
    ends: Float64Array

    @property
    def share(self) -> float:
        """Share of the intervals that hold the truth."""
        return float(np.mean((self.ends[:, 0] <= self.truths) & (self.truths <= self.ends[:, 1])))

    @property
    def bias(self) -> float:
        """Mean of the score less the truth."""
        return float(np.mean(self.scores - self.truths))

    def describe(self) -> str:
        """Return one line of figures, each with its standard error."""
        if not len(self.scores):
            return "no score"
        root = len(self.scores) ** 0.5
        share_error = (self.share * (1 - self.share)) ** 0.5 / root
        bias_error = float(np.std(self.scores - self.truths)) / root
        return (
            f"{self.share:.3f} ± {share_error:.3f}"
            f"  {100 * self.bias:+6.2f} ± {100 * bias_error:.2f}"
            f"  {self.scores.mean():.3f}  {self.truths.mean():.3f}"
            f"  {np.mean(self.ends[:, 1] - self.ends[:, 0]):.3f}"
        )


def simulate_given(n_rows: int, *, size: int, n_trials: int) -> Coverage:
    """Score new rows by a head that was given: it is right in `ACCURACY` of them.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    size : int
        Rows of a unit; units are easy or hard if it is above 1.
    n_trials : int
        Number of trials.
    """
    scores, ends = [], []
    units = np.arange(n_rows) // size
    spread = 1 / CORRELATION - 1
    for trial in range(n_trials):
        rng = np.random.default_rng(trial)
        shares = rng.beta(ACCURACY * spread, (1 - ACCURACY) * spread, units[-1] + 1)
        right = rng.random(n_rows) < (shares[units] if size > 1 else ACCURACY)
        scores.append(right.mean())
        ends.append(estimate_interval(right, units if size > 1 else None))
    return Coverage(
        scores=np.array(scores), truths=np.full(n_trials, ACCURACY), ends=np.array(ends)
    )


def simulate_balanced(counts: IntArray, *, n_trials: int) -> Coverage:
    """Score new rows by the mean recall of a head that is right in `ACCURACY` of each class.

    Parameters
    ----------
    counts : ndarray of int64
        ``(n_classes,)``, rows of each class.
    n_trials : int
        Number of trials.
    """
    scores, ends = [], []
    codes = np.repeat(np.arange(len(counts)), counts)
    for trial in range(n_trials):
        right = np.random.default_rng(trial).random(len(codes)) < ACCURACY
        scores.append((np.bincount(codes, right) / counts).mean())
        ends.append(estimate_balanced_interval(right, codes))
    return Coverage(
        scores=np.array(scores), truths=np.full(n_trials, ACCURACY), ends=np.array(ends)
    )


def simulate_held_out(  # noqa: PLR0913
    n_rows: int,
    *,
    gap: float,
    size: int = 1,
    minority: float = 0.5,
    drawn: bool = False,
    mixed: bool = False,
    copies: int = 1,
    cv: Count = "auto",
    repeats: int = 1,
    n_trials: int,
) -> Coverage:
    """Fit heads, and compare their held-out scores with their own true accuracies.

    Trials without a held-out score, of rows in too few units or of one class, are left out.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    gap : float
        Distance of the means of the classes.
    size : int
        Rows of a unit.
    minority : float
        Share of the second class.
    drawn : bool
        True for classes that are drawn by their shares, as in a sample: a head that always says one
        class is then as right as chance has it. False for so many units of each class.
    mixed : bool
        True for units that hold both classes, False for units of one class each.
    copies : int
        How many times each row is there; copies are one unit.
    cv : int or "auto"
        Number of folds.
    repeats : int
        Number of dealings of the folds; if several, their mean score is simulated.
    n_trials : int
        Number of trials.
    """
    scores, truths, ends = [], [], []
    units = np.arange(n_rows) // size
    for trial in range(n_trials):
        rng = np.random.default_rng(trial)
        codes = _draw_codes(rng, n_rows if mixed else units[-1] + 1, minority, drawn=drawn)
        codes = codes if mixed else codes[units]
        if codes.min() == codes.max():
            continue
        X = rng.normal(size=(n_rows, DIM))
        if size > 1:
            X += OFFSET * rng.normal(size=(units[-1] + 1, DIM))[units]
        X[:, 0] += gap * (codes - 0.5)
        rows = np.repeat(np.arange(n_rows), copies)
        given = units[rows] if max(size, copies) > 1 else None
        labels = np.array(["ant", "bee"], object)[codes[rows]]
        head = HeadClassifier(cv=cv, repeats=repeats).fit(X[rows], labels, groups=given)
        found = summarise_search(head, labels, given)
        if found is None:
            continue
        held_out = found.repeated or found.scores
        scores.append(held_out.accuracy)
        ends.append(held_out.accuracy_ci95)
        truths.append(_compute_truth(head, gap, minority, 1 + OFFSET**2 * (size > 1)))
    return Coverage(scores=np.array(scores), truths=np.array(truths), ends=np.array(ends))


def _draw_codes(rng: np.random.Generator, n: int, minority: float, *, drawn: bool) -> IntArray:
    """Draw class codes: by their shares, or so many of each class."""
    if drawn:
        return (rng.random(n) < minority).astype(np.int64)
    return rng.permutation((np.arange(n) < round(n * minority)).astype(np.int64))


def _compute_truth(head: HeadClassifier, gap: float, minority: float, variance: float) -> float:
    """Compute the accuracy of a linear head on new rows of new units."""
    probes: Array = np.vstack([np.zeros(DIM), np.eye(DIM)]).astype(np.float32)
    values = head.decision_function(probes).astype(np.float64)
    weights = values[1:] - values[0]
    deviation = max(float(np.linalg.norm(weights)) * variance**0.5, 1e-12)
    shift = weights[0] * gap / 2
    of_first, of_second = ndtr(np.array([shift - values[0], shift + values[0]]) / deviation)
    return float((1 - minority) * of_first + minority * of_second)


def run_part(part: str, n_rows: int, n_trials: int) -> Iterator[tuple[str, Coverage]]:
    """Run the trials of one part.

    Parameters
    ----------
    part : str
        One of `PARTS`.
    n_rows : int
        Number of rows.
    n_trials : int
        Number of trials of each line.

    Yields
    ------
    tuple of str and Coverage
        What was simulated, and what it showed.
    """
    if part == "evaluate":
        for size in (1, *SIZES):
            yield f"units of {size}", simulate_given(n_rows, size=size, n_trials=n_trials)
    elif part == "balanced":
        for few in FEW:
            counts = np.full(n_rows // few, few)
            yield f"classes of {few}", simulate_balanced(counts, n_trials=n_trials)
        counts = np.unique(np.geomspace(1, n_rows / 2, 10).astype(np.int64))
        told = f"classes of 1 to {counts[-1]}"
        yield told, simulate_balanced(counts, n_trials=n_trials)
    elif part in ("held-out", "imbalance"):
        minority, drawn = (0.1, True) if part == "imbalance" else (0.5, False)
        for gap in GAPS:
            found = simulate_held_out(
                n_rows, gap=gap, minority=minority, drawn=drawn, n_trials=n_trials
            )
            yield f"distance {gap}", found
    elif part == "units":
        for size in SIZES:
            for gap in GAPS:
                found = simulate_held_out(n_rows, gap=gap, size=size, n_trials=n_trials)
                yield f"distance {gap}, units of {size}", found
    elif part == "copies":
        found = simulate_held_out(n_rows // 2, gap=0, copies=2, n_trials=n_trials)
        yield "random labels, every row twice", found
    elif part == "repeats":
        for size in (1, SIZES[0]):
            for gap in GAPS[:2]:
                for repeats in (1, N_REPEATS):
                    found = simulate_held_out(
                        n_rows, gap=gap, size=size, cv=5, repeats=repeats, n_trials=n_trials
                    )
                    yield f"distance {gap}, units of {size}, {repeats} dealings", found
    else:
        for size in SIZES:
            found = simulate_held_out(n_rows, gap=0, size=size, mixed=True, n_trials=n_trials)
            yield f"random labels by row, units of {size}", found


def main() -> None:
    """Print a line for each simulation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--n", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--what", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    print(f"{'part':9} {'rows':>5}  {'':40} coverage       bias, points    score  truth  width")
    for part in options.what:
        for n_rows in options.n:
            for words, found in run_part(part, n_rows, options.trials):
                print(f"{part:9} {n_rows:5d}  {words:40} {found.describe()}", flush=True)


if __name__ == "__main__":
    main()
