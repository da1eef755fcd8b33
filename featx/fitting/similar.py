"""Near-duplicates on both sides of a split: kept together, and what they were worth to a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from featx.analytics.clusters import join_pairs
from featx.analytics.duplicates import NearDuplicates, find_near_duplicates
from featx.analytics.row_images import RowImages
from featx.cache.reader import Cache
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import iter_blocks
from featx.core.digests import is_known
from featx.core.similarity import scale_to_length_one
from featx.core.text import count_noun
from featx.core.typing import Array, BoolArray, Float64Array, IntArray, PathLike, Split, StrArray
from featx.fitting.same_vectors import digest_rows
from featx.heads.intervals import estimate_gain_interval
from featx.heads.units import find_units

PENALTY = 0.1
"""Penalty of the plain head, in mean eigenvalues of its rows: strong enough for rows that are fewer
than their dimensions, weak for many."""

MIN_HELD_OUT = 30
"""Smallest number of held-out rows of which a score is compared."""


@dataclass(frozen=True, kw_only=True)
class LeakGain:
    """By how much near-duplicates in train flattered the score of held-out rows.

    A plain linear head was fitted twice: on all rows of train, and without those that are
    near-duplicates of held-out rows. Both scored the same held-out rows.

    Attributes
    ----------
    split : {"val", "test"}
        Split that was scored, as it was before.
    n_held_out : int
        Number of its labelled rows.
    n_leaked : int
        Number of these that have a near-duplicate in train.
    n_removed : int
        Number of rows of train that have a near-duplicate among them.
    leaky, clean : float
        Accuracy with the rows of train that leaked, and without them.
    gain : float
        How much the leak flattered: `leaky` minus `clean`.
    gain_ci95 : tuple of float
        95 % interval of the gain, over the units that the held-out rows belong to.
    """

    split: Split
    n_held_out: int
    n_leaked: int
    n_removed: int
    leaky: float
    clean: float
    gain: float
    gain_ci95: tuple[float, float]

    @property
    def is_sure(self) -> bool:
        """Whether both ends of the interval lie on one side of zero."""
        low, high = self.gain_ci95
        return low > 0 or high < 0

    def __str__(self) -> str:
        low, high = self.gain_ci95
        told = f"the leak flattered the score by {self.gain:.4f}"
        if not self.is_sure:
            told = "whether the leak flattered the score: cannot tell"
        return (
            f"{self.n_leaked} of {count_noun(self.n_held_out, 'row')} of {self.split} had "
            f"near-duplicates in train; a plain head scored {self.leaky:.4f} with these, and "
            f"{self.clean:.4f} without; {told} (95 % interval {low:.4f} to {high:.4f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class SimilarRows:
    """Near-duplicates that a split keeps together.

    Attributes
    ----------
    n_pairs, n_clusters : int
        Number of pairs that were found, and of sets of rows that they connect.
    n_parted : int
        Number of pairs that the splits before parted: those of the cache, or else those that would
        have been recorded.
    threshold : float
        Least certainty of a pair.
    expected_wrong : float or None
        Expected share of wrong pairs; None if there are none.
    n_missing : int
        Number of images that could not be read and went by their embeddings alone.
    leak : LeakGain or None
        By how much what was parted had flattered the score; None if that cannot be measured.
    """

    n_pairs: int
    n_clusters: int
    n_parted: int
    threshold: float
    expected_wrong: float | None
    n_missing: int
    leak: LeakGain | None

    def __str__(self) -> str:
        told = (
            f"{count_noun(self.n_pairs, 'pair')} of near-duplicates in "
            f"{count_noun(self.n_clusters, 'cluster')} stay together; {self.n_parted} were parted"
        )
        if self.n_missing:
            told += f"; {count_noun(self.n_missing, 'image')} could not be read"
        return f"{told}\n{self.leak}" if self.leak else told

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self)


def find_similar(
    cache: Cache,
    source: PathLike | Sequence[PathLike] | None = None,
    embedding: str | None = None,
) -> NearDuplicates:
    """Find near-duplicates of a cache by an embedding and the images of its source.

    Parameters
    ----------
    cache : Cache
        Open cache.
    source : path or sequence of paths, optional
        Source of the images. Default: the one that the cache names.
    embedding : str, optional
        Name of the embedding; needed only if the cache has several.
    """
    name = cache.get_info(embedding).name
    return find_near_duplicates(cache, images=RowImages(cache, source), embedding=name)


def name_clusters(found: NearDuplicates) -> StrArray:
    """Name what is to stay together: rows that reported pairs connect, also over others.

    Parameters
    ----------
    found : NearDuplicates
        What was found.

    Returns
    -------
    ndarray of str
        ``(n_rows,)``, a text of each set; ``""`` for a row without a near-duplicate.
    """
    joined = join_pairs(found.n_rows, found.a, found.b)
    names = np.full(found.n_rows, "", object)
    members = np.unique(np.concatenate([found.a, found.b]))
    names[members] = [str(number) for number in joined[members].tolist()]
    return names


def find_row_units(cache: Cache, found: NearDuplicates | None) -> IntArray | None:
    """Find the units of all rows: groups, copies of one file, and near-duplicates if asked for.

    Rows without a digest, such as imported ones, are copies if their first vectors are the same.

    Parameters
    ----------
    cache : Cache
        Open cache.
    found : NearDuplicates or None
        Its near-duplicates; None if they may be parted.

    Returns
    -------
    ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each is alone.
    """
    names = [] if found is None else [name_clusters(found)]
    digests = cache.read_column("digest").copy()
    if cache.embeddings and not is_known(digests).all():
        first = cache.embeddings[0]
        rows = np.flatnonzero(~is_known(digests) & cache.read_present(first))
        digests[rows] = digest_rows(cache, first, rows)
    return find_units(cache.groups, digests, *names)


def report_similar(cache: Cache, found: NearDuplicates, before: StrArray) -> SimilarRows:
    """Say what near-duplicates a split keeps together, and what they were worth before.

    Parameters
    ----------
    cache : Cache
        Open cache.
    found : NearDuplicates
        Its near-duplicates.
    before : ndarray of str
        ``(n_rows,)``, splits that do not keep them together.
    """
    return SimilarRows(
        n_pairs=found.n_pairs,
        n_clusters=len(set(name_clusters(found).tolist()) - {""}),
        n_parted=found.count_parted(before),
        threshold=found.threshold,
        expected_wrong=found.expected_wrong,
        n_missing=found.n_missing,
        leak=measure_leak(cache, found, before),
    )


def measure_leak(cache: Cache, found: NearDuplicates, splits: StrArray) -> LeakGain | None:
    """Measure by how much near-duplicates in train flatter the score of held-out rows.

    Parameters
    ----------
    cache : Cache
        Open cache.
    found : NearDuplicates
        Its near-duplicates.
    splits : ndarray of str
        ``(n_rows,)``, a split that parts them.

    Returns
    -------
    LeakGain or None
        The gain, of test if it has rows, else of val; None if nothing leaked, or if too few rows
        are held out.
    """
    usable = cache.read_present(found.embedding) & (cache.labels != "")
    name: Split = "test" if (usable & (splits == "test")).any() else "val"
    train, held = usable & (splits == "train"), usable & (splits == name)
    pairs = np.stack([found.a, found.b])
    pairs = np.concatenate([pairs, pairs[::-1]], axis=1)
    pairs = pairs[:, train[pairs[0]] & held[pairs[1]]]
    removed = np.zeros(len(cache), bool)
    removed[pairs[0]] = True
    rows = np.flatnonzero(held)
    if len(rows) < MIN_HELD_OUT or not removed.any() or not (train & ~removed).any():
        return None
    parts = np.flatnonzero(train & ~removed), np.flatnonzero(removed)
    right = _score_twice(cache, found.embedding, parts, rows)
    units = find_row_units(cache, found)
    gains = right[0].astype(np.int64) - right[1].astype(np.int64)
    return LeakGain(
        split=name,
        n_held_out=len(rows),
        n_leaked=len(np.unique(pairs[1])),
        n_removed=int(removed.sum()),
        leaky=float(right[0].mean()),
        clean=float(right[1].mean()),
        gain=float(gains.mean()),
        gain_ci95=estimate_gain_interval(gains, None if units is None else units[rows]),
    )


def _score_twice(
    cache: Cache, embedding: str, train: tuple[IntArray, IntArray], rows: IntArray
) -> list[BoolArray]:
    """Say which rows a ridge head predicts correctly, fitted on both parts, and on the first.

    The vectors are read in blocks; of the rows, only sums and products are kept.
    """
    codes = np.unique(cache.labels, return_inverse=True)[1].astype(np.int64)
    clean, leaky = (_sum_products(cache, embedding, part, codes) for part in train)
    right = []
    for square, cross in ((clean[0] + leaky[0], clean[1] + leaky[1]), clean):
        weights = _solve(square, cross)
        guesses = [
            (_extend(cache.read_vectors(embedding, rows[block])) @ weights).argmax(axis=1)
            for block in iter_blocks(len(rows), BLOCK_ROWS)
        ]
        right.append(np.concatenate(guesses) == codes[rows])
    return right


def _extend(X: Array) -> Float64Array:
    """Bring vectors to length 1, and add a column of ones."""
    return np.hstack([scale_to_length_one(X.astype(np.float64)), np.ones((len(X), 1))])


def _sum_products(
    cache: Cache, embedding: str, rows: IntArray, codes: IntArray
) -> tuple[Float64Array, Float64Array]:
    """Sum the products of the vectors with each other and with their classes."""
    dim, n_codes = cache.get_info(embedding).fingerprint.dim + 1, int(codes.max()) + 1
    square, cross = np.zeros((dim, dim)), np.zeros((dim, n_codes))
    for block in iter_blocks(len(rows), BLOCK_ROWS):
        X = _extend(cache.read_vectors(embedding, rows[block]))
        square += X.T @ X
        cross += X.T @ np.eye(n_codes)[codes[rows[block]]]
    return square, cross


def _solve(square: Float64Array, cross: Float64Array) -> Float64Array:
    """Fit a ridge regression on the classes; the intercept is not penalised."""
    n_rows, sums = square[-1, -1], square[:-1, -1]
    centred = square[:-1, :-1] - np.outer(sums, sums) / n_rows
    targets = cross[:-1] - np.outer(sums, cross[-1]) / n_rows
    level = np.trace(centred) / max(1, min(n_rows, len(centred)))
    centred[np.diag_indices_from(centred)] += PENALTY * level + 1e-12
    weights: Float64Array = cho_solve(cho_factor(centred), targets)
    return np.vstack([weights, (cross[-1] - sums @ weights)[None] / n_rows])
