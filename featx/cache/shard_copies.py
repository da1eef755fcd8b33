"""Copies of shards at an address, so that another machine resumes an extraction."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from featx.core.address import Address
from featx.core.errors import CacheError
from featx.core.files import explain_errors, replacing
from featx.core.notes import note
from featx.remote.failures import MissingError, RemoteError
from featx.remote.objects import download, iter_objects, remove
from featx.remote.store import StoreLostError
from featx.remote.upload import put

POLL_S = 1.0
"""Seconds between two looks for new shards."""

SHARD = re.compile(r"(shard-\d{6})\.h5", re.ASCII)
COPY = re.compile(r"(shard-\d{6})\.([0-9a-f]{16})\.h5", re.ASCII)
"""Name of a shard, and of its copy, which names its content: a copy is never written twice."""


class ShardCopies:
    """Keep the shards in a folder of this machine and their copies at an address the same.

    A thread copies each new shard whole. If the store does not answer, the run goes on, a note says
    so once, and the shards that it lacks are tried again with the next one.

    Parameters
    ----------
    folder : Path
        Folder of the shards on this machine; it need not exist.
    address : Address
        Folder of the copies.
    is_needed : callable
        Function that tells whether this machine has a cache that is not at its address yet. The
        copies of its shards stay until `remove`, although the shards here are gone.
    """

    def __init__(self, folder: Path, address: Address, *, is_needed: Callable[[], bool]) -> None:
        self._folder, self._address, self._is_needed = folder, address, is_needed
        self._there: set[str] = set()
        self._names: dict[tuple[str, int, int], str] = {}
        self._is_told = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="featx-shards", daemon=True)

    def fetch(self) -> None:
        """Copy shards that are only at the address to this machine.

        The copy counts if this machine has another shard of the same number: another machine went
        on meanwhile.

        Raises
        ------
        CacheError
            If a shard cannot be written.
        RemoteError
            If the store refuses, or does not answer.
        """
        with suppress(MissingError):  # no unfinished work
            found = (one.name for one in iter_objects(self._address))
            self._there = {name for name in found if COPY.fullmatch(name)}
        here = set(self._list_here())
        with explain_errors(self._folder, error=CacheError):
            if self._there:
                self._folder.mkdir(parents=True, exist_ok=True)
        for name in sorted(self._there - here):
            path = self._folder / COPY.sub(r"\1.h5", name)
            with replacing(path, error=CacheError, overwrite=True) as draft:
                download(self._address / name, draft)

    def start(self) -> None:
        """Begin to watch the folder."""
        self._thread.start()

    def close(self) -> None:
        """Stop to watch the folder, and copy what is not copied yet."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._try_sync()

    def remove(self) -> None:
        """Remove all copies; the cache is in place."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        for name in sorted(self._there):
            remove(self._address / name)
        self._there.clear()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_S):
            self._try_sync()

    def _try_sync(self) -> None:
        try:
            self._sync()
        except (RemoteError, StoreLostError) as error:
            if not self._is_told:
                self._is_told = True
                note(
                    f"finished work could not be copied to {self._address} ({error.got}): if this "
                    "machine is lost, another one begins without it"
                )
        except FileNotFoundError:  # a shard that was removed at this moment
            return

    def _sync(self) -> None:
        """Copy new shards, and remove the copies of those that this run does not use."""
        here = self._list_here()
        for name in sorted(here.keys() - self._there):
            try:
                put(here[name], self._address / name)
            except (MissingError, FileNotFoundError):
                if here[name].exists():
                    raise
                continue  # the run is done, and has removed it
            self._there.add(name)
        # An extraction puts the cache in place before it removes its shards: look in this order.
        gone = sorted(self._there - self._list_here().keys())
        for name in gone if gone and not self._is_needed() else ():
            remove(self._address / name)
            self._there.discard(name)

    def _list_here(self) -> dict[str, Path]:
        """List the shards of this machine by the name of their copy."""
        listed = {}
        with suppress(FileNotFoundError):
            for name in sorted(filter(SHARD.fullmatch, os.listdir(self._folder))):
                path = self._folder / name
                status = path.stat()
                key = name, status.st_size, status.st_mtime_ns
                if key not in self._names:
                    with path.open("rb") as stream:
                        digest = hashlib.file_digest(stream, "sha256").hexdigest()
                    self._names[key] = SHARD.sub(rf"\1.{digest[:16]}.h5", name)
                listed[self._names[key]] = path
        return listed
