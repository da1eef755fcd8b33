"""Whether fine-tuning will pay, from embeddings that are there.

The rule, and the measurements that it rests on:

1. Heads are fitted on a growing part of the rows and scored on rows held out: the learning curve.
2. Of the frozen head's errors fine-tuning has taken a part away that grows with the rows per class:
   `MEASURED`, interpolated over their logarithm. Times the errors that the curve ends at, this is
   the gain to expect of the top block, and of more blocks.
3. Below `MIN_GAIN` it is not worth the time: stay frozen. Otherwise the top block; or more, where
   that gains `MIN_GAIN` above it, or is all that gains so much.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from featx.cache.reader import Cache
from featx.core.errors import TuningError
from featx.fitting.inputs import opened_cache
from featx.heads.classifier import HeadClassifier
from featx.heads.splits import build_folds, check_seed, fill_groups

Array = np.ndarray[Any, Any]

MIN_GAIN = 0.01
"""Of accuracy: what costs minutes, and binds the embeddings to one task, should gain a point."""

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of the rows that the curve's heads are fitted on."""

MAX_ROWS = 10_000
"""Rows that the curve is drawn with; of more, so many are drawn."""

SHARE_OF_BLOCKS = 0.25
"""What "more blocks" stands for: this part of all blocks of a network."""


@dataclass(frozen=True)
class Case:
    """What fine-tuning gained once: `pipelines/fine_tune_cifar.py` measures these.

    Attributes
    ----------
    rows_per_class : float
    top, more : float
        Part of the frozen head's errors that one block, or a quarter of them, took away.
    """

    rows_per_class: float
    top: float
    more: float


MEASURED = (
    Case(50, 0.0, 0.0),
    Case(200, 0.0, 0.193),
    Case(500, -0.022, 0.325),
    Case(1000, 0.0, 0.363),
    Case(2000, 0.036, 0.390),
    Case(5000, 0.117, 0.450),
)
"""By rows per class."""


@dataclass(frozen=True)
class Point:
    """One point of a learning curve."""

    rows_per_class: float
    accuracy: float


