"""Advice from the embeddings alone: whether fine-tuning will pay.

The rule, and the measurement behind it:

1. Heads are fitted on a growing part of the rows, and scored on held-out rows: the learning curve.
2. Fine-tuning removes a share of the errors of the frozen head. `MEASURED` holds that share by the
   number of rows per class, for one backbone on one data set; between the measured numbers it is
   interpolated over their logarithm. The share times the errors at the end of the curve is the
   expected gain, for the top block and for more blocks.
3. A gain below `MIN_GAIN` is not worth the time: stay frozen. Otherwise unfreeze the top block; or
   more blocks, if they gain `MIN_GAIN` more than the top block, or if they alone gain that much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from featx.cache.reader import Cache
from featx.core.errors import BackboneError
from featx.core.typing import PathLike
from featx.finetune.curve import CurvePoint, draw_curve
from featx.fitting.inputs import opened_cache
from featx.heads.splits import check_seed, fill_groups, find_fresh, spread_over_groups

MIN_GAIN = 0.01
"""Smallest gain that is worth the cost: minutes of time, and embeddings tied to one task."""

MAX_ROWS = 10_000
"""Largest number of rows for the curve; if there are more, this many are drawn at random."""

SHARE_OF_BLOCKS = 0.25
"""Share of all blocks of a network that "more blocks" stands for."""


@dataclass(frozen=True)
class MeasuredGain:
    """The gain of fine-tuning at one number of rows per class.

    Attributes
    ----------
    rows_per_class : float
        Number of training rows per class.
    top, more : float
        Share of the errors of the frozen head that the top block, and a quarter of the blocks,
        removed.
    """

    rows_per_class: float
    top: float
    more: float


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The gains of fine-tuning, and what they were measured on.

    `pipelines/fine_tune_cifar.py` measures them.

    Attributes
    ----------
    backbone : str
        Name of the backbone, with ImageNet weights.
    data : str
        Name of the data set.
    size : int
        Pixels per side of an image as the network sees it.
    n_test : int
        Number of test images.
    gains : tuple of MeasuredGain
        Gains by rows per class, ascending.
    """

    backbone: str
    data: str
    size: int
    n_test: int
    gains: tuple[MeasuredGain, ...]

    def interpolate(self, per_class: float) -> tuple[float, float]:
        """Interpolate the gains over the logarithm of the number of rows per class.

        Parameters
        ----------
        per_class : float
            Number of rows per class. Outside the measured range, the nearest measured number is
            used.

        Returns
        -------
        top, more : float
            Share of the errors that the top block, and a quarter of the blocks, remove.
        """
        logs = [math.log(gain.rows_per_class) for gain in self.gains]
        at = math.log(max(per_class, 1))
        top = np.interp(at, logs, [gain.top for gain in self.gains])
        more = np.interp(at, logs, [gain.more for gain in self.gains])
        return float(top), float(more)


MEASURED = Measurement(
    backbone="mobilenet_v2",
    data="CIFAR-10",
    size=96,
    n_test=10_000,
    gains=(
        MeasuredGain(50, 0.0, 0.0),
        MeasuredGain(200, 0.0, 0.193),
        MeasuredGain(500, -0.022, 0.325),
        MeasuredGain(1000, 0.0, 0.363),
        MeasuredGain(2000, 0.036, 0.390),
        MeasuredGain(5000, 0.117, 0.450),
    ),
)
"""The measurement behind the advice."""


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
    gain_top, gain_more : float
        Expected gain in accuracy over the frozen head, of one block and of a quarter of the blocks;
        NaN without a curve.
    reasons : tuple of str
        Sentences that explain the advice, and say what it was measured on.
    measured : Measurement
        Backbone, data and gains behind the advice.

    See Also
    --------
    advise : Gives the advice.
    """

    unfreeze: int
    curve: tuple[CurvePoint, ...]
    gain_top: float
    gain_more: float
    reasons: tuple[str, ...]
    measured: Measurement

    @property
    def verdict(self) -> str:
        """The advice in one sentence."""
        if math.isnan(self.gain_more):
            return "Cannot tell."
        if not self.unfreeze:
            return "Stay frozen."
        blocks = "block" if self.unfreeze == 1 else f"{self.unfreeze} blocks"
        return f"Unfreeze the top {blocks}."

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the verdict as plain values, for JSON."""
        return asdict(self) | {"verdict": self.verdict}


