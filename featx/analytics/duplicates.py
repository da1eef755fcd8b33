"""Find near-duplicates: embeddings propose pairs, pixels confirm them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.analytics.alignment import measure_agreement
from featx.analytics.certainty import (
    Usual,
    choose_threshold,
    compute_certainty,
    compute_log_odds,
    measure_usual,
)
from featx.analytics.chance import compute_wrong
from featx.analytics.clusters import choose_kept, find_clusters, rank_splits
from featx.analytics.exact_copies import count_pairs, find_exact
from featx.analytics.pairs import N_PROPOSED, Pairs, find_near_pairs, number_vectors
from featx.analytics.row_images import RowImages
from featx.analytics.thumbnails import read_thumbnails
from featx.cache.reader import Cache
from featx.core.digests import is_known
from featx.core.progress import show_progress, stage
from featx.core.typing import (
    BoolArray,
    Float32Array,
    Float64Array,
    IntArray,
    StrArray,
)

FAR = 0.95
"""Distance up to which pairs are proposed: most neighbours lie beyond."""

CLOSE = 0.01
"""Share of all near pairs that are proposed, whatever their distance: images of which there are
dozens of copies have all neighbours near."""

N_NULL = 2000
"""Number of pairs of neighbours that say what agreement is usual."""

NULL_RANK = 12
"""Rank of these neighbours, at least: they are alike, and hardly copies."""

REPEATED = 3.0
"""Log-odds by which each further pair of an image comes later, among pairs of equal certainty."""


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Pairs of images that are copies of each other, or the same shot, most certain first.

    Of pairs of equal certainty, those come later that are the second, third, … of an image: the
    first pairs name as many images as they can, held-out ones above all. Of a file with more than
    32 copies, only pairs with its first copy in a split are listed; `n_pairs` and `count_parted`
    count them all.

    Attributes
    ----------
    a, b : ndarray of int64
        ``(n_pairs,)``, rows of the cache; `a` is the smaller number.
    a_id, b_id : ndarray of str
        ``(n_pairs,)``, their ids.
    score : ndarray of float64
        ``(n_pairs,)``, certainty that the two show the same shot: 1 for the same bytes, else at
        most 0.99.
    exact : ndarray of bool
        ``(n_pairs,)``, True if the two files have the same bytes.
    cosine : ndarray of float32
        ``(n_pairs,)``, cosine of the embeddings; NaN if a row has no vector.
    agreement : ndarray of float32
        ``(n_pairs,)``, correlation of the pixels where they agree best; 1 for the same bytes; NaN
        if the images were not compared.
    crosses : ndarray of bool
        ``(n_pairs,)``, True if the two lie in two splits: a leak.
    cluster : ndarray of int64
        ``(n_rows,)``, number of the cluster of each row of the cache; -1 for a row without a
        duplicate.
    kept : ndarray of bool
        ``(n_rows,)``, True for one image of each cluster and for all without one: an image of test
        before one of val, and of val before others; then the one with the most pixels; then the
        first.
    first_copy : ndarray of int64
        ``(n_rows,)``, the first row with the same bytes as each row of the cache.
    threshold : float
        Least certainty that is reported, chosen so that at most 3 % of the pairs are expected to be
        wrong; 10 % if no image could be compared.
    expected_wrong : float or None
        Expected share of wrong pairs; None if there are none.
    n_rows, n_without_vector : int
        Number of rows, and of those that have no vector.
    n_not_compared : int
        Number of these whose bytes are not known either.
    n_not_told_apart : int
        Number of rows without a duplicate that share their vector with others: vectors of zeros,
        or of so few values that rows are equal by chance.
    n_proposed : int
        Number of pairs that the embeddings proposed.
    n_decoded, n_missing : int
        Number of images that were compared by pixels, and of those that could not be read.
    embedding : str
        Name of the embedding.
    """

    a: IntArray
    b: IntArray
    a_id: StrArray
    b_id: StrArray
    score: Float64Array
    exact: BoolArray
    cosine: Float32Array
    agreement: Float32Array
    crosses: BoolArray
    cluster: IntArray
    kept: BoolArray
    first_copy: IntArray
    threshold: float
    expected_wrong: float | None
    n_rows: int
    n_without_vector: int
    n_not_compared: int
    n_not_told_apart: int
    n_proposed: int
    n_decoded: int
    n_missing: int
    embedding: str

    def __len__(self) -> int:
        return len(self.a)

    @property
    def n_exact(self) -> int:
        """Number of pairs with the same bytes, those that are not listed included."""
        return count_pairs(self.first_copy)

    @property
    def n_pairs(self) -> int:
        """Number of pairs, those that are not listed included."""
        return self.n_exact + int((~self.exact).sum())

    def count_parted(self, splits: StrArray) -> int:
        """Count the pairs that lie in two splits, those that are not listed included.

        Parameters
        ----------
        splits : ndarray of str
            ``(n_rows,)``, split of each row of the cache; ``""`` for a row without one.
        """
        a, b = splits[self.a[~self.exact]], splits[self.b[~self.exact]]
        near = int(((a != b) & (a != "") & (b != "")).sum())
        rows = np.flatnonzero(splits != "")
        codes = np.unique(splits[rows], return_inverse=True)[1]
        files = self.first_copy[rows]
        together = files * (codes.max(initial=0) + 1) + codes
        return near + count_pairs(files) - count_pairs(together)

    @property
    def is_complete(self) -> bool:
        """Whether all pairs are counted: only so many of the nearest rows of a row are proposed."""
        near = ~self.exact
        ends = np.concatenate([self.a[near], self.b[near]])
        n_found = np.bincount(ends, minlength=self.n_rows)
        firsts = np.flatnonzero(self.first_copy == np.arange(self.n_rows))
        members = firsts[self.cluster[firsts] >= 0]
        n_others = np.bincount(self.cluster[members])[self.cluster[members]] - 1
        return not ((n_found[members] >= N_PROPOSED) & (n_found[members] < n_others)).any()

    @property
    def clusters(self) -> list[IntArray]:
        """Rows of each cluster, those to keep first."""
        members = np.flatnonzero(self.cluster >= 0)
        order = members[np.lexsort((members, ~self.kept[members], self.cluster[members]))]
        return (
            np.split(order, np.flatnonzero(np.diff(self.cluster[order])) + 1) if len(order) else []
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what was found as what JSON can hold."""
        return {
            "near_duplicates": [
                {
                    "a": a,
                    "b": b,
                    "score": round(score, 2),
                    "exact": exact,
                    "crosses_splits": crosses,
                    "cosine": _round(cosine),
                    "agreement": _round(agreement),
                }
                for a, b, score, exact, crosses, cosine, agreement in zip(
                    self.a_id.tolist(),
                    self.b_id.tolist(),
                    self.score.tolist(),
                    self.exact.tolist(),
                    self.crosses.tolist(),
                    self.cosine.tolist(),
                    self.agreement.tolist(),
                    strict=True,
                )
            ],
            "threshold": self.threshold,
            "expected_wrong": self.expected_wrong,
            "n_rows": self.n_rows,
            "n_without_vector": self.n_without_vector,
            "n_not_compared": self.n_not_compared,
            "n_not_told_apart": self.n_not_told_apart,
            "n_proposed": self.n_proposed,
            "n_decoded": self.n_decoded,
            "n_missing": self.n_missing,
            "embedding": self.embedding,
        }


def _round(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def find_near_duplicates(
    cache: Cache,
    *,
    images: RowImages | None,
    embedding: str | None = None,
    progress: bool | None = None,
) -> NearDuplicates:
    """Find images that are copies of each other, or the same shot.

    Rows with near embeddings are proposed, relative to how near the neighbours of a row are
    otherwise. Their images are decoded and laid over each other: cropped, resized or mirrored
    copies, and those of another brightness or quality, agree in their local contrast. Both
    measures become one certainty, and featx chooses from which certainty on it reports.

    Parameters
    ----------
    cache : Cache
        Open cache; it may be several that are read as one.
    images : RowImages or None
        Images of its rows. None to go by the embeddings alone, with less certainty.
    embedding : str, optional
        Name of the embedding. Default: the only one.
    progress : bool, optional
        True to show progress, False to hide it. Default: as standard error is.

    Returns
    -------
    NearDuplicates
        The pairs, their clusters, and which image of each cluster to keep.

    Raises
    ------
    CacheError
        If the cache has no such embedding.

    Examples
    --------
    >>> with featx.open_cache("photos.h5") as cache:
    ...     found = featx.find_near_duplicates(cache, images=None)
    >>> len(found), found.n_rows
    (0, 12)
    """
    name = cache.get_info(embedding).name
    with show_progress(progress):
        first, copies = find_exact(cache)
        present = cache.read_present(name)
        rows = np.flatnonzero(present & (first == np.arange(len(cache))))
        with stage("comparing embeddings"):
            near = find_near_pairs(cache, name, rows)
        chosen = (near.rank < N_PROPOSED) & (near.distance < FAR)
        if len(near):
            chosen |= near.cosine > np.quantile(near.cosine, 1 - CLOSE)
        proposed = near.take(chosen)
        null = near.take(_draw_null(near, proposed, len(cache)))
        del near
        agreement, usual, n_decoded, n_missing = _compare(images, proposed, null, len(rows))
    log_odds = compute_log_odds(
        proposed.distance, agreement, usual, compute_wrong(proposed.by_chance)
    )
    certainty = compute_certainty(log_odds)
    order = _sort(cache, proposed, certainty, log_odds)
    has_pixels = bool((~np.isnan(agreement)).any())
    threshold = choose_threshold(certainty[order], has_pixels=has_pixels)
    order = order[certainty[order] >= threshold]
    return _build(
        cache,
        copies,
        proposed.take(order),
        (certainty[order], agreement[order]),
        threshold=threshold,
        first_copy=first,
        n_without_vector=int((~present).sum()),
        n_not_compared=int((~present & ~is_known(cache.read_column("digest"))).sum()),
        shared=rows[_find_repeated(number_vectors(cache, name, rows))],
        n_proposed=len(proposed),
        n_decoded=n_decoded,
        n_missing=n_missing,
        embedding=name,
    )


def _find_repeated(numbers: IntArray) -> BoolArray:
    """Mark the rows whose number another row has, too."""
    return np.asarray(np.bincount(numbers)[numbers] > 1)


def _draw_null(near: Pairs, proposed: Pairs, n_rows: int) -> IntArray:
    """Draw pairs of neighbours that are not the nearest, of images that are decoded anyway."""
    decoded = np.zeros(n_rows, bool)
    decoded[proposed.a] = decoded[proposed.b] = True
    others = np.flatnonzero((near.rank >= NULL_RANK) & decoded[near.a] & decoded[near.b])
    return np.sort(np.random.default_rng(0).permutation(others)[:N_NULL])


def _compare(
    images: RowImages | None, proposed: Pairs, null: Pairs, n_rows: int
) -> tuple[Float32Array, Usual, int, int]:
    """Compare the images of proposed pairs, and of others that say what is usual."""
    rows = np.unique(np.concatenate([proposed.a, proposed.b]))
    if images is None or not len(rows):
        return np.full(len(proposed), np.nan, np.float32), Usual(n_rows=n_rows), 0, 0
    contrasts, found = read_thumbnails(images, rows)

    def measure(pairs: Pairs) -> Float32Array:
        a, b = np.searchsorted(rows, pairs.a), np.searchsorted(rows, pairs.b)
        agreement = np.full(len(pairs), np.nan, np.float32)
        both = np.flatnonzero(found[a] & found[b])
        agreement[both] = measure_agreement(contrasts, a[both], b[both])
        return agreement

    with stage("comparing pixels"):
        usual = measure_usual(measure(null), n_rows)
        agreement = measure(proposed)
    return agreement, usual, int(found.sum()), int((~found).sum())


def _sort(cache: Cache, pairs: Pairs, certainty: Float64Array, log_odds: Float64Array) -> IntArray:
    """Sort pairs by certainty; among equals, the first pair of a held-out image comes earlier.

    Of an image with dozens of copies, the pairs would come first otherwise, and say little new.
    """
    order = np.lexsort((-log_odds, -certainty))
    places = np.unique(cache.splits, return_inverse=True)[1]
    ranks = rank_splits(cache.splits)
    a, b = pairs.a[order], pairs.b[order]
    swaps = ranks[a] < ranks[b]  # the row that is held out is asked for, else the later one
    asked, partner = np.where(swaps, a, b), np.where(swaps, b, a)
    towards = asked * (places.max(initial=0) + 1) + places[partner]
    by_row = np.argsort(towards, kind="stable")
    counts = np.unique(towards[by_row], return_counts=True)[1]
    repeats = np.empty(len(order), np.int64)  # earlier pairs of the same row with the same split
    repeats[order[by_row]] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.lexsort((REPEATED * repeats - log_odds, -certainty))


def _build(
    cache: Cache,
    copies: tuple[IntArray, IntArray],
    pairs: Pairs,
    measured: tuple[Float64Array, Float32Array],
    *,
    shared: IntArray,
    **counts: Any,
) -> NearDuplicates:
    """Join exact copies, which come first, and near-duplicates."""
    certainty, agreement = measured
    n_exact = len(copies[0])
    a, b = np.concatenate([copies[0], pairs.a]), np.concatenate([copies[1], pairs.b])
    score = np.concatenate([np.ones(n_exact), certainty])
    cluster = find_clusters(len(cache), a, b, score)
    splits = cache.splits
    return NearDuplicates(
        a=a,
        b=b,
        a_id=cache.ids[a],
        b_id=cache.ids[b],
        score=score,
        exact=np.arange(len(a)) < n_exact,
        cosine=np.concatenate([np.ones(n_exact, np.float32), pairs.cosine]),
        agreement=np.concatenate([np.ones(n_exact, np.float32), agreement]),
        crosses=(splits[a] != splits[b]) & (splits[a] != "") & (splits[b] != ""),
        cluster=cluster,
        kept=choose_kept(cache, cluster),
        expected_wrong=round(float(1 - score.mean()), 4) if len(score) else None,
        n_rows=len(cache),
        n_not_told_apart=int((cluster[shared] < 0).sum()),
        **counts,
    )
