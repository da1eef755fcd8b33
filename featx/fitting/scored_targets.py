"""The rows with a target that a head is scored on: several classes, or a number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from featx.cache.reader import Cache
from featx.cache.side_by_side import Names, read_joined, read_learnt_by
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import iter_blocks
from featx.core.text import join_some
from featx.core.typing import Array, BoolArray
from featx.fitting.comparable import find_comparable
from featx.fitting.inputs import check_known
from featx.fitting.same_vectors import find_units_of
from featx.fitting.scored_rows import describe_seen
from featx.fitting.seen_rows import (
    count_related,
    describe_related,
    find_related_rows,
    find_seen_rows,
)
from featx.fitting.target_rows import TargetRows
from featx.heads.number import score_numbers
from featx.heads.several import score_several
from featx.heads.target_head import TargetHead, TargetScores
from featx.heads.targets import N_NAMED


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredTargets:
    """Rows of a cache with a target, and a head that is scored on them.

    Attributes
    ----------
    cache : Cache
        The open cache.
    head : TargetHead
        The head.
    subject : str
        Name of the cache and the split.
    embeddings : tuple of str
        Names of the embeddings that the head reads.
    found : TargetRows
        The rows, with their targets.
    seen : ndarray of bool
        ``(n_rows,)``, rows that the head or the network has learnt from.
    learnt : ndarray of bool
        ``(n_rows,)``, rows that the network has learnt from.
    related : ndarray of bool or None
        ``(n_rows,)``, other rows of groups that were learnt from; None if it is not known.
    """

    cache: Cache
    head: TargetHead
    subject: str
    embeddings: tuple[str, ...]
    found: TargetRows
    seen: BoolArray
    learnt: BoolArray
    related: BoolArray | None

    @classmethod
    def read(
        cls, cache: Cache, head: TargetHead, *, split: str, embedding: Names | None = None
    ) -> ScoredTargets:
        """Read the rows of a split that have a vector and the target of a head.

        Parameters
        ----------
        cache : Cache
            Open cache.
        head : TargetHead
            The head.
        split : str
            Name of the split, or ``"all"``.
        embedding : str or sequence of str, optional
            Name of the embedding, or names of several. Default: those that the head was fitted for.

        Raises
        ------
        FingerprintError
            If the embeddings are not comparable with those that the head was fitted on.
        CacheError
            If the cache has no such split or column.
        HeadError
            If no row has a vector and a target.
        """
        names, target = find_comparable(cache, head, embedding=embedding), head.target
        found = TargetRows.read(cache, target.kind, target.columns, split=split, embeddings=names)
        learnt = read_learnt_by(cache, names)
        seen = find_seen_rows(cache, head, names) | learnt
        related = find_related_rows(cache, seen)
        return cls(
            cache=cache,
            head=head,
            subject=f"{cache.path}, split {split}",
            embeddings=names,
            found=found,
            seen=seen[found.rows],
            learnt=learnt[found.rows],
            related=None if related is None else related[found.rows],
        )

    @cached_property
    def _known(self) -> tuple[BoolArray, tuple[str, ...]]:
        """Classes of the rows that the head knows, and the names of the others."""
        if self.head.target.kind == "number":
            return np.ones((len(self.seen), 0), bool), ()
        flags, unknown = self.found.read_known(self.head.target)
        if not flags.any():
            check_known(np.array(unknown, object), self.head.classes, subject=self.subject)
        return flags, unknown

    def score(self) -> TargetScores:
        """Score the head on the rows that were not learnt from; on all if there are no others.

        Raises
        ------
        HeadError
            If cells cannot be read, or the head knows no class of the rows.
        """
        target, n_seen, flags = self.head.target, int(self.seen.sum()), self._known[0]
        kept = np.arange(len(self.seen)) if self.seen.all() else np.flatnonzero(~self.seen)
        rows = self.found.rows[kept]
        units = find_units_of(self.cache, rows, self.embeddings)
        predict = self.head.predict_proba if target.kind == "several" else self.head.predict
        predicted: Array = np.concatenate(
            [
                predict(read_joined(self.cache, self.embeddings, rows[block]))
                for block in iter_blocks(len(rows), BLOCK_ROWS)
            ]
        )
        if target.kind == "number":
            assert target.mean is not None
            assert target.median is not None
            numbers = score_numbers(
                self.found.read_numbers()[kept],
                predicted,
                mean=target.mean,
                median=target.median,
                units=units,
                n_seen=n_seen,
            )
            return replace(numbers, n_related=count_related(self.related))
        several = score_several(
            flags[kept],
            predicted,
            predicted >= np.array(target.thresholds),
            classes=target.classes,
            thresholds=target.thresholds,
            units=units,
            unknown=self._known[1],
            n_seen=n_seen,
        )
        return replace(several, n_related=count_related(self.related))

    def list_notes(self) -> list[str]:
        """List what a person should know of the rows."""
        notes = list(self.found.notes)
        if self.seen.any():
            rest = "all are scored, too high" if self.seen.all() else "they are left out"
            notes.append(f"{describe_seen(self.seen, self.learnt)}: {rest}")
        if text := describe_related(self.related):
            notes.append(text)
        if unknown := self._known[1]:
            notes.append(
                f"classes that the head does not know, and that are not scored: "
                f"{join_some(unknown, N_NAMED)}"
            )
        return notes
