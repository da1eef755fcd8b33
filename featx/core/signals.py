"""End a program by signals, delay them, and say what an ended run keeps."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class EndOnSignal:
    """Handler for a whole program: the first signal raises, a second Ctrl-C leaves at once."""

    def __init__(self) -> None:
        self._has_begun = False

    def __call__(self, number: int, _frame: object) -> None:
        """Raise KeyboardInterrupt for Ctrl-C, and SystemExit for another signal."""
        if self._has_begun and number == signal.SIGINT:
            self.leave(number)
        self._has_begun = True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)  # as shells do

    def leave(self, number: int) -> None:
        """End the process, if the signal is Ctrl-C: what is durable by now is kept."""
        if number == signal.SIGINT:
            with suppress(OSError):
                os.write(2, b"\n")
            os._exit(128 + number)


@contextmanager
def end_on_signals() -> Iterator[None]:
    """End a program in order on SIGINT (Ctrl-C) and SIGTERM; the latter would kill the process.

    A SIGINT that the process ignores stays ignored.
    """
    handler = EndOnSignal()
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def explain_end(describe: Callable[[], str]) -> Iterator[None]:
    """Say what is kept, if Ctrl-C or SIGTERM ends a block: the exception gets a note.

    Parameters
    ----------
    describe : callable
        Function that returns a sentence: what is kept, and how to go on.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        end.add_note(describe())
        raise


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
        if number in self._waiting and isinstance(self._handlers[number], EndOnSignal):
            self._handlers[number].leave(number)
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
