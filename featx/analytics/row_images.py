"""Find the images of a cache's rows in their source again, and decode them."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np

from featx.cache.reader import Cache
from featx.core.errors import CacheError, FeatxError
from featx.core.typing import IntArray, PathLike
from featx.images.content import Content, InMemory
from featx.images.decode import decode_reduced
from featx.images.entries import Entries, Entry, as_columns
from featx.images.large import read_content
from featx.images.manifest import Manifest
from featx.images.opening import PILLOW_SETTINGS, check_name
from featx.images.prefetch import iter_fetched
from featx.images.reasons import describe_failure
from featx.images.sources.read import read_manifest
from featx.remote.store import StoreLostError

if TYPE_CHECKING:
    from PIL.Image import Image

CHUNK = 16
"""Number of images that a thread takes at a time."""

MAX_AHEAD = 64
"""Largest number of chunks that may be decoded before they are asked for."""

MEMORY = 256 << 20
"""Number of bytes of decoded images that may wait, beyond those that each thread works on."""

MAX_THREADS = 8

NOT_IN_SOURCE = "the source has no image of this id"


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Images of rows in their sources.

    Attributes
    ----------
    entries : Entries
        Images of all sources, one behind the other.
    numbers : ndarray of int
        ``(n_rows,)``, number of the entry of each row; -1 for none.
    reasons : tuple of (range, str)
        Rows whose source cannot be read, and why.
    """

    entries: Entries
    numbers: IntArray
    reasons: tuple[tuple[range, str], ...] = ()


