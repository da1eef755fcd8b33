"""State of the whole process: one lock around changes to it, and settings held for a while.

The settings belong to the caller. featx fixes those that would change its results while it works,
and gives them back afterwards; several threads may do so at once.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from featx.core.errors import DeviceError

GLOBAL_STATE = threading.RLock()
"""Hold this lock while a library's global state is changed for one thread alone: traces by torch.fx
and torch.jit, random numbers, imports. Two threads that trace at once break torch for the whole
process. The lock may be held for seconds; `HeldSettings`, which threads share, do not wait for it.
"""

END_S = 10.0
"""Seconds that the end of Python waits for the calls of daemon threads."""

_used_in: int | None = None
"""Process in which featx first ran a network; None before that."""


def renew_in_children(renew: Callable[[], object]) -> None:
    """Call a function in each process that is forked from this one.

    Parameters
    ----------
    renew : callable
        Function that makes locks anew: another thread may hold them, which a child does not have.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)


renew_in_children(lambda: GLOBAL_STATE._at_fork_reinit())  # type: ignore[attr-defined]


class _Shared:
    """State of the process that any number of threads hold: the last one to leave gives it back.

    A subclass holds the state in `_hold`, which each thread calls, and gives it back in
    `_give_back`; both are called with the lock taken.
    """

    def __init__(self) -> None:
        self._start()
        renew_in_children(self._renew)

    def _start(self) -> None:
        self._lock, self._n_users = threading.Lock(), 0

    def __enter__(self) -> None:
        is_inside = False
        try:
            with self._lock:
                self._n_users += 1
                is_inside = True
                self._hold()
        except BaseException:  # Ctrl-C may come at any point
            if is_inside:
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._give_back()

    def _renew(self) -> None:
        """Forget the threads that a forked child does not have, one of which may hold the lock."""
        self._give_back()
        self._start()

    def _hold(self) -> None:
        raise NotImplementedError

    def _give_back(self) -> None:
        raise NotImplementedError


class HeldSettings(_Shared):
    """Hold settings of a library at fixed values while featx uses the library.

    Settings that a notebook changes are no input of featx: results must not depend on them. Any
    number of threads may enter: each one sees to it that the values hold, and the last one to leave
    gives back what was there before, or what somebody has set in the meantime.

    Parameters
    ----------
    list_settings : callable
        Function that returns the settings as (object, name of an attribute, value). It is called
        once, at the first use, so that the library is not imported before.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> library = SimpleNamespace(limit=9)
    >>> held = HeldSettings(lambda: [(library, "limit", 3)])
    >>> with held:
    ...     library.limit
    3
    >>> library.limit
    9
    """

    def __init__(self, list_settings: Callable[[], Iterable[tuple[Any, str, Any]]]) -> None:
        self._list_settings = list_settings
        self._settings: list[tuple[Any, str, Any]] | None = None
        self._before: list[tuple[Any, str, Any, Any]] = []
        super().__init__()

    def _hold(self) -> None:
        if self._settings is None:
            self._settings = list(self._list_settings())
        for owner, name, value in self._settings:
            before = getattr(owner, name)
            if before != value:
                self._before.append((owner, name, before, value))
                setattr(owner, name, value)

    def _give_back(self) -> None:
        while self._before:  # the latest change of a setting first: it ends the others
            owner, name, before, value = self._before.pop()
            if getattr(owner, name) == value:
                setattr(owner, name, before)


class _DaemonCalls(_Shared):
    """Calls in daemon threads, which the end of Python waits for, and of which it lets none begin.

    Python stops such threads wherever they are. One that it stops within the C++ of torch, even
    while it frees a tensor, aborts the process.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_ending = False
        atexit.register(self._wait)

    def _hold(self) -> None:
        if self._is_ending:
            raise RuntimeError("featx cannot run a network while Python ends")

    def _give_back(self) -> None:
        """Hold nothing."""

    def _wait(self) -> None:
        self._is_ending = True
        end = time.monotonic() + END_S
        while self._n_users and time.monotonic() < end:
            time.sleep(0.01)


_DAEMON_CALLS = _DaemonCalls()


@contextmanager
def use_torch() -> Iterator[None]:
    """Use torch in a ``with`` block, which the end of Python does not cut off.

    Raises
    ------
    RuntimeError
        If the thread is a daemon's, and Python ends.
    """
    if not threading.current_thread().daemon:  # Python waits for it
        yield
        return
    with _DAEMON_CALLS:
        yield


def mark_process() -> None:
    """Note that featx runs a network in this process, and refuse a process forked after that.

    Raises
    ------
    DeviceError
        If this process was forked from one in which featx had run a network. The threads of the
        libraries do not exist in such a process, so that they would wait for each other for ever.
    """
    global _used_in
    if _used_in is None:
        _used_in = os.getpid()
    check_process(_used_in)


def check_process(process: int) -> None:
    """Refuse to go on in another process than the one in which work began.

    Parameters
    ----------
    process : int
        Id of the process in which work began.

    Raises
    ------
    DeviceError
        If this process has another id.
    """
    if process != os.getpid():
        raise DeviceError(
            subject="featx in a forked process",
            expected="a process of its own",
            got=f"a process that was forked after featx had run a network in process {process}",
            remedy="Start processes with multiprocessing.get_context('spawn'), or call featx only "
            "in the forked processes.",
        )


class SharedBlock(_Shared):
    """A block that any number of threads may be in: the first one begins it, the last one ends it.

    Two threads that each save and give back a state of the process give back, in the end, what one
    of them had set.

    Parameters
    ----------
    begin : callable
        Function that changes the state of the process, and returns the function that gives the
        state back.
    """

    def __init__(self, begin: Callable[[], Callable[[], object]]) -> None:
        self._begin = begin
        self._end: Callable[[], object] = _do_nothing
        super().__init__()

    def _hold(self) -> None:
        if self._n_users == 1:
            self._end = self._begin()

    def _give_back(self) -> None:
        end, self._end = self._end, _do_nothing
        end()


def _do_nothing() -> None:
    """Give nothing back."""


def _save_filters() -> Callable[[], object]:
    saved = warnings.catch_warnings()
    saved.__enter__()
    return lambda: saved.__exit__(None, None, None)


_FILTERS = SharedBlock(_save_filters)


@contextmanager
def ignore_warnings(category: type[Warning] = Warning, message: str = "") -> Iterator[None]:
    """Ignore warnings in a ``with`` block. The filters belong to the process, and are given back.

    Any number of threads may be in such a block.

    Parameters
    ----------
    category : type
        Class of the warnings.
    message : str
        Regular expression that matches the beginning of the warnings.
    """
    with _FILTERS:
        warnings.filterwarnings("ignore", message, category)
        yield


def _limit_blas() -> Callable[[], object]:
    from threadpoolctl import threadpool_limits

    limits = threadpool_limits(1, user_api="blas")
    return lambda: limits.restore_original_limits()


_BLAS = SharedBlock(_limit_blas)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Compute products of matrices in the thread that asks for them, in a ``with`` block.

    BLAS has one setting for the process, OpenMP one for each thread. Any number of threads may be
    in such a block.
    """
    from threadpoolctl import threadpool_limits

    with _BLAS, threadpool_limits(1, user_api="openmp"):
        yield
