"""A cache against its source: embed a sample again, and compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.cache.reader import Cache, open_cache
from featx.core.errors import CacheError
from featx.core.rows import Row
from featx.core.similarity import compute_cosines
from featx.core.typing import PathLike
from featx.embedding.embed import find_decode, restore_backbone
from featx.embedding.loop import RunOptions, iter_embedded
from featx.images.sources.read import read_manifest

Array = np.ndarray[Any, Any]

MIN_COSINE = {"fp32": 0.99999, "bf16": 0.98, "fp16": 0.999}
"""Between embeddings of one image by two engines, batch shapes or machines, by precision."""


@dataclass(frozen=True)
class Comparison:
    """How a cache's vectors compare with those of its source, embedded again.

    Attributes
    ----------
    embedding : str
    n_compared, n_identical : int
        Rows of the sample whose file is as it was; those that came out the same to the last bit.
    n_changed, n_gone : int
        Rows of the sample whose file has other content now, or cannot be read any more.
    min_cosine, max_difference : float
        The worst of the rows compared; NaN where there is none.
    problems : tuple of str
        Rows whose vector is another.
    """

    embedding: str
    n_compared: int
    n_identical: int
    n_changed: int
    n_gone: int
    min_cosine: float
    max_difference: float
    problems: tuple[str, ...]


def compare_with_source(
    cache: PathLike,
    source: PathLike | Sequence[PathLike],
    *,
    sample: int = 100,
    embedding: str | None = None,
    weights: str | None = None,
    seed: int = 0,
    engine: str = "auto",
    device: str = "auto",
    workers: int | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Embed a random sample of a cache's rows again, and compare.

    Parameters
    ----------
    cache : path
    source : path or sequence of paths
        As `featx.extract` takes it.
    sample : int
        Rows to embed.
    embedding : str, optional
        May be left out where the cache has one only.
    weights : str, optional
        Where the backbone's weights are now. Default: where they came from.
    seed : int
        Of the sample.
    engine, device, workers, progress
        As in `featx.embedding.loop.RunOptions`.

    Returns
    -------
    Comparison

    Raises
    ------
    CacheError
        If the source has no row of the cache.
    FingerprintError, WeightsError, SourceError, DeviceError
        If the weights, the source or the device cannot be had.
    """
    with open_cache(cache) as opened:
        info = opened.get_info(embedding)
        rows, chosen = _choose_rows(opened, info.name, sample, seed)
        vectors = opened.read_vectors(info.name, chosen)
        stored = {row.id: vector for row, vector in zip(rows, vectors, strict=True)}
        dtype = opened.get_dtype(info.name)
        path = opened.path
    entries = {entry.row.id: entry for entry in read_manifest(source).entries}
    todo = [entries[row.id] for row in rows if row.id in entries]
    if not todo:
        raise CacheError(
            f"{path}: expected the source it was made from, got {source} without any row of the "
            "sample. Pass --against the source as it was given to featx extract."
        )
    backbone = restore_backbone(
        info.fingerprint, info.provenance.origin, weights=weights, subject=str(path)
    )
    precision, decode = info.fingerprint.precision, find_decode(info.fingerprint)
    options = RunOptions(engine, device, info.provenance.batch_size, workers, progress)
    runs = options.build_engine(backbone, precision, n_images=len(todo))
    digests = {row.id: row.digest for row in rows}
    pairs: dict[str, tuple[Array, Array]] = {}
    problems: list[str] = []
    n_changed, n_gone = 0, len(rows) - len(todo)
    for batch in iter_embedded(todo, backbone, runs, options, dtype=dtype, decode=decode):
        again = batch.vectors.get(info.fingerprint.layer, ())
        for row, vector in zip(batch.rows, again, strict=True):
            if row.digest == digests[row.id]:
                pairs[row.id] = stored[row.id], vector
            else:
                n_changed += 1
        for failure in batch.failures:
            if failure.digest == digests[failure.id]:
                problems.append(f"row {failure.id!r}: expected its vector, got {failure.reason}")
            n_changed += failure.digest not in ("", digests[failure.id])
            n_gone += not failure.digest
    return _summarise(
        info.name, pairs, problems, MIN_COSINE[precision], n_changed=n_changed, n_gone=n_gone
    )


def _choose_rows(cache: Cache, name: str, sample: int, seed: int) -> tuple[list[Row], Array]:
    """Draw rows that have a vector; return them with their numbers, ascending."""
    have = cache.select_rows(embedding=name)
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.choice(have, min(sample, len(have)), replace=False))
    rows = cache.rows
    return [rows[number] for number in chosen], chosen


def _summarise(
    name: str,
    pairs: dict[str, tuple[Array, Array]],
    problems: list[str],
    min_cosine: float,
    *,
    n_changed: int,
    n_gone: int,
) -> Comparison:
    old = new = np.empty((0, 1))
    if pairs:
        old, new = (np.array(part, np.float64) for part in zip(*pairs.values(), strict=True))
    else:
        problems.append("expected rows whose file is as it was, got none in the sample")
    cosines = compute_cosines(old, new)
    differences = np.abs(old - new).max(axis=1)
    problems += [
        f"row {row_id!r}: expected its vector, got one of cosine {cosine:.6f}"
        for row_id, cosine in zip(pairs, cosines, strict=True)
        if not cosine >= min_cosine
    ]
    return Comparison(
        embedding=name,
        n_compared=len(pairs),
        n_identical=int((differences == 0).sum()),
        n_changed=n_changed,
        n_gone=n_gone,
        min_cosine=float(np.fmin.reduce(cosines, initial=np.nan)),
        max_difference=float(np.fmax.reduce(differences, initial=np.nan)),
        problems=tuple(problems),
    )
