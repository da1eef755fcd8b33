"""Unfinished work in memory: the plan of an extraction, and what its shards hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from featx.core.columns import Table
from featx.core.digests import is_known
from featx.core.fingerprint import Fingerprint
from featx.core.lookup import DigestIndex, TextIndex
from featx.core.provenance import Origin
from featx.core.records import build_record, load_json
from featx.core.row_tables import READ_KINDS, build_table
from featx.core.rows import Failure
from featx.core.typing import Array, IntArray, UInt8Array, VectorDtype


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


CONTENT_TYPES = {"shard": np.int32, "row": np.int32, "width": np.int32, "height": np.int32}
"""Columns that say where the vectors of a content lie, and how large its image is."""


class WorkIndex:
    """The contents and rows that the shards of one extraction hold: some 100 bytes for each row.

    Images are identified by the SHA-256 of their bytes: a vector belongs to a digest, and a read
    says which digest the file of a row had.

    Parameters
    ----------
    rows : Table
        Columns id and path of the rows of the source. Reads of other rows are left out.

    Attributes
    ----------
    reads : Table
        Digest, n_bytes and mtime_ns of each row of the source, from its last read in this
        extraction; a row that was not read has no digest.
    failures : dict of str to dict of str to Failure
        Failures of each content by digest, then by embedding; ``""`` stands for all embeddings.
        Files that could not be read are left out, so that the next run tries them again.
    n_contents : int
        Number of contents that have vectors in the shards.
    """

    def __init__(self, rows: Table) -> None:
        n_rows = len(rows)
        self._ids, self._paths = TextIndex(rows["id"]), rows["path"]
        # The system gives the memory of zeros when they are written.
        self.reads = Table(
            {
                "digest": np.zeros((n_rows, 32), np.uint8),
                "n_bytes": np.zeros(n_rows, np.int64),
                "mtime_ns": np.zeros(n_rows, np.int64),
            }
        )
        self.failures: dict[str, dict[str, Failure]] = {}
        self.n_contents = 0
        self._contents = _build_contents(n_rows)
        self._by_digest: DigestIndex | None = None

    @property
    def contents(self) -> Table:
        """Digest, shard, row in the shard, width and height of each content that has vectors."""
        return self._contents[: self.n_contents]

    def add(self, shard: int, rows: Table, repeats: Table, failures: Sequence[Failure]) -> None:
        """Add what one shard holds.

        Parameters
        ----------
        shard : int
            Number of the shard.
        rows : Table
            Columns of `READ_KINDS` of the rows whose vectors lie in the shard, in their order.
        repeats : Table
            Rows whose vectors lie in another shard or in the cache.
        failures : sequence of Failure
            Images that have no vector.
        """
        self._add_contents(shard, rows)
        for table in (rows, repeats, build_table(failures, READ_OF_FAILURE)):
            self._add_reads(table)
        for failure in failures:
            if failure.digest:
                self.failures.setdefault(failure.digest, {})[failure.embedding] = failure

    def _add_contents(self, shard: int, rows: Table) -> None:
        start, stop = self.n_contents, self.n_contents + len(rows)
        if stop > len(self._contents):  # work on images that the source has no longer
            self._contents = Table.concat([self.contents, _build_contents(2 * stop - start)])
        columns = {name: rows[name] for name in ("digest", "width", "height")}
        columns |= {"shard": np.array(shard), "row": np.arange(len(rows))}
        for name, column in columns.items():
            self._contents[name][start:stop] = column
        self.n_contents, self._by_digest = stop, None

    def _add_reads(self, rows: Table) -> None:
        places = self._ids.find(rows["id"])
        rows, places = rows[places >= 0], places[places >= 0]
        # A file at another path is another file, even if size and time are equal.
        same = rows["path"].equal(self._paths[places]) & is_known(rows["digest"])
        for name in self.reads.names:
            self.reads[name][places[same]] = rows[name][same]

    def find(self, digests: UInt8Array) -> IntArray:
        """Find the contents of digests, int64 ``(n,)``: their rows in `contents`; -1 for none.

        Parameters
        ----------
        digests : ndarray of uint8
            ``(n, 32)``.
        """
        if self._by_digest is None:
            self._by_digest = DigestIndex(self.contents["digest"])
        return self._by_digest.find(digests)


READ_OF_FAILURE = {
    name: READ_KINDS[name] for name in ("id", "path", "digest", "n_bytes", "mtime_ns")
}


def _build_contents(n_rows: int) -> Table:
    numbers: dict[str, Array] = {
        name: np.zeros(n_rows, dtype) for name, dtype in CONTENT_TYPES.items()
    }
    return Table({"digest": np.zeros((n_rows, 32), np.uint8), **numbers})
