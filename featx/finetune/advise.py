"""Advice from the embeddings alone: whether fine-tuning will pay.

The rule, and the measurement behind it:

1. Heads are fitted on a growing part of the rows of each fold, and every row is scored by heads
   that have not seen it: the learning curve, each point with its interval.
2. If neither the accuracy can be told from that of always saying the most frequent class nor the
   balanced accuracy from chance, and one of them ends nearer to chance than to a perfect head, the
   head has learnt nothing: look at the labels first. If the accuracy is not clearly above that of
   the most frequent class, nothing is promised.
3. Fine-tuning removes a share of the errors of the frozen head. `MEASURED` holds that share by the
   number of rows per class, with its range over seeds, on several data sets; between two measured
   numbers of rows it is interpolated over their logarithm. The share times the errors at the end of
   the curve is the gain if the data behave alike, for the top block and for more blocks. Its range
   reaches from the lowest share and the fewest errors to the highest share and the most errors.
4. A gain below `MIN_GAIN` is not worth the time. If both ends of the range lie below, stay frozen;
   if both lie above, unfreeze the top block; or more blocks, if at both ends they gain `MIN_GAIN`
   more than the top block. Otherwise nobody can tell, and the advice is to stay frozen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from featx.core.errors import BackboneError
from featx.core.text import join_some
from featx.finetune.measured import MEASURED, Measurement, Spread, find_measurements
from featx.fitting.curve_rows import read_curve_rows
from featx.fitting.inputs import N_SHOWN, CacheLike, opened_cache
from featx.fitting.learning_curve import CurvePoint, LearningCurve, draw_curve

MIN_GAIN = 0.01
"""Smallest gain that is worth the cost: minutes of time, and embeddings tied to one task."""

UNKNOWN = Spread(math.nan, math.nan, math.nan)

SHARE_OF_BLOCKS = 0.5
"""Share of all blocks of a network that "more blocks" stands for."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The advice whether to fine-tune, with its reasons.

    Attributes
    ----------
    unfreeze : int
        Number of blocks to unfreeze, counted from the classifier; 0 to stay frozen.
    curve : tuple of CurvePoint
        Held-out accuracy of heads, by the number of rows that they were fitted on; empty if the
        network has learnt from too many rows.
    majority_accuracy : float or None
        Share of the rows that are of the most frequent class: the accuracy of a head that always
        says this class. None without a curve.
    is_chance : bool
        Whether the last accuracy of the curve cannot be told from chance, and lies nearer to it
        than to a perfect head: the head has learnt nothing.
    gain_top, gain_more : Spread
        Gain in accuracy over the frozen head if the data behave as those that were measured, of one
        block and of half of the blocks, with its range; NaN without a curve, or if its last
        accuracy is not clearly above that of the most frequent class.
    reasons : tuple of str
        Sentences that explain the advice, and say what it was measured on.
    measured : tuple of Measurement
        Measurements at about so many rows per class, which the advice rests on.

    See Also
    --------
    advise : Gives the advice.
    """

    unfreeze: int
    curve: tuple[CurvePoint, ...]
    majority_accuracy: float | None
    is_chance: bool
    gain_top: Spread
    gain_more: Spread
    reasons: tuple[str, ...]
    measured: tuple[Measurement, ...]

    @property
    def verdict(self) -> str:
        """The advice in one sentence."""
        if self.is_chance:
            return "Look at the labels first."
        if math.isnan(self.gain_more.mean):
            return "Cannot tell."
        if not self.unfreeze:
            may_pay = max(self.gain_top.high, self.gain_more.high) >= MIN_GAIN
            return "Cannot tell whether it pays: stay frozen." if may_pay else "Stay frozen."
        blocks = "block" if self.unfreeze == 1 else f"{self.unfreeze} blocks"
        return f"Unfreeze the top {blocks}."

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the verdict as plain values, for JSON."""
        return asdict(self) | {"verdict": self.verdict}


