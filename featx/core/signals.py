"""End a program by signals, delay them, and say what an ended run keeps."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from featx.core.endings import ENDINGS, end_at_once, list_signals

OWN = "featx"
"""The package whose code may be interrupted."""

AT_ONCE = "ended at once, without cleaning up; what was finished before is kept"
"""What a command says after a second Ctrl-C."""

GRACE_S = 0.05
"""Seconds after a signal in which Ctrl-C is no second one: the program ``timeout`` sends two."""

PATIENCE_S = 1.0
"""Seconds after a signal in which a command may end without a word of what it waits for."""

LATER = "waits for a step that cannot be cut short; another Ctrl-C ends the command at once"
"""What a command says of a signal that has not ended it after `PATIENCE_S`."""

WAITING = frozenset(
    [
        *("concurrent", "joblib", "multiprocessing", "queue", "selectors", "subprocess"),
        *("hashlib", "http", "shutil", "socket", "ssl", "threading", "urllib"),
    ]
)
"""Packages, written in Python, in which a program waits. An exception may be raised there."""

CALLING = WAITING | {"click", "contextlib", "typer"}
"""Packages, written in Python, that call functions of featx and let exceptions through."""

UNRAISABLE = frozenset(["__del__", "weakref_cb"])
"""Functions that let no exception out: Python would show it and go on."""

CALLBACKS = frozenset(["_weakrefset", "weakref"])
"""Packages of such functions."""


class EndOnSignal:
    """Handler for a whole program: the first signal raises an exception, once, in a safe place.

    An exception that is raised within another library may get lost: C code that has called Python
    makes another error of it, and an import or a destructor leaves things half done. The exception
    is raised in code of featx, or where featx waits. In any other place the signal is noted, and
    raised as soon as the library returns to featx.

    Parameters
    ----------
    tell : callable, optional
        Function that shows a line of text. Another thread calls it, if the block `armed` goes on
        for a second after the first signal.

    Attributes
    ----------
    number : int or None
        The first signal that arrived.
    has_raised : bool
        Whether its exception was raised.
    """

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self.number: int | None = None
        self.has_raised = False
        self._tell = tell
        self._is_armed = False
        self._is_tracing = False
        self._tracer: Any = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt for Ctrl-C and SystemExit for another signal, now or later."""
        if self.number is not None:
            return
        self.number = number
        if self._is_armed:
            place = find_place(frame or sys._getframe(1))
            if place.is_safe:
                self._raise()
            self._raise_later(place)

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Raise the exception within the block only; other signals are noted."""
        try:
            self._is_armed = True
            if self.number is not None:
                self._raise()
            yield
        finally:
            self._disarm()
            self._tell = None

    def tell_wait(self, number: int) -> None:
        """Say that a signal has arrived and that the program waits, unless the block has ended.

        Parameters
        ----------
        number : int
            Number of the signal; the handler may not have run yet.
        """
        tell = self._tell
        if tell is not None:
            tell(f"{ENDINGS[number]}: {LATER}")

    def _raise(self) -> NoReturn:
        self._disarm()
        self.has_raised = True
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + (self.number or 0))  # as shells do

    def _disarm(self) -> None:
        self._is_armed = False
        if self._is_tracing:
            self._is_tracing = False
            sys.settrace(self._tracer)

    def _raise_later(self, place: Place) -> None:
        """Let Python call `_trace` where a library returns to featx, and where it calls featx."""
        if place.outer is not None:
            self._is_tracing, self._tracer = True, sys.gettrace()
            place.outer.f_trace = self._trace
            place.outer.f_trace_opcodes = place.is_own
            sys.settrace(self._trace_call)

    def _trace(self, _frame: FrameType, event: str, arg: Any) -> None:
        if event == "exception" and issubclass(arg[0], SystemExit):  # the command has just ended
            self._disarm()
        elif event in ("return", "opcode") and self._is_armed:
            self._raise()

    def _trace_call(self, frame: FrameType, _event: str, _arg: Any) -> None:
        if self._is_armed and _get_package(frame) == OWN and find_place(frame).is_safe:
            self._raise()


class Place(NamedTuple):
    """Where a signal has arrived, and where its exception harms no library.

    Attributes
    ----------
    is_safe : bool
        Whether the exception may be raised at once.
    outer : frame or None
        The function of a library that featx has called: an exception at its return looks to featx
        as if the library had raised it. None if featx has called none.
    is_own : bool
        Whether `outer` is one of featx itself, which Python has interrupted for a function that
        lets no exception out. The exception is raised at its next step.
    """

    is_safe: bool
    outer: FrameType | None = None
    is_own: bool = False


def find_place(frame: FrameType) -> Place:
    """Find out whether a library is at work.

    Parameters
    ----------
    frame : frame
        The place at which the main thread is.
    """
    stack = [frame]
    while stack[-1].f_back is not None:
        stack.append(stack[-1].f_back)
    stack.reverse()
    begin = next((n for n, one in enumerate(stack) if _get_package(one) == OWN), None)
    if begin is None:
        return Place(False)
    own = begin  # position of the innermost function of featx that no library has called
    for number, one in enumerate(stack[begin:], begin):
        is_unraisable = one.f_code.co_name in UNRAISABLE or _get_package(one) in CALLBACKS
        if is_unraisable and number == own + 1:
            return Place(False, stack[own], is_own=True)
        if is_unraisable or _get_package(one) not in CALLING | {OWN}:
            return Place(False, stack[own + 1])
        own = number if _get_package(one) == OWN else own
    is_safe = own == len(stack) - 1 or _get_package(frame) in WAITING
    return Place(is_safe, None if is_safe else stack[own + 1])


def _get_package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


@contextmanager
def end_on_signals(tell: Callable[[str], None] | None = None) -> Iterator[EndOnSignal]:
    """End a program in order on Ctrl-C (SIGINT), SIGTERM and SIGHUP.

    The exception is raised in the block `EndOnSignal.armed`. A second Ctrl-C ends the process at
    once, even while C code runs. A signal that the process ignores stays ignored.

    Parameters
    ----------
    tell : callable, optional
        Function that shows a line of text: see `EndOnSignal`.

    Yields
    ------
    EndOnSignal
        The handler.
    """
    handler = EndOnSignal(tell)
    before = {number: signal.signal(number, handler) for number in list_signals()}
    try:
        with _watched(handler):
            yield handler
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _watched(handler: EndOnSignal) -> Iterator[None]:
    """End the process on a second Ctrl-C, and tell why the first signal has not ended it yet.

    Python runs handlers between two steps of the main thread, so not while C code runs. But the
    system writes the number of each signal to a pipe, which a thread reads.
    """
    try:
        reader, writer = os.pipe()
    except OSError:  # too many open files: Ctrl-C waits for C code then
        yield
        return
    os.set_blocking(writer, False)
    arguments = (reader, handler)
    watcher = threading.Thread(target=_watch, args=arguments, name="featx-signals", daemon=True)
    try:
        with suppress(RuntimeError):  # too many threads
            watcher.start()
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
    finally:
        os.close(writer)
        if watcher.ident is None:
            os.close(reader)
        else:
            watcher.join()


def _watch(reader: int, handler: EndOnSignal) -> None:
    """Read the numbers of signals up to the end of the pipe; end the process if asked again."""
    first = None
    with open(reader, "rb", buffering=0) as stream:
        while number := stream.read(1):
            now = time.monotonic()
            if first is not None and number[0] == signal.SIGINT and now - first > GRACE_S:
                end_at_once(signal.SIGINT, text=AT_ONCE)
            if first is None and number[0] in ENDINGS:
                first = now
                timer = threading.Timer(PATIENCE_S, handler.tell_wait, number)
                timer.daemon = True  # nobody waits for it
                with suppress(RuntimeError):  # too many threads
                    timer.start()


@contextmanager
def explain_end(describe: Callable[[], str]) -> Iterator[None]:
    """Say what is kept, if a signal ends a block: the exception gets a note.

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
