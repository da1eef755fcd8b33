"""Unfinished work in memory: the plan of an extraction, and the contents and rows that are done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Origin
from featx.core.records import build_record, load_json
from featx.core.rows import Failure, Row
from featx.core.typing import VectorDtype


@dataclass(frozen=True, kw_only=True)
class WorkPlan:
    """The decisions that all shards of one extraction share.

    Attributes
    ----------
    embeddings : mapping of str to Fingerprint
        Fingerprint of each embedding that is computed, by name.
    dtype : {"float32", "float16"}
        Dtype of the stored vectors.
    batch_size : int
        Number of rows in every batch.
    origin : Origin or None
        Record of how the backbone was loaded, for a next run that names no backbone. Two plans may
        differ in it: the fingerprints decide.
    """

    embeddings: Mapping[str, Fingerprint]
    dtype: VectorDtype
    batch_size: int
    origin: Origin | None = field(default=None, compare=False)

    def to_json(self) -> str:
        """Write the fields as one JSON object with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> WorkPlan:
        """Read the text that `to_json` wrote."""
        return build_record(cls, load_json(text))

    def describe_difference(self, other: WorkPlan) -> str:
        """Describe the first decision of another plan that differs from this one.

        Parameters
        ----------
        other : WorkPlan
            Plan of another extraction.
        """
        if self.embeddings.keys() != other.embeddings.keys():
            return f"unfinished work on {', '.join(sorted(other.embeddings))}"
        for name, fingerprint in self.embeddings.items():
            for field_name in fingerprint.list_differences(other.embeddings[name]):
                value = other.embeddings[name].list_fields().get(field_name, "-")
                return f"another {field_name} of {name}: {value}"
        if self.dtype != other.dtype:
            return f"dtype {other.dtype} in place of {self.dtype}"
        return f"batch_size {other.batch_size} in place of {self.batch_size}"


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
        Failures of each content by digest, then by embedding; ``""`` stands for all embeddings.
        Files that could not be read are left out, so that the next run tries them again.
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
            Rows whose vectors lie in another shard or in the cache.
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
