"""Read what comes next while the caller works on what came before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Asked = TypeVar("Asked")
Got = TypeVar("Got")


def read_ahead(read: Callable[[Asked], Got], items: Iterable[Asked]) -> Iterator[Got]:
    """Yield the result of a function for each item, one of them computed ahead in a thread.

    Parameters
    ----------
    read : callable
        Function of one item, such as one that reads a block of rows.
    items : iterable
        The items.

    Yields
    ------
    object
        The results, in the order of the items. An error of the function is raised in its place.

    Examples
    --------
    >>> list(read_ahead(len, ["a", "bc"]))
    [1, 2]
    """
    with ThreadPoolExecutor(1, "featx-ahead") as pool:
        ahead: Future[Got] | None = None
        for item in items:
            done, ahead = ahead, pool.submit(read, item)
            if done is not None:
                yield done.result()
        if ahead is not None:
            yield ahead.result()
