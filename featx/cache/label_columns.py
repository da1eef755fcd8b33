"""Labels, splits and groups of an open cache: what holds, what the source says, and the history."""

from __future__ import annotations

import abc
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featx.cache.format import EmbeddingInfo
from featx.cache.open import refuse_split
from featx.core.columns import Categories, Table, Texts, count_pairs
from featx.core.errors import CacheError, suggest
from featx.core.lookup import TextIndex
from featx.core.typing import (
    BoolArray,
    IntArray,
    LabelField,
    Split,
    StrArray,
    Vectors,
    list_choices,
)
from featx.labels.element import FIELDS, KEYS, Labels
from featx.labels.history import Statement, list_row_statements, list_statements
from featx.labels.hold import hold_field

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
"""Suffixes of sources that may have further columns."""


class LabelColumns(abc.ABC):
    """The part of `featx.Cache` that is about what is said of the rows."""

    path: Path
    source: str
    embeddings: tuple[str, ...]
    is_open = True

    @abc.abstractmethod
    def read_column(self, name: str, start: int = 0, stop: int | None = None) -> Any:
        """Read one column of a run of rows."""

    @abc.abstractmethod
    def read_rows(
        self, names: Sequence[str] | None = None, start: int = 0, stop: int | None = None
    ) -> Table:
        """Read columns of a run of rows."""

    @abc.abstractmethod
    def read_present(self, embedding: str | None = None) -> BoolArray:
        """Read which rows have a vector in an embedding."""

    @abc.abstractmethod
    def get_info(self, embedding: str | None = None) -> EmbeddingInfo:
        """Return the name, the fingerprint and the provenance of an embedding."""

    @abc.abstractmethod
    def read_vectors(
        self, embedding: str | None = None, rows: IntArray | BoolArray | slice | None = None
    ) -> Vectors:
        """Read vectors of one embedding."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abc.abstractmethod
    def _read_labels(self) -> Labels:
        """Read everything that is said of the rows."""

    @functools.cached_property
    def _held(self) -> Mapping[str, Categories]:
        """Label, split and group of each row as columns."""
        return {name: self.read_column(name) for name in FIELDS}

    @functools.cached_property
    def labels(self) -> StrArray:
        """Class name of each row, ``""`` for none, str ``(n_rows,)``."""
        return self._held["label"].to_array()

    @functools.cached_property
    def splits(self) -> StrArray:
        """Split of each row: ``train``, ``val``, ``test`` or ``""``, str ``(n_rows,)``."""
        return self._held["split"].to_array()

    @functools.cached_property
    def groups(self) -> StrArray:
        """Group of each row, ``""`` for none, str ``(n_rows,)``. A split never parts a group."""
        return self._held["group"].to_array()

    def count_labels(self) -> dict[tuple[str, str], int]:
        """Count the rows of each label and split; ``""`` stands for none."""
        return count_pairs(self._held["label"], self._held["split"])

    def count_groups(self) -> int:
        """Count the groups."""
        return len(self._held["group"].count())

    def list_splits(self) -> list[Split]:
        """List the splits that have rows, in the order train, val, test."""
        found = self._held["split"].count()
        return [name for name in list_choices(Split) if name in found]

    def select_rows(
        self, split: str | None = None, *, labelled: bool = False, embedding: str | None = None
    ) -> IntArray:
        """Return the indices of rows, ascending, int64 ``(n,)``.

        Parameters
        ----------
        split : {"train", "val", "test", "all"}, optional
            Split of the rows. Default: all rows, also those without a split.
        labelled : bool
            Return only rows with a label.
        embedding : str, optional
            Name of an embedding: return only rows with a vector in it.

        Raises
        ------
        CacheError
            If the cache has no rows in that split.
        """
        mask = np.ones(len(self), bool)
        if split not in (None, "all"):
            mask = self._held["split"].mask(split)
            if not mask.any():
                raise refuse_split(self.path, split, self.list_splits())
        if labelled:
            mask &= self._held["label"].codes > 0
        if embedding is not None:
            mask &= self.read_present(embedding)
        return np.flatnonzero(mask)

    def read_arrays(
        self, split: str | None = None, *, embedding: str | None = None
    ) -> tuple[Vectors, StrArray]:
        """Read the vectors and labels of all labelled rows, as scikit-learn takes them.

        Parameters
        ----------
        split : {"train", "val", "test", "all"}, optional
            Split of the rows. Default: all rows, also those without a split.
        embedding : str, optional
            Name of the embedding. Default: the only one.

        Returns
        -------
        X : ndarray
            Vectors ``(n, dim)`` in the stored dtype.
        y : ndarray of str
            Class names ``(n,)``.
        """
        name = self.get_info(embedding).name
        rows = self.select_rows(split, labelled=True, embedding=name)
        return self.read_vectors(name, rows), self.labels[rows]

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that were recorded beside label, split and group, sorted."""
        return self._read_labels().list_columns()

    @functools.cached_property
    def _recorded(self) -> dict[str, Categories]:
        """Recorded columns that were read: a loop over blocks of rows asks for each many times."""
        return {}

    def _hold_column(self, name: str) -> Categories:
        """Read what holds in a column that was recorded."""
        if name in self._recorded:
            return self._recorded[name]
        if name not in self.columns:
            is_table = Path(self.source).suffix.lower() in TABLES
            table = self.source if is_table else "table.csv"
            raise CacheError(
                subject=str(self.path),
                expected=f"a recorded column {name}",
                got=", ".join(self.columns) or "no recorded columns",
                remedy="Record it from a table: "
                f"featx.label_cache('{self.path}', '{table}', field={name!r}). "
                f"{suggest(name, self.columns) if self.columns else ''}".rstrip(),
            )
        held = hold_field(name, self._read_labels(), self.read_rows(KEYS)).values
        return self._recorded.setdefault(name, held)

    def read_source(self, field: LabelField = "label") -> StrArray:
        """Read what the source says of each row, whatever people said later.

        Parameters
        ----------
        field : {"label", "split", "group"}
            Column to read.

        Returns
        -------
        ndarray of str
            ``(n_rows,)``, ``""`` for none.
        """
        values: StrArray = self._read_labels().source[field].to_array()
        return values

    def read_history(self, row_id: str | None = None) -> tuple[Statement, ...]:
        """Read what people said of the rows, the oldest first.

        Parameters
        ----------
        row_id : str, optional
            Id of a row: read only what was said of the row, and of images with its digest. Default:
            everything, also of images that are no rows any more.

        Raises
        ------
        CacheError
            If no row has this id.

        Examples
        --------
        >>> report = featx.label_cache("photos.h5", {"val/ants/0.jpg": "bees"}, author="ada")
        >>> with featx.open_cache("photos.h5") as cache:
        ...     [(one.value, one.author) for one in cache.read_history("val/ants/0.jpg")]
        [('bees', 'ada')]
        """
        labels = self._read_labels()
        if row_id is None:
            return list_statements(labels)
        keys = self.read_rows(KEYS)
        rows = np.flatnonzero(TextIndex(Texts.from_list([row_id])).find(keys["id"]) == 0)
        if not len(rows):
            raise CacheError(
                subject=str(self.path),
                expected="the id of a row",
                got=repr(row_id),
                remedy=f"Pass an id as cache.ids has it. {suggest(row_id, keys['id'])}",
            )
        return list_row_statements(labels, keys, int(rows[0]))


def read_labels(cache: LabelColumns) -> Labels:
    """Read everything that is said of the rows of a cache.

    Parameters
    ----------
    cache : Cache
        The open cache.
    """
    return cache._read_labels()
