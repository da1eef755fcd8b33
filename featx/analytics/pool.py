"""The rows of a cache that may be labelled next, and the account of all others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.analytics.suggestions import Suggestions
from featx.cache.reader import Cache
from featx.cache.side_by_side import Names, read_present_in
from featx.core.text import count_noun
from featx.core.typing import IntArray
from featx.heads.units import join_units, renumber_units, spread_over_units


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The rows of a cache, by what labelling them would teach. No row is counted twice.

    Attributes
    ----------
    rows : ndarray of int64
        ``(n_open,)``, rows that may be labelled next, ascending: without a label, with a vector,
        and one of each unit.
    learnt : ndarray of int64
        ``(n_learnt,)``, labelled rows with a vector outside val and test, ascending.
    units : ndarray of int64 or None
        ``(n_learnt,)``, the unit of each row of `learnt`; None if each is alone.
    n_rows : int
        Number of all rows.
    n_labelled : int
        Number of rows with a label.
    n_held_out : int
        Number of rows without a label that lie in val or test, or have a row of their unit there.
    n_without_vector : int
        Number of the other rows without a label that lack one of the embeddings.
    n_alike : int
        Number of the other rows without a label of whose unit another row has a label, or is among
        `rows`.
    """

    rows: IntArray
    learnt: IntArray
    units: IntArray | None
    n_rows: int
    n_labelled: int
    n_held_out: int
    n_without_vector: int
    n_alike: int

    @classmethod
    def read(cls, cache: Cache, embeddings: Names) -> Pool:
        """Read which rows of a cache may be labelled next.

        Parameters
        ----------
        cache : Cache
            Open cache.
        embeddings : str or sequence of str
            Names of the embeddings.
        """
        labelled = np.zeros(len(cache), bool)
        labelled[cache.select_rows(labelled=True)] = True
        units = join_units(cache.groups, cache.read_column("digest"))
        held_out = spread_over_units(np.isin(cache.splits, ("val", "test")), units)
        present = read_present_in(cache, embeddings)
        is_known = spread_over_units(labelled, units)
        unlabelled = ~labelled & ~held_out
        candidates = np.flatnonzero(unlabelled & present & ~is_known)
        _, firsts = np.unique(units[candidates], return_index=True)
        rows = np.sort(candidates[firsts])
        learnt = np.flatnonzero(labelled & present & ~held_out)
        return cls(
            rows=rows,
            learnt=learnt,
            units=renumber_units(units[learnt]),
            n_rows=len(cache),
            n_labelled=int(labelled.sum()),
            n_held_out=int((~labelled & held_out).sum()),
            n_without_vector=int((unlabelled & ~present).sum()),
            n_alike=int((unlabelled & present).sum()) - len(rows),
        )

    def describe(self) -> str:
        """Say how many rows may be labelled next, and why the others may not."""
        rows = count_noun(self.n_rows, "row")
        return f"of {rows}, {len(self.rows):,} may be labelled next{describe_others(self)}"


def describe_others(account: Pool | Suggestions) -> str:
    """Say why rows are not suggested, each row once, behind a comma; empty if there are none.

    Parameters
    ----------
    account : Pool or Suggestions
        Numbers of these rows.
    """
    alike = "a copy of another row, or of its group"
    if account.n_alike > 1:
        alike = "copies of other rows, or of their groups"
    others = [
        (account.n_labelled, "labelled"),
        (account.n_held_out, "in val or test, or of a group or file there"),
        (account.n_without_vector, "without a vector"),
        (account.n_alike, alike),
    ]
    return "".join(f", {n:,} {text}" for n, text in others if n)
