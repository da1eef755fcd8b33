"""Compare what a source says of its images with what a cache of it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.cache.label_columns import read_labels
from featx.cache.reader import Cache
from featx.core.columns import Categories, Texts
from featx.core.lookup import TextIndex
from featx.images.manifest import Manifest
from featx.labels.element import FIELDS


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One column of which a source says something else than a cache.

    Attributes
    ----------
    column : {"labels", "splits", "groups"}
        Name of the column.
    n_rows : int
        Number of rows that differ.
    row_id : str
        Identity of one of these rows.
    in_source, in_cache : str
        Values of this row; ``""`` for none.
    """

    column: str
    n_rows: int
    row_id: str
    in_source: str
    in_cache: str

    def describe(self, n_common: int) -> str:
        """Say how many rows differ, and name one.

        Parameters
        ----------
        n_common : int
            Number of rows that both have.
        """
        theirs, ours = (
            repr(value) if value else "none" for value in (self.in_source, self.in_cache)
        )
        return (
            f"other {self.column} for {self.n_rows} of {n_common} rows, such as {self.row_id} "
            f"({theirs}, in the cache {ours})"
        )


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The comparison of a source with a cache.

    Attributes
    ----------
    n_common : int
        Number of images that both have, by their ids.
    n_new : int
        Number of images that only the source has, without those that failed in the extraction.
    disagreements : tuple of Disagreement
        Columns that differ. A column that the source is silent about cannot differ: labels and
        splits may have been given later.
    """

    n_common: int
    n_new: int
    disagreements: tuple[Disagreement, ...]

    def describe_new(self, manifest: Manifest, cache: Cache) -> str:
        """Say that the source has more images than the cache, and what to do; empty if not.

        Parameters
        ----------
        manifest : Manifest
            The source.
        cache : Cache
            The cache.
        """
        if not self.n_new:
            return ""
        verb = "is" if self.n_new == 1 else "are"
        return (
            f"{self.n_new} of {len(manifest)} images of {manifest.source} {verb} not in "
            f"{cache.path}: bring the cache up to date with featx.extract(source, "
            f"output={str(cache.path)!r})"
        )


def compare_source(manifest: Manifest, cache: Cache) -> Agreement:
    """Compare everything that a source and a cache both say: images, labels, splits and groups.

    Parameters
    ----------
    manifest : Manifest
        The source as it is now.
    cache : Cache
        A cache of it.

    Returns
    -------
    Agreement
        Numbers of images, and the columns that differ.
    """
    rows = manifest.rows
    places = TextIndex(cache.read_column("id")).find(rows["id"])
    failed = Texts.from_list(failure.id for failure in cache.failures)
    has_failed = TextIndex(failed).find(rows["id"]) >= 0
    common = np.flatnonzero(places >= 0)
    source = read_labels(cache).source
    found = []
    for field in FIELDS:
        theirs: Categories = rows[field]
        if theirs.count():
            found += _compare_column(
                f"{field}s", theirs[common], source[field][places[common]], rows["id"][common]
            )
    return Agreement(
        n_common=len(common),
        n_new=int(((places < 0) & ~has_failed).sum()),
        disagreements=tuple(found),
    )


def _compare_column(
    column: str, theirs: Categories, ours: Categories, ids: Texts
) -> list[Disagreement]:
    """Compare one column of the common rows; return one disagreement, or none."""
    differing = np.flatnonzero(~theirs.equal(ours))
    if not len(differing):
        return []
    first = int(differing[0])
    return [
        Disagreement(
            column=column,
            n_rows=len(differing),
            row_id=ids[first],
            in_source=theirs[first],
            in_cache=ours[first],
        )
    ]
