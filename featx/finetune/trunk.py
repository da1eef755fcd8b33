"""The output of the frozen trunk: computed once and kept, or computed at every reading.

The trunk is a backbone like any other; its embedding is a feature map. It is extracted into an
ordinary cache, by any engine, and an interrupted run continues.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from featx.backbones.backbone import Backbone
from featx.backbones.preprocess import ImageClassification
from featx.backbones.views import View
from featx.cache.joined import open_cache
from featx.cache.shards import find_plan
from featx.core.errors import FingerprintError, TuningError
from featx.core.files import name_work_dir
from featx.core.progress import stage
from featx.core.typing import Decode, Float32Array, IntArray, Precision
from featx.embedding.batching import EmbeddedBatch
from featx.embedding.loop import iter_embedded
from featx.embedding.options import RunOptions
from featx.engines.engine import Engine
from featx.extraction.checks import is_other_source
from featx.extraction.extract import extract
from featx.extraction.naming import name_embedding
from featx.images.entries import Entry
from featx.images.manifest import Manifest
from featx.images.names import escape_name

CALL = "featx.extract(source, cache)."


class Features(Protocol):
    """The output of a trunk, image by image."""

    def iter_batches(self, order: IntArray, batch_size: int, view: int) -> Generator[Float32Array]:
        """Yield flattened feature maps float32 ``(n, dim)`` of images.

        Parameters
        ----------
        order : ndarray of int
            Numbers of the images, in the order to yield.
        batch_size : int
            Number of images in a batch; the last batch may be smaller.
        view : int
            Number of the augmented view; 0 for the images as they are.
        """


@dataclass(frozen=True, kw_only=True)
class TrunkRun:
    """A trunk, and the images that it is run over.

    Attributes
    ----------
    trunk : Backbone
        The lower part of a network.
    source : str
        Source of the images, as the cache names it.
    entries : tuple of Entry
        The images, in the order of their numbers.
    digests : tuple of str
        SHA-256 of the bytes that each image must have.
    options : RunOptions
        Engine, device and the like.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    decode : {"exact", "fast"}
        Way to decode images.
    seed : int
        Seed of the views.
    """

    trunk: Backbone
    source: str
    entries: tuple[Entry, ...]
    digests: tuple[str, ...]
    options: RunOptions
    precision: Precision
    decode: Decode
    seed: int

    def build_view(self, view: int) -> Backbone:
        """Build the trunk that reads images in one view."""
        base = self.trunk.preprocess
        assert isinstance(base, ImageClassification)
        return replace(self.trunk, preprocess=View(base, view, self.seed)) if view else self.trunk

    def name_view(self, view: int) -> str:
        """Name the embedding of one view in a cache."""
        return name_embedding(name_view(view), self.trunk.layers[0])

    def count_bytes(self, n_views: int) -> int:
        """Estimate the size of a cache with `n_views` views, including the plain one."""
        return len(self.entries) * n_views * 4 * sum(self.trunk.dims.values())


class LiveFeatures:
    """Output of a trunk that is run whenever the output is read.

    Parameters
    ----------
    run : TrunkRun
        The trunk and its images.
    """

    def __init__(self, run: TrunkRun) -> None:
        self._run = run
        self._engine: Engine | None = None

    def iter_batches(self, order: IntArray, batch_size: int, view: int) -> Generator[Float32Array]:
        """See `Features`."""
        waiting: list[Float32Array] = []
        n_waiting = 0
        with closing(self._iter_vectors(order, view)) as batches:
            for vectors in batches:
                waiting.append(vectors)
                n_waiting += len(vectors)
                if n_waiting >= batch_size:
                    joined = np.concatenate(waiting)
                    n_whole = n_waiting - n_waiting % batch_size
                    for start in range(0, n_whole, batch_size):
                        yield joined[start : start + batch_size]
                    waiting, n_waiting = [joined[n_whole:]], n_waiting - n_whole
        if n_waiting:
            yield np.concatenate(waiting)

    def close(self) -> None:
        """Close the engine; the next reading builds another one."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _iter_vectors(self, order: IntArray, view: int) -> Generator[Float32Array]:
        """Run the trunk, in batches of the engine."""
        run = self._run
        if self._engine is None:  # views differ in the preprocessing, not in the network
            self._engine = run.options.build_engine(
                run.trunk, run.precision, n_images=len(run.entries)
            )
        backbone = run.build_view(view)
        entries = [run.entries[number] for number in order]
        options = replace(run.options, progress=False)
        n_seen = 0
        with closing(
            iter_embedded(entries, backbone, self._engine, options, decode=run.decode)
        ) as batches:
            for batch in batches:
                numbers = order[n_seen : n_seen + len(batch)]
                check_batch(batch, [run.digests[number] for number in numbers])
                n_seen += len(batch)
                yield batch.vectors[backbone.layers[0]]


