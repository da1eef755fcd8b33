"""Delay signals while code runs that must not be interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class HeldSignals:
    """The signals that arrived while `hold_signals` was active.

    Parameters
    ----------
    handlers : dict of int to callable or signal.Handlers
        Handler of each signal that is held, by number.
    """

    def __init__(self, handlers: dict[int, Any]) -> None:
        self._handlers = handlers
        self._waiting: list[int] = []

    @property
    def is_pending(self) -> bool:
        """Whether a signal has arrived whose handler has not run yet."""
        return bool(self._waiting)

    def note(self, number: int, _frame: object = None) -> None:
        """Note a signal. This method is the handler of every signal that is held."""
        self._waiting.append(number)

    def deliver(self) -> None:
        """Run the handlers of all noted signals, in the order in which the signals arrived.

        An exception that a handler raises, such as KeyboardInterrupt, goes to the caller.
        """
        while self._waiting:
            number = self._waiting.pop(0)
            handler = self._handlers[number]
            if callable(handler):
                handler(number, None)
            else:  # the default of the system, which usually ends the process
                signal.signal(number, handler)
                signal.raise_signal(number)


@contextmanager
def hold_signals(numbers: Iterable[int] | None = None) -> Iterator[HeldSignals]:
    """Delay signals until the end of the block, then run their handlers.

    Python runs handlers in the main thread only: in another thread, nothing is held.

    Parameters
    ----------
    numbers : iterable of int, optional
        Signals to hold; a signal that the process ignores stays ignored. Default: all signals that
        have a handler in Python.

    Yields
    ------
    HeldSignals
        The signals that are held. Its `deliver` runs their handlers at a safe moment within the
        block.
    """
    chosen: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        wanted = signal.valid_signals() if numbers is None else numbers
        found = {number: signal.getsignal(number) for number in wanted}
        chosen = {
            number: handler
            for number, handler in found.items()
            if callable(handler) or (numbers is not None and handler is signal.SIG_DFL)
        }
    held = HeldSignals(chosen)
    try:
        for number in chosen:
            signal.signal(number, held.note)
        yield held
    finally:
        for number, handler in chosen.items():
            signal.signal(number, handler)
        held.deliver()
