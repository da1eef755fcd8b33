"""What the last labels gained, and whether to go on: the rule for when to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.core.text import count_noun
from featx.core.typing import LabellingAdvice
from featx.heads.compare import PairedScores
from featx.heads.intervals import estimate_gain_interval

SMALL_GAIN = 0.02
"""Gain of the last labels that is not worth as many more: two of 100 images."""


@dataclass(frozen=True, kw_only=True)
class LabellingGain:
    """How much better a head became by the last labels.

    Attributes
    ----------
    n_more : int
        Number of labels that the later head learnt from and the earlier one did not.
    scores : PairedScores
        Scores of both heads on the same held-out rows; the later head is the second one.

    See Also
    --------
    featx.suggest : Compares the head with an earlier one if it is given.
    """

    n_more: int
    scores: PairedScores

    @property
    def gain_ci95(self) -> tuple[float, float]:
        """95 % interval of the gain, as wide as few rows that differ ask for.

        The bootstrap of `featx.PairedScores` has no width if both heads predict the same; so this
        reaches at least as far as the interval of Agresti and Min (2005), which has.
        """
        scores, (low, high) = self.scores, self.scores.gain_ci95
        n_better, n_worse = scores.n_only_second, scores.n_only_first
        counts = [n_better, n_worse, scores.n_rows - n_better - n_worse]
        least, most = estimate_gain_interval(np.repeat([1, -1, 0], counts))
        return min(low, least), max(high, most)

    @property
    def next_step(self) -> LabellingAdvice:
        """Whether to label more: ``"go on"``, ``"stop"`` or ``"cannot tell"``."""
        interval = self.gain_ci95
        return advise_labelling(interval, is_better=self.scores.is_better and interval[0] > 0)

    @property
    def verdict(self) -> str:
        """The next step with its reason, in words."""
        low, high = self.gain_ci95
        what = f"the last {count_noun(self.n_more, 'label')} changed the "
        what += f"{self.scores.measure.replace('_', ' ')} by {self.scores.gain:+.3f} "
        what += f"({low:+.3f} to {high:+.3f}, {count_noun(self.scores.n_rows, 'row')})"
        if self.next_step == "go on":
            return f"go on: {what}"
        if self.next_step == "stop":
            return f"stop: {what}, by less than {SMALL_GAIN:g}"
        return (
            f"cannot tell: {what}; go on, or score on about {self.count_needed():,} random rows to "
            f"tell a change of {SMALL_GAIN:g}"
        )

    def count_needed(self) -> int:
        """Count the held-out rows at which an interval is as narrow as the gain that is small."""
        low, high = self.gain_ci95
        return math.ceil(self.scores.n_rows * max(1.0, ((high - low) / 2 / SMALL_GAIN) ** 2))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, `next_step` and `verdict` as plain values, for JSON."""
        scores = self.scores.to_dict()
        return {
            "n_more": self.n_more,
            "next_step": self.next_step,
            "verdict": self.verdict,
            "gain_ci95": list(self.gain_ci95),
            "scores": scores,
        }


def advise_labelling(interval: tuple[float, float], *, is_better: bool) -> LabellingAdvice:
    """Decide whether to label more, by the gain of the last labels.

    Parameters
    ----------
    interval : tuple of float
        Ends of the 95 % interval of the gain.
    is_better : bool
        Whether the later head is better by more than chance explains.

    Returns
    -------
    {"go on", "stop", "cannot tell"}
        Stop only if even the upper end is a small gain.

    Examples
    --------
    >>> advise_labelling((-0.01, 0.015), is_better=False)
    'stop'
    >>> advise_labelling((-0.01, 0.03), is_better=False)
    'cannot tell'
    >>> advise_labelling((0.01, 0.03), is_better=True)
    'go on'
    """
    if interval[1] < SMALL_GAIN:
        return "stop"
    return "go on" if is_better else "cannot tell"
