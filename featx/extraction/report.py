"""The result of an extraction, as the caller sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from featx.core.columns import Table, count_pairs
from featx.core.learnt import Digests, find_learnt
from featx.core.text import count_noun, join_some, show_text
from featx.core.typing import Split, list_choices
from featx.embedding.timings import Timings

RowCounts = Counter[tuple[str | None, Split | None]]
"""Numbers of rows by label and split."""

N_NAMED = 3
"""Number of labels that a note names if there are more."""


@dataclass(frozen=True, kw_only=True)
class ExtractionReport:
    """Summary of one extraction; ``print(report)`` shows it in three lines.

    Attributes
    ----------
    path : Path
        Path of the cache.
    understood : str
        The source as it was read, in one line: images, labels, splits and the meaning of folders.
    n_rows : int
        Number of rows in the cache.
    labels : dict of str to int
        Number of rows of the cache with each label; rows without a label are not counted.
    splits : dict of str to int
        Number of rows of the cache in each split; rows without a split are not counted.
    n_learnt : int
        Number of rows of the cache whose image the network has learnt from, because its weights
        were tuned. Scores of these rows are too high.
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
    address : str or None
        Address that the cache was copied to; None for an output on this machine.
    elapsed_s : float
        Seconds from the first image to the closed file.
    timings : Timings
        Time of each stage, and advice on how to run faster.
    """

    path: Path
    understood: str
    n_rows: int
    labels: dict[str, int]
    splits: dict[str, int]
    n_learnt: int
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
    address: str | None = None

    @property
    def summary(self) -> str:
        """Rows, embeddings and speed in one line, and the source as it was read in another."""
        dims = ", ".join(f"{name} (dim {dim})" for name, dim in self.dims.items())
        done = "up to date"
        if self.is_changed and not self.n_embedded:
            done = "updated"
        elif self.is_changed:
            rate = self.n_embedded / self.elapsed_s
            done = f"{self.n_embedded} embedded in {self.elapsed_s:.1f} s, {rate:.0f} images/s"
        where = self.address or self.path
        return f"{where}: {count_noun(self.n_rows, 'row')}, {dims}, {done}\n{self.understood}"

    def __str__(self) -> str:
        return f"{self.summary}\n{self.timings.advise()}" if self.n_embedded else self.summary

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self) | {
            "path": self.address or str(self.path),
            "advice": self.timings.advise(),
        }


def count_rows(rows: Table) -> RowCounts:
    """Count rows by label and split, None for none."""
    pairs = count_pairs(rows["label"], rows["split"])
    return Counter({(label or None, split or None): n for (label, split), n in pairs.items()})  # type: ignore[misc]


def count_labels(counts: RowCounts) -> dict[str, int]:
    """Count the rows of each label, sorted by name."""
    found: Counter[str] = Counter()
    for (label, _), count in counts.items():
        if label:
            found[label] += count
    return dict(sorted(found.items()))


def count_splits(counts: RowCounts) -> dict[str, int]:
    """Count the rows of each split, in the order train, val, test."""
    found: Counter[str | None] = Counter()
    for (_, split), count in counts.items():
        found[split] += count
    return {name: found[name] for name in list_choices(Split) if name in found}


def count_learnt(rows: Table, learnt: Digests) -> dict[str, int]:
    """Count the rows whose image the network has learnt from, by split; "" for no split.

    Parameters
    ----------
    rows : Table
        Rows of the cache.
    learnt : ndarray of uint64
        Shortened digests of the images that the network has learnt from.
    """
    if not len(learnt):  # no pass over the rows for weights that were not tuned
        return {}
    counts = Counter(rows["split"][find_learnt(rows["digest"], learnt)])
    return {name: counts[name] for name in (*list_choices(Split), "") if name in counts}


def describe_learnt(report: ExtractionReport, n_learnt: Mapping[str, int]) -> str:
    """Say how many rows the network has learnt from, and what that means.

    Parameters
    ----------
    report : ExtractionReport
        Summary of the extraction.
    n_learnt : mapping of str to int
        Number of learnt rows in each split; "" for no split.
    """
    splits = ", ".join(f"{count:,} in {name}" for name, count in n_learnt.items() if name)
    where = f" ({splits})" if splits else ""
    return (
        f"{report.path}: {report.n_learnt:,} of {report.n_rows:,} rows were learnt from by the "
        f"network{where}: their scores are too high, in folds too. Score heads on the others."
    )


def list_notes(
    report: ExtractionReport,
    counts: RowCounts,
    sought: Iterable[str],
    *,
    prune: bool,
    is_part: bool = False,
) -> list[str]:
    """List what a person should know of an extraction that succeeded.

    Parameters
    ----------
    report : ExtractionReport
        Summary of the extraction.
    counts : Counter
        Rows of the cache by label and split.
    sought : iterable of str
        Labels of the source, with those of images that failed.
    prune : bool
        Whether rows that the source no longer has were dropped.
    is_part : bool
        Whether the cache is a part of a larger one, which may well lack a label.
    """
    notes = []
    if report.taken_from:
        notes.append(f"the lock of {report.taken_from}, which is dead, was taken over.")
    if report.n_damaged:
        shards = count_noun(report.n_damaged, "damaged shard")
        notes.append(f"{shards} of the interrupted run: their images were embedded again.")
    if report.n_removed and not prune:
        notes.append(
            f"{count_noun(report.n_removed, 'row')} without an image in the source: kept. Pass "
            "prune=True to drop them."
        )
    if report.n_failures:
        lost = sorted(set(sought) - report.labels.keys())
        of_lost = f", all images of {_join_labels(lost)} among them" if lost and not is_part else ""
        notes.append(
            f"{count_noun(report.n_failures, 'image')} failed{of_lost}. List them with "
            f"featx.read_failures({str(report.path)!r})."
        )
    unlearnt = _list_unlearnt(counts) if "train" in report.splits and not is_part else []
    if unlearnt:
        notes.append(
            f"{count_noun(len(unlearnt), 'label')} without a row in the split train: "
            f"{_join_labels(unlearnt)}. A head cannot learn them."
        )
    return notes


def _list_unlearnt(counts: RowCounts) -> list[str]:
    """List the labels of val and test that no train row has."""
    learnt = {label for label, split in counts if split == "train"}
    return sorted({label for label, split in counts if label and split} - learnt)


def _join_labels(labels: Sequence[str]) -> str:
    return join_some([show_text(label, 40) for label in labels], N_NAMED)