def advise(cache: CacheLike, *, embedding: str | None = None, seed: int = 0) -> Advice:
    """Advise whether fine-tuning will pay, and how many blocks to unfreeze.

    The advice reads the embeddings alone; no network is run.

    Parameters
    ----------
    cache : path, sequence of paths or Cache
        Cache with labels, or several caches as `featx.open_cache` takes them. If there are splits,
        only the rows of the split ``train`` are read.
    embedding : str, optional
        Name of the embedding, if the cache has several.
    seed : int
        Seed of the rows that are drawn for the learning curve.

    Returns
    -------
    Advice
        The number of blocks to unfreeze, the expected gains and the reasons.

    Raises
    ------
    CacheError
        If the cache cannot be read, or has no such embedding.
    HeadError
        If the seed is out of its range, or there are too few labelled rows for a learning curve.

    See Also
    --------
    fine_tune : Follows the advice with ``unfreeze="auto"``.

    Examples
    --------
    >>> advice = featx.advise("photos.h5")
    >>> advice.verdict, advice.is_chance, advice.majority_accuracy
    ('Cannot tell.', False, 0.5)
    """
    with opened_cache(cache) as opened:
        rows = read_curve_rows(opened, embedding=embedding, seed=seed)
    if rows.are_learnt:
        return decline(rows.n_labelled, rows.n_learnt)
    n_classes = len(rows.classes)
    per_class = rows.n_fresh / max(1, n_classes)
    curve = draw_curve(rows.X, rows.y, rows.units, seed=seed, subject=rows.subject)
    choice = choose_blocks(per_class, curve)
    n_blocks = 0 if choice.part == "none" else 1
    if choice.part == "more":
        n_blocks = count_more_blocks(rows.info.fingerprint.backbone)
    reasons = choice.reasons
    if rows.single:
        told = f"{len(rows.single)} of {n_classes} classes cannot be held out, and count as wrong"
        reasons = (f"{told}: all rows of {join_some(rows.single, N_SHOWN)} are one unit.", *reasons)
    if rows.n_learnt:
        told = f"{rows.n_learnt:,} of {rows.n_labelled:,} rows were learnt from by the network"
        reasons = (f"{told}, and left out.", *reasons)
    return Advice(
        unfreeze=n_blocks,
        curve=curve.points,
        majority_accuracy=curve.majority_accuracy,
        is_chance=curve.is_chance,
        gain_top=choice.gain_top,
        gain_more=choice.gain_more,
        reasons=reasons,
        measured=find_measurements(per_class) if curve.is_sure else (),
    )


def decline(n_rows: int, n_learnt: int) -> Advice:
    """Give no advice, because the network has learnt from the rows that a curve would be drawn of.

    Parameters
    ----------
    n_rows : int
        Number of labelled rows.
    n_learnt : int
        Number of the rows that the network has learnt from.
    """
    reason = (
        f"{n_learnt:,} of {n_rows:,} rows were learnt from by the network: a curve of them says "
        "nothing of new images, and the others are too few for one."
    )
    return Advice(
        unfreeze=0,
        curve=(),
        majority_accuracy=None,
        is_chance=False,
        gain_top=UNKNOWN,
        gain_more=UNKNOWN,
        reasons=(reason,),
        measured=(),
    )


@dataclass(frozen=True, kw_only=True)
class BlockChoice:
    """The result of the rule.

    Attributes
    ----------
    part : {"none", "top", "more"}
        Part of the network to unfreeze: none, the top block, or half of the blocks.
    gain_top, gain_more : Spread
        Gains in accuracy with their ranges; NaN if nothing can be promised.
    reasons : tuple of str
        Sentences that explain the choice.
    """

    part: Literal["none", "top", "more"]
    gain_top: Spread
    gain_more: Spread
    reasons: tuple[str, ...]


