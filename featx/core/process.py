"""State of the whole process: one lock around changes to it, and settings held for a while."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

GLOBAL_STATE = threading.RLock()
"""Hold this lock while a library's global state is changed: traces by torch.fx and torch.jit,
warning filters, switches. Two threads that trace at once break torch for the whole process."""


class HeldSettings:
    """Hold settings of a library at fixed values while featx uses the library.

    Settings that a notebook changes are no input of featx: results must not depend on them. Any
    number of threads may enter: the first one sets the values, and the last one to leave gives
    back what was there before, except what somebody has changed in the meantime.

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
        self._start()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._give_back_in_child)

    def _start(self) -> None:
        self._lock, self._n_users = threading.Lock(), 0
        self._before: list[tuple[Any, str, Any, Any]] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._n_users == 0:
                if self._settings is None:
                    self._settings = list(self._list_settings())
                for owner, name, value in self._settings:
                    self._before.append((owner, name, getattr(owner, name), value))
                    setattr(owner, name, value)
            self._n_users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._give_back()

    def _give_back(self) -> None:
        while self._before:
            owner, name, before, value = self._before.pop()
            if getattr(owner, name) is value:
                setattr(owner, name, before)

    def _give_back_in_child(self) -> None:
        """Forget the threads that a forked child does not have, one of which may hold the lock."""
        self._give_back()
        self._start()
