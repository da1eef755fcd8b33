"""Inputs of fitting: caches and heads by path or as objects, and the parts that are used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.core.errors import HeadError
from featx.core.fingerprint import check_comparable
from featx.core.notes import note
from featx.core.typing import Array, CachePaths, PathLike
from featx.heads.head import Head
from featx.heads.load import load_head

CacheLike = CachePaths | Cache
"""A cache: what `featx.open_cache` takes, or the open cache."""

HeadLike = PathLike | Head
"""A head: the path of its file, or the head."""


@contextmanager
def opened_cache(cache: CacheLike) -> Iterator[Cache]:
    """Open a cache that is given by its path; an open cache stays open at the end of the block.

    Parameters
    ----------
    cache : path, sequence of paths or Cache
        Cache to open.
    """
    if isinstance(cache, Cache):
        yield cache
    else:
        with open_cache(cache) as opened:
            yield opened


def read_head(head: HeadLike) -> Head:
    """Return a head that is given by its path or as an object.

    Parameters
    ----------
    head : path or Head
        Head to return.

    Raises
    ------
    HeadError
        If the file cannot be read as a head.
    """
    return head if isinstance(head, Head) else load_head(head)


def find_comparable(cache: Cache, head: Head, *, embedding: str | None = None) -> str:
    """Find the embedding of a cache that a head can take.

    Parameters
    ----------
    cache : Cache
        Open cache.
    head : Head
        Head that will read the embedding.
    embedding : str, optional
        Name of the embedding to take. Default: the one that differs least from the embedding that
        the head was fitted on.

    Returns
    -------
    str
        Name of the embedding.

    Raises
    ------
    FingerprintError
        If the embedding is not comparable with the one that the head was fitted on.
    """
    expected = head.fingerprint
    if embedding is None:
        info = min(
            (cache.get_info(name) for name in cache.embeddings),
            key=lambda info: len(info.fingerprint.list_differences(expected)),
        )
    else:
        info = cache.get_info(embedding)
    check_comparable(
        expected,
        info.fingerprint,
        subject=f"{cache.path}, embedding {info.name}",
        because="as the head was fitted on",
        remedy="Extract with the backbone and weights of the head, or fit a head on these "
        "embeddings with featx.fit_head(cache).",
    )
    return info.name


def note_left_out(cache: Cache, split: str, embedding: str) -> None:
    """Tell the user which rows of a split cannot be used.

    Parameters
    ----------
    cache : Cache
        Open cache.
    split : str
        Name of the split, or ``"all"``.
    embedding : str
        Name of the embedding that is used.
    """
    rows = cache.select_rows(split)
    has_label = cache.labels[rows] != ""
    n_plain = int((~has_label).sum())
    n_lacking = int((has_label & ~cache.read_present(embedding)[rows]).sum())
    left_out = [f"{n_plain} without a label"] if n_plain else []
    left_out += [f"{n_lacking} without a vector in embedding {embedding}"] if n_lacking else []
    if left_out:
        note(
            f"{cache.path}, split {split}: of {len(rows)} rows, {' and '.join(left_out)} were left "
            "out"
        )


def note_unknown(labels: Array, classes: Array) -> None:
    """Tell the user how many rows have a class that a head does not know.

    Parameters
    ----------
    labels : ndarray of str
        ``(n_rows,)``, labels of the rows that are scored.
    classes : ndarray of str
        ``(n_classes,)``, classes of the head.
    """
    n_unknown = int((~np.isin(labels, classes)).sum())
    if n_unknown:
        note(f"{n_unknown} rows have a class that the head does not know, and count as wrong")


def check_labels(y: Array, *, subject: str) -> None:
    """Refuse labels that a classifier cannot be fitted on.

    Parameters
    ----------
    y : ndarray of str
        ``(n_rows,)``, labels of the rows that have one.
    subject : str
        Name of the cache and the split, for the error.

    Raises
    ------
    HeadError
        If the labels are of fewer than two classes.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        raise HeadError(
            subject=subject,
            expected="rows of at least 2 classes",
            got=f"only {classes[0]!r}" if len(classes) else "no labelled rows",
            remedy="Extract from class folders, or from a table with a column named label.",
        )
