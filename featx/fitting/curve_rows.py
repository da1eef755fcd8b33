"""The rows of a cache that a learning curve is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.cache.format import EmbeddingInfo
from featx.cache.reader import Cache
from featx.core.typing import Array, IntArray, SplitChoice, Vectors
from featx.fitting.inputs import list_single_classes
from featx.fitting.left_out import note_left_out
from featx.fitting.same_vectors import digest_rows, find_all_units
from featx.heads.splits import check_seed, find_fresh
from featx.heads.units import spread_over_units

MAX_ROWS = 10_000
"""Largest number of rows for the curve; if there are more, this many are drawn at random."""


@dataclass(frozen=True, kw_only=True)
class CurveRows:
    """Rows of a learning curve, and an account of the others.

    Attributes
    ----------
    subject : str
        Name of the cache and the split.
    info : EmbeddingInfo
        The embedding.
    X : ndarray
        Embeddings of the rows ``(n_chosen, dim)``.
    y : ndarray of str
        Their labels ``(n_chosen,)``.
    units : ndarray of int64 or None
        The unit of each row ``(n_chosen,)``; None if each row is alone.
    n_labelled : int
        Number of labelled rows of the split with a vector.
    n_learnt : int
        Number of them that the network has learnt from, or that belong to a unit with such a row.
    n_fresh : int
        Number of rows to choose from, without those that were learnt from.
    classes : tuple of str
        Classes of the rows to choose from.
    single : tuple of str
        Classes that cannot be held out, because all of their rows are one unit.
    """

    subject: str
    info: EmbeddingInfo
    X: Vectors
    y: Array
    units: IntArray | None
    n_labelled: int
    n_learnt: int
    n_fresh: int
    classes: tuple[str, ...]
    single: tuple[str, ...]

    @property
    def are_learnt(self) -> bool:
        """Whether there are rows, but the network has learnt from too many of them."""
        return self.n_labelled > 0 and self.n_fresh == 0


def read_curve_rows(
    cache: Cache, *, embedding: str | None = None, split: SplitChoice | None = None, seed: int = 0
) -> CurveRows:
    """Read the labelled rows for a learning curve; of very many, a random part.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embedding : str, optional
        Name of the embedding, if the cache has several.
    split : {"train", "val", "test", "all"}, optional
        Split of the rows. Default: ``"train"``, or all rows if the cache has no splits.
    seed : int
        Seed of the random part.

    Warns
    -----
    FeatxWarning
        If rows without a label, without a vector or without a split are left out.

    Raises
    ------
    CacheError
        If the cache has no such split or embedding.
    HeadError
        If the seed is out of its range.
    """
    check_seed(seed)
    info = cache.get_info(embedding)
    if split is None:
        split = "train" if cache.list_splits() else "all"
    rows = cache.select_rows(split, labelled=True, embedding=info.name)
    note_left_out(cache, split, info.name)
    units = find_all_units(cache, rows, digest_rows(cache, info.name, rows))
    learnt = spread_over_units(cache.read_learnt(info.name), units)[rows]
    n_labelled = len(rows)
    if learnt.any():
        rows = rows[find_fresh(cache.labels[rows], learnt)]
    y = cache.labels[rows]
    of_rows = None if units is None else units[rows]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:MAX_ROWS])
    return CurveRows(
        subject=f"{cache.path}, split {split}",
        info=info,
        X=cache.read_vectors(info.name, rows[chosen]),
        y=y[chosen],
        units=None if of_rows is None else of_rows[chosen],
        n_labelled=n_labelled,
        n_learnt=int(learnt.sum()),
        n_fresh=len(rows),
        classes=tuple(str(label) for label in np.unique(y)),
        single=tuple(list_single_classes(y, of_rows)),
    )
