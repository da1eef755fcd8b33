"""The rows of a cache that have a target: several classes, or a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featx.cache.reader import Cache
from featx.cache.side_by_side import Names, read_present_in
from featx.core.errors import HeadError
from featx.core.text import count_noun, join_some
from featx.core.typing import BoolArray, Float64Array, IntArray, StrArray
from featx.fitting.left_out import choose_verb, describe_lacking, describe_vector
from featx.heads.targets import Target, TargetKind, read_flags, read_numbers, split_classes

TargetColumns = str | Sequence[str]
"""Column of a target, or a column for each of several classes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetRows:
    """The rows of a split that have a vector and a target.

    Attributes
    ----------
    kind : {"several", "number"}
        Kind of the target.
    columns : tuple of str
        Columns of the cache that hold it.
    rows : ndarray of int64
        ``(n_rows,)``, numbers of the rows.
    cells : ndarray of str
        ``(n_rows, n_columns)``, none of them empty.
    notes : tuple of str
        What a person should know of the rows that were left out.
    """

    kind: TargetKind
    columns: tuple[str, ...]
    rows: IntArray
    cells: StrArray
    notes: tuple[str, ...]

    @classmethod
    def read(
        cls,
        cache: Cache,
        kind: TargetKind,
        columns: Sequence[str],
        *,
        split: str,
        embeddings: Names,
    ) -> TargetRows:
        """Read the rows, and count those that are left out.

        Parameters
        ----------
        cache : Cache
            Open cache.
        kind : {"several", "number"}
            Kind of the target.
        columns : sequence of str
            Columns of the cache.
        split : str
            Name of the split, or ``"all"``.
        embeddings : str or sequence of str
            Name of the embedding, or names of several.

        Raises
        ------
        CacheError
            If the cache has no such split or column.
        HeadError
            If no row has a vector and a target.
        """
        chosen = cache.select_rows(split)
        held = [cache.read_column(name)[chosen].to_array() for name in columns]
        cells = np.stack(held, axis=1)
        has_cells = (cells != "").all(axis=1)
        has_vector = read_present_in(cache, embeddings)[chosen]
        kept = has_cells & has_vector
        subject, what = f"{cache.path}, split {split}", join_some(columns, 3)
        if not kept.any():
            raise HeadError(
                subject=subject,
                expected=f"rows with a vector and {what}",
                got="none",
                remedy="Record the column from a table with featx.label_cache.",
            )
        n_plain, n_lacking = int((~has_cells).sum()), int((has_cells & ~has_vector).sum())
        lacking = {what: n_plain, describe_vector(embeddings): n_lacking}
        notes = [describe_lacking(subject, len(chosen), lacking)]
        n_aside = int((cache.splits == "").sum())
        if split != "all" and n_aside:
            rows = count_noun(n_aside, "row")
            notes.append(f"{cache.path}: {rows} without a split {choose_verb(n_aside)} left out")
        return cls(
            kind=kind,
            columns=tuple(columns),
            rows=chosen[kept],
            cells=cells[kept],
            notes=tuple(text for text in notes if text),
        )

    def read_flags(self) -> tuple[BoolArray, tuple[str, ...]]:
        """Read the cells as classes: flags ``(n_rows, n_classes)``, and the names of the classes.

        Raises
        ------
        HeadError
            If a cell of a column for one class is neither yes nor no.
        """
        if len(self.columns) == 1:
            return split_classes(self.cells[:, 0])
        flags = [read_flags(self.cells[:, at], name) for at, name in enumerate(self.columns)]
        return np.stack(flags, axis=1), self.columns

    def read_known(self, target: Target) -> tuple[BoolArray, tuple[str, ...]]:
        """Read the cells as classes of a head: its flags, and the names that it does not know."""
        flags, names = self.read_flags()
        known = np.zeros((len(flags), len(target.classes)), bool)
        for at, name in enumerate(target.classes):
            if name in names:
                known[:, at] = flags[:, names.index(name)]
        return known, tuple(name for name in names if name not in target.classes)

    def read_numbers(self) -> Float64Array:
        """Read the cells as numbers, ``(n_rows,)``.

        Raises
        ------
        HeadError
            If a cell holds no finite number.
        """
        return read_numbers(self.cells[:, 0], self.columns[0])


def choose_target(
    target: TargetColumns | None, *, several: bool
) -> tuple[TargetKind, tuple[str, ...]]:
    """Decide the kind of a target, and name its columns.

    Parameters
    ----------
    target : str or sequence of str or None
        Column; or a column for each of several classes; None for the labels.
    several : bool
        Whether one column holds several classes.

    Raises
    ------
    HeadError
        If no column is named, or one of them twice.

    Examples
    --------
    >>> choose_target("price", several=False), choose_target(None, several=True)
    (('number', ('price',)), ('several', ('label',)))
    >>> choose_target(["red", "green"], several=False)
    ('several', ('red', 'green'))
    """
    given = ["label"] if target is None else [target] if isinstance(target, str) else [*target]
    columns = tuple(name.strip() for name in given)
    if not all(columns) or not columns or len(set(columns)) < len(columns):
        raise HeadError(
            subject="target",
            expected="the name of a column, or names of several columns, each once",
            got=", ".join(map(repr, given)) or "none",
            remedy="Pass target='COLUMN'.",
        )
    return ("several" if several or len(columns) > 1 else "number"), columns
