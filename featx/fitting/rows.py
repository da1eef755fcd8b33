"""The rows of a cache that a head is fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.cache.format import EmbeddingInfo
from featx.cache.reader import Cache
from featx.cache.side_by_side import (
    Names,
    read_digests_learnt_by,
    read_joined,
    read_learnt_by,
    select_labelled,
)
from featx.core.address import name_location
from featx.core.learnt import Digests
from featx.core.same_files import (
    count_copied,
    describe_conflicts,
    describe_copied,
    find_conflicts,
)
from featx.core.typing import Array, BoolArray, IntArray, StrArray, UInt8Array
from featx.fitting.comparable import choose_embeddings
from featx.fitting.inputs import check_labels, note_labels
from featx.fitting.left_out import LeftOut, describe_unlearnt
from featx.fitting.memory import check_memory
from featx.fitting.same_vectors import count_same, describe_same, digest_blocks, find_all_units
from featx.heads.head import FittedOn
from featx.heads.side_by_side import HeadEmbedding
from featx.heads.units import count_units, join_units, renumber_units, spread_over_units


@dataclass(frozen=True, kw_only=True)
class FittingRows:
    """The rows of a cache that a head is fitted on.

    Attributes
    ----------
    X : ndarray
        ``(n_rows, dim)``, embeddings in their stored dtype; several side by side.
    y : ndarray of str
        ``(n_rows,)``, labels.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row: rows of one group, one digest or one vector; None if
        each is alone.
    digests : ndarray of uint8
        ``(n_rows, 32)``, SHA-256 of each image.
    learnt : ndarray of bool
        ``(n_rows,)``, True for rows that the network has learnt from, or whose unit has such
        a row.
    learnt_digests : ndarray of uint64
        ``(n_images,)``, shortened digests of all images that the network has learnt from.
    infos : tuple of EmbeddingInfo
        Name, fingerprint and provenance of each embedding, in the order of their columns.
    fitted_on : FittedOn
        Cache and split that the rows come from.
    left_out : LeftOut
        Numbers of rows of the cache that are passed over, by the reason.
    n_copies : int
        Number of files of which there is more than one row.
    n_same : int
        Number of vectors that rows have which neither a group nor a file joins.
    unlearnt : str
        The classes of val and test that the rows lack, in a sentence; empty if there is none.
    conflicts : str
        The files of the cache that lie in several classes, in a sentence; empty if there is none.
    """

    X: Array
    y: StrArray
    units: IntArray | None
    digests: UInt8Array
    learnt: BoolArray
    learnt_digests: Digests
    infos: tuple[EmbeddingInfo, ...]
    fitted_on: FittedOn
    left_out: LeftOut
    n_copies: int
    n_same: int
    unlearnt: str
    conflicts: str

    @classmethod
    def read(
        cls,
        cache: Cache,
        *,
        split: str | None,
        embedding: Names | None,
        kind: str = "logreg",
        pca: int | None = None,
    ) -> FittingRows:
        """Read the labelled rows of a split that have a vector in each embedding.

        Parameters
        ----------
        cache : Cache
            Open cache.
        split : str or None
            Name of the split; None for train, or for all rows if the cache has no splits.
        embedding : str, sequence of str, or None
            Name of the embedding, or names of several; None for the only one of the cache.
        kind : str
            Kind of the head to fit, for the memory that it takes.
        pca : int or None
            Number of principal components that it reads; None for all channels.
        """
        if split is None:
            split = "train" if cache.list_splits() else "all"
        infos = choose_embeddings(cache, embedding)
        rows = select_labelled(cache, split, [info.name for info in infos])
        y = cache.labels[rows]
        check_labels(y, subject=f"{cache.path}, split {split}")
        dim = sum(info.fingerprint.dim for info in infos)
        check_memory(len(rows), dim, len(np.unique(y)), kind=kind, pca=pca)
        taken = cls.take(cache, rows, y, infos=infos, split=split)
        note_labels(y, subject=f"{cache.path}, split {split}", units=taken.units)
        return taken

    @classmethod
    def take(
        cls,
        cache: Cache,
        rows: IntArray,
        y: StrArray,
        *,
        infos: tuple[EmbeddingInfo, ...],
        split: str,
    ) -> FittingRows:
        """Read what is known of some rows of a cache.

        Parameters
        ----------
        cache : Cache
            Open cache.
        rows : ndarray of int64
            Numbers of rows that have a vector in each embedding.
        y : ndarray of str
            What the rows are fitted to; it has one entry for each.
        infos : tuple of EmbeddingInfo
            The embeddings.
        split : str
            Name of the split that the rows come from.
        """
        names = [info.name for info in infos]
        X = read_joined(cache, names, rows)
        all_digests, all_learnt = cache.read_column("digest"), read_learnt_by(cache, names)
        digests, pairs = all_digests[rows], find_conflicts(all_digests, cache.labels)
        vectors = digest_blocks([X])
        all_units = find_all_units(cache, rows, vectors)
        units = None if all_units is None else renumber_units(all_units[rows])
        return cls(
            X=X,
            y=y,
            units=units,
            digests=digests,
            learnt=spread_over_units(all_learnt, all_units)[rows],
            learnt_digests=read_digests_learnt_by(cache, names),
            infos=infos,
            fitted_on=FittedOn(
                cache=name_location(cache.path),
                split=split,
                n_rows=len(y),
                n_learnt=int(all_learnt[rows].sum()),
            ),
            left_out=LeftOut.count(cache, split, names),
            n_copies=count_copied(digests),
            n_same=count_same(vectors, join_units(cache.groups, all_digests)[rows]),
            unlearnt="" if split == "all" else describe_unlearnt(cache, y),
            conflicts=describe_conflicts(cache.ids, pairs) if len(pairs) else "",
        )

    @property
    def embeddings(self) -> tuple[HeadEmbedding, ...]:
        """The embeddings, as a head that reads them keeps them."""
        return tuple(
            HeadEmbedding(
                name=info.name, fingerprint=info.fingerprint, origin=info.provenance.origin
            )
            for info in self.infos
        )

    @property
    def dims(self) -> tuple[int, ...]:
        """Length of each embedding."""
        return tuple(info.fingerprint.dim for info in self.infos)

    @property
    def n_units(self) -> int:
        """Number of units, of which a row that is alone is one."""
        return len(self.y) if self.units is None else count_units(self.units)

    def list_notes(self) -> list[str]:
        """List what a person should know of the rows."""
        others = [self.unlearnt, *self.list_copied(), self.conflicts]
        return [*self.left_out.list_notes(), *filter(None, others)]

    def list_copied(self) -> list[str]:
        """List which rows are copies of others: files, and vectors."""
        notes = [describe_copied(self.n_copies)] if self.n_copies else []
        return [*notes, describe_same(self.n_same)] if self.n_same else notes
