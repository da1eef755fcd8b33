"""The result of an audit, as numbers and as a table to review."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from featx.analytics.blank import BlankImages
from featx.analytics.duplicates import NearDuplicates
from featx.analytics.label_errors import LabelErrors
from featx.analytics.outliers import Outliers
from featx.core.errors import FeatxError
from featx.core.files import replacing
from featx.core.rows import Failure
from featx.core.text import guard_cell
from featx.core.typing import IntArray, PathLike, StrArray


class ReviewLine(NamedTuple):
    """One finding, as a line of the table to review.

    Attributes
    ----------
    id : str
        Id of the row.
    finding : str
        ``leak``, ``duplicate``, ``parted group``, ``two classes``, ``label error``, ``outlier``, or
        ``blank: …``.
    given : str
        Label of the row.
    suggested : str
        Label that the image looks like; empty for none.
    score : float or None
        Certainty of a duplicate, probability that the label is wrong, or distance of an outlier.
    other : str
        Id of the row that it belongs to; empty for none.
    keep : str
        ``keep`` or ``drop`` for rows of a cluster of duplicates, otherwise empty.
    label : str
        Empty: the reviewer writes the right label here.
    """

    id: str
    finding: str
    given: str
    suggested: str = ""
    score: float | None = None
    other: str = ""
    keep: str = ""
    label: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditReport:
    """Findings of an audit.

    Attributes
    ----------
    cache : str
        Path of the cache.
    embedding : str
        Name of the embedding.
    ids, labels, splits : ndarray of str
        ``(n_rows,)``, id, label and split of each row.
    groups : ndarray of str
        ``(n_rows,)``, group of each row; ``""`` for none.
    parted : ndarray of int64 or None
        ``(n, 2)``, each row that is held out while a head learns from others of its group, and the
        first of these.
    n_without_vector : int
        Number of rows that lack the embedding.
    failures : tuple of Failure
        Ledger of the images that failed.
    near_duplicates : NearDuplicates
        Exact and near duplicates; pairs, clusters, and which rows to keep.
    conflicts : ndarray of int64
        ``(n_files, 2)``, for each file that lies in several classes, two of its rows.
    label_errors : LabelErrors or None
        Labels that are probably wrong.
    outliers : Outliers or None
        Rows that lie far from all classes.
    blank : BlankImages or None
        Images that look blank or damaged.
    not_measured : mapping of str to str
        Parts that are None, with the reason.
    """

    cache: str
    embedding: str
    ids: StrArray
    labels: StrArray
    splits: StrArray
    groups: StrArray
    parted: IntArray | None
    n_without_vector: int
    failures: tuple[Failure, ...]
    near_duplicates: NearDuplicates
    conflicts: IntArray
    label_errors: LabelErrors | None
    outliers: Outliers | None
    blank: BlankImages | None
    not_measured: Mapping[str, str]

    @property
    def n_rows(self) -> int:
        """Number of rows of the cache."""
        return len(self.ids)

    @property
    def n_labelled(self) -> int:
        """Number of rows with a label."""
        return int((self.labels != "").sum())

    @property
    def n_leaks(self) -> int | None:
        """Number of pairs of duplicates that lie in two splits; None if there is one split only."""
        if "leaks" in self.not_measured:
            return None
        return self.near_duplicates.count_parted(self.splits)

    @property
    def parted_groups(self) -> tuple[str, ...] | None:
        """Names of the groups of which a head learns from some rows and is scored by others."""
        if self.parted is None:
            return None
        return tuple(dict.fromkeys(self.name_group(*pair) for pair in self.parted.tolist()))

    def name_group(self, row: int, other: int) -> str:
        """Name the group of a held-out row and one in train, which copies may have joined.

        Parameters
        ----------
        row, other : int
            Rows of the cache.
        """
        return str(self.groups[row] or self.groups[other] or self.ids[row])

    @property
    def n_dropped(self) -> int:
        """Number of rows that are duplicates of a row to keep."""
        return int((~self.near_duplicates.kept).sum())

    @property
    def _n_label_errors(self) -> int:
        """Number of label errors that are listed."""
        return 0 if self.label_errors is None else self.label_errors.n_listed

    def list_lines(self) -> list[ReviewLine]:
        """List all findings, the most important ones first; a row may have several."""
        return [
            *self._iter_duplicates(),
            *self._iter_parted(),
            *self._iter_conflicts(),
            *itertools.islice(self._iter_label_errors(), self._n_label_errors),
            *self._iter_outliers(),
            *self._iter_blank(),
        ]

    def write_table(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Write all findings as a table to review, in the columns of `ReviewLine`.

        Write the right label into the empty column ``label``, and pass the table to
        `featx.label_cache` as it is: lines that are left empty say nothing.

        Parameters
        ----------
        path : path
            Path of the CSV table.
        overwrite : bool
            Whether to replace a file that exists. A person may have written labels into it.

        Raises
        ------
        FeatxError
            If the file exists, or cannot be written.
        """
        with (
            replacing(Path(path), error=FeatxError, overwrite=overwrite) as draft,
            draft.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(ReviewLine._fields)
            for line in self.list_lines():
                score = None if line.score is None else round(line.score, 4)
                writer.writerow(map(guard_cell, line._replace(score=score)))

    def to_dict(self) -> dict[str, Any]:
        """Return what was found as what JSON can hold."""
        near, wrong, far, blank = (
            self.near_duplicates,
            self.label_errors,
            self.outliers,
            self.blank,
        )
        clusters = [self.ids[rows].tolist() for rows in near.clusters]
        return {
            "cache": self.cache,
            "embedding": self.embedding,
            "n_rows": self.n_rows,
            "n_labelled": self.n_labelled,
            "n_without_vector": self.n_without_vector,
            "n_failures": len(self.failures),
            "n_leaks": self.n_leaks,
            "n_dropped": self.n_dropped,
            "parted_groups": None if self.parted is None else list(self.parted_groups or ()),
            "near_duplicates": near.to_dict()["near_duplicates"],
            "duplicates": {
                "threshold": near.threshold,
                "expected_wrong": near.expected_wrong,
                "n_decoded": near.n_decoded,
                "n_missing": near.n_missing,
                "n_not_compared": near.n_not_compared,
                "n_not_told_apart": near.n_not_told_apart,
                "is_complete": near.is_complete,
                "clusters": clusters,
            },
            "two_classes": None
            if "two_classes" in self.not_measured
            else [
                {"a": one.id, "b": one.other, "label": one.given, "other_label": one.suggested}
                for one in self._iter_conflicts()
            ],
            "label_errors": None
            if wrong is None
            else [
                {
                    "id": one.id,
                    "label": one.given,
                    "suggested": one.suggested,
                    "score": one.score,
                }
                for one in self._iter_label_errors()
            ],
            "label_noise": None if wrong is None else wrong.to_dict(),
            "outliers": None
            if far is None
            else far.to_dict()
            | {
                "rows": [
                    {"id": one.id, "label": one.given, "score": one.score}
                    for one in self._iter_outliers()
                ]
            },
            "blank": None
            if blank is None
            else blank.to_dict()
            | {
                "rows": [
                    {"id": self.ids[row], "reason": reason}
                    for row, reason in zip(blank.rows, blank.reasons, strict=True)
                ]
            },
            "not_measured": dict(self.not_measured),
        }

    def _iter_duplicates(self) -> Iterator[ReviewLine]:
        """Yield the rows of each cluster, those that lie in several splits first."""
        near = self.near_duplicates
        scores = np.zeros(self.n_rows)
        np.maximum.at(scores, near.a, near.score)
        np.maximum.at(scores, near.b, near.score)
        for is_leak in (True, False):
            for rows in near.clusters:
                if is_leak != self.is_leak(rows):
                    continue
                for row in rows.tolist():
                    yield ReviewLine(
                        id=self.ids[row],
                        finding="leak" if is_leak else "duplicate",
                        given=self.labels[row],
                        score=float(scores[row]),
                        other="" if near.kept[row] else self.ids[rows[0]],
                        keep="keep" if near.kept[row] else "drop",
                    )

    def is_leak(self, rows: IntArray) -> bool:
        """Tell whether rows of one cluster lie in several splits, or have a duplicate in another.

        A pair that is not sure enough to join two clusters makes both of them leaks.

        Parameters
        ----------
        rows : ndarray of int64
            Rows of the cache.
        """
        near = self.near_duplicates
        leaking = np.concatenate([near.a[near.crosses], near.b[near.crosses]])
        is_parted = len({name for name in self.splits[rows] if name}) > 1
        return is_parted or bool(np.isin(rows, leaking).any())

    def _iter_parted(self) -> Iterator[ReviewLine]:
        for row, other in [] if self.parted is None else self.parted.tolist():
            yield ReviewLine(
                id=self.ids[row],
                finding="parted group",
                given=self.labels[row],
                other=self.ids[other],
            )

    def _iter_conflicts(self) -> Iterator[ReviewLine]:
        for first, other in self.conflicts.tolist():
            yield ReviewLine(
                id=self.ids[first],
                finding="two classes",
                given=self.labels[first],
                suggested=self.labels[other],
                other=self.ids[other],
            )

    def _iter_label_errors(self) -> Iterator[ReviewLine]:
        found = self.label_errors
        if found is not None:
            for row, label, suggested, score in zip(
                found.rows, found.labels, found.suggested, found.scores.tolist(), strict=True
            ):
                yield ReviewLine(
                    id=self.ids[row],
                    finding="label error",
                    given=label,
                    suggested=suggested,
                    score=score,
                )

    def _iter_outliers(self) -> Iterator[ReviewLine]:
        found = self.outliers
        if found is not None:
            for row, score in zip(found.rows, found.scores.tolist(), strict=True):
                yield ReviewLine(
                    id=self.ids[row], finding="outlier", given=self.labels[row], score=score
                )

    def _iter_blank(self) -> Iterator[ReviewLine]:
        found = self.blank
        if found is not None:
            for row, reason in zip(found.rows, found.reasons, strict=True):
                yield ReviewLine(
                    id=self.ids[row], finding=f"blank: {reason}", given=self.labels[row]
                )
