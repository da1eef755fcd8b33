"""Advice from the embeddings alone: whether fine-tuning will pay.

The rule, and the measurement behind it:

1. Heads are fitted on a growing part of the rows, and scored on held-out rows: the learning curve.
2. Fine-tuning removes a share of the errors of the frozen head. `MEASURED` holds that share by the
   number of rows per class, with its range over seeds, on several data sets; between two measured
   numbers of rows it is interpolated over their logarithm. The share times the errors at the end of
   the curve is the expected gain, for the top block and for more blocks. Its range reaches from the
   lowest to the highest share on all data sets that were measured at about so many rows.
3. A gain below `MIN_GAIN` is not worth the time: stay frozen. If the whole range of a gain lies
   above, unfreeze the top block; or more blocks, if they gain `MIN_GAIN` more than the top block.
   Otherwise it is too near to call, and the advice is to stay frozen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from featx.core.errors import BackboneError
from featx.finetune.curve import CurvePoint, draw_curve
from featx.finetune.measured import MEASURED, Measurement, Spread, find_measurements
from featx.fitting.inputs import CacheLike, opened_cache
from featx.heads.splits import check_seed, find_fresh
from featx.heads.units import find_units, spread_over_units

MIN_GAIN = 0.01
"""Smallest gain that is worth the cost: minutes of time, and embeddings tied to one task."""

UNKNOWN = Spread(math.nan, math.nan, math.nan)

MAX_ROWS = 10_000
"""Largest number of rows for the curve; if there are more, this many are drawn at random."""

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
    gain_top, gain_more : Spread
        Expected gain in accuracy over the frozen head, of one block and of half of the blocks,
        with its range; NaN without a curve.
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
    gain_top: Spread
    gain_more: Spread
    reasons: tuple[str, ...]
    measured: tuple[Measurement, ...]

    @property
    def verdict(self) -> str:
        """The advice in one sentence."""
        if math.isnan(self.gain_more.mean):
            return "Cannot tell."
        if not self.unfreeze:
            may_pay = max(self.gain_top.high, self.gain_more.high) >= MIN_GAIN
            return "Too near to call: stay frozen." if may_pay else "Stay frozen."
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
        If the seed is out of its range.
    TuningError
        If there are too few labelled rows for a learning curve.

    See Also
    --------
    fine_tune : Follows the advice with ``unfreeze="auto"``.

    Examples
    --------
    >>> advice = featx.advise("photos.h5")
    >>> advice.verdict
    'Too near to call: stay frozen.'
    >>> [one.data for one in advice.measured]
    ['CIFAR-10', 'digits']
    """
    check_seed(seed)
    with opened_cache(cache) as opened:
        info = opened.get_info(embedding)
        split = "train" if opened.list_splits() else "all"
        rows = opened.select_rows(split, labelled=True, embedding=info.name)
        units = find_units(opened.groups, opened.read_column("digest"))
        learnt = spread_over_units(opened.read_learnt(info.name), units)[rows]
        n_all = len(rows)
        if learnt.any():
            rows = rows[find_fresh(opened.labels[rows], learnt)]
        if n_all and not len(rows):
            return decline(n_all, int(learnt.sum()))
        y = opened.labels[rows]
        units = None if units is None else units[rows]
        n_classes = len(np.unique(y))
        per_class = len(rows) / max(1, n_classes)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:MAX_ROWS])
        X = opened.read_vectors(info.name, rows[chosen])
        subject = f"{opened.path}, split {split}"
    curve = draw_curve(
        X, y[chosen], None if units is None else units[chosen], seed=seed, subject=subject
    )
    choice = choose_blocks(per_class, curve)
    n_blocks = 0 if choice.part == "none" else 1
    if choice.part == "more":
        n_blocks = count_more_blocks(info.fingerprint.backbone)
    reasons = choice.reasons
    if learnt.any():
        told = f"{learnt.sum():,} of {n_all:,} rows were learnt from by the network"
        reasons = (f"{told}, and left out.", *reasons)
    return Advice(
        unfreeze=n_blocks,
        curve=curve,
        gain_top=choice.gain_top,
        gain_more=choice.gain_more,
        reasons=reasons,
        measured=find_measurements(per_class),
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
        Expected gains in accuracy, with their ranges.
    reasons : tuple of str
        Sentences that explain the choice.
    """

    part: Literal["none", "top", "more"]
    gain_top: Spread
    gain_more: Spread
    reasons: tuple[str, ...]


def choose_blocks(
    per_class: float, curve: Sequence[CurvePoint], *, measured: Sequence[Measurement] = MEASURED
) -> BlockChoice:
    """Apply the rule of this module.

    Parameters
    ----------
    per_class : float
        Number of labelled rows per class.
    curve : sequence of CurvePoint
        Points by their number of rows, ascending; at least one.
    measured : sequence of Measurement
        Measured gains of fine-tuning, at least one.

    Returns
    -------
    BlockChoice
        The part of the network to unfreeze, and why.
    """
    last = curve[-1]
    errors = Spread(1 - last.accuracy, 1 - last.accuracy_ci95[1], 1 - last.accuracy_ci95[0])
    near = find_measurements(per_class, measured)
    tops, mores = zip(*(one.interpolate(per_class) for one in near), strict=True)
    gain_top, gain_more = (Spread.join(shares).scale(errors) for shares in (tops, mores))
    reasons = [
        f"The frozen head is wrong for {100 * errors.mean:.1f} % of held-out rows, with "
        f"{per_class:.0f} labelled rows per class."
    ]
    if len(curve) > 1:
        step = last.accuracy - curve[-2].accuracy
        reasons.append(
            f"The last doubling of the rows changed its accuracy by {100 * step:+.1f} points"
            + (
                ": more labels will help too."
                if step >= MIN_GAIN
                else ": more labels will hardly help."
            )
        )
    reasons.append("Share of such errors that fine-tuning removed, with its range over the seeds:")
    reasons += [one.describe(per_class) for one in near]
    reasons.append(
        f"If your data behave like these, expect {_describe_gain(gain_top)} with one block and "
        f"{_describe_gain(gain_more)} with half of the blocks."
    )
    part: Literal["none", "top", "more"] = "none"
    if gain_more.low >= MIN_GAIN and (
        gain_top.low < MIN_GAIN or gain_more.mean >= MIN_GAIN + gain_top.mean
    ):
        part = "more"
    elif gain_top.low >= MIN_GAIN:
        part = "top"
    return BlockChoice(part=part, gain_top=gain_top, gain_more=gain_more, reasons=tuple(reasons))


def _describe_gain(gain: Spread) -> str:
    mean, low, high = (f"{100 * value:+.1f}" for value in (gain.mean, gain.low, gain.high))
    return f"{mean} points ({low} to {high})"


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
