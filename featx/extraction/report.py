"""The result of an extraction, as the caller sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from featx.embedding.timings import Timings


@dataclass(frozen=True, kw_only=True)
class ExtractionReport:
    """Summary of one extraction.

    Attributes
    ----------
    path : Path
        Path of the cache.
    n_rows : int
        Number of rows in the cache.
    n_failures : int
        Number of images of the source that lack a requested embedding.
    n_ignored : int
        Number of files in the source that are not images.
    dims : dict of str to int
        Length of each requested embedding, by its name in the cache.
    n_embedded : int
        Number of distinct images that this run sent through the network.
    n_resumed : int
        Number of distinct images that an interrupted earlier run had embedded.
    n_damaged : int
        Number of damaged shards of the earlier run, whose images were embedded again.
    n_removed : int
        Number of rows whose file the source no longer has. The argument `prune` decides whether
        these rows stay.
    is_changed : bool
        True if the cache was written; False if it was up to date.
    taken_from : str or None
        Description of the dead process whose lock was taken over.
    elapsed_s : float
        Seconds from the first image to the closed file.
    timings : Timings
        Time of each stage, and advice on how to run faster.
    """

    path: Path
    n_rows: int
    n_failures: int
    n_ignored: int
    dims: dict[str, int]
    n_embedded: int
    n_resumed: int
    n_damaged: int
    n_removed: int
    is_changed: bool
    taken_from: str | None
    elapsed_s: float
    timings: Timings
