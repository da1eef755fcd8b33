"""Decide which images need embedding. Nothing is read and nothing runs here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featx.cache.reader import Cache
from featx.core.columns import Table
from featx.core.errors import CacheError
from featx.core.rows import Failure
from featx.core.typing import Count, VectorDtype, list_choices
from featx.extraction.checks import FailureLimit, count_allowed
from featx.extraction.inventory import STATE, Inventory, Reads
from featx.images.entries import Entries, as_columns
from featx.images.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The images of a source that need embedding, and the images that do not.

    Attributes
    ----------
    reads : Reads
        The reads of unchanged files, with their digests; these files are not read again.
    todo : Entries
        Images to read, and to embed unless the content has a vector already.
    failures : tuple of Failure
        One known failure for each unchanged row that lacks a requested embedding.
    limit : FailureLimit
        Number of images that may fail.
    """

    reads: Reads
    todo: Entries
    failures: tuple[Failure, ...]
    limit: FailureLimit


def plan_extraction(
    manifest: Manifest,
    inventory: Inventory,
    reads: Reads,
    states: Table,
    *,
    max_failures: int | str,
    is_part: bool = False,
) -> Plan:
    """Decide which images need embedding.

    Parameters
    ----------
    manifest : Manifest
        Rows of the source.
    inventory : Inventory
        Vectors and failures that the cache and unfinished work hold.
    reads : Reads
        Earlier reads of the files.
    states : Table
        Current n_bytes and mtime_ns of each file.
    max_failures : int or str
        Number of images that may fail, or a percentage of all images.
    is_part : bool
        Whether the source is one part of a larger one: it may be empty, and each of few images may
        fail.

    Raises
    ------
    FeatxError
        If `max_failures` is neither a number nor a percentage.
    """
    n_allowed = count_allowed(max_failures, len(manifest))
    limit = FailureLimit(
        source=manifest.source,
        n_images=len(manifest),
        n_allowed=n_allowed,
        may_all_fail=is_part,
    )
    unchanged = reads.is_usable.copy()
    for name in STATE:
        unchanged &= reads.table[name] == states[name]
    kept = Reads(table=reads.table, is_usable=unchanged)
    failing = inventory.find_failing(reads.table["digest"])
    failing = failing[unchanged[failing]]
    found = map(inventory.find_failure, inventory.describe_rows(reads.table, failing))
    return Plan(
        reads=kept,
        todo=as_columns(manifest.entries)[~unchanged],
        failures=tuple(failure for failure in found if failure is not None),
        limit=limit,
    )


def choose_storage(
    base: Cache | None, names: Sequence[str], dtype: VectorDtype | None, batch_size: Count
) -> tuple[VectorDtype, Count]:
    """Choose dtype and batch size of vectors; an embedding that is extended keeps both.

    Parameters
    ----------
    base : Cache or None
        The existing cache.
    names : sequence of str
        Names of the requested embeddings.
    dtype : {"float32", "float16"}, optional
        Requested dtype. Default: float32 for a new embedding.
    batch_size : int or "auto"
        Requested number of rows per batch; ``"auto"`` is the engine's choice for a new embedding.

    Raises
    ------
    CacheError
        If an embedding has another dtype or batch size than requested, or two of them differ.
    """
    for name in names:
        if base is None or name not in base.embeddings:
            continue
        provenance = base.get_info(name).provenance
        have: dict[str, Any] = {"dtype": base.get_dtype(name), "batch_size": provenance.batch_size}
        for argument, requested in (("dtype", dtype), ("batch_size", batch_size)):
            if requested not in (None, "auto", have[argument]):
                raise CacheError(
                    subject=f"{base.path}, embedding {name}",
                    expected=f"{argument} {have[argument]}, as in the vectors that are stored",
                    got=str(requested),
                    remedy="Leave the option out, extract layers one at a time, or pass "
                    "overwrite=True to start a new cache.",
                )
        dtype, batch_size = have["dtype"], have["batch_size"]
    return dtype or list_choices(VectorDtype)[0], batch_size
