"""Choose rows to label next: typical ones while labels are few, then uncertain and diverse ones.

Arrays in, choices out: nothing here reads a cache.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from featx.analytics.kmeans import BLOCK, cluster_rows
from featx.core.columns import iter_blocks
from featx.core.typing import BoolArray, Float32Array, Float64Array, IntArray, Strategy

LABELS_PER_CLASS = 8
"""Number of labels per class, on average, from which uncertain rows are chosen: before, a head is
wrong about what it is uncertain of. With 16 or 32, classes that are rare come later."""

LEAST_LABELS = 64
"""Number of labels from which uncertain rows are chosen at the earliest: 16 labels of two classes
are too few."""

SURE = 0.2
"""Mean doubt below which a head is sure of nearly all rows. Its few doubts then lie where classes
overlap, and teach less than typical rows: 80 such rows of generated classes made a head that was
right in 99 of 100 rows worse by 0.6 of 100."""

MAX_CLUSTERS = 500
"""Largest number of clusters; of more labels, several are of one cluster."""

MIN_TYPICAL = 5
"""Number of rows from which a cluster is more than a few odd images."""

N_NEIGHBOURS = 20
"""Number of neighbours in its cluster that a row is typical by."""

LEAST_WEIGHT = 1e-6
"""Weight of a row that the head is sure of, so that each row is in a cluster."""


@dataclass(frozen=True)
class Choice:
    """Rows that were chosen, the best first.

    Attributes
    ----------
    rows : ndarray of int64
        ``(n,)``, indices of the rows.
    scores : ndarray of float64
        ``(n,)``, from 0 to 1. Of a typical row, the share of all rows that lie in its cluster; of
        an uncertain one, 1 less the margin between the two most probable classes.
    """

    rows: IntArray
    scores: Float64Array


def choose_strategy(n_labels: int, n_classes: int) -> Strategy:
    """Choose how to choose rows, from what is labelled.

    Parameters
    ----------
    n_labels : int
        Number of labels that a head learns from.
    n_classes : int
        Number of classes among them.

    Returns
    -------
    {"typical", "uncertain"}
        Uncertain from `LABELS_PER_CLASS` labels per class and `LEAST_LABELS` labels on, and with
        two classes at least.

    Examples
    --------
    >>> choose_strategy(63, 2), choose_strategy(64, 2), choose_strategy(79, 10)
    ('typical', 'uncertain', 'typical')
    """
    is_enough = n_labels >= max(LEAST_LABELS, LABELS_PER_CLASS * n_classes)
    return "uncertain" if is_enough and n_classes > 1 else "typical"


def measure_doubt(probabilities: Float64Array) -> Float64Array:
    """Measure how uncertain a head is: 1 less the margin between the two most probable classes.

    Parameters
    ----------
    probabilities : ndarray of float64
        ``(n_rows, n_classes)``, calibrated probabilities of at least two classes.

    Returns
    -------
    ndarray of float64
        ``(n_rows,)``, from 0 to 1.

    Examples
    --------
    >>> measure_doubt(np.array([[0.5, 0.5, 0.0], [0.75, 0.25, 0.0]])).tolist()
    [1.0, 0.5]
    """
    best = np.sort(probabilities, axis=1)[:, -2:]
    return np.clip(1 - (best[:, 1] - best[:, 0]), 0, 1)


def is_sure(probabilities: Float64Array) -> bool:
    """Tell whether a head is sure of nearly all rows, so that typical rows teach more.

    Parameters
    ----------
    probabilities : ndarray of float64
        ``(n_rows, n_classes)``, calibrated probabilities of rows that are no special choice.
    """
    return float(measure_doubt(probabilities).mean()) < SURE


def choose_typical(
    Z: Float32Array, is_labelled: BoolArray, n_wanted: int, rng: np.random.Generator
) -> Choice:
    """Choose the most typical row of each of the largest clusters without labels.

    There are as many clusters as there would be labels (TypiClust; Hacohen, Dekel and Weinshall
    2022), so that the clusters are finer the more is labelled.

    Parameters
    ----------
    Z : ndarray of float32
        ``(n_rows, n)``, rows as `featx.analytics.kmeans.project` returns them.
    is_labelled : ndarray of bool
        ``(n_rows,)``, rows that have a label.
    n_wanted : int
        Number of rows to choose, no more than have no label.
    rng : Generator
        Source of the clusters.
    """
    n_clusters = min(int(is_labelled.sum()) + n_wanted, MAX_CLUSTERS, max(1, len(Z) // 2))
    clusters, centres = cluster_rows(Z, n_clusters, rng)
    sizes = np.bincount(clusters, minlength=len(centres))

    def order(cluster: int) -> IntArray:
        members = np.flatnonzero(clusters == cluster)
        by_density = members[np.argsort(-measure_density(Z[members]), kind="stable")]
        return by_density[~is_labelled[by_density]]

    rows = take_by_turns(
        n_wanted,
        n_open=np.bincount(clusters[~is_labelled], minlength=len(centres)),
        n_taken=np.bincount(clusters[is_labelled], minlength=len(centres)),
        ranks=np.lexsort((-sizes, sizes < MIN_TYPICAL)),
        order=order,
    )
    return Choice(rows, sizes[clusters[rows]] / len(Z))


def choose_uncertain(
    Z: Float32Array, probabilities: Float64Array, n_wanted: int, rng: np.random.Generator
) -> Choice:
    """Choose rows that a head is uncertain of, and that differ from each other.

    The rows are clustered by k-means, each weighed by how uncertain it is, so that the centres lie
    where many uncertain rows are, and an uncertain row next to each centre is chosen (after Zhdanov
    2019).

    Parameters
    ----------
    Z : ndarray of float32
        ``(n_rows, n)``, rows without a label, as `featx.analytics.kmeans.project` returns them.
    probabilities : ndarray of float64
        ``(n_rows, n_classes)``, calibrated probabilities of at least two classes.
    n_wanted : int
        Number of rows to choose, no more than there are.
    rng : Generator
        Source of the clusters.
    """
    uncertainty = measure_doubt(probabilities)
    weights = uncertainty + LEAST_WEIGHT
    clusters, centres = cluster_rows(Z, min(n_wanted, MAX_CLUSTERS), rng, weights)

    def order(cluster: int) -> IntArray:
        members = np.flatnonzero(clusters == cluster)
        distances = ((Z[members] - centres[cluster]) ** 2).sum(axis=1) / weights[members]
        return members[np.argsort(distances, kind="stable")]

    mass = np.bincount(clusters, weights, minlength=len(centres))
    rows = take_by_turns(
        n_wanted,
        n_open=np.bincount(clusters, minlength=len(centres)),
        n_taken=np.zeros(len(centres), np.int64),
        ranks=np.argsort(-mass, kind="stable"),
        order=order,
    )
    rows = rows[np.argsort(-uncertainty[rows], kind="stable")]
    return Choice(rows, uncertainty[rows])


def take_by_turns(
    n_wanted: int,
    *,
    n_open: IntArray,
    n_taken: IntArray,
    ranks: IntArray,
    order: Callable[[int], IntArray],
) -> IntArray:
    """Take rows from clusters by turns: next from one of which fewest were taken.

    Parameters
    ----------
    n_wanted : int
        Number of rows to take, no more than are open.
    n_open, n_taken : ndarray of int64
        ``(n_clusters,)``, rows of each cluster that may be taken, and that were taken before.
    ranks : ndarray of int64
        ``(n_clusters,)``, the clusters, the one first that comes first among equals.
    order : callable
        Function that lists the open rows of a cluster, the best first. It is called for clusters
        that have their turn only.
    """
    waiting = [
        (int(n_taken[one]), place, int(one)) for place, one in enumerate(ranks) if n_open[one]
    ]
    heapq.heapify(waiting)
    left: dict[int, Iterator[int]] = {}
    rows: list[int] = []
    still = n_open.copy()
    while len(rows) < n_wanted:
        n_before, place, cluster = heapq.heappop(waiting)
        if cluster not in left:
            left[cluster] = iter(order(cluster).tolist())
        rows.append(next(left[cluster]))
        still[cluster] -= 1
        if still[cluster]:
            heapq.heappush(waiting, (n_before + 1, place, cluster))
    return np.array(rows, np.int64)


def measure_density(Z: Float32Array) -> Float64Array:
    """Measure how typical the rows of a cluster are: how near their neighbours in it lie.

    Parameters
    ----------
    Z : ndarray of float32
        ``(n_rows, n)``, the rows of one cluster.

    Returns
    -------
    ndarray of float64
        ``(n_rows,)``, minus the mean distance to the nearest `N_NEIGHBOURS` rows; 0 for a row
        alone.
    """
    n_nearest = min(N_NEIGHBOURS, len(Z) - 1)
    density = np.zeros(len(Z))
    if not n_nearest:
        return density
    squares = (Z**2).sum(axis=1)
    for block in iter_blocks(len(Z), BLOCK):
        distances = squares[block, None] + squares - 2 * Z[block] @ Z.T
        nearest = np.partition(distances, n_nearest, axis=1)[:, : n_nearest + 1]  # and itself
        density[block] = -np.sqrt(np.maximum(nearest, 0)).sum(axis=1) / n_nearest
    return density
