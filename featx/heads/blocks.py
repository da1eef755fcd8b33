"""Blocks of rows, worked on by several threads: what they find does not depend on their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib

from featx.core.columns import iter_blocks

MAX_THREADS = 8

Found = TypeVar("Found")


def count_threads() -> int:
    """Count the threads that a fit uses: the cores that this process may use, up to a few."""
    return min(MAX_THREADS, int(joblib.cpu_count()))


def map_blocks(work: Callable[[slice], Found], n_rows: int, size: int) -> Iterator[Found]:
    """Work on blocks of rows, and return what was found of each, in order.

    Parameters
    ----------
    work : callable
        Function of a slice of rows, which may write to rows of its own.
    n_rows : int
        Number of rows.
    size : int
        Largest number of rows of a block.

    Examples
    --------
    >>> list(map_blocks(lambda block: block.stop - block.start, 10, 4))
    [4, 4, 2]
    """
    blocks = list(iter_blocks(n_rows, size))
    n_threads = min(count_threads(), len(blocks))
    if n_threads < 2:
        yield from map(work, blocks)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        yield from pool.map(work, blocks)
