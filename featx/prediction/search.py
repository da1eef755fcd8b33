"""Search a cache with images, which its own backbone embeds, or with rows of the cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np

from featx.analytics.search import Searcher
from featx.analytics.search_result import SearchResult
from featx.cache.format import EmbeddingInfo
from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.core.address import find_address
from featx.core.columns import Texts
from featx.core.errors import CacheError, suggest
from featx.core.lookup import TextIndex
from featx.core.notes import note
from featx.core.progress import show_progress
from featx.core.text import count_noun
from featx.core.typing import Array, CachePaths, IntArray, SplitChoice, StrArray
from featx.embedding.options import RunKeywords, RunOptions
from featx.embedding.session import open_restored
from featx.images.entries import Entry
from featx.images.sources.inputs import list_inputs, read_images

MAX_SUGGESTED = 20_000
"""Number of rows up to which ids that are like a mistyped one are looked for."""


def search(
    cache: CachePaths,
    queries: Any,
    top: int = 10,
    *,
    embedding: str | None = None,
    split: SplitChoice | None = None,
    label: str | None = None,
    weights: str | None = None,
    **run: Unpack[RunKeywords],
) -> SearchResult:
    """Find the rows of a cache whose embeddings are nearest to those of images or other rows.

    Nearest means the largest cosine, and it is exact: every row is compared. Vectors are read in
    blocks, so that a cache may be larger than memory. Images are embedded with the backbone of the
    cache, and its engine stays open for the next call.

    Parameters
    ----------
    cache : path or sequence of paths
        One cache or several, as `featx.open_cache` takes them.
    queries : str, image, array, or sequence of these
        A text that is the id of a row stands for the row, which is not found itself; so does an
        array of int, with the numbers of rows. An array of floats ``(n_queries, dim)`` is vectors.
        Everything else is images as `featx.embed` takes them.
    top : int
        Number of rows to find for each query.
    embedding : str, optional
        Name of the embedding; needed only if the cache has several.
    split : {"train", "val", "test", "all"}, optional
        Split to search in. Default: all rows, also those without a split.
    label : str, optional
        Label of the rows to search in. Default: all rows, also those without a label.
    weights : str, optional
        Current path or name of the backbone's weights. Default: the weights that the cache records.
        Weights with another content are refused.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.

    Returns
    -------
    SearchResult
        Rows, cosines, ids and labels.

    Warns
    -----
    FeatxWarning
        If rows cannot be found, because their vectors are zero or not finite.

    Raises
    ------
    CacheError
        If the cache has no such embedding, split, label or row.
    DecodeError, SourceError
        If a query is neither the id of a row nor an image that can be read.
    FingerprintError, WeightsError, DeviceError
        If the backbone of the cache cannot be loaded as it was, or run.

    See Also
    --------
    featx.Searcher : Search an open cache several times with vectors.
    featx.montage : Show rows as images.

    Examples
    --------
    >>> found = featx.search("photos.h5", "ant.jpg", top=3, progress=False)
    >>> found.scores.shape, set(found.labels[0])
    ((1, 3), {'ants'})
    """
    if top < 1:
        raise CacheError(
            subject="top", expected="a number of at least 1", got=str(top), remedy="Pass top=10."
        )
    options = RunOptions(**run)
    with open_cache(cache) as opened:
        info = opened.get_info(embedding)
        chosen = _choose_rows(opened, split, label)
        asked = _read_queries(opened, queries)
        searcher = Searcher(opened, embedding=info.name, rows=chosen)
        vectors = _read_vectors(opened, info, asked, options, weights=weights)
        found = searcher.find(vectors, top=top, exclude=asked.rows)
        n_unusable = len(searcher.find_unusable())
        if n_unusable:
            first = int(searcher.find_unusable()[0])
            note(
                f"{opened.path}: {count_noun(n_unusable, 'row')} of {len(searcher.rows):,} cannot "
                "be found, because the vector is zero or not finite, such as "
                f"{opened.read_column('id', first, first + 1)[0]}"
            )
        return SearchResult(
            cache=str(opened.path),
            embedding=info.name,
            n_rows=len(opened),
            n_searched=len(searcher.rows) - n_unusable,
            n_not_chosen=len(opened) - len(chosen),
            n_without_vector=len(chosen) - len(searcher.rows),
            n_unusable=n_unusable,
            queries=asked.names,
            query_rows=asked.rows,
            query_images=tuple(asked.entries),
            rows=found.rows,
            scores=found.scores,
            **{
                f"{name}s": _take_texts(opened, name, found.rows)
                for name in ("id", "label", "split")
            },
        )


@dataclass(frozen=True, kw_only=True)
class _Queries:
    """What is searched for.

    Attributes
    ----------
    names : tuple of str
        Name of each query.
    rows : ndarray of int
        Row of each query; -1 for what is no row.
    entries : sequence of Entry
        Images, in the order of the queries that are no rows.
    vectors : ndarray or None
        Vectors, if these were given.
    """

    names: tuple[str, ...]
    rows: IntArray
    entries: Sequence[Entry] = ()
    vectors: Array | None = None


def _read_vectors(
    cache: Cache,
    info: EmbeddingInfo,
    asked: _Queries,
    options: RunOptions,
    *,
    weights: str | None,
) -> Array:
    """Return the vector of each query; images are embedded with the backbone of the cache."""
    if asked.vectors is not None:
        return asked.vectors
    vectors = np.empty((len(asked.names), info.fingerprint.dim), np.float32)
    is_row = asked.rows >= 0
    vectors[is_row] = cache.read_vectors(info.name, asked.rows[is_row])
    if len(asked.entries):
        with (
            show_progress(options.progress),
            open_restored(
                info.fingerprint,
                info.provenance.origin,
                options,
                subject=str(cache.path),
                weights=weights,
                n_images=len(asked.entries),
            ) as session,
        ):
            vectors[~is_row] = session.embed_entries(asked.entries)
    return vectors


def _choose_rows(cache: Cache, split: str | None, label: str | None) -> IntArray:
    """Choose the rows to search in."""
    rows = cache.select_rows(split)
    if label is None:
        return rows
    labelled: IntArray = rows[cache.labels[rows] == label]
    if not len(labelled):
        labels = sorted({name for name, _ in cache.count_labels() if name})
        raise CacheError(
            subject=str(cache.path),
            expected=f"rows with the label {label!r}" + f" in split {split}" * (split is not None),
            got="none",
            remedy=suggest(label, labels),
        )
    return labelled


def _read_queries(cache: Cache, queries: Any) -> _Queries:
    """Tell rows, vectors and images apart."""
    if isinstance(queries, np.ndarray) and queries.dtype.kind == "f":
        return _Queries(
            names=tuple(f"vector {number}" for number in range(len(queries))),
            rows=np.full(len(queries), -1),
            vectors=queries,
        )
    if isinstance(queries, np.ndarray) and queries.dtype.kind in "iu" and queries.ndim == 1:
        numbers = np.arange(len(cache))[queries]
        return _Queries(names=_name_rows(cache, numbers), rows=numbers)
    given = list_inputs(queries)
    texts = [one if isinstance(one, str) else "" for one in given]
    found = np.full(len(given), -1)
    if any(texts):
        found = TextIndex(cache.read_column("id")).find(Texts.from_list(texts))
    names: list[str] = []
    rows: list[int] = []
    entries: list[Entry] = []
    for query, row in zip(given, found.tolist(), strict=True):
        if row >= 0:
            names.append(query)
            rows.append(row)
            continue
        _check_is_there(cache, query)
        images = list(read_images([query]))
        names += [
            one.row.path if isinstance(query, str | os.PathLike) else f"image {len(names) + place}"
            for place, one in enumerate(images)
        ]
        rows += [-1] * len(images)
        entries += images
    if not names:
        raise CacheError(
            subject="queries",
            expected="at least one image or id of a row",
            got="none",
            remedy="Name an image or a row.",
        )
    return _Queries(names=tuple(names), rows=np.array(rows, np.int64), entries=entries)


def _check_is_there(cache: Cache, query: Any) -> None:
    """Refuse a text that is neither the id of a row nor the path of anything."""
    if not isinstance(query, str) or find_address(query) or os.path.lexists(query):
        return
    nearest = suggest(query, cache.read_column("id")) if len(cache) <= MAX_SUGGESTED else ""
    raise CacheError(
        subject=str(cache.path),
        expected="the id of a row, or an image",
        got=f"{query!r}, which is neither",
        remedy=f"Pass an id as cache.ids has it, or the path of an image. {nearest}".rstrip(),
    )


def _name_rows(cache: Cache, rows: IntArray) -> tuple[str, ...]:
    return tuple(cache.read_column("id")[rows])


def _take_texts(cache: Cache, column: str, rows: IntArray) -> StrArray:
    """Read a column of the rows that were found; ``""`` where there is none."""
    texts = np.full(rows.shape, "", object)
    is_found = rows >= 0
    if column == "id":
        texts[is_found] = cache.read_column("id")[rows[is_found]].to_array()
    else:
        texts[is_found] = (cache.labels if column == "label" else cache.splits)[rows[is_found]]
    return texts