def advise(cache: PathLike | Cache, *, embedding: str | None = None, seed: int = 0) -> Advice:
    """Advise whether fine-tuning will pay, and how many blocks to unfreeze.

    The advice reads the embeddings alone; no network is run.

    Parameters
    ----------
    cache : path or Cache
        Cache with labels. If it has splits, only the rows of the split ``train`` are read.
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
    'Stay frozen.'
    >>> advice.measured.data
    'CIFAR-10'
    """
    check_seed(seed)
    with opened_cache(cache) as opened:
        info = opened.get_info(embedding)
        split = "train" if opened.list_splits() else "all"
        rows = opened.select_rows(split, labelled=True, embedding=info.name)
        learnt = spread_over_groups(opened.read_learnt(info.name), opened.groups)[rows]
        n_all = len(rows)
        if learnt.any():
            rows = rows[find_fresh(opened.labels[rows], learnt)]
        if n_all and not len(rows):
            return decline(n_all, int(learnt.sum()))
        y = opened.labels[rows]
        groups = fill_groups(opened.groups[rows])
        n_classes = len(np.unique(y))
        per_class = len(rows) / max(1, n_classes)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:MAX_ROWS])
        X = opened.read_vectors(info.name, rows[chosen])
        subject = f"{opened.path}, split {split}"
    curve = draw_curve(
        X, y[chosen], None if groups is None else groups[chosen], seed=seed, subject=subject
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
        measured=MEASURED,
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
        gain_top=math.nan,
        gain_more=math.nan,
        reasons=(reason,),
        measured=MEASURED,
    )


@dataclass(frozen=True, kw_only=True)
class BlockChoice:
    """The result of the rule.

    Attributes
    ----------
    part : {"none", "top", "more"}
        Part of the network to unfreeze: none, the top block, or a quarter of the blocks.
    gain_top, gain_more : float
        Expected gains in accuracy.
    reasons : tuple of str
        Sentences that explain the choice.
    """

    part: Literal["none", "top", "more"]
    gain_top: float
    gain_more: float
    reasons: tuple[str, ...]


def choose_blocks(
    per_class: float, curve: Sequence[CurvePoint], *, measured: Measurement = MEASURED
) -> BlockChoice:
    """Apply the rule of this module.

    Parameters
    ----------
    per_class : float
        Number of labelled rows per class.
    curve : sequence of CurvePoint
        Points by their number of rows, ascending; at least one.
    measured : Measurement
        Measured gains of fine-tuning.

    Returns
    -------
    BlockChoice
        The part of the network to unfreeze, and why.
    """
    errors = 1 - curve[-1].accuracy
    share_top, share_more = measured.interpolate(per_class)
    gain_top, gain_more = share_top * errors, share_more * errors
    reasons = [
        f"The frozen head is wrong for {100 * errors:.1f} % of held-out rows, with "
        f"{per_class:.0f} labelled rows per class."
    ]
    if len(curve) > 1:
        step = curve[-1].accuracy - curve[-2].accuracy
        reasons.append(
            f"The last doubling of the rows changed its accuracy by {100 * step:+.1f} points"
            + (
                ": more labels will help too."
                if step >= MIN_GAIN
                else ": more labels will hardly help."
            )
        )
    reasons.append(
        f"In the one case that was measured ({measured.backbone} on {measured.data} at "
        f"{measured.size} pixels), fine-tuning with so many rows per class removed "
        f"{100 * share_top:.0f} % of such errors with one block and {100 * share_more:.0f} % with "
        f"a quarter of the blocks. If your data behave alike, expect {100 * gain_top:+.1f} and "
        f"{100 * gain_more:+.1f} points."
    )
    part: Literal["none", "top", "more"] = "none"
    if gain_more >= MIN_GAIN + max(0, gain_top) or gain_top < MIN_GAIN <= gain_more:
        part = "more"
    elif gain_top >= MIN_GAIN:
        part = "top"
    return BlockChoice(part=part, gain_top=gain_top, gain_more=gain_more, reasons=tuple(reasons))


def count_more_blocks(backbone: str) -> int:
    """Count a quarter of the blocks of a backbone: at least two, if it has two.

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
    return min(n_blocks, max(2, round(SHARE_OF_BLOCKS * n_blocks)))