def choose_blocks(
    per_class: float, curve: LearningCurve, *, measured: Sequence[Measurement] = MEASURED
) -> BlockChoice:
    """Apply the rule of this module.

    Parameters
    ----------
    per_class : float
        Number of labelled rows per class.
    curve : LearningCurve
        The learning curve.
    measured : sequence of Measurement
        Measured gains of fine-tuning, at least one.

    Returns
    -------
    BlockChoice
        The part of the network to unfreeze, and why.
    """
    if not curve.is_sure:
        return BlockChoice(
            part="none", gain_top=UNKNOWN, gain_more=UNKNOWN, reasons=_describe_chance(curve)
        )
    last = curve.points[-1]
    errors = Spread(1 - last.accuracy, 1 - last.accuracy_ci95[1], 1 - last.accuracy_ci95[0])
    near = find_measurements(per_class, measured)
    shares = zip(*(one.interpolate(per_class) for one in near), strict=True)
    top, more = map(Spread.join, shares)
    gain_top, gain_more = top.scale(errors), more.scale(errors)
    reasons = [
        f"The frozen head is wrong for {_describe_percent(errors)} of held-out rows, with "
        f"{per_class:.0f} labelled rows per class.",
        *describe_step(last),
        "Share of such errors that fine-tuning removed, with its range over the seeds:",
        *(one.describe(per_class) for one in near),
        f"If your data behave like these, one block brings {_describe_gain(gain_top)}, and half "
        f"of the blocks {_describe_gain(gain_more)}.",
    ]
    part: Literal["none", "top", "more"] = "none"
    if gain_more.low >= MIN_GAIN and (
        gain_top.low < MIN_GAIN or (more.low - top.high) * errors.low >= MIN_GAIN
    ):
        part = "more"
    elif gain_top.low >= MIN_GAIN:
        part = "top"
    return BlockChoice(part=part, gain_top=gain_top, gain_more=gain_more, reasons=tuple(reasons))


def _describe_chance(curve: LearningCurve) -> tuple[str, ...]:
    """Say that the head is not more often right than one that always says the same."""
    last = curve.points[-1]
    low, high = last.accuracy_ci95
    told = (
        f"The frozen head is right for {100 * last.accuracy:.1f} % of held-out rows "
        f"({100 * low:.1f} to {100 * high:.1f} %), and a head that always says the most frequent "
        f"class for {100 * curve.majority_accuracy:.1f} %."
    )
    if curve.is_chance:
        return (
            told,
            "The head has learnt nothing that can be told from chance: look at the labels first, "
            "whether they are those of the images.",
        )
    more = "add images of other groups" if curve.n_single_classes else "label more rows"
    return (
        told,
        "That is too near to build on, so that nobody can tell what fine-tuning would bring: "
        f"{more}, or look at the labels.",
    )


def describe_step(last: CurvePoint) -> list[str]:
    """Say what the last doubling of the rows changed, and what its interval bears out.

    Parameters
    ----------
    last : CurvePoint
        Last point of a learning curve.

    Returns
    -------
    list of str
        One sentence; none for a curve of one point.
    """
    if last.step is None or last.step_ci95 is None:
        return []
    low, high = last.step_ci95
    if high < MIN_GAIN:
        verdict = "more labels will hardly help"
    elif low > 0:
        verdict = "more labels should help too"
    else:
        verdict = "cannot tell whether more labels would help"
    step = _describe_points(Spread(last.step, low, high))
    return [f"The last doubling of the rows changed its accuracy by {step}: {verdict}."]


def _describe_percent(share: Spread) -> str:
    mean, low, high = (f"{100 * value:.1f}" for value in (share.mean, share.low, share.high))
    return f"{mean} % ({low} to {high} %)"


def _describe_points(gain: Spread) -> str:
    mean, low, high = (f"{100 * value:+.1f}" for value in (gain.mean, gain.low, gain.high))
    return f"{mean} points ({low} to {high})"


def _describe_gain(gain: Spread) -> str:
    """Name a gain if it is one at both ends, else the ends alone."""
    if gain.low >= MIN_GAIN:
        return _describe_points(gain)
    if gain.high < MIN_GAIN:
        return f"less than {100 * MIN_GAIN:.0f} point"
    return f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f} points, so that nobody can tell"


def count_more_blocks(backbone: str) -> int:
    """Count half of the blocks of a backbone: at least two, if it has two.

    The advice is about embeddings: it does not need the network, which may be one of the user that
    this process does not know. Then, two stand for more than one.
    """
    # torch takes a second to load, and most advice is to stay frozen.
    from featx.backbones.blocks import list_blocks_of
    from featx.backbones.registry import get_backbone_spec

    try:
        n_blocks = len(list_blocks_of(get_backbone_spec(backbone)))
    except BackboneError:
        return 2
    return min(n_blocks, max(2, int(SHARE_OF_BLOCKS * n_blocks)))
