"""Embed a sample of a cache's rows again, and compare the vectors with the stored ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Unpack

import numpy as np

from featx.cache.format import EmbeddingInfo
from featx.cache.joined import open_cache
from featx.core.columns import Table, Texts
from featx.core.errors import CacheError
from featx.core.row_tables import list_rows
from featx.core.rows import Row
from featx.core.similarity import compute_cosines
from featx.core.typing import Array, CachePaths, PathLike, VectorDtype
from featx.embedding.batching import EmbeddedBatch
from featx.embedding.identity import check_computable, find_decode, restore_backbone
from featx.embedding.loop import iter_embedded
from featx.embedding.options import RunOptions, SharedRunKeywords
from featx.images.entries import as_columns
from featx.images.sources.read import read_manifest

MIN_COSINE = {"fp32": 0.99999, "bf16": 0.98, "fp16": 0.999}
"""Smallest cosine, by precision, between embeddings of one image that differ only in engine, batch
shape or machine."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Comparison of stored vectors with new ones of the same images.

    Attributes
    ----------
    embedding : str
        Name of the embedding.
    n_compared : int
        Number of rows that were compared; their files are unchanged.
    n_identical : int
        Number of compared rows that are equal to the last bit.
    n_changed : int
        Number of rows whose file has other content now.
    n_gone : int
        Number of rows whose file is missing or cannot be read.
    min_cosine : float
        Smallest cosine of the compared rows; NaN if there is none.
    max_difference : float
        Largest absolute difference of the compared rows; NaN if there is none.
    problems : tuple of str
        One line for each row whose vector differs.
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
    cache: CachePaths,
    source: PathLike | Sequence[PathLike],
    *,
    sample: int = 100,
    embedding: str | None = None,
    weights: str | None = None,
    seed: int = 0,
    **run: Unpack[SharedRunKeywords],
) -> Comparison:
    """Embed a random sample of a cache's rows again, and compare the vectors.

    Parameters
    ----------
    cache : path or sequence of paths
        One cache or several, as `featx.open_cache` takes them.
    source : path or sequence of paths
        The source that the cache was made from, in the form that `featx.extract` takes.
    sample : int
        Number of rows to embed again.
    embedding : str, optional
        Name of the embedding; needed only if the cache has several.
    weights : str, optional
        Current path or name of the backbone's weights. Default: the weights that the cache records.
    seed : int
        Seed of the random sample.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`. ``batch_size`` is not
        accepted.

    Returns
    -------
    Comparison
        Counts and worst values of the sample.

    Raises
    ------
    CacheError
        If the source has none of the sampled rows.
    FingerprintError, WeightsError, SourceError, DeviceError
        If weights, source or device are missing or differ.

    See Also
    --------
    featx.verify_cache : Check every byte of a cache without its source.
    """
    if seed < 0:
        raise CacheError(
            subject="seed", expected="a number of at least 0", got=str(seed), remedy="Pass seed=0."
        )
    drawn = _draw_sample(cache, embedding, sample, seed)
    check_computable(drawn.info.fingerprint, subject=drawn.subject)
    manifest = read_manifest(source)
    places = manifest.find(Texts.from_list(drawn.rows))
    todo = as_columns(manifest.entries)[places[places >= 0]]
    if not len(todo):
        raise CacheError(
            subject=drawn.subject,
            expected="the source that it was made from",
            got=f"{manifest.source}, which has none of the sampled rows",
            remedy="Pass the source that was given to featx.extract.",
        )
    fingerprint, provenance = drawn.info.fingerprint, drawn.info.provenance
    options = RunOptions(**run, batch_size=provenance.batch_size)
    backbone = restore_backbone(
        fingerprint, provenance.origin, weights=weights, subject=drawn.subject
    )
    with (
        options.build_engine(backbone, fingerprint.precision, n_images=len(todo)) as engine,
        closing(
            iter_embedded(
                todo,
                backbone,
                engine,
                options,
                dtype=drawn.dtype,
                decode=find_decode(fingerprint),
            )
        ) as batches,
    ):
        return compare_sample(drawn, batches, n_missing=len(drawn.rows) - len(todo))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Some rows of a cache with their vectors.

    Attributes
    ----------
    subject : str
        Path of the cache, for errors.
    info : EmbeddingInfo
        The embedding that the vectors belong to.
    dtype : {"float32", "float16"}
        Dtype of the vectors.
    rows : dict of str to Row
        Rows by id.
    vectors : dict of str to ndarray
        Vectors ``(dim,)`` by id.
    """

    subject: str
    info: EmbeddingInfo
    dtype: VectorDtype
    rows: Mapping[str, Row]
    vectors: Mapping[str, Array]


def _draw_sample(cache: CachePaths, embedding: str | None, size: int, seed: int) -> Sample:
    """Draw rows that have a vector, in the order of the cache."""
    with open_cache(cache) as opened:
        info = opened.get_info(embedding)
        have = opened.select_rows(embedding=info.name)
        generator = np.random.default_rng(seed)
        chosen = np.sort(generator.choice(have, min(size, len(have)), replace=False))
        columns = {name: opened.read_column(name)[chosen] for name in ("id", "path", "digest")}
        rows = list_rows(Table(columns))
        vectors = opened.read_vectors(info.name, chosen)
        return Sample(
            subject=str(opened.path),
            info=info,
            dtype=opened.get_dtype(info.name),
            rows={row.id: row for row in rows},
            vectors={row.id: vector for row, vector in zip(rows, vectors, strict=True)},
        )


def compare_sample(
    sample: Sample, batches: Iterable[EmbeddedBatch], *, n_missing: int
) -> Comparison:
    """Compare stored vectors with new ones of the same contents.

    Parameters
    ----------
    sample : Sample
        Rows with their stored vectors.
    batches : iterable of EmbeddedBatch
        Output of the network for the files of these rows.
    n_missing : int
        Number of rows of the sample that the source no longer has.
    """
    layer = sample.info.fingerprint.layer
    pairs: dict[str, tuple[Array, Array]] = {}
    problems: list[str] = []
    n_changed, n_gone = 0, n_missing
    for batch in batches:
        for row, vector in zip(batch.rows, batch.vectors.get(layer, ()), strict=True):
            if row.digest == sample.rows[row.id].digest:
                pairs[row.id] = sample.vectors[row.id], vector
            else:
                n_changed += 1
        for failure in batch.failures:
            digest = sample.rows[failure.id].digest
            if failure.digest == digest:
                problems.append(
                    f"row {failure.id!r}: expected the stored vector, got {failure.reason}"
                )
            n_changed += failure.digest not in ("", digest)
            n_gone += not failure.digest
    return _summarise(sample.info, pairs, problems, n_changed=n_changed, n_gone=n_gone)


def _summarise(
    info: EmbeddingInfo,
    pairs: Mapping[str, tuple[Array, Array]],
    problems: list[str],
    *,
    n_changed: int,
    n_gone: int,
) -> Comparison:
    old = new = np.empty((0, 1))
    if pairs:
        old, new = (np.array(part, np.float64) for part in zip(*pairs.values(), strict=True))
    else:
        problems.append("expected unchanged files, got none in the sample")
    cosines = compute_cosines(old, new)
    differences = np.abs(old - new).max(axis=1)
    problems += [
        f"row {row_id!r}: expected the stored vector, got one with cosine {cosine:.6f}"
        for row_id, cosine in zip(pairs, cosines, strict=True)
        if not cosine >= MIN_COSINE[info.fingerprint.precision]
    ]
    return Comparison(
        embedding=info.name,
        n_compared=len(pairs),
        n_identical=int((differences == 0).sum()),
        n_changed=n_changed,
        n_gone=n_gone,
        min_cosine=float(np.fmin.reduce(cosines, initial=np.nan)),
        max_difference=float(np.fmax.reduce(differences, initial=np.nan)),
        problems=tuple(problems),
    )
