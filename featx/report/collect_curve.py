"""Collect what a report shows of more labels and of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from featx.analytics.duplicates import NearDuplicates
from featx.cache.reader import Cache
from featx.core.errors import FeatxError
from featx.core.text import count_noun
from featx.core.typing import SplitChoice
from featx.finetune.advise import MIN_GAIN, BlockChoice, choose_blocks, describe_step
from featx.finetune.history import find_tuning_history
from featx.finetune.log import Epoch
from featx.fitting.curve_rows import CurveRows, read_curve_rows
from featx.fitting.learning_curve import LearningCurve, draw_curve
from featx.report.parted_copies import find_parted_copies

MAX_ROWS = 2_000
"""Largest number of rows of the curve: 10 s of one core. `featx.measure_learning_curve` takes more.
"""

MAX_CLASSES = 100
"""Largest number of classes of the curve, and of labels that are judged: time grows with them."""


@dataclass(frozen=True, kw_only=True)
class CollectedCurve:
    """A learning curve with what it says.

    Attributes
    ----------
    curve : LearningCurve or None
        The curve; None if there is none.
    note : str
        What it says of more labels, or why there is none.
    is_whole : bool
        Whether it is of all rows: a curve of a sample says nothing of more labels than there are.
    choice : BlockChoice or None
        What fine-tuning may bring; None without a curve of all rows.
    is_flattered : bool
        Whether near-duplicates that lie in different folds may be worth a point of accuracy or
        more: such a curve says nothing of more labels, nor of fine-tuning.
    """

    curve: LearningCurve | None
    note: str
    is_whole: bool = False
    choice: BlockChoice | None = None
    is_flattered: bool = False


def collect_curve(
    cache: Cache, embedding: str, *, seed: int, similar: NearDuplicates | None = None
) -> CollectedCurve:
    """Measure a learning curve, of a random part of the rows if they are many.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embedding : str
        Name of the embedding.
    seed : int
        Seed of the folds and of the sample.
    similar : NearDuplicates, optional
        Near-duplicates of the cache. Default: they were not looked for.
    """
    if not (cache.labels != "").any():
        return CollectedCurve(curve=None, note="Not measured: no row has a label.")
    try:
        split: SplitChoice = "train" if "train" in cache.list_splits() else "all"
        rows = read_curve_rows(cache, embedding=embedding, split=split, seed=seed)
        if rows.are_learnt:
            note = f"Not measured: the network has learnt from {rows.n_learnt:,} rows, and too few "
            return CollectedCurve(curve=None, note=f"{note}others are left.")
        if len(rows.classes) > MAX_CLASSES:
            note = f"Not measured for {len(rows.classes):,} classes"
            note = f"{note}: featx.measure_learning_curve measures it."
            return CollectedCurve(curve=None, note=note)
        taken = _sample(rows, seed=seed)
        curve = draw_curve(taken.X, taken.y, taken.units, seed=seed, subject=rows.subject)
    except FeatxError as error:
        return CollectedCurve(curve=None, note=f"Not measured: {error}")
    is_whole = len(taken.y) == rows.n_fresh
    told = [
        f"Rows of {rows.subject}, embedding {embedding}, each held out once in five folds. "
        "Accuracy by the mean number of rows per class that the heads were fitted on."
    ]
    if rows.n_learnt:
        told.append(
            f"{rows.n_learnt:,} of {rows.n_labelled:,} rows were learnt from by the network, and "
            "are left out."
        )
    if not is_whole:
        told.append(
            f"Of {rows.n_fresh:,} rows, a random sample of {len(taken.y):,} was taken: the curve "
            "says nothing of more labels than there are. featx.measure_learning_curve takes more."
        )
    dealt = cache.select_rows(split, labelled=True, embedding=embedding)
    parted = find_parted_copies(cache, similar, dealt)
    is_flattered = parted.mean() >= MIN_GAIN
    if is_flattered:
        told.append(
            f"Near-duplicates of {parted.sum():,} of {count_noun(len(parted), 'row')} lie in other "
            "folds: the accuracies are too high, and say nothing of more labels or of fine-tuning."
        )
    told += describe_step(curve.points[-1]) if is_whole and not is_flattered else []
    if rows.single:
        told.append(
            f"{len(rows.single)} of {len(rows.classes)} classes cannot be held out, and count as "
            "wrong: all of their rows belong together."
        )
    return CollectedCurve(
        curve=curve,
        note=" ".join(told),
        is_whole=is_whole,
        choice=choose_blocks(rows.n_fresh / len(rows.classes), curve)
        if is_whole and not is_flattered
        else None,
        is_flattered=bool(is_flattered),
    )


def _sample(rows: CurveRows, *, seed: int) -> CurveRows:
    """Take a random part of the rows, in whole units as far as the sample has them."""
    if len(rows.y) <= MAX_ROWS:
        return rows
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows.y))[:MAX_ROWS])
    units = None if rows.units is None else rows.units[chosen]
    return replace(rows, X=rows.X[chosen], y=rows.y[chosen], units=units)


def collect_tuning(cache: Cache, embedding: str) -> tuple[tuple[Epoch, ...], str]:
    """Find the log of the fine-tuning that made the weights of an embedding.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embedding : str
        Name of the embedding.

    Returns
    -------
    epochs : tuple of Epoch
        Its lines; none if there was no fine-tuning, or if the weights are not there any more.
    note : str
        What was tuned, or why nothing is shown.
    """
    history, reason = find_tuning_history(cache, embedding)
    if history is None:
        return (), f"No fine-tuning is shown: {reason}."
    return history.epochs, history.describe()
