"""Embed what is left of a source: the part of an extraction that needs the network."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction

from featx.backbones.backbone import Backbone
from featx.cache.shards import Shards
from featx.core.errors import FeatxError, TooManyFailuresError
from featx.core.rows import Failure, Row
from featx.embedding.loop import EmbeddedBatch, RunOptions, iter_embedded
from featx.embedding.timings import Timings
from featx.engines.engine import Engine
from featx.extraction.inventory import Known
from featx.images.manifest import Entry, Manifest


@dataclass(frozen=True)
class Filler:
    """Fills the shards of one extraction.

    Attributes
    ----------
    backbone, engine, options, dtype, decode, timings
        As `featx.embedding.loop.iter_embedded` takes them.
    names : mapping of str to str
        What each layer's embedding is called.
    shards : Shards
    known : Known
    limit : int
        How many images may fail.
    shard_s : float
        Seconds after which what is done is made durable.
    manifest : Manifest
    """

    backbone: Backbone
    engine: Engine
    options: RunOptions
    names: Mapping[str, str]
    shards: Shards
    known: Known
    limit: int
    shard_s: float
    manifest: Manifest
    dtype: str
    decode: str
    timings: Timings

    def embed(self, todo: Sequence[Entry], failed: Sequence[Failure]) -> dict[str, Failure]:
        """Embed what is left; return failures of files that could not be read, by id.

        Whatever ends it, what is done becomes durable.
        """
        n_failed = len(failed)
        self.check_failures(n_failed, failed)
        unread: dict[str, Failure] = {}
        try:
            with closing(self._iter_batches(todo)) as batches:
                for batch in batches:
                    failures = [part for one in batch.failures for part in self._name(one)]
                    unread.update((one.id, one) for one in batch.failures if not one.digest)
                    vectors = {self.names[layer]: part for layer, part in batch.vectors.items()}
                    self.shards.append(
                        batch.rows, vectors, repeats=batch.repeats, failures=failures
                    )
                    self.shards.seal_when_due(self.shard_s)
                    n_failed += len(batch.failures)
                    self.check_failures(n_failed, failures)
        finally:
            self.shards.seal()
        return unread

    def _iter_batches(self, todo: Sequence[Entry]) -> Generator[EmbeddedBatch, None, None]:
        return iter_embedded(
            todo,
            self.backbone,
            self.engine,
            self.options,
            self.known.digests,
            dtype=self.dtype,
            decode=self.decode,
            timings=self.timings,
        )

    def _name(self, failure: Failure) -> list[Failure]:
        """Tell which embeddings an image lacks: all, if it never reached the network."""
        if failure.stage in ("read", "decode"):
            return [failure]
        return [replace(failure, embedding=name) for name in self.names.values()]

    def list_failed(self, settled: Mapping[str, Row]) -> list[Failure]:
        """List one failure for each row that is known to fail."""
        ours = ("", *self.known.targets)
        found = (self.known.list_failures(row) for row in settled.values())
        first = (next((one for one in part if one.embedding in ours), None) for part in found)
        return [failure for failure in first if failure is not None]

    def check_failures(self, n_failed: int, failures: Sequence[Failure]) -> None:
        """Refuse a source of which too much fails.

        Raises
        ------
        TooManyFailuresError
        """
        n_images = len(self.manifest)
        if n_failed <= self.limit and n_failed < n_images:
            return
        expected = f"at most {self.limit} to fail" if n_failed < n_images else "images"
        shown = "; ".join(f"{one.path}: {one.reason}" for one in failures[:3])
        raise TooManyFailuresError(
            f"{self.manifest.source}: expected {expected}, got {n_failed} of {n_images} that "
            f"failed, such as {shown}. Look at the files, or pass --max-failures; what is done "
            "is kept."
        )


def count_allowed(text: int | str, n_images: int) -> int:
    """Count how many images may fail: a number, or a percentage of all, rounded down.

    Raises
    ------
    FeatxError
        If it is neither.
    """
    match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)%", str(text).strip())
    if match is None or float(match.group(2) or 0) > 100:
        raise FeatxError(
            f"max_failures: expected a number such as 10, or a percentage such as 5%, got {text!r}."
            " Fix it."
        )
    if match.group(1):
        return int(match.group(1))
    return int(n_images * Fraction(match.group(2)) / 100)


def find_todo(
    known: Known, manifest: Manifest, *, rehash: bool
) -> tuple[dict[str, Row], list[Entry]]:
    """Part the rows whose files are as they were from those to be read."""
    settled: dict[str, Row] = {}
    todo: list[Entry] = []
    for entry in manifest.entries:
        row = known.find_settled(entry, rehash=rehash)
        if row is None:
            todo.append(entry)
        else:
            settled[row.id] = row
    return settled, todo
