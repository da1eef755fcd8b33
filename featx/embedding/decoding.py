"""Turn image files into pixels: read, decode and preprocess, in threads that run ahead."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256

from featx.backbones.backbone import Backbone
from featx.core.errors import FeatxError
from featx.core.rows import Failure, Row
from featx.core.typing import Array, Decode, Stage
from featx.embedding.timings import StopWatch, Timings
from featx.images.content import Content, InMemory
from featx.images.decode import decode_reduced
from featx.images.manifest import Entry
from featx.images.names import escape_name

CHUNK = 4
"""Number of images that a worker takes at a time: a tenth faster than one, for tiny images."""

MIN_AHEAD = 64
"""Smallest number of images that may be ready before the network asks for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One image after decoding.

    Attributes
    ----------
    row : Row
        The row of the image, with the digest and the size of its content if they were read.
    watch : StopWatch
        Seconds that the image took, per stage.
    pixels : ndarray or None
        Pixels for the network; None if the image failed or its digest is to be skipped.
    failure : Failure or None
        The reason why the image has no pixels; None if the image was only skipped.
    """

    row: Row
    watch: StopWatch
    pixels: Array | None = None
    failure: Failure | None = None


def iter_prepared(
    pool: ThreadPoolExecutor,
    entries: Sequence[Entry],
    backbone: Backbone,
    *,
    n_ahead: int,
    skip_digests: set[str] | None,
    decode: Decode,
    timings: Timings,
) -> Iterator[Prepared]:
    """Prepare images in a pool of threads, and yield them in the order of the entries.

    Parameters
    ----------
    pool : ThreadPoolExecutor
        Threads that read and decode.
    entries : sequence of Entry
        The images.
    backbone : Backbone
        The network whose preprocessing is applied.
    n_ahead : int
        Number of images that may be ready before they are taken.
    skip_digests : set of str or None
        Digests of contents that are not decoded; None decodes every image.
    decode : {"exact", "fast"}
        Way to decode images.
    timings : Timings
        Record of the seconds that the consumer waits.
    """
    waiting: deque[Future[list[Prepared]]] = deque()
    prepare = functools.partial(
        prepare_image, backbone=backbone, skip_digests=skip_digests, decode=decode
    )

    def prepare_all(chunk: Sequence[Entry]) -> list[Prepared]:
        return [prepare(entry) for entry in chunk]

    def take() -> list[Prepared]:
        with timings.wait("images"):
            return waiting.popleft().result()

    try:
        for start in range(0, len(entries), CHUNK):
            waiting.append(pool.submit(prepare_all, entries[start : start + CHUNK]))
            if len(waiting) * CHUNK > n_ahead:
                yield from take()
        while waiting:
            yield from take()
    finally:
        for future in waiting:
            future.cancel()


def prepare_image(
    entry: Entry, *, backbone: Backbone, skip_digests: set[str] | None, decode: Decode
) -> Prepared:
    """Read, decode and preprocess one image; every error becomes a `Failure`.

    Parameters
    ----------
    entry : Entry
        The image.
    backbone : Backbone
        The network whose preprocessing is applied.
    skip_digests : set of str or None
        Digests of contents that are not decoded; None decodes every image.
    decode : {"exact", "fast"}
        Way to decode images.
    """
    row, watch = entry.row, StopWatch()
    stage: Stage = "read"
    try:
        data = entry.content.image if isinstance(entry.content, InMemory) else None
        if isinstance(entry.content, Content):
            data, n_bytes, mtime_ns = entry.content.read_whole()
            digest = sha256(data).hexdigest()
            row = replace(row, digest=digest, n_bytes=n_bytes, mtime_ns=mtime_ns)
            watch.end(stage)
            if skip_digests is not None and digest in skip_digests:
                return Prepared(row=row, watch=watch)
        stage = "decode"
        is_exact = decode == "exact"
        min_side = None if is_exact else backbone.preprocess.min_side
        image, (width, height) = decode_reduced(data, min_side)
        row = replace(row, width=width, height=height)
        watch.end(stage)
        stage = "preprocess"
        pixels = backbone.preprocess.prepare(image, exact=is_exact)
        if pixels.shape != backbone.pixel_shape:
            raise ValueError(f"expected shape {backbone.pixel_shape}, got {pixels.shape}")
        watch.end(stage)
        return Prepared(row=row, watch=watch, pixels=pixels)
    except OSError as error:
        reason = error.strerror or str(error)
    except Exception as error:  # no image may stop the run
        text = f"{type(error).__name__}: {error}"
        reason = error.reason if isinstance(error, FeatxError) else text
    watch.end(stage)
    return Prepared(row=row, watch=watch, failure=build_failure(row, stage, reason))


def build_failure(row: Row, stage: Stage, reason: str) -> Failure:
    """Describe why one image has no embedding, in one printable line."""
    reason = " ".join(reason.split())
    reason = reason if reason.isprintable() else escape_name(reason)
    return Failure(
        id=row.id,
        path=row.path,
        digest=row.digest,
        stage=stage,
        reason=reason,
        n_bytes=row.n_bytes,
        mtime_ns=row.mtime_ns,
    )
