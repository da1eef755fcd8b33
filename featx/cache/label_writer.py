"""Write what somebody says of rows of a cache; rows and vectors stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx.cache.label_columns import read_labels
from featx.cache.labels import write_labels
from featx.cache.reader import Cache
from featx.cache.writer import rewrite_cache
from featx.core.typing import Array, BoolArray, PathLike
from featx.labels.element import KEYS, NOTHING_SAID, SPLIT_CODES, Labels
from featx.labels.record import record_split


def rewrite_labels(path: PathLike, labels: Labels, *, digest: str) -> None:
    """Replace the labels of a cache.

    Parameters
    ----------
    path : path
        The cache.
    labels : Labels
        The labels of all rows.
    digest : str
        Digest of the file that the labels were read from. A file with another digest is refused.
    """
    with rewrite_cache(path, digest=digest) as file:
        write_labels(file, labels)


def write_splits(
    path: PathLike,
    splits: Sequence[str] | Array,
    *,
    is_said: BoolArray | None = None,
    digest: str | None = None,
    author: str = "unknown",
    note: str = "",
    time: int = 0,
) -> None:
    """Record a split of the rows of a cache.

    Parameters
    ----------
    path : path
        The cache.
    splits : sequence of str
        Split of each row: train, val, test, or ``""`` for none.
    is_said : ndarray of bool, optional
        ``(n_rows,)``, rows that the split is of; nothing is said of the others. Default: all rows.
    digest : str, optional
        Digest of the file that the rows were read from. A file with another digest is refused.
    author : str
        Name of the person.
    note : str
        Options of the split, for a person to read.
    time : int
        Time of the split, in milliseconds since 1970.
    """
    codes = np.array([SPLIT_CODES.index(name) for name in splits], np.uint8)
    if is_said is not None:
        codes[~is_said] = NOTHING_SAID
    with Cache(path) as cache:
        assert len(codes) == len(cache)
        labels, keys, digest = read_labels(cache), cache.read_rows(KEYS), digest or cache.digest
    labels = record_split(labels, keys, codes, author=author, note=note, time=time)
    rewrite_labels(path, labels, digest=digest)
