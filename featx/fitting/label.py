"""Record what a person says of rows of a cache."""

from __future__ import annotations

import getpass
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.cache.joined import open_cache
from featx.cache.label_columns import read_labels
from featx.cache.label_writer import rewrite_labels
from featx.cache.lock import remove_dead_lock
from featx.cache.reader import Cache
from featx.cache.remote_output import has_address, open_outputs
from featx.core.address import name_location
from featx.core.columns import Table, Texts
from featx.core.errors import CacheError, find_nearest
from featx.core.notes import note
from featx.core.text import count_noun, join_some, show_text, unguard_cell
from featx.core.typing import CachePaths, IntArray, LabelKind, PathLike, check_choice
from featx.fitting.label_field import clean_field
from featx.fitting.label_table import (
    GivenBuilder,
    LabelTable,
    clean_value,
    read_cell,
    read_label_table,
)
from featx.images.labels import clean_label
from featx.images.names import escape_name, quote_name
from featx.labels.changes import LabelChange, iter_changes
from featx.labels.element import KEYS
from featx.labels.join import join_labels
from featx.labels.statements import LabelConflict, Saying, find_rows, find_texts, say
from featx.remote.copies import localise

N_NAMED = 3
"""Number of rows, labels and the like that a note names."""


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """What a person said of a cache, and what it changed.

    Attributes
    ----------
    path : Path
        The cache; of several, their folder or their names.
    n_new : int
        Number of statements that were added.
    n_known : int
        Number of statements that the same person had made before and that need not be added again.
    n_empty : int
        Number of lines without a value, which say nothing.
    changes : tuple of LabelChange
        Numbers of rows that changed, by their value before and after.
    conflicts : tuple of LabelConflict
        Rows of which another person had said something else. What is said now holds; the history
        keeps both.
    unmatched : tuple of str
        Ids, paths and digests that name no row of the cache.
    is_written : bool
        Whether the cache was changed.
    """

    path: Path
    n_new: int
    n_known: int
    n_empty: int
    changes: tuple[LabelChange, ...]
    conflicts: tuple[LabelConflict, ...]
    unmatched: tuple[str, ...]
    is_written: bool

    @property
    def n_changed(self) -> int:
        """Number of values that changed."""
        return sum(change.n_rows for change in self.changes)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields but the path as plain values, for JSON."""
        fields = asdict(self) | {"n_changed": self.n_changed}
        del fields["path"]
        return fields


def label_cache(
    cache: CachePaths,
    labels: PathLike | Mapping[str, str | float | None],
    *,
    field: str = "label",
    kind: LabelKind = "sure",
    author: str | None = None,
    remove_empty: bool = False,
    dry_run: bool = False,
) -> LabelReport:
    """Record what a person says of rows of a cache: labels, splits or groups.

    What is said is appended to the history of the cache; it holds from then on, whatever the source
    says in a later extraction, and the vectors stay as they are. It belongs to the image: it
    follows a file that is moved, and holds for copies of the file, unless something was said of
    them. The same call again changes nothing, unless somebody has said something else since.

    Parameters
    ----------
    cache : path or sequence of paths
        Cache to change, or several as `featx.open_cache` takes them.
    labels : path or mapping of str to str, int, float or None
        A table (CSV, JSON lines or Parquet) with a column ``id``, ``path`` or ``digest`` that names
        the rows, and a column with the values; columns ``kind`` and ``author`` may say how surely,
        and who says it. Or a mapping from an id, a path or a digest to the value: ``""`` takes the
        value away, None withdraws what was said, and NaN is an empty cell. Whole numbers, True and
        False become text as in a table.
    field : str
        Column of values to record: ``"label"``, ``"split"`` or ``"group"``; or another column of
        the table, whose values may be decimals, as a target of `featx.fit_head`.
    kind : {"sure", "unsure", "withdrawn"}
        Certainty of the person. With ``"withdrawn"``, what was said before counts no more, and the
        source's holds again.
    author : str, optional
        Name of the person. Default: the user of the system.
    remove_empty : bool
        Whether an empty cell takes the value of the row away. Otherwise, it says nothing.
    dry_run : bool
        Whether to report only, and change nothing.

    Returns
    -------
    LabelReport
        Numbers of statements and of changed rows, and the keys that name no row.

    Warns
    -----
    FeatxWarning
        If something names no row of the cache, if another person had said something else, if there
        are new labels, or if lines are empty.

    Raises
    ------
    SourceError
        If the table cannot be read, if a value is of another type, or if one person says two things
        of the same row.
    CacheError
        If the cache cannot be read or written, or if nothing names a row of it.
    CacheLockedError
        If another process writes the cache.

    See Also
    --------
    featx.split_cache : Record a split of all labelled rows.
    featx.Cache.read_history : Read what was said, when, and by whom.

    Examples
    --------
    >>> report = featx.label_cache("photos.h5", {"val/ants/0.jpg": "bees"}, author="ada")
    >>> report.changes
    (LabelChange(field='label', before='ants', after='bees', n_rows=1),)
    >>> report = featx.label_cache("photos.h5", {"val/ants/0.jpg": None}, author="ada")
    >>> report.changes[0].after
    'ants'
    """
    field = clean_field(field)
    check_choice("kind", kind, LabelKind)
    author = choose_author(author)
    if not dry_run and has_address(cache):
        with open_outputs(cache) as paths:
            return label_cache(
                paths, labels, field=field, kind=kind, author=author, remove_empty=remove_empty
            )
    if isinstance(labels, Mapping):
        subject, folder = "labels", Path()
        table = _read_mapping(labels, field, kind=kind, author=author, remove_empty=remove_empty)
    else:
        subject, folder = name_location(labels), Path(labels).parent
        table = read_label_table(
            localise(labels), field, kind=kind, author=author, remove_empty=remove_empty
        )
    now = time.time_ns() // 1_000_000
    with open_cache(cache) as opened:
        members = opened.members
        sayings = []
        for member in members:
            keys = member.read_rows(KEYS)
            rows = find_given(table.given["key"], keys, member, folder)
            own = read_labels(member)
            sayings.append(say(own, keys, table.given, rows=rows, time=now, subject=subject))
        changes = [change for saying in sayings for change in saying.changes]
        if len(members) > 1 and any(saying.n_new for saying in sayings):
            # What is said of an image holds for its copies in other caches.
            keys = opened.read_rows(KEYS)
            after = join_labels([saying.labels for saying in sayings], keys)
            changes = [*iter_changes(read_labels(opened), after, keys)]
        report = _report(opened.path, table, sayings, changes)
        if len(report.unmatched) == len(table.given) > 0:
            raise _refuse_all(subject, opened.path, report.unmatched)
        held = [member.read_column("label").names for member in members]
        notes = list_notes(report, table, field, Texts.concat(held).to_list())
    if not dry_run:
        for member, saying in zip(members, sayings, strict=True):
            if saying.n_new:
                rewrite_labels(member.path, saying.labels, digest=member.digest)
            else:
                remove_dead_lock(member.path.resolve())
    for text in notes:
        note(text)
    return replace(report, is_written=bool(report.n_new) and not dry_run)


def choose_author(author: str | None) -> str:
    """Return the name of the person: as given, or that of the user of the system.

    Parameters
    ----------
    author : str or None
        Name as given.
    """
    try:
        name = author or getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        name = ""
    return clean_label(name) or "unknown"


def _read_mapping(
    labels: Mapping[str, Any],
    field: str,
    *,
    kind: LabelKind,
    author: str,
    remove_empty: bool,
) -> LabelTable:
    """Read a mapping from keys to values as `read_label_table` reads a table."""
    builder = GivenBuilder()
    n_empty = 0
    for number, (key, value) in enumerate(labels.items(), 1):
        subject = f"labels[{key!r}]"
        plain = value.item() if isinstance(value, np.generic) else value
        text = read_cell(plain, subject, field)
        is_missing = not text and isinstance(plain, float)  # NaN
        if is_missing and kind != "withdrawn" and not remove_empty:  # it says nothing in a table
            n_empty += 1
            continue
        builder.append(
            os.fspath(key) if isinstance(key, str | os.PathLike) else read_cell(key, subject),
            number,
            field=field,
            value=clean_value(text, field, subject),
            kind="withdrawn" if value is None else kind,
            author=author,
        )
    return LabelTable(given=builder.build(), n_empty=n_empty)


def find_given(given: Texts, keys: Table, cache: Cache, folder: Path) -> tuple[IntArray, IntArray]:
    """Find the rows that a person names by id, by digest, or by any form of their path.

    Parameters
    ----------
    given : Texts
        Ids, digests and paths.
    keys : Table
        Columns `id` and `digest` of the rows.
    cache : Cache
        The open cache, whose paths are read only if they are needed.
    folder : Path
        Folder of the table: relative paths may begin there, or at the working folder.

    Returns
    -------
    (ndarray of int64, ndarray of int64)
        Pairs of a number in `given` and the number of a row, as `find_rows` finds them.
    """
    lines, rows = find_rows(given, keys)
    is_left = np.ones(len(given), bool)
    is_left[lines] = False
    if not is_left.any():
        return lines, rows
    paths = cache.read_column("path")
    absolute = Texts.from_list(map(os.path.abspath, paths))
    forms: tuple[tuple[Texts, Callable[[str], str]], ...] = (
        (paths, str),
        (keys["id"], escape_name),
        (keys["id"], unguard_cell),  # as featx writes tables for spreadsheets
        (absolute, os.path.abspath),
        (absolute, lambda name: os.path.abspath(folder / name)),
    )
    for column, write in forms:
        left = np.flatnonzero(is_left)
        found = find_texts(Texts.from_list(map(write, given[left])), column)
        named = left[found >= 0]
        is_left[named] = False
        lines, rows = np.concatenate([lines, named]), np.concatenate([rows, found[found >= 0]])
    return lines, rows


def _report(
    path: Path, table: LabelTable, sayings: Sequence[Saying], changes: Sequence[LabelChange]
) -> LabelReport:
    """Sum up what is said of all caches."""
    is_unmatched = np.logical_and.reduce([saying.is_unmatched for saying in sayings])
    return LabelReport(
        path=path,
        n_new=sum(saying.n_new for saying in sayings),
        n_known=sum(saying.n_known for saying in sayings),
        n_empty=table.n_empty,
        changes=tuple(changes),
        conflicts=tuple(one for saying in sayings for one in saying.conflicts),
        unmatched=tuple(table.given["key"][is_unmatched].to_list()),
        is_written=False,
    )


def _refuse_all(subject: str, path: Path, unmatched: Sequence[str]) -> CacheError:
    return CacheError(
        subject=subject,
        expected=f"ids, paths or digests of rows of {path}",
        got=f"none among {len(unmatched)}, such as {show_text(unmatched[0])}",
        remedy="Write the ids as featx.open_cache(path).ids has them.",
    )


def list_notes(
    report: LabelReport, table: LabelTable, field: str, known: Sequence[str]
) -> list[str]:
    """List what a person should know of labels that are recorded.

    Parameters
    ----------
    report : LabelReport
        What changes.
    table : LabelTable
        What was said.
    field : str
        Column that is recorded.
    known : sequence of str
        Labels that rows had before.
    """
    notes = []
    if report.unmatched:
        named = join_some([quote_name(key) for key in report.unmatched], N_NAMED)
        notes.append(
            f"{count_noun(len(report.unmatched), 'line')} without a row in {report.path}: {named}"
        )
    if report.conflicts:
        shown = [_describe_conflict(one) for one in report.conflicts[: N_NAMED + 1]]
        named = join_some([*shown, *[""] * (len(report.conflicts) - len(shown))], N_NAMED)
        notes.append(
            f"{count_noun(len(report.conflicts), 'row')} of which another person was sure of "
            f"something else: {named}. What is said now holds; the history keeps both"
        )
    new = {} if field != "label" else _count_new(report, known)
    for label, n_rows in [*new.items()][:N_NAMED]:
        nearest = find_nearest(label, [name for name in known if name])
        hint = f" (nearest: {', '.join(map(quote_name, nearest))})" if nearest else ""
        notes.append(f"new label {quote_name(label)}, {count_noun(n_rows, 'row')}{hint}")
    if len(new) > N_NAMED:
        notes.append(f"{len(new) - N_NAMED} more new labels")
    if table.n_empty:
        notes.append(
            f"{count_noun(table.n_empty, 'line')} without a {field}: they say nothing. Pass "
            f"remove_empty=True to take the {field} of these rows away"
        )
    if table.others:
        notes.append(
            f"columns passed over: {', '.join(map(quote_name, table.others))}. Pass field=NAME to "
            "record one of them"
        )
    return notes


def _count_new(report: LabelReport, known: Sequence[str]) -> Counter[str]:
    """Count the rows of each value that no row had before."""
    have = set(known)
    new: Counter[str] = Counter()
    for change in report.changes:
        if change.after and change.after not in have:
            new[change.after] += change.n_rows
    return new


def _describe_conflict(conflict: LabelConflict) -> str:
    before, after = (repr(text) if text else "none" for text in (conflict.before, conflict.after))
    return f"{conflict.id} ({before} by {conflict.before_author}, now {after})"
