"""Collect what a report shows of the data: counts, samples, failures, findings and the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from featx.analytics.audit_report import AuditReport
from featx.analytics.row_map import arrange_rows
from featx.cache.reader import Cache
from featx.core.lookup import count_distinct
from featx.core.text import count_noun
from featx.core.typing import IntArray, MapMethod, Split, list_choices
from featx.images.manifest import order_label
from featx.report.audit_page import list_findings
from featx.report.contents import Finding, MapPoints
from featx.report.shown_rows import ShownRows

MAX_POINTS: dict[MapMethod, int] = {"pca": 10_000, "tsne": 3_000, "umap": 5_000}
"""Largest number of rows on the map: 10 s of one core, and what a browser shows at once."""

MAX_SAMPLES, MAX_PER_CLASS = 1_000, 8
"""Largest number of samples of all classes together, and of each class."""

MAX_FAILURES = 50
"""Largest number of failures that are listed."""

MAX_CARDS = 24
"""Largest number of cards of each part of the audit; the audit's own page shows more."""


def list_classes(cache: Cache) -> list[str]:
    """List the classes of a cache: numbers by value, then others by name.

    Parameters
    ----------
    cache : Cache
        Open cache.
    """
    return sorted({label for label, _ in cache.count_labels() if label}, key=order_label)


def count_rows(cache: Cache, classes: Sequence[str], splits: Sequence[str]) -> IntArray:
    """Count the rows by class and split; those without either stand at the ends.

    Parameters
    ----------
    cache : Cache
        Open cache.
    classes, splits : sequence of str
        Names of the classes and of the splits.

    Returns
    -------
    ndarray of int64
        ``(n_classes + 1, n_splits + 1)``.
    """
    counts = np.zeros((len(classes) + 1, len(splits) + 1), np.int64)
    lines = {name: number for number, name in enumerate(classes)}
    columns = {name: number for number, name in enumerate(splits)}
    for (label, split), n_rows in cache.count_labels().items():
        counts[lines.get(label, -1), columns.get(split, -1)] += n_rows
    return counts


def list_splits(cache: Cache) -> list[str]:
    """List the splits of a cache that have rows.

    Parameters
    ----------
    cache : Cache
        Open cache.
    """
    found = {split for _, split in cache.count_labels()}
    return [split for split in list_choices(Split) if split in found]


def sample_classes(
    cache: Cache, classes: Sequence[str], shown: ShownRows, *, seed: int
) -> dict[int, list[int]]:
    """Choose some rows of each class at random, and of the rows without a label.

    Parameters
    ----------
    cache : Cache
        Open cache.
    classes : sequence of str
        Names of the classes.
    shown : ShownRows
        Rows of the page, to which the samples are added.
    seed : int
        Seed of the sample.

    Returns
    -------
    dict of int to list of int
        Positions on the page, by number of the class; that of rows without a label comes last.
    """
    per_class = max(1, min(MAX_PER_CLASS, MAX_SAMPLES // (len(classes) + 1)))
    order = np.random.default_rng(seed).permutation(len(cache))
    of_class: dict[str, list[int]] = {name: [] for name in [*classes[:MAX_SAMPLES], ""]}
    for row, label in zip(order.tolist(), cache.labels[order].tolist(), strict=True):
        if label in of_class and len(of_class[label]) < per_class:
            of_class[label].append(row)
    numbers = {name: code for code, name in enumerate(classes)} | {"": len(classes)}
    return {
        numbers[name]: shown.place(sorted(rows), as_cards=True).tolist()
        for name, rows in of_class.items()
        if rows
    }


def list_failures(cache: Cache) -> tuple[list[tuple[str, str]], int]:
    """List images that could not be embedded, with the reason.

    Parameters
    ----------
    cache : Cache
        Open cache.

    Returns
    -------
    failures : list of (str, str)
        Paths and reasons, some of them.
    n_failures : int
        Number of all images that failed.
    """
    listed = [(one.path, one.reason) for one in cache.failures[:MAX_FAILURES]]
    return listed, count_distinct(cache.read_ledger()["id"])


def place_findings(audited: AuditReport, shown: ShownRows) -> list[Finding]:
    """List the findings of an audit, with their rows on the page.

    Parameters
    ----------
    audited : AuditReport
        Return value of `featx.audit`.
    shown : ShownRows
        Rows of the page, to which those of the findings are added.
    """
    return [
        replace(
            one,
            cards=[(shown.place(of, as_cards=True).tolist(), lines) for of, lines in one.cards],
        )
        for one in list_findings(audited, MAX_CARDS)
    ]


def draw_map(
    cache: Cache, embedding: str, shown: ShownRows, *, method: MapMethod, seed: int
) -> MapPoints:
    """Arrange rows in two dimensions.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embedding : str
        Name of the embedding.
    shown : ShownRows
        Rows of the page, to which those of the map are added.
    method : {"pca", "tsne", "umap"}
        Way to arrange the rows.
    seed : int
        Seed of the sample of rows, and of the method.

    Raises
    ------
    CacheError
        If there are too few rows with a vector.
    """
    chosen = cache.select(embedding=embedding)
    found = arrange_rows(chosen, method, max_rows=MAX_POINTS[method], seed=seed)
    lacking = len(cache) - found.n_rows
    rest = f" {count_noun(lacking, 'row')} without a vector left out." if lacking else ""
    return MapPoints(
        method=method,
        text=f"{found.text} Embedding {embedding}.{rest}",
        rows=shown.place(found.rows),
        xy=found.xy,
    )