class RowImages:
    """The images of a cache's rows, read from their source when they are asked for.

    An image belongs to a row by its id, or else by its path, and only if the SHA-256 of its bytes
    is the one that the cache holds: an image that was changed is not shown in the place of the one
    that was embedded.

    Parameters
    ----------
    cache : Cache
        The open cache; it may be several that are read as one.
    source : path or sequence of paths, optional
        Source of the rows, as `featx.extract` takes it. Default: the source that the cache names,
        of each cache if there are several.

    Attributes
    ----------
    missing : dict of int to str
        Rows that were asked for and have no image, with the reason.

    Raises
    ------
    SourceError
        If the source that is passed cannot be read.
    CacheError
        If the source that is passed has none of the rows.

    Examples
    --------
    >>> with featx.open_cache("photos.h5") as cache:
    ...     images = RowImages(cache)
    ...     sizes = [image.size for row, image in images.decode([3, 0], side=32)]
    >>> sizes, images.missing
    ([(32, 24), (32, 24)], {})
    """

    def __init__(self, cache: Cache, source: PathLike | Sequence[PathLike] | None = None) -> None:
        self.missing: dict[int, str] = {}
        self._digests = cache.read_column("digest")
        self._found = _find_own(cache) if source is None else _find(cache, read_manifest(source))

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> RowImages:
        """Read the images of a source that has no cache: its rows are those of the manifest.

        Parameters
        ----------
        manifest : Manifest
            Images of the source.
        """
        images = cls.__new__(cls)
        images.missing = {}
        images._digests = np.zeros((len(manifest), 32), np.uint8)
        entries = as_columns(manifest.entries)
        images._found = _Found(entries=entries, numbers=np.arange(len(manifest)))
        return images

    def decode(
        self, rows: IntArray | Sequence[int], *, side: int | None = None
    ) -> Iterator[tuple[int, Image | None]]:
        """Decode the images of rows, in threads that run ahead.

        Parameters
        ----------
        rows : ndarray or sequence of int
            Numbers of the rows, in any order, also repeated.
        side : int, optional
            Largest length of the longer side of an image, in pixels: a larger image is shrunk.
            Default: images as they are.

        Yields
        ------
        (int, PIL.Image.Image or None)
            Each row in the order of `rows`, with its upright image of mode RGB; None if the image
            is gone, was changed or cannot be read: `missing` has the reason.
        """
        left = iter(np.asarray(rows, np.int64).tolist())
        chunks = iter(lambda: list(itertools.islice(left, CHUNK)), [])
        waiting: deque[Future[list[tuple[int, Image | str]]]] = deque()
        n_ahead = n_threads = min(MAX_THREADS, int(joblib.cpu_count()))
        with ThreadPoolExecutor(n_threads, "featx-images") as pool:
            try:
                for numbers, entries in self._iter_entries(chunks):
                    waiting.append(pool.submit(self._decode_chunk, numbers, entries, side))
                    if len(waiting) > n_ahead:
                        done = waiting.popleft().result()
                        yield from self._tell(done)
                        n_ahead = max(n_threads, min(MAX_AHEAD, MEMORY // _count_bytes(done)))
                while waiting:
                    yield from self._tell(waiting.popleft().result())
            finally:
                for future in waiting:
                    future.cancel()

    def _iter_entries(
        self, chunks: Iterator[list[int]]
    ) -> Iterator[tuple[list[int], Sequence[Entry]]]:
        """Yield the rows of each chunk with their entries, those at addresses on the way."""
        mine, theirs = itertools.tee(chunks)
        found = (
            self._found.entries[numbers[numbers >= 0]]
            for numbers in (self._found.numbers[chunk] for chunk in theirs)
        )
        yield from zip(mine, iter_fetched(found), strict=True)

    def _decode_chunk(
        self, rows: list[int], entries: Sequence[Entry], side: int | None
    ) -> list[tuple[int, Image | str]]:
        left = iter(entries)
        with PILLOW_SETTINGS:
            return [
                (
                    row,
                    decode_entry(next(left), side=side, digest=self._digests[row].tobytes().hex()),
                )
                if self._found.numbers[row] >= 0
                else (row, self._explain(row))
                for row in rows
            ]

    def _explain(self, row: int) -> str:
        """Say why a row has no entry."""
        reasons = (reason for rows, reason in self._found.reasons if row in rows)
        return next(reasons, NOT_IN_SOURCE)

    def _tell(self, done: list[tuple[int, Image | str]]) -> Iterator[tuple[int, Image | None]]:
        for row, image in done:
            if isinstance(image, str):
                self.missing[row] = image
                yield row, None
            else:
                yield row, image


def _find(cache: Cache, manifest: Manifest) -> _Found:
    """Find the images of all rows in a source that the user names."""
    numbers = _match(cache, manifest)
    if not (numbers >= 0).any():
        raise CacheError(
            subject=str(cache.path),
            expected="the source that it was made from",
            got=f"{manifest.source}, which has none of its {len(cache):,} rows",
            remedy="Pass the source that was given to featx.extract.",
        )
    return _Found(entries=as_columns(manifest.entries), numbers=numbers)


def _find_own(cache: Cache) -> _Found:
    """Find the images of all rows in the sources that the caches themselves name."""
    read: dict[tuple[str, Path | None], Manifest | str] = {}
    starts: dict[tuple[str, Path | None], int] = {}
    n_entries = 0
    numbers = np.full(len(cache), -1, np.int64)
    reasons = []
    for member, first in zip(cache.members, cache.starts.tolist(), strict=False):
        source, folder = member.source, member.path.parent
        # A source that lies here is the same for all; others may lie beside their caches.
        key = source, None if os.path.exists(source) else folder
        if key not in read:
            read[key] = manifest = _read_named(source, folder)
            if not isinstance(manifest, str):
                starts[key], n_entries = n_entries, n_entries + len(manifest)
        rows, manifest = range(first, first + len(member)), read[key]
        if isinstance(manifest, str):
            reasons.append((rows, manifest))
        else:
            own = _match(member, manifest)
            numbers[rows] = np.where(own < 0, -1, own + starts[key])
    parts = [as_columns(one.entries) for one in read.values() if not isinstance(one, str)]
    entries = Entries.concat(parts) if parts else Entries.from_list([])
    return _Found(entries=entries, numbers=numbers, reasons=tuple(reasons))


def _match(cache: Cache, manifest: Manifest) -> IntArray:
    """Find the image of each row, by its id or else by its path; -1 for none."""
    numbers = manifest.find(cache.read_column("id"))
    lacking = np.flatnonzero(numbers < 0)
    if len(lacking):
        numbers[lacking] = manifest.find(cache.read_column("path")[lacking], column="path")
    return numbers


def _read_named(source: str, folder: Path) -> Manifest | str:
    """Read the source that a cache names: from here, or else from the folder of the cache."""
    names = [source] if os.path.exists(source) else source.split(", ")
    beside = [str(folder / name) for name in names]
    for paths in (names, beside) if all(map(os.path.exists, beside)) else (names,):
        try:
            return read_manifest(paths[0] if len(paths) == 1 else paths)
        except FeatxError as error:
            reason = f"{error.subject}: {describe_failure(error)}"
    return reason


def decode_entry(entry: Entry, *, side: int | None = None, digest: str = "") -> Image | str:
    """Decode the image of an entry, or say why it cannot be.

    Parameters
    ----------
    entry : Entry
        The image.
    side : int, optional
        Largest length of the longer side in pixels. Default: the image as it is.
    digest : str
        SHA-256 that the bytes of the image must have, hexadecimal; empty or zeros for any.

    Returns
    -------
    PIL.Image.Image or str
        The image, upright, of mode RGB; or the reason.
    """
    try:
        data = entry.content.image if isinstance(entry.content, InMemory) else None
        if isinstance(entry.content, Content):
            check_name(entry.row.path)
            data, found, _, _ = read_content(entry.content)
            if found != digest and digest.strip("0"):
                return "the image was changed after it was embedded"
        image, _ = decode_reduced(data, side, entry.row.path)
        if side is not None:
            image.thumbnail((side, side))
    except StoreLostError:
        raise
    except Exception as error:  # no image may stop the run
        return describe_failure(error)
    return image


def _count_bytes(done: list[tuple[int, Image | str]]) -> int:
    """Count the bytes of the pixels of a chunk, at least 1."""
    images = (image for _, image in done if not isinstance(image, str))
    return max(1, sum(3 * image.width * image.height for image in images))
