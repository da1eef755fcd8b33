"""Read images at addresses ahead of the threads that decode them.

A store answers slowly, but many requests at a time as well as one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from featx.images.content import Content
from featx.images.entries import Entry
from featx.images.remote import RemoteContent
from featx.remote.store import stop_trying_at

N_READERS = 32
"""Number of images that are read at a time."""

N_AHEAD = 16
"""Number of chunks of images that may be read before they are asked for."""


@dataclass(frozen=True, slots=True)
class _Fetched(Content):
    """The bytes of an image that a thread reads, or has read."""

    is_plain = False
    reading: Future[tuple[bytes, int, int]] | None = None

    def stat(self) -> tuple[int, int]:
        return self.read_whole()[1:]

    def read_whole(self, status: tuple[int, int] | None = None) -> tuple[bytes, int, int]:  # noqa: ARG002
        assert self.reading is not None
        return self.reading.result()


def iter_fetched(chunks: Iterable[Sequence[Entry]]) -> Iterator[Sequence[Entry]]:
    """Yield chunks of images in their order, those at addresses with their bytes on the way.

    Parameters
    ----------
    chunks : iterable of sequence of Entry
        The images. Chunks without an image at an address are passed on as they are.
    """
    ahead: deque[Sequence[Entry]] = deque()
    pool: ThreadPoolExecutor | None = None
    stopped = threading.Event()
    try:
        for chunk in chunks:
            if any(isinstance(entry.content, RemoteContent) for entry in chunk):
                if pool is None:
                    pool = ThreadPoolExecutor(
                        N_READERS, "featx-fetch", initializer=stop_trying_at, initargs=(stopped,)
                    )
                chunk = [_fetch(entry, pool) for entry in chunk]
            elif not ahead:
                yield chunk
                continue
            ahead.append(chunk)
            if len(ahead) > N_AHEAD:
                yield ahead.popleft()
        yield from ahead
    except BaseException:  # the caller takes no more
        stopped.set()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        raise
    if pool is not None:  # the last images are still being read
        pool.shutdown(wait=False)


def _fetch(entry: Entry, pool: ThreadPoolExecutor) -> Entry:
    """Begin to read one image, if it lies at an address."""
    content = entry.content
    if not isinstance(content, RemoteContent):
        return entry
    reading = pool.submit(content.read_whole)
    return replace(entry, content=_Fetched(content.file, content.offset, content.size, reading))
