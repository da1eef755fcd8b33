"""Turn image files into pixels: read, decode and preprocess, in threads that run ahead."""

from __future__ import annotations

import errno
import functools
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError
from featx.core.files import find_remedy
from featx.core.lookup import SeenDigests
from featx.core.notes import note
from featx.core.rows import Failure, Row
from featx.core.text import shorten
from featx.core.typing import Array, Decode, Stage
from featx.embedding.timings import StopWatch, Timings
from featx.images.content import Content, InMemory
from featx.images.decode import BRIGHTEST_16_BIT, decode_reduced
from featx.images.entries import Entry
from featx.images.large import read_content
from featx.images.names import escape_name
from featx.images.opening import PILLOW_SETTINGS, check_name
from featx.images.reasons import describe_failure
from featx.remote.store import StoreLostError

CHUNK = 4
"""Number of images that a worker takes at a time: a tenth faster than one, for tiny images."""

MIN_AHEAD = 64
"""Smallest number of images that may be ready before the network asks for them."""

MAX_REASON = 500
"""Largest length of a failure's reason, in characters."""


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
    brightest : int or None
        Largest value of an image of 16 bit, in 0..65535; None for other images.
    """

    row: Row
    watch: StopWatch
    pixels: Array | None = None
    failure: Failure | None = None
    brightest: int | None = None


@dataclass(kw_only=True)
class DepthTally:
    """Count images of 16 bit, and those whose values are those of 12 bit or fewer.

    Attributes
    ----------
    n_images : int
        Number of decoded images of 16 bit.
    n_dark : int
        Number of those whose values are all below a sixteenth of the range.
    """

    n_images: int = 0
    n_dark: int = 0

    def add(self, brightest: int) -> None:
        """Count one image of 16 bit by its largest value."""
        self.n_images += 1
        self.n_dark += brightest * 16 < 65536

    def merge(self, other: DepthTally) -> None:
        """Add the counts of another tally."""
        self.n_images += other.n_images
        self.n_dark += other.n_dark

    def warn(self) -> None:
        """Tell the user if some images are nearly black to the network."""
        if self.n_dark:
            note(
                f"{self.n_dark} of {self.n_images} images of 16 bit use less than a sixteenth of "
                "the range: to the network they are nearly black. If their values have 12 bits, "
                "write the images again with values times 16."
            )


def iter_chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut entries into chunks of `CHUNK`, for the threads that prepare them.

    Parameters
    ----------
    entries : iterable of Entry
        The images. No more of them are taken than the chunk needs.
    """
    left = iter(entries)
    while chunk := list(itertools.islice(left, CHUNK)):
        yield chunk


def iter_prepared(
    pool: ThreadPoolExecutor,
    chunks: Iterable[Sequence[Entry]],
    backbone: Backbone,
    *,
    n_ahead: int,
    skip_digests: SeenDigests | None,
    decode: Decode,
    timings: Timings,
    depths: DepthTally,
) -> Iterator[Prepared]:
    """Prepare images in a pool of threads, and yield them in their order.

    Parameters
    ----------
    pool : ThreadPoolExecutor
        Threads that read and decode.
    chunks : iterable of sequence of Entry
        The images, as `iter_chunks` cuts them.
    backbone : Backbone
        The network whose preprocessing is applied.
    n_ahead : int
        Number of images that may be ready before they are taken.
    skip_digests : SeenDigests or None
        Digests of contents that are not decoded; None decodes every image.
    decode : {"exact", "fast"}
        Way to decode images.
    timings : Timings
        Record of the seconds that the consumer waits.
    depths : DepthTally
        Count of images of 16 bit, which is added to.
    """
    waiting: deque[Future[list[Prepared]]] = deque()
    prepare = functools.partial(
        prepare_image, backbone=backbone, skip_digests=skip_digests, decode=decode
    )

    def prepare_all(chunk: Sequence[Entry]) -> list[Prepared]:
        with PILLOW_SETTINGS:  # preprocessing, too, asks for Pillow's largest number of pixels
            return [prepare(entry) for entry in chunk]

    def take() -> list[Prepared]:
        with timings.wait("images"):
            prepared = waiting.popleft().result()
        for one in prepared:
            if one.brightest is not None:
                depths.add(one.brightest)
        return prepared

    try:
        for chunk in chunks:
            waiting.append(pool.submit(prepare_all, chunk))
            if len(waiting) * CHUNK > n_ahead:
                yield from take()
        while waiting:
            yield from take()
    finally:
        for future in waiting:
            future.cancel()


def prepare_image(
    entry: Entry, *, backbone: Backbone, skip_digests: SeenDigests | None, decode: Decode
) -> Prepared:
    """Read, decode and preprocess one image; an error of the image becomes a `Failure`.

    Parameters
    ----------
    entry : Entry
        The image.
    backbone : Backbone
        The network whose preprocessing is applied.
    skip_digests : SeenDigests or None
        Digests of contents that are not decoded; None decodes every image.
    decode : {"exact", "fast"}
        Way to decode images.

    Raises
    ------
    DeviceError
        If the system opens no more files, which is no fault of the image.
    StoreLostError
        If the store of the images has not answered for a long time.
    """
    row, watch = entry.row, StopWatch()
    stage: Stage = "read"
    try:
        data = entry.content.image if isinstance(entry.content, InMemory) else None
        if isinstance(entry.content, Content):
            check_name(row.path)
            data, digest, n_bytes, mtime_ns = read_content(entry.content)
            row = replace(row, digest=digest, n_bytes=n_bytes, mtime_ns=mtime_ns)
            watch.end(stage)
            if skip_digests is not None and digest in skip_digests:
                return Prepared(row=row, watch=watch)
        stage = "decode"
        is_exact = decode == "exact"
        min_side = None if is_exact else backbone.preprocess.min_side
        image, (width, height) = decode_reduced(data, min_side, row.path)
        row = replace(row, width=width, height=height)
        watch.end(stage)
        stage = "preprocess"
        pixels = backbone.preprocess.prepare(image, exact=is_exact)
        if pixels.shape != backbone.pixel_shape:
            raise ValueError(f"expected shape {backbone.pixel_shape}, got {pixels.shape}")
        watch.end(stage)
        brightest = image.info.get(BRIGHTEST_16_BIT)
        return Prepared(row=row, watch=watch, pixels=pixels, brightest=brightest)
    except StoreLostError:
        raise
    except Exception as error:  # no image may stop the run
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise DeviceError(
                subject=row.path,
                expected="to open the file",
                got=str(error.strerror),
                remedy=f"Pass fewer workers. {find_remedy(error.errno, '')}",
            ) from error
        reason = describe_failure(error)
    watch.end(stage)
    return Prepared(row=row, watch=watch, failure=build_failure(row, stage, reason))


def build_failure(row: Row, stage: Stage, reason: str) -> Failure:
    """Describe why one image has no embedding, in one printable line."""
    reason = shorten(" ".join(reason.split()), MAX_REASON)
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