@dataclass(frozen=True)
class Advice:
    """Whether to fine-tune, and why.

    Attributes
    ----------
    unfreeze : int
        Blocks, counted from the classifier; 0: stay frozen.
    curve : tuple of Point
        Held-out accuracy of heads on more and more of the rows.
    gain_top, gain_more : float
        Accuracy to be expected above the frozen head's, of one block and of a quarter of them.
    reasons : tuple of str
    """

    unfreeze: int
    curve: tuple[Point, ...]
    gain_top: float
    gain_more: float
    reasons: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """What to do."""
        if not self.unfreeze:
            return "Stay frozen."
        if self.unfreeze == 1:
            return "Unfreeze the top block: featx fine-tune --unfreeze 1."
        return (
            f"Unfreeze the top {self.unfreeze} blocks: featx fine-tune --unfreeze {self.unfreeze}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self) | {"verdict": self.verdict}


def advise(
    cache: str | os.PathLike[str] | Cache, *, embedding: str | None = None, seed: int = 0
) -> Advice:
    """Say whether fine-tuning will pay, and how much of it, from the embeddings alone.

    Parameters
    ----------
    cache : path or Cache
        With labels; where it has splits, the split ``train`` alone is looked at.
    embedding : str, optional
        Which one, where the cache has several.
    seed : int
        Of the rows that are drawn.

    Returns
    -------
    Advice

    Raises
    ------
    CacheError
        If the cache cannot be read, or has no such embedding.
    HeadError
        If the seed is none that scikit-learn takes.
    BackboneError
        If its network is one whose blocks featx does not know.
    TuningError
        If the labelled rows do not make a curve.
    """
    check_seed(seed)
    with opened_cache(cache) as opened:
        info = opened.get_info(embedding)
        split = "train" if opened.list_splits() else "all"
        rows = opened.select_rows(split, labelled=True, embedding=info.name)
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
    unfreeze = choice.n_parts
    if unfreeze > 1:
        unfreeze = count_more(info.fingerprint.backbone)
    return Advice(unfreeze, curve, choice.gain_top, choice.gain_more, choice.reasons)


def draw_curve(
    X: Array, y: Array, groups: Array | None, *, seed: int, subject: str
) -> tuple[Point, ...]:
    """Score heads, fitted on more and more of the rows, on a fifth that is held out.

    Parameters
    ----------
    X : ndarray
        ``(n_rows, dim)``.
    y : ndarray of str
        ``(n_rows,)``.
    groups : ndarray or None
        ``(n_rows,)``.
    seed : int
    subject : str
        Whose rows they are, for the error.
    """
    counts = np.unique(y, return_counts=True)[1] if len(y) else np.zeros(0, int)
    folds = build_folds(y, groups, n_folds=5, seed=seed) if len(counts) > 1 else []
    # Where a class is held out whole, the curve would have no end.
    folds = [pair for pair in folds if len(np.unique(y[pair[0]])) == len(counts)]
    if not folds:
        raise TuningError(
            f"{subject}: expected labelled rows of at least 2 classes for a learning curve, some "
            f"of each to learn from and others to score, got {len(counts)} classes of at least "
            f"{min(counts, default=0)} rows. Label more rows."
        )
    train, test = folds[0]
    train = np.random.default_rng(seed).permutation(train)
    head = HeadClassifier(random_state=seed)
    points: list[Point] = []
    for share in sorted(SHARES, reverse=True):
        part = train[: max(2, round(share * len(train)))]
        n_classes = len(np.unique(y[part]))
        if n_classes < len(counts):
            break  # smaller parts lack classes: they say nothing
        head.fit(X[part], y[part], None if groups is None else groups[part])
        # All the others take the C that all rows chose: the search is most of the time.
        head.set_params(C=head.C_)
        accuracy = float((head.predict(X[test]) == y[test]).mean())
        points.append(Point(len(part) / n_classes, accuracy))
    return tuple(points[::-1])


@dataclass(frozen=True)
class Choice:
    """What the rule says: 0 to stay frozen, 1 for the top block, 2 for more."""

    n_parts: int
    gain_top: float
    gain_more: float
    reasons: tuple[str, ...]


def choose_blocks(
    per_class: float, curve: Sequence[Point], *, measured: Sequence[Case] = MEASURED
) -> Choice:
    """Apply the rule of this module.

    Parameters
    ----------
    per_class : float
        Labelled rows per class.
    curve : sequence of Point
        By rows; at least one.
    measured : sequence of Case
        By rows per class.
    """
    errors = 1 - curve[-1].accuracy
    logs = [math.log(case.rows_per_class) for case in measured]
    at = math.log(max(per_class, 1))
    part_top, part_more = (
        float(np.interp(at, logs, [getattr(case, name) for case in measured]))
        for name in ("top", "more")
    )
    gain_top, gain_more = part_top * errors, part_more * errors
    reasons = [
        f"The frozen head is wrong for {100 * errors:.1f} % of held-out rows, with "
        f"{per_class:.0f} labelled rows per class."
    ]
    if len(curve) > 1:
        step = curve[-1].accuracy - curve[-2].accuracy
        reasons.append(
            f"Twice the rows brought it {100 * step:+.1f} points last"
            + (": more labels help too." if step >= MIN_GAIN else ": it is near what it can do.")
        )
    reasons.append(
        f"With so many rows per class fine-tuning has taken {100 * part_top:.0f} % of such errors "
        f"away with one block, {100 * part_more:.0f} % with a quarter of them: "
        f"{100 * gain_top:+.1f} and {100 * gain_more:+.1f} points here."
    )
    n_parts = 0
    if gain_more >= MIN_GAIN + max(0, gain_top) or gain_top < MIN_GAIN <= gain_more:
        n_parts = 2
    elif gain_top >= MIN_GAIN:
        n_parts = 1
    return Choice(n_parts, gain_top, gain_more, tuple(reasons))


def count_more(backbone: str) -> int:
    """Count the blocks that "more" stands for in a network, at least 2 of them where it has two."""
    from featx.backbones.blocks import list_blocks_of
    from featx.backbones.registry import get_backbone_spec

    n_blocks = len(list_blocks_of(get_backbone_spec(backbone)))
    return min(n_blocks, max(2, round(SHARE_OF_BLOCKS * n_blocks)))
