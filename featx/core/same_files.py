"""Rows of one file: its copies under other names, and copies that lie in several classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx.core.digests import is_known
from featx.core.learnt import shorten_each
from featx.core.text import count_noun, show_text
from featx.core.typing import Array, IntArray, StrArray, UInt8Array

N_SHOWN = 3
"""Number of files that are named."""

MAX_ID = 60
"""Length in characters of an id in a sentence that names several."""


def number_files(digests: UInt8Array) -> IntArray:
    """Give rows of one file the same number.

    Parameters
    ----------
    digests : ndarray of uint8
        ``(n_rows, 32)``, zeros for a file that is not known.

    Returns
    -------
    ndarray of int64
        ``(n_rows,)``, from 0; -1 for a file that is not known.

    Examples
    --------
    >>> digests = np.repeat(np.array([[1], [0], [1], [2]], np.uint8), 32, axis=1)
    >>> number_files(digests).tolist()
    [0, -1, 0, 1]
    """
    known = np.flatnonzero(is_known(digests))
    numbers = np.full(len(digests), -1)
    numbers[known] = np.unique(shorten_each(digests[known]), return_inverse=True)[1]
    return numbers


def count_copied(digests: UInt8Array) -> int:
    """Count the files of which there is more than one row.

    Parameters
    ----------
    digests : ndarray of uint8
        ``(n_rows, 32)``, zeros for a file that is not known.
    """
    return int((np.bincount(number_files(digests) + 1)[1:] > 1).sum())


def find_conflicts(digests: UInt8Array, labels: Array) -> IntArray:
    """Find the files that lie in several classes.

    Parameters
    ----------
    digests : ndarray of uint8
        ``(n_rows, 32)``, zeros for a file that is not known.
    labels : ndarray
        ``(n_rows,)``, label of each row, or its code; ``""`` or 0 for none.

    Returns
    -------
    ndarray of int64
        ``(n_files, 2)``, for each such file its first row, and the first row of another class.

    Examples
    --------
    >>> digests = np.repeat(np.array([[1], [2], [1], [2]], np.uint8), 32, axis=1)
    >>> find_conflicts(digests, np.array(["ant", "bee", "bee", "bee"], object)).tolist()
    [[0, 2]]
    """
    files = number_files(digests)
    rows = np.flatnonzero((files >= 0) & labels.astype(bool))
    rows = rows[np.argsort(files[rows], kind="stable")]
    _, firsts, inverse = np.unique(files[rows], return_index=True, return_inverse=True)
    first = rows[firsts[inverse]]
    others = np.flatnonzero(labels[rows] != labels[first])
    chosen = others[np.unique(files[rows[others]], return_index=True)[1]]
    pairs = np.stack([first[chosen], rows[chosen]], axis=1)
    return np.asarray(pairs[np.argsort(pairs[:, 0])])


def describe_conflicts(ids: Sequence[str] | StrArray, pairs: IntArray) -> str:
    """Name files that lie in several classes by the ids of two rows of each.

    Parameters
    ----------
    ids : sequence of str
        Ids of all rows.
    pairs : ndarray of int64
        ``(n_files, 2)``, a row, and a row of another class, of each file; at least one file.

    Examples
    --------
    >>> describe_conflicts(["ant/1.png", "bee/2.png", "bee/copy.png"], np.array([[0, 2]]))
    '1 file lies in two classes: ant/1.png and bee/copy.png'
    """
    named = [
        f"{show_text(ids[first], MAX_ID)} and {show_text(ids[other], MAX_ID)}"
        for first, other in pairs[:N_SHOWN].tolist()
    ]
    verb = "lies" if len(pairs) == 1 else "lie"
    more = ["…"] if len(pairs) > N_SHOWN else []
    return f"{count_noun(len(pairs), 'file')} {verb} in two classes: {', '.join([*named, *more])}"


def describe_copied(n_copied: int) -> str:
    """Say how many files lie in several places, and what that means for parts of the rows.

    Parameters
    ----------
    n_copied : int
        Number of files of which there is more than one row, at least 1.

    Examples
    --------
    >>> describe_copied(100)
    '100 files lie here twice or more: copies are kept together'
    """
    verb = "lies" if n_copied == 1 else "lie"
    return f"{count_noun(n_copied, 'file')} {verb} here twice or more: copies are kept together"
