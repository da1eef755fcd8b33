"""Compare each two heads of a report on the same rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from featx.core.typing import Measure
from featx.heads.compare import PairedScores, compare_predictions
from featx.heads.gains import ALPHA, adjust_p_values
from featx.report.collect_heads import ScoredHead
from featx.report.contents import HeadPair


def pair_heads(heads: Sequence[ScoredHead], *, seed: int = 0) -> list[HeadPair]:
    """Compare each two heads on the rows that neither has learnt from.

    A head that predicts its rows itself is not compared with one whose rows were predicted in
    folds, by other heads: `list_not_paired` lists such pairs.

    Parameters
    ----------
    heads : sequence of ScoredHead
        The heads.
    seed : int
        Seed of the bootstrap.
    """
    found: list[tuple[ScoredHead, ScoredHead, PairedScores]] = []
    for first, second in itertools.combinations(heads, 2):
        if first.scored is None or second.scored is None or _is_mixed(first, second):
            continue
        _, a, b = np.intersect1d(first.scored.rows, second.scored.rows, return_indices=True)
        if len(a):
            weighs = "balanced_accuracy" in (first.head.measure, second.head.measure)
            measure: Measure = "balanced_accuracy" if weighs else "accuracy"
            one, other = first.scored.select(a), second.scored.select(b)
            scores = compare_predictions(
                one.y,
                one.predicted,
                other.predicted,
                measure=measure,
                units=one.units,
                n_folds=one.n_folds,
                seed=seed,
            )
            found.append((first, second, scores))
    p_values = adjust_p_values([scores.p_value for _, _, scores in found])
    return [
        HeadPair(
            first=first.name,
            second=second.name,
            scores=scores,
            verdict=describe_pair(first.name, second.name, scores, p_value, n_pairs=len(found)),
        )
        for (first, second, scores), p_value in zip(found, p_values, strict=True)
    ]


def _is_mixed(first: ScoredHead, second: ScoredHead) -> bool:
    """Tell whether the rows of one head were predicted in folds, and those of the other not."""
    n_folds = [one.scored is not None and one.scored.n_folds for one in (first, second)]
    return bool(n_folds[0]) != bool(n_folds[1])


def list_not_paired(heads: Sequence[ScoredHead]) -> list[str]:
    """List the pairs that cannot be compared, with the reason.

    Parameters
    ----------
    heads : sequence of ScoredHead
        The heads.
    """
    return [
        f"{first.name} and {second.name} are not compared: one of them has learnt from all rows, "
        "which are predicted in folds by other heads."
        for first, second in itertools.combinations(heads, 2)
        if first.scored is not None and second.scored is not None and _is_mixed(first, second)
    ]


def describe_pair(
    first: str, second: str, scores: PairedScores, p_value: float, *, n_pairs: int = 1
) -> str:
    """Say which of two heads is better, or that it cannot be told.

    Parameters
    ----------
    first, second : str
        Names of the heads.
    scores : PairedScores
        The comparison.
    p_value : float
        p-value of the gain, corrected for the number of pairs.
    n_pairs : int
        Number of pairs that are compared.

    Examples
    --------
    >>> y = np.array(["ants"] * 20)
    >>> scores = compare_predictions(y, np.array(["bees"] * 20), y)
    >>> describe_pair("a", "b", scores, scores.p_value)
    'b is better than a: +100.0 points of accuracy (95 % interval +100.0 to +100.0, p = 1.9e-06).'
    """
    corrected = f", corrected for {n_pairs} pairs" if n_pairs > 1 else ""
    gain, (low, high), (best, other) = scores.gain, scores.gain_ci95, (second, first)
    is_sure = p_value < ALPHA and (low > 0 or high < 0)
    if is_sure and high < 0:
        gain, (low, high), (best, other) = -gain, (-high, -low), (first, second)
    told = (
        f"{100 * gain:+.1f} points of {scores.measure.replace('_', ' ')} (95 % interval "
        f"{100 * low:+.1f} to {100 * high:+.1f}, p = {p_value:.2g}{corrected})"
    )
    if is_sure:
        return f"{best} is better than {other}: {told}."
    return f"Cannot tell {second} from {first}: {told}."
