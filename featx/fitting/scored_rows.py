"""The labelled rows that a head is scored on, with its predictions: a value of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from featx.cache.reader import Cache
from featx.cache.side_by_side import (
    Names,
    read_joined,
    read_learnt_by,
    read_present_in,
    select_labelled,
)
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import iter_blocks
from featx.core.errors import CacheError
from featx.core.text import count_noun
from featx.core.typing import BoolArray, Float64Array, IntArray, StrArray
from featx.fitting.alike import MIN_REFERENCES, find_alike
from featx.fitting.comparable import find_comparable
from featx.fitting.inputs import check_known, describe_unknown
from featx.fitting.left_out import LeftOut, choose_verb, describe_untested
from featx.fitting.same_vectors import find_units_of
from featx.fitting.seen_rows import (
    count_related,
    describe_related,
    find_related_rows,
    find_seen_rows,
)
from featx.heads.calibration_curve import CalibrationCurve, measure_calibration
from featx.heads.evaluate import Evaluation, score_predictions
from featx.heads.head import Head


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredRows:
    """Labelled rows of a cache with the predictions of a head.

    Attributes
    ----------
    subject : str
        Name of the cache and the split.
    split : str
        Name of the split, or ``"all"``.
    embeddings : tuple of str
        Names of the embeddings that the head reads.
    rows : ndarray of int64
        ``(n_rows,)``, numbers of the rows in the cache; at least one.
    y : ndarray of str
        ``(n_rows,)``, labels.
    classes : ndarray of str
        ``(n_classes,)``, classes of the head.
    predicted : ndarray of str
        ``(n_rows,)``, predicted labels.
    probabilities : ndarray of float64 or None
        ``(n_rows, n_classes)``, their probabilities, if the head has any.
    seen : ndarray of bool
        ``(n_rows,)``, rows that the head or the network has learnt from.
    learnt : ndarray of bool
        ``(n_rows,)``, rows that the network has learnt from.
    related : ndarray of bool or None
        ``(n_rows,)``, other rows of groups that were learnt from; None if it is not known.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each row is alone.
    known : ndarray of bool
        ``(n_cache_rows,)``, rows of the whole cache that were learnt from.
    left_out : LeftOut
        Numbers of rows of the cache that are passed over, by the reason.
    n_folds : int or None
        Number of folds, if each row was predicted by a head that was fitted on the other folds;
        None if one head predicted all rows.
    n_dims : int or None
        Length of the vectors, for the intervals of folds.
    """

    subject: str
    split: str
    embeddings: tuple[str, ...]
    rows: IntArray
    y: StrArray
    classes: StrArray
    predicted: StrArray
    probabilities: Float64Array | None
    seen: BoolArray
    learnt: BoolArray
    related: BoolArray | None
    units: IntArray | None
    known: BoolArray
    left_out: LeftOut
    n_folds: int | None = None
    n_dims: int | None = None

    @classmethod
    def read(
        cls, cache: Cache, head: Head, *, split: str, embedding: Names | None = None
    ) -> ScoredRows:
        """Read the labelled rows of a split that have a vector, and predict them.

        Parameters
        ----------
        cache : Cache
            Open cache.
        head : Head
            Head that predicts.
        split : str
            Name of the split, or ``"all"``.
        embedding : str or sequence of str, optional
            Name of the embedding, or names of several. Default: those that the head was fitted for.

        Raises
        ------
        FingerprintError
            If the embeddings are not comparable with those that the head was fitted on.
        CacheError
            If the cache has no such split, or no labelled rows in it.
        HeadError
            If the head knows no class of the rows.
        """
        subject = f"{cache.path}, split {split}"
        names = find_comparable(cache, head, embedding=embedding)
        rows = select_labelled(cache, split, names)
        if len(rows) == 0:
            raise CacheError(
                subject=subject,
                expected="labelled rows",
                got="none",
                remedy="Extract from class folders, or from a table with a column named label.",
            )
        y = cache.labels[rows]
        check_known(y, head.classes, subject=subject)
        predicted, probabilities = predict_rows(head, cache, names, rows)
        learnt = read_learnt_by(cache, names)
        known = find_seen_rows(cache, head, names) | learnt
        related = find_related_rows(cache, known)
        return cls(
            subject=subject,
            split=split,
            embeddings=names,
            rows=rows,
            y=y,
            classes=head.classes,
            predicted=predicted,
            probabilities=probabilities,
            seen=known[rows],
            learnt=learnt[rows],
            related=None if related is None else related[rows],
            units=find_units_of(cache, rows, names),
            known=known,
            left_out=LeftOut.count(cache, split, names),
        )

    def select_unseen(self) -> ScoredRows | None:
        """Select the rows that were not learnt from; None if there are no others."""
        return None if self.seen.all() else self.select(np.flatnonzero(~self.seen))

    def select(self, positions: IntArray) -> ScoredRows:
        """Select some of the rows.

        Parameters
        ----------
        positions : ndarray of int64
            Positions in `rows`.
        """
        known, units, related = self.probabilities, self.units, self.related
        return replace(
            self,
            rows=self.rows[positions],
            y=self.y[positions],
            predicted=self.predicted[positions],
            probabilities=None if known is None else known[positions],
            seen=self.seen[positions],
            learnt=self.learnt[positions],
            related=None if related is None else related[positions],
            units=None if units is None else units[positions],
        )

    @property
    def top_scores(self) -> Float64Array:
        """Probabilities of the predicted classes, float64 ``(n_rows,)``; NaN without any."""
        if self.probabilities is None:
            return np.full(len(self.rows), np.nan)
        top: Float64Array = self.probabilities.max(axis=1)
        return top

    def score(self) -> Evaluation:
        """Score the predictions."""
        scores = score_predictions(
            self.y,
            self.predicted,
            classes=self.classes,
            probabilities=self.probabilities,
            seen=self.seen,
            units=self.units,
            n_folds=self.n_folds,
            n_dims=self.n_dims,
        )
        return replace(scores, n_related=count_related(self.related))

    def measure_calibration(self) -> CalibrationCurve:
        """Measure how often the head is right, by the probability of the predicted class."""
        assert self.probabilities is not None, "every head for one class per image has them"
        curve = measure_calibration(self.y == self.predicted, self.top_scores, self.units)
        return replace(curve, n_seen=int(self.seen.sum()), n_related=count_related(self.related))

    def count_alike(self, cache: Cache) -> int | None:
        """Count rows that look like rows that were learnt from; None if few of these have a vector.

        Parameters
        ----------
        cache : Cache
            The open cache.
        """
        references = np.flatnonzero(self.known & read_present_in(cache, self.embeddings))
        if len(references) < MIN_REFERENCES:
            return None
        return int(find_alike(cache, self.embeddings, self.rows[~self.seen], references).sum())

    def list_notes(self, n_alike: int | None) -> list[str]:
        """List what a person should know of the rows.

        Parameters
        ----------
        n_alike : int or None
            Number of rows that look like rows that were learnt from, as `count_alike` returns it.
        """
        notes = [
            *self.left_out.list_notes(),
            describe_untested(self.y, self.classes, subject=self.subject),
        ]
        if self.seen.any():
            notes.append(f"{describe_seen(self.seen, self.learnt)}: their scores are too high")
        notes.append(describe_related(self.related))
        if n_alike:
            verb = "looks" if n_alike == 1 else "look"
            notes.append(
                f"{n_alike:,} of {count_noun(len(self.rows), 'row')} {verb} like rows that were "
                "fitted on, such as images that were saved once more: their scores are too high"
            )
        notes.append(describe_unknown(self.y, self.classes))
        return [text for text in notes if text]


def predict_rows(
    head: Head, cache: Cache, embeddings: Names, rows: IntArray
) -> tuple[StrArray, Float64Array | None]:
    """Predict classes and probabilities of rows, in blocks: the vectors may not fit in memory.

    Parameters
    ----------
    head : Head
        Head that predicts.
    cache : Cache
        Open cache.
    embeddings : str or sequence of str
        Names of the embeddings that the head can take, in its order.
    rows : ndarray of int64
        ``(n_rows,)``, rows to predict, all with a vector.

    Returns
    -------
    predicted : ndarray of str
        ``(n_rows,)``, predicted labels.
    probabilities : ndarray of float64 or None
        ``(n_rows, n_classes)``, their probabilities, if the head has any.
    """
    predicted, probabilities = [], []
    for block in iter_blocks(len(rows), BLOCK_ROWS):
        X = read_joined(cache, embeddings, rows[block])
        predicted.append(head.predict(X))
        probabilities.append(head.predict_proba(X))
    known = [part for part in probabilities if part is not None]
    return np.concatenate(predicted), np.concatenate(known) if known else None


def describe_seen(seen: BoolArray, learnt: BoolArray) -> str:
    """Say how many rows were learnt from, by the network and by the head.

    Parameters
    ----------
    seen : ndarray of bool
        ``(n_rows,)``, rows that the head or the network has learnt from.
    learnt : ndarray of bool
        ``(n_rows,)``, rows that the network has learnt from.
    """
    n_learnt, n_fitted = int(learnt.sum()), int((seen & ~learnt).sum())
    told = [(n_learnt, "learnt from by the network"), (n_fitted, "used to fit the head")]
    rows = count_noun(len(seen), "row")
    return ", and ".join(f"{n:,} of {rows} {choose_verb(n)} {how}" for n, how in told if n)