class KeptFeatures:
    """Output of a trunk in a cache; one view of it at a time is in memory.

    Parameters
    ----------
    run : TrunkRun
        The trunk and its images.
    path : Path
        The cache.
    n_views : int
        Number of views of each image, without the plain one.
    """

    def __init__(self, run: TrunkRun, path: Path, n_views: int) -> None:
        self.run, self.path, self.n_views = run, path, n_views
        self._view = -1
        self._vectors: Float32Array = np.empty((0, 0), np.float32)

    def fill(self, *, break_lock: bool = False) -> None:
        """Run the trunk over the images that the cache lacks.

        Parameters
        ----------
        break_lock : bool
            Write even if another process seems to write the cache.

        Raises
        ------
        CacheError
            If the cache cannot be written.
        TooManyFailuresError
            If an image cannot be read any more.
        """
        is_foreign = _is_foreign(self.path, self.run)
        # An interrupted view comes first: no other view is begun beside its unfinished work.
        plan = find_plan(name_work_dir(self.path))
        unfinished = plan.embeddings if plan else ()
        views = sorted(
            range(self.n_views + 1), key=lambda view: self.run.name_view(view) not in unfinished
        )
        try:
            self._extract(views, overwrite=is_foreign, break_lock=break_lock)
        except FingerprintError:
            # The output of another network's trunk, or views of another seed, is of no use.
            self._extract(views, overwrite=True, break_lock=break_lock)

    def _extract(self, views: Sequence[int], *, overwrite: bool, break_lock: bool) -> None:
        run = self.run
        for number, view in enumerate(views, 1):
            which = f", view {number} of {len(views)}" if len(views) > 1 else ""
            with stage(f"running the trunk{which}"):
                extract(
                    Manifest(source=run.source, entries=run.entries),
                    self.path,
                    backbone=run.build_view(view),
                    embedding=name_view(view),
                    overwrite=overwrite and view == views[0],
                    break_lock=break_lock,
                    prune=True,
                    max_failures=0,
                    precision=run.precision,
                    decode=run.decode,
                    engine=run.options.engine,
                    device=run.options.device,
                    batch_size=run.options.batch_size,
                    workers=run.options.workers,
                    progress=run.options.progress,
                )

    def iter_batches(self, order: IntArray, batch_size: int, view: int) -> Generator[Float32Array]:
        """See `Features`."""
        if view != self._view:
            self._read(view)
        for start in range(0, len(order), batch_size):
            yield self._vectors[order[start : start + batch_size]]

    def _read(self, view: int) -> None:
        """Read one view of all images, in the order of their numbers."""
        self._vectors = np.empty((0, 0), np.float32)  # free the memory of the view before
        with open_cache(self.path) as cache:
            numbers = {row_id: number for number, row_id in enumerate(cache.ids.tolist())}
            rows = np.array([numbers[entry.row.id] for entry in self.run.entries])
            for entry, got, expected in zip(
                self.run.entries, cache.digests[rows], self.run.digests, strict=True
            ):
                _check_same(entry.row.path, got, expected)
            vectors = cache.read_vectors(self.run.name_view(view), rows)
            self._vectors = np.asarray(vectors, np.float32)
        self._view = view


def name_view(view: int) -> str:
    """Name the embeddings of one view in a cache."""
    return f"view-{view}" if view else "plain"


def _is_foreign(path: Path, run: TrunkRun) -> bool:
    """Tell whether a cache holds a trunk's output of another source; refuse any other cache."""
    if not path.exists():
        return False
    with open_cache(path) as cache:
        others = [
            name for name in cache.embeddings if not re.match(r"(plain|view-\d+)@before-", name)
        ]
        manifest = Manifest(source=escape_name(run.source), entries=run.entries)
        is_foreign = is_other_source(cache, manifest)
    if others:
        raise TuningError(
            subject=str(path),
            expected="the output of a trunk",
            got=f"a cache with {', '.join(others)}",
            remedy="Pass another path as trunk.",
        )
    return is_foreign


def check_batch(batch: EmbeddedBatch, digests: Sequence[str]) -> None:
    """Refuse images that cannot be read, or changed after they were extracted.

    Parameters
    ----------
    batch : EmbeddedBatch
        Images that went through a network.
    digests : sequence of str
        SHA-256 that each of the images had when it was extracted.

    Raises
    ------
    TuningError
        If an image cannot be read or changed; the error names the first.
    """
    for failure in batch.failures:
        raise TuningError(
            subject=failure.path,
            expected="an image that can be embedded",
            got=f"a {failure.stage} failure ({failure.reason})",
            remedy=f"Repair the image, or update the cache with {CALL}",
        )
    for row, digest in zip(batch.rows, digests, strict=True):
        _check_same(row.path, row.digest, digest)


def _check_same(path: str, got: str | None, expected: str) -> None:
    if got != expected:
        raise TuningError(
            subject=path,
            expected="the image that was extracted",
            got="another one",
            remedy=f"Update the cache with {CALL}",
        )
