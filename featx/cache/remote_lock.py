"""Lock a cache at an address for one writer: an object beside it names the process that writes."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from featx.cache.lock import LockOwner, forget_token, hold_token
from featx.core.address import Address
from featx.core.errors import CacheLockedError
from featx.core.notes import note
from featx.core.records import build_record, load_json
from featx.remote.failures import MissingError, RemoteError
from featx.remote.objects import read_range, remove
from featx.remote.store import StoreLostError, request


class RemoteLock:
    """The right to write one cache at an address. The end of the ``with`` block releases the lock.

    Stores that create an object only if there is none (S3 and those like it, GCS, Azure) let one of
    several runs in. In other stores two runs that begin in the same moment may both go on, until
    one of them finds the lock of the other before it writes.

    Parameters
    ----------
    address : Address
        The cache; it need not exist yet.
    break_lock : bool
        Take the lock even if another process holds it.

    Raises
    ------
    CacheLockedError
        If a running process, or a process on another machine, holds the lock.
    RemoteError
        If the store refuses, or does not answer.
    """

    def __init__(self, address: Address, *, break_lock: bool = False) -> None:
        self._cache = address
        self._object = address.parent / f"{address.name}.lock"
        self._me = LockOwner.of_this_process()
        hold_token(self._me.token)
        try:
            if break_lock:
                remove(self._object)
            if not self._create():
                owner = self._read()
                if owner is not None and not owner.is_dead():
                    raise self._refuse(str(owner))
                remove(self._object)
                if not self._create():
                    raise self._refuse(str(self._read() or "another process"))
        except BaseException:
            forget_token(self._me.token)
            raise

    def __enter__(self) -> RemoteLock:
        return self

    def __exit__(self, *_: object) -> None:
        forget_token(self._me.token)
        try:
            if self._is_mine():
                remove(self._object)
        except (
            RemoteError,
            StoreLostError,
            CacheLockedError,
        ) as error:  # the work under the lock is done
            note(f"the lock {self._object} could not be removed ({error.got}); you may delete it")

    def check(self) -> None:
        """Make sure that no other process has broken the lock.

        Raises
        ------
        CacheLockedError
            If another process holds the lock now.
        RemoteError
            If the store does not answer.
        """
        if not self._is_mine():
            raise CacheLockedError(
                subject=str(self._cache),
                expected="to be the only writer of the cache",
                got=f"a lock that {self._read() or 'another process'} has broken",
                remedy="Run one extraction at a time.",
            )

    def _is_mine(self) -> bool:
        owner = self._read()
        return owner is not None and owner.token == self._me.token

    def _create(self) -> bool:
        """Create the object; return False if another process has it."""
        data = json.dumps(asdict(self._me)).encode()

        def create(system: Any, path: str) -> None:
            with suppress(FileExistsError):
                try:
                    system.pipe_file(path, data, mode="create")
                except (TypeError, NotImplementedError, ValueError):  # an older or simpler store
                    if not system.exists(path):
                        system.pipe_file(path, data)

        request(self._object, create)
        return self._is_mine()

    def _read(self) -> LockOwner | None:
        try:
            return build_record(LockOwner, load_json(read_range(self._object)))
        except MissingError:
            return None
        except ValueError:
            raise CacheLockedError(
                subject=str(self._object),
                expected="the name of the process that writes the cache",
                got="a damaged object",
                remedy="If no process writes the cache, pass break_lock=True or delete the object.",
            ) from None

    def _refuse(self, got: str) -> CacheLockedError:
        return CacheLockedError(
            subject=str(self._cache),
            expected="to be the only writer of the cache",
            got=got,
            remedy="Wait for that process; if it is dead, pass break_lock=True or delete "
            f"{self._object}.",
        )
