"""How often the intervals of heads for a number and for several classes hold, by simulation.

Run it with ``python benchmarks/target_coverage.py``; 1,000 trials of each line take half an hour
on one core. The held-out scores of `featx fit-head --target` are compared with the scores of the
fitted head on 20,000 new rows of new units. Embeddings have 20 numbers, of which few matter; the
rows of a unit share an offset, of the numbers and of the noise alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
from interval_coverage import DIM, OFFSET, Coverage
from scipy.special import expit
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score

from featx.core.typing import Array, Float64Array, IntArray
from featx.heads.number import fit_number, score_number_folds
from featx.heads.one_vs_rest import fit_several, score_several_folds
from featx.heads.targets import Target

N_FRESH = 20_000
"""Rows that stand for endless ones."""

GAINS = (0.0, 1.0)
"""How much a channel matters: nothing, or as much as the noise."""

CLASSES = ("big", "red", "round")
RARITIES = (0.0, 1.0, 2.0)
"""How rare each class is, in units of the logit."""

NOISES = ("normal", "log-normal")
SIZES = (1, 5)
"""Rows of a unit."""

Scores = list[tuple[str, tuple[float | None, tuple[float, float] | None, float]]]
"""Of each score of a trial its name, and the score, its interval and the truth."""


def draw_rows(rng: np.random.Generator, units: IntArray) -> tuple[Array, Float64Array]:
    """Draw embeddings ``(n_rows, DIM)`` and normal noise ``(n_rows,)``, with offsets of units."""
    drawn = rng.normal(size=(len(units), DIM + 1))
    if units[-1] + 1 < len(units):
        drawn += OFFSET * rng.normal(size=(units[-1] + 1, DIM + 1))[units]
        drawn /= (1 + OFFSET**2) ** 0.5
    return drawn[:, :DIM].astype(np.float32), drawn[:, DIM]


def try_number(rng: np.random.Generator, units: IntArray, *, gain: float, noise: str) -> Scores:
    """Fit a head for a number, and compare its held-out scores with those on new rows."""

    def draw(units: IntArray) -> tuple[Array, Float64Array]:
        X, rest = draw_rows(rng, units)
        return X, gain * X[:, 0] + (rest if noise == "normal" else np.exp(rest))

    X, y = draw(units)
    given = units if units[-1] + 1 < len(units) else None
    fit = fit_number(X, y, given)
    if fit.crossing is None:
        return []
    found = score_number_folds(y, fit.crossing, units=given, scored=np.arange(len(y)))
    X, y = draw(np.arange(N_FRESH))
    predicted = fit.pipeline.predict(X)
    error = mean_absolute_error(y, predicted)
    return [
        (f"R2, {noise} noise", (found.r2, found.r2_ci95, r2_score(y, predicted))),
        (f"mean absolute error, {noise} noise", (found.mae, found.mae_ci95, error)),
    ]


def try_several(rng: np.random.Generator, units: IntArray, *, gain: float) -> Scores:
    """Fit a head for several classes, and compare its held-out score with that on new rows."""

    def draw(units: IntArray) -> tuple[Array, Array]:
        X, rest = draw_rows(rng, units)
        logits = 2 * gain * X[:, : len(CLASSES)] + rest[:, None] - np.array(RARITIES)
        return X, rng.random(logits.shape) < expit(logits)

    X, flags = draw(units)
    given = units if units[-1] + 1 < len(units) else None
    fit = fit_several(X, flags, given)
    if fit.crossing is None:
        return []
    thresholds = tuple(fit.thresholds.tolist())
    target = Target(kind="several", columns=CLASSES, classes=CLASSES, thresholds=thresholds)
    everyone = np.arange(len(X))
    found = score_several_folds(flags, fit.crossing, target, units=given, scored=everyone)
    X, flags = draw(np.arange(N_FRESH))
    truth = average_precision_score(flags, fit.pipeline.predict_proba(X))
    average, ends = found.macro_average_precision, found.macro_average_precision_ci95
    return [("macro average precision", (average, ends, truth))]


def run(n_rows: int, *, size: int, gain: float, n_trials: int) -> Iterator[tuple[str, Coverage]]:
    """Run the trials of one size: yield what was simulated, and what it showed."""
    gathered: dict[str, list[Any]] = {}
    for trial in range(n_trials):
        rng, units = np.random.default_rng(trial), np.arange(n_rows) // size
        found = [one for noise in NOISES for one in try_number(rng, units, gain=gain, noise=noise)]
        for name, values in found + try_several(rng, units, gain=gain):
            if None not in values:
                gathered.setdefault(name, []).append(values)
    for name, trials in gathered.items():
        scores, ends, truths = map(np.array, zip(*trials, strict=True))
        yield name, Coverage(scores=scores, truths=truths, ends=ends)


def main() -> None:
    """Print a line for each simulation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--n", type=int, nargs="+", default=[50, 200, 1000])
    options = parser.parse_args()
    print(f"{'rows':>5} unit gain  {'':40} coverage       bias, points    score  truth  width")
    for n_rows in options.n:
        for size in SIZES:
            for gain in GAINS:
                for name, found in run(n_rows, size=size, gain=gain, n_trials=options.trials):
                    told = f"{n_rows:5d} {size:4d} {gain:4.1f}  {name:40} {found.describe()}"
                    print(told, flush=True)


if __name__ == "__main__":
    main()
