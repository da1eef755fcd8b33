"""Take items from an iterator of the caller in the caller's own thread, for another thread."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Iterator[T], Generic[T]):
    """Hand items of an iterator from the thread of the caller to the thread that needs them.

    An iterator of the caller may belong to its thread, as a cursor of a database does, and its
    errors belong to the caller. So the other thread iterates over the handover, which asks for each
    item; the caller's thread answers.

    Parameters
    ----------
    items : iterator
        The iterator, which is used in the thread that calls `answer` only.

    Attributes
    ----------
    ask : callable
        Function that asks the thread of the caller to call `answer` once.

    Examples
    --------
    >>> handover = Handover(iter("ab"))
    >>> handover.ask = handover.answer
    >>> list(handover)
    ['a', 'b']
    """

    ask: Callable[[], object]

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._answers: queue.SimpleQueue[tuple[T, ...]] = queue.SimpleQueue()
        self._has_ended = False

    def __next__(self) -> T:
        if self._has_ended:
            raise StopIteration
        self.ask()
        for item in self._answers.get():
            return item
        self._has_ended = True
        raise StopIteration

    def answer(self) -> None:
        """Take the next item from the iterator; an error of the iterator goes to the caller."""
        for item in self._items:
            self._answers.put((item,))
            return
        self.end()

    def end(self) -> None:
        """Let the other thread find no further item."""
        self._has_ended = True
        self._answers.put(())
