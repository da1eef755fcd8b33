"""A map of rows in two dimensions: principal components, t-SNE or UMAP."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.analytics.projection import project_rows
from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.cache.selection import Selection
from featx.core.errors import CacheError, FeatxError, require
from featx.core.notes import note
from featx.core.process import ignore_warnings, single_threaded
from featx.core.text import count_noun
from featx.core.typing import (
    CachePaths,
    Float32Array,
    IntArray,
    MapMethod,
    SplitChoice,
    StrArray,
    check_choice,
)

NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
"""Names of the methods, as people write them."""

MAX_ROWS: dict[MapMethod, int | None] = {"pca": None, "tsne": 5_000, "umap": 10_000}
"""Largest number of rows on a map, about 20 s of one core; None for no limit."""

MIN_ROWS = 5
"""Smallest number of rows for t-SNE and UMAP: each needs neighbours."""

N_DIMS = 50
"""Principal components that t-SNE and UMAP read: the distances stay, and the noise goes."""

PERPLEXITY, N_NEIGHBOURS = 30, 15
"""About how many neighbours of each row t-SNE and UMAP keep near: their own defaults."""

MEANINGS = {
    "pca": "Axes are the two directions in which the embeddings vary most; rows that lie apart on "
    "it are different, and rows that lie together may still be.",
    "tsne": "Rows that lie together have similar embeddings; distances between groups, sizes of "
    "groups and the axes mean nothing.",
    "umap": "Rows that lie together have similar embeddings; distances between groups say little, "
    "and the axes mean nothing.",
}
"""What near and far mean on a map of each method."""


@dataclass(frozen=True, kw_only=True)
class RowMap:
    """Positions of rows in two dimensions.

    Attributes
    ----------
    method : {"pca", "tsne", "umap"}
        Method that arranged the rows.
    rows : ndarray of int64
        Numbers of the rows in the cache ``(n_points,)``, ascending.
    xy : ndarray of float32
        Positions ``(n_points, 2)`` from 0 to 1. Both axes have one scale, so that distances can be
        compared in all directions; the shorter axis is centred.
    ids, labels, splits : ndarray of str
        Id, label and split of each row ``(n_points,)``; ``""`` for no label and no split.
    n_rows : int
        Number of rows that were asked for, of which the map may show a sample.

    See Also
    --------
    featx.map_rows : Makes such a map.
    featx.plot_map : Draws one.
    """

    method: MapMethod
    rows: IntArray
    xy: Float32Array
    ids: StrArray
    labels: StrArray
    splits: StrArray
    n_rows: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def text(self) -> str:
        """Sentences that say how many rows the map shows, and what near and far mean on it."""
        return f"{self.title}. {MEANINGS[self.method]}"

    @property
    def title(self) -> str:
        """Name of the method, and number of the rows that the map shows."""
        rows = count_noun(self.n_rows, "row")
        if len(self) < self.n_rows:
            rows = f"a random sample of {len(self):,} of {rows}"
        return f"{NAMES[self.method]} of {rows}"


def map_rows(
    cache: CachePaths | Cache,
    *,
    method: MapMethod = "pca",
    split: SplitChoice | None = None,
    embedding: str | None = None,
    max_rows: int | None = None,
    seed: int = 0,
) -> RowMap:
    """Arrange the rows of a cache on a map by their embeddings.

    Parameters
    ----------
    cache : path, sequence of paths or Cache
        Cache, or several caches as `featx.open_cache` takes them.
    method : {"pca", "tsne", "umap"}
        Method: ``"pca"`` takes a second, ``"tsne"`` shows groups best, ``"umap"`` needs the extra
        ``umap``.
    split : {"train", "val", "test", "all"}, optional
        Split of the rows. Default: all rows, also those without a split.
    embedding : str, optional
        Name of the embedding, if the cache has several.
    max_rows : int, optional
        Largest number of rows on the map; of more, a random sample. Default: all for ``"pca"``,
        5,000 for ``"tsne"``, 10,000 for ``"umap"``.
    seed : int
        Seed of the sample and of the method. The same seed gives the same map.

    Returns
    -------
    RowMap
        Positions of the rows.

    Warns
    -----
    FeatxWarning
        If rows are left out, because they have no vector or because there are too many.

    Raises
    ------
    CacheError
        If the cache cannot be read, or has no or too few such rows.
    MissingExtraError
        If ``"umap"`` is asked for and umap-learn is not installed.
    FeatxError
        If the method is unknown.

    See Also
    --------
    featx.plot_map : Draw the map.
    featx.explore : Look at the map with the images in a browser.

    Examples
    --------
    >>> found = featx.map_rows("photos.h5", method="tsne")
    >>> found.xy.shape, found.labels[0], len(found)
    ((12, 2), 'ants', 12)
    """
    with nullcontext(cache) if isinstance(cache, Cache) else open_cache(cache) as opened:
        name = opened.get_info(embedding).name
        every = opened.select(split)
        chosen = every.select(embedding=name)
        found = arrange_rows(chosen, method, max_rows=max_rows, seed=seed)
    if len(chosen) < len(every):
        rows = count_noun(len(every) - len(chosen), "row")
        note(f"left out: {rows} without a vector")
    if len(found) < found.n_rows:
        note(f"the map shows a random sample of {len(found):,} of {found.n_rows:,} rows")
    return found


def arrange_rows(
    chosen: Selection, method: MapMethod = "pca", *, max_rows: int | None = None, seed: int = 0
) -> RowMap:
    """Arrange rows on a map, without notes.

    Parameters
    ----------
    chosen : Selection
        Rows, each with a vector in the embedding that was chosen.
    method : {"pca", "tsne", "umap"}
        Method.
    max_rows : int, optional
        Largest number of rows on the map. Default: that of `MAX_ROWS`.
    seed : int
        Seed of the sample and of the method.

    Returns
    -------
    RowMap
        Positions of the rows, or of a random sample of them.

    Raises
    ------
    CacheError
        If there are no or too few rows.
    MissingExtraError
        If ``"umap"`` is asked for and umap-learn is not installed.
    """
    check_choice("method", method, MapMethod)
    if max_rows is not None and max_rows < 1:
        raise FeatxError(
            subject="max_rows",
            expected="a number of at least 1",
            got=str(max_rows),
            remedy="Pass max_rows=5000.",
        )
    umap = import_umap() if method == "umap" else None  # before the work
    limit = MAX_ROWS[method] if max_rows is None else max_rows
    n_rows, shown = len(chosen), chosen
    if limit is not None and n_rows > limit:
        mask = np.zeros(n_rows, bool)
        mask[np.random.default_rng(seed).permutation(n_rows)[:limit]] = True
        shown = Selection(chosen.cache, chosen.rows[mask], chosen.embedding)
    if method != "pca" and len(shown) < MIN_ROWS:
        raise CacheError(
            subject=str(chosen.cache.path),
            expected=f"at least {MIN_ROWS} rows with a vector for {NAMES[method]}",
            got=str(len(shown)),
            remedy='Choose more rows, or method="pca".',
        )
    points = project_rows(shown, n_dims=2 if method == "pca" else N_DIMS)
    if method == "tsne":
        points = _embed_tsne(points, seed)
    elif method == "umap":
        points = _embed_umap(umap, points, seed)
    return RowMap(
        method=method,
        rows=shown.rows,
        xy=fit_unit_square(points),
        ids=shown.ids,
        labels=shown.labels,
        splits=shown.splits,
        n_rows=n_rows,
    )


def fit_unit_square(points: Float32Array) -> Float32Array:
    """Scale positions to 0 to 1, both axes by one factor, the shorter one centred.

    Parameters
    ----------
    points : ndarray of float32
        Positions ``(n_points, 2)``.

    Examples
    --------
    >>> fit_unit_square(np.array([[0, 0], [4, 2]], np.float32)).tolist()
    [[0.0, 0.25], [1.0, 0.75]]
    """
    low, high = points.min(axis=0), points.max(axis=0)
    width = float((high - low).max())
    if width == 0:
        return np.full(points.shape, 0.5, np.float32)
    scaled = (points - (low + high) / 2) / width + 0.5
    return np.asarray(scaled.clip(0, 1), np.float32)


def _embed_tsne(points: Float32Array, seed: int) -> Float32Array:
    """Run t-SNE (van der Maaten 2014) in one thread: sums of several threads vary from run to run.

    A start from the principal components keeps what is far apart far apart (Kobak and Berens 2019).
    """
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    method = TSNE(init=_build_start(points, seed), random_state=seed, perplexity=perplexity)
    with single_threaded():
        return np.asarray(method.fit_transform(points), np.float32)


def _build_start(points: Float32Array, seed: int) -> Float32Array:
    """Scale the first two components as t-SNE wants them, and part rows that lie on each other."""
    start = points[:, :2] / max(float(points[:, 0].std()), 1e-12)
    jitter = np.random.default_rng(seed).normal(scale=1e-2, size=start.shape)
    return np.asarray((start + jitter) * 1e-4, np.float32)


def import_umap() -> Any:
    """Import umap-learn, which warns if it finds no TensorFlow."""
    with ignore_warnings(ImportWarning):
        return require("umap", "umap", distribution="umap-learn")


def _embed_umap(umap: Any, points: Float32Array, seed: int) -> Float32Array:
    """Run UMAP (McInnes et al. 2018); with a seed it runs in one thread."""
    n_neighbours = min(N_NEIGHBOURS, len(points) - 1)
    method = umap.UMAP(
        n_neighbors=n_neighbours, init="pca", random_state=seed, n_jobs=1, low_memory=True
    )
    with single_threaded(), ignore_warnings():
        return np.asarray(method.fit_transform(points), np.float32)
