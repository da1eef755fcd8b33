"""Keep the engine of a call open for the next call: one engine per backbone."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError, FeatxError
from featx.core.process import mark_process
from featx.engines.engine import Engine

PATIENCE_S = 1.0
"""Seconds that a call waits for an engine that another call uses, before it builds its own: about
as long as building takes. No call waits for ever, such as one within a transform of the user."""


class _Keeper:
    """The engine that one backbone keeps, and the lock of the call that uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._how: Hashable = None
        self._is_building = self._is_released = False
        self._user: int | None = None  # the thread that holds the lock

    def take(self) -> bool:
        """Wait for the engine; False if another call has used it for longer than the patience."""
        if self._user == threading.get_ident():  # this thread would wait for itself
            return False
        while not self._lock.acquire(timeout=PATIENCE_S):
            if not self._is_building:
                return False
        self._user = threading.get_ident()
        return True

    def open(self, how: Hashable, build: Callable[[], Engine]) -> Engine:
        """Return the engine, built anew if the last call wanted another one; `take` it before."""
        if self._engine is None or how != self._how:
            self._close()
            self._is_building = True
            try:
                self._engine, self._how = build(), how
            finally:
                self._is_building = False
        return self._engine

    def give_back(self, *, is_sound: bool) -> None:
        """End the use of the engine; it stays open if it may be kept."""
        try:
            engine = self._engine
            if engine is not None and not (engine.is_kept and is_sound):
                self._close()
        finally:
            self._user = None
            self._lock.release()
            if self._is_released:
                self.release()

    def release(self) -> None:
        """Close the engine, now or when the call that uses it ends."""
        self._is_released = True
        if self._lock.acquire(blocking=False):
            self._is_released = False
            self.give_back(is_sound=False)

    def _close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None and engine.is_here:
            engine.close()


_keepers: dict[int, _Keeper] = {}
"""Keepers by the address of their backbone, which removes its keeper when it is freed."""


@contextmanager
def lend_engine(
    backbone: Backbone, how: Hashable, build: Callable[[Backbone], Engine]
) -> Iterator[Engine]:
    """Lend an engine for a call: the one that the backbone keeps, or a new one that it keeps then.

    Calls that share a backbone use its engine one after the other. A call that has waited for
    `PATIENCE_S` builds an engine for itself and closes it.

    Parameters
    ----------
    backbone : Backbone
        The network to run. Its engine is closed when the backbone is freed.
    how : hashable
        Everything else that the engine depends on; if it differs from that of the engine which is
        kept, another engine takes its place.
    build : callable
        Function that builds an engine for a backbone.

    Raises
    ------
    DeviceError
        If this process was forked after featx had run a network.
    """
    mark_process()
    keeper = _find_keeper(backbone)
    if not keeper.take():
        with build(backbone) as engine:
            yield engine
        return
    is_sound = False
    try:
        yield keeper.open(how, lambda: build(backbone.describe()))
        is_sound = True
    except FeatxError as error:  # an image that cannot be read does no harm to the engine
        is_sound = not isinstance(error, DeviceError)
        raise
    finally:
        keeper.give_back(is_sound=is_sound)


def release_engines() -> None:
    """Close all engines that are kept; one that a call uses is closed when the call ends."""
    for keeper in [*_keepers.values()]:
        keeper.release()


def _find_keeper(backbone: Backbone) -> _Keeper:
    new = _Keeper()
    keeper = _keepers.setdefault(id(backbone), new)  # one step, which no other thread divides
    if keeper is new:
        weakref.finalize(backbone, _drop, id(backbone))
    return keeper


def _drop(address: int) -> None:
    """Close the engine of a backbone that is freed, or of any backbone when Python ends."""
    keeper = _keepers.pop(address, None)
    if keeper is not None:
        keeper.release()
