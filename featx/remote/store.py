"""Ask a store or a server through fsspec: again, for a while, if the same request may succeed.

This is the only module that imports fsspec, and only when an address is asked for. The packages of
single schemes (s3fs, aiohttp, gcsfs) are imported by fsspec.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from featx.core.address import Address
from featx.core.errors import MissingExtraError, SourceError, require
from featx.remote.failures import RemoteError, explain

N_TRIES = 6
"""Largest number of times that a request is made."""

FIRST_DELAY_S = 0.25
"""Seconds until the second try. Each later delay is twice as long; each one is shortened or
lengthened at random by up to a half, so that many machines do not come back together."""

MAX_TRYING_S = 60.0
"""Seconds after the first try from which no other try is begun."""

MAX_LOST = 64
"""Number of objects, one after the other, that a store may fail to give before a run ends."""

T = TypeVar("T")

_HTTP = "fsspec aiohttp"
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "http": _HTTP, "https": _HTTP}
"""Packages of the extra that a scheme needs, with all that they need."""

_lock = threading.Lock()
_systems: dict[tuple[object, ...], Any] = {}
_n_lost: dict[str, int] = {}
_thread = threading.local()


class StoreLostError(SourceError):
    """A store has not answered for so long that a run cannot go on."""


def request(address: Address, call: Callable[[Any, str], T]) -> T:
    """Make a request of a store, and make it again if it may succeed later.

    Parameters
    ----------
    address : Address
        What is asked for.
    call : callable
        Function of the file system of fsspec and the path in it. It may be called several times.

    Returns
    -------
    object
        What `call` returns.

    Raises
    ------
    RemoteError
        If the request is refused, or fails in all tries.
    StoreLostError
        If many requests, one after the other, have failed in all tries.
    MissingExtraError
        If a package for the scheme is not installed.
    """
    system = open_system(address)
    path = system._strip_protocol(address.text)  # a folder at the top of a bucket is ""
    start, delay_s, outer = time.monotonic(), FIRST_DELAY_S, sys.exception()
    for n_tried in range(1, N_TRIES + 1):
        try:
            result = call(system, path)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except Exception as error:  # the packages of the schemes have no common base of errors
            failure = explain(error, address, outer=outer)
            is_last = n_tried == N_TRIES or time.monotonic() - start > MAX_TRYING_S
            if not failure.is_transient or is_last:
                _count_lost(address, failure, n_tried)
                # Errors of other packages show addresses in full.
                raise failure from (error if address.text == str(address) else None)
        else:
            _n_lost.pop(address.host, None)
            return result
        if _wait(delay_s * random.uniform(0.5, 1.5)):
            raise failure
        delay_s *= 2
    raise AssertionError("the last try returns or raises")


def stop_trying_at(stopped: threading.Event) -> None:
    """Let the requests of the current thread not be made again once an event has happened.

    Parameters
    ----------
    stopped : threading.Event
        The event.
    """
    _thread.stopped = stopped


def _wait(seconds: float) -> bool:
    """Wait; return True if the thread is to stop meanwhile."""
    stopped: threading.Event | None = getattr(_thread, "stopped", None)
    if stopped is not None:
        return stopped.wait(seconds)
    time.sleep(seconds)
    return False


def _count_lost(address: Address, failure: RemoteError, n_tried: int) -> None:
    """Count requests that failed in all tries; a million rows would each be tried for a minute."""
    if not failure.is_transient:
        _n_lost.pop(address.host, None)
        return
    _n_lost[address.host] = _n_lost.get(address.host, 0) + 1
    if _n_lost[address.host] >= MAX_LOST:
        _n_lost.pop(address.host, None)
        raise StoreLostError(
            subject=f"{address.scheme}://{address.host}",
            expected="a store that answers",
            got=f"{failure.got}, in each of {n_tried} tries, for the last {MAX_LOST} objects",
            remedy=f"{failure.remedy}.",
        ) from failure


def open_system(address: Address) -> Any:
    """Open the file system of fsspec that an address belongs to.

    Parameters
    ----------
    address : Address
        Any address of the scheme.

    Returns
    -------
    fsspec.AbstractFileSystem
        A file system that does not remember listings. All threads share it if it allows that.

    Raises
    ------
    RemoteError
        If fsspec does not know the scheme.
    MissingExtraError
        If a package for the scheme is not installed.
    """
    # With its password: two users of one server have connections of their own.
    host = "" if address.scheme in ("http", "https") else address.text.split("/", 3)[2]
    key: tuple[object, ...] = (os.getpid(), address.scheme, host)
    found = _systems.get(key) or _systems.get((*key, threading.get_ident()))
    if found is not None:
        return found
    with _lock:
        system = _build_system(address)
        if not system.async_impl:  # each thread has a connection of its own
            key = (*key, threading.get_ident())
        return _systems.setdefault(key, system)


def _build_system(address: Address) -> Any:
    scheme = address.scheme
    try:
        url_to_fs = require("fsspec.core", "remote").url_to_fs
        system, _ = url_to_fs(address.text, skip_instance_cache=True, **_list_options(scheme))
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        if package is None and isinstance(error, MissingExtraError):
            raise
        remedy = str(error) if package is None else f"Run: pip install {package}"
        remedy += " (the extra remote of featx installs it)" if package else ""
        raise MissingExtraError(
            subject=str(address),
            expected=f"an installed package for {scheme}://",
            got="none",
            remedy=f"{remedy.rstrip('.')}.",
        ) from error
    except ValueError as error:
        if "rotocol not known" not in str(error):
            raise explain(error, address) from error
        raise RemoteError(
            "an address of a scheme that fsspec knows",
            f"{scheme}://",
            "Download the files, and name them here",
        ) from error
    if hasattr(system, "dircache"):
        system.dircache.use_listings_cache = False  # a long-lived process would see no new files
    if scheme in ("s3", "s3a"):
        system.retries = 1  # `request` makes requests again; botocore does, too
    return system


def _list_options(scheme: str) -> dict[str, Any]:
    """List what fsspec's own configuration lacks: a large download may take more than 5 minutes."""
    if scheme not in ("http", "https"):
        return {}
    aiohttp = require("aiohttp", "remote")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
    return {"client_kwargs": {"timeout": timeout}}
