"""What an unfinished extraction has done, in memory: contents by digest, and rows by id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from featx.core.rows import Failure, Row


class Location(NamedTuple):
    """The position of one vector among shards.

    Attributes
    ----------
    shard : int
        Number of the shard.
    row : int
        Index of the vector within the shard.
    """

    shard: int
    row: int


@dataclass(kw_only=True)
class WorkIndex:
    """The contents and rows that the shards of one extraction hold.

    Images are identified by the SHA-256 of their bytes: a vector belongs to a digest, and a row
    says which digest its file had when it was read.

    Attributes
    ----------
    locations : dict of str to Location
        Location of the vectors of each embedded content, by digest.
    sizes : dict of str to (int, int)
        Width and height in pixels of each embedded content, by digest.
    rows : dict of str to Row
        Row of each file that was read, with digest and size, by id.
    failures : dict of str to dict of str to Failure
        Failures of each content by digest, then by embedding; ``""`` for a failure of all. Files
        that could not be read are left out, so that the next run tries them again.
    """

    locations: dict[str, Location] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    failures: dict[str, dict[str, Failure]] = field(default_factory=dict)

    def add(
        self,
        shard: int,
        rows: Iterable[Row],
        repeats: Iterable[Row],
        failures: Iterable[Failure],
    ) -> None:
        """Add what one shard holds.

        Parameters
        ----------
        shard : int
            Number of the shard.
        rows : iterable of Row
            Rows whose vectors lie in the shard, in their order.
        repeats : iterable of Row
            Rows whose content lies elsewhere.
        failures : iterable of Failure
            Images that have no vector.
        """
        for index, row in enumerate(rows):
            self.locations[row.digest] = Location(shard, index)
            self.sizes[row.digest] = (row.width, row.height)
            self.rows[row.id] = row
        self.rows.update((row.id, row) for row in repeats)
        for failure in failures:
            if failure.digest:
                self.failures.setdefault(failure.digest, {})[failure.embedding] = failure
                self.rows[failure.id] = Row(
                    id=failure.id,
                    path=failure.path,
                    digest=failure.digest,
                    n_bytes=failure.n_bytes,
                    mtime_ns=failure.mtime_ns,
                )
