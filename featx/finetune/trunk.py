"""What the frozen trunk puts out: computed once and kept, or whenever it is asked for.

The trunk is a backbone like any other, whose embedding is a feature map: it is extracted into an
ordinary cache, by any engine, and a run that was interrupted goes on.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from featx.backbones.backbone import Backbone
from featx.backbones.preprocess import ImageClassification
from featx.backbones.views import View
from featx.cache.reader import open_cache
from featx.cache.shards import find_plan
from featx.core.errors import FingerprintError, TuningError
from featx.core.files import name_work_dir
from featx.core.typing import Decode, Precision
from featx.embedding.loop import EmbeddedBatch, iter_embedded
from featx.embedding.options import RunOptions
from featx.engines.engine import Engine
from featx.extraction.checks import is_other_source
from featx.extraction.extract import extract
from featx.extraction.naming import name_embedding
from featx.images.manifest import Entry, Manifest
from featx.images.names import escape_name

Array = np.ndarray[Any, Any]


class Features(Protocol):
    """What the trunk puts out, image by image."""

    def iter_batches(self, order: Array, batch_size: int, view: int) -> Generator[Array]:
        """Yield feature maps float32 ``(n, dim)`` of these images, flattened, in this order.

        Parameters
        ----------
        order : ndarray of int
            Numbers of images.
        batch_size : int
            Images at a time; fewer at the end.
        view : int
            Which view of them, 0 for the pictures as they are.
        """


@dataclass(frozen=True)
class TrunkRun:
    """How a trunk is run over the images of a fine-tuning.

    Attributes
    ----------
    trunk : Backbone
    source : str
        What the images are from.
    entries : tuple of Entry
        The images, by number.
    digests : tuple of str
        SHA-256 that each must have.
    options : RunOptions
    precision, decode : str
        As `featx.extract` takes them.
    seed : int
        Of the views.
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
        """Build the trunk that reads pictures in one view."""
        base = self.trunk.preprocess
        assert isinstance(base, ImageClassification)
        return replace(self.trunk, preprocess=View(base, view, self.seed)) if view else self.trunk

    def name_view(self, view: int) -> str:
        """Name a view's embedding in a cache."""
        return name_embedding(name_view(view), self.trunk.layers[0])

    def count_bytes(self, n_views: int) -> int:
        """Estimate what a cache of so many views, the plain one among them, takes."""
        return len(self.entries) * n_views * 4 * sum(self.trunk.dims.values())


class LiveFeatures:
    """The trunk is run whenever its output is asked for."""

    def __init__(self, run: TrunkRun) -> None:
        self._run = run
        self._engine: Engine | None = None

    def iter_batches(self, order: Array, batch_size: int, view: int) -> Generator[Array]:
        """See `Features`."""
        run = self._run
        if self._engine is None:  # views differ in what is read, not in the network
            self._engine = run.options.build_engine(
                run.trunk, run.precision, n_images=len(run.entries)
            )
        backbone = run.build_view(view)
        entries = [run.entries[number] for number in order]
        waiting: list[Array] = []
        n_seen = n_waiting = 0
        options = replace(run.options, progress=False)
        with closing(
            iter_embedded(entries, backbone, self._engine, options, decode=run.decode)
        ) as batches:
            for batch in batches:
                ours = order[n_seen : n_seen + len(batch)]
                check_batch(batch, [run.digests[number] for number in ours])
                n_seen += len(batch)
                waiting.append(batch.vectors[backbone.layers[0]])
                n_waiting += len(batch.rows)
                if n_waiting >= batch_size:
                    joined = np.concatenate(waiting)
                    whole = n_waiting - n_waiting % batch_size
                    for start in range(0, whole, batch_size):
                        yield joined[start : start + batch_size]
                    waiting, n_waiting = [joined[whole:]], n_waiting - whole
        if n_waiting:
            yield np.concatenate(waiting)


@dataclass
class KeptFeatures:
    """The trunk's output in a cache, one view of it in memory at a time.

    Attributes
    ----------
    run : TrunkRun
    path : Path
    n_views : int
        Views of each image, beside the plain one.
    """

    run: TrunkRun
    path: Path
    n_views: int
    _view: int = -1
    _vectors: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def fill(self, *, break_lock: bool = False) -> None:
        """Run the trunk over what the cache lacks.

        Parameters
        ----------
        break_lock : bool
            As `featx.extract` takes it.

        Raises
        ------
        CacheError
            If it cannot be written.
        TooManyFailuresError
            If images cannot be read any more.
        """
        run = self.run
        is_foreign = _is_foreign(self.path, run)
        # One that was interrupted goes first: no other is begun beside its unfinished work.
        plan = find_plan(name_work_dir(self.path))
        unfinished = plan.embeddings if plan else ()
        views = sorted(
            range(self.n_views + 1), key=lambda view: run.name_view(view) not in unfinished
        )
        try:
            self._extract(views, overwrite=is_foreign, break_lock=break_lock)
        except FingerprintError:
            # What another network's trunk, or views of another seed, left there is of no use.
            self._extract(views, overwrite=True, break_lock=break_lock)

    def _extract(self, views: Sequence[int], *, overwrite: bool, break_lock: bool) -> None:
        run = self.run
        for view in views:
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

    def iter_batches(self, order: Array, batch_size: int, view: int) -> Generator[Array]:
        """See `Features`."""
        if view != self._view:
            self._read(view)
        for start in range(0, len(order), batch_size):
            yield self._vectors[order[start : start + batch_size]]

    def _read(self, view: int) -> None:
        """Read one view of all images, in the order of their numbers."""
        self._vectors = np.empty((0, 0), np.float32)  # let go of the other one first
        with open_cache(self.path) as cache:
            rows = {row: number for number, row in enumerate(cache.ids.tolist())}
            places = np.array([rows[entry.row.id] for entry in self.run.entries])
            for entry, *pair in zip(
                self.run.entries, cache.digests[places], self.run.digests, strict=True
            ):
                _check_same(entry.row.path, *pair)
            self._vectors = cache.read_vectors(self.run.name_view(view), places)
        self._view = view


def name_view(view: int) -> str:
    """Name a view's embeddings in a cache."""
    return f"view-{view}" if view else "plain"


def _is_foreign(path: Path, run: TrunkRun) -> bool:
    """Tell whether a trunk's output is of another source; refuse a cache of the user's."""
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
            f"{path}: expected a trunk's output, got a cache with {', '.join(others)}. "
            "Name another file."
        )
    return is_foreign


def check_batch(batch: EmbeddedBatch, digests: Sequence[str]) -> None:
    """Refuse images that cannot be read, or are others than those whose embeddings are known.

    Parameters
    ----------
    batch : EmbeddedBatch
    digests : sequence of str
        SHA-256 of what each of its images was.

    Raises
    ------
    TuningError
        Naming the first.
    """
    for failure in batch.failures:
        raise TuningError(
            subject=failure.path,
            expected="an image that can be embedded",
            got=f"a {failure.stage} failure ({failure.reason})",
            remedy="Repair the image, or update the cache with featx.extract(source, cache).",
        )
    for row, digest in zip(batch.rows, digests, strict=True):
        _check_same(row.path, row.digest, digest)


def _check_same(path: str, got: str | None, expected: str) -> None:
    if got != expected:
        raise TuningError(
            f"{path}: expected the image that was extracted, got another one. Bring the cache up "
            "to date: featx extract."
        )
