"""The history of labels for a reader: one object for each statement, and who said what holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from featx.core.columns import Table, Texts
from featx.core.digests import is_known, unpack_digests
from featx.core.typing import IntArray, LabelField, LabelKind
from featx.labels.element import FIELDS, NOTHING_SAID, SPLIT_CODES, Labels
from featx.labels.hold import BY_SOURCE, find_withdrawn, hold_field


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One thing that a person said of a row, or the split that was recorded for many rows.

    Attributes
    ----------
    id, digest : str
        Id of the row, and SHA-256 of its image at that time, hexadecimal; empty for a split of many
        rows.
    field : str
        Column: ``label``, ``split`` or ``group``.
    value : str
        Value that holds from then on, ``""`` for none; empty for a split of many rows.
    kind : {"sure", "unsure", "withdrawn"}
        Certainty of the person; what is withdrawn counts no more.
    author : str
        Name of the person.
    time : str
        Time at which it was said, ISO 8601, UTC.
    note : str
        Options of a recorded split; empty otherwise.
    n_rows : int
        Number of rows that it was said of.
    """

    id: str
    digest: str
    field: str
    value: str
    kind: LabelKind
    author: str
    time: str
    note: str = ""
    n_rows: int = 1


@dataclass(frozen=True, kw_only=True)
class HeldBy:
    """The number of rows of which one person said what holds.

    Attributes
    ----------
    field : {"label", "split", "group"}
        Column that the numbers are about.
    author : str or None
        Name of the person; None for the source.
    n_rows : int
        Number of rows. Of the source, only rows with a value count.
    n_unsure : int
        Number of these rows of which the person was not sure.
    """

    field: LabelField
    author: str | None
    n_rows: int
    n_unsure: int


def format_time(milliseconds: int) -> str:
    """Write a time as ISO 8601, UTC.

    Parameters
    ----------
    milliseconds : int
        Milliseconds since 1970.

    Examples
    --------
    >>> format_time(1_767_225_600_000)
    '2026-01-01T00:00:00.000+00:00'
    """
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def list_statements(labels: Labels) -> tuple[Statement, ...]:
    """List everything that people said, the oldest first.

    Parameters
    ----------
    labels : Labels
        Labels of a cache.
    """
    n_rows = (labels.recorded.split != NOTHING_SAID).sum(axis=1).tolist()
    recorded = [
        (occasion, Statement(id="", digest="", value="", n_rows=count, **rest))
        for (occasion, rest), count in zip(_iter_records(labels), n_rows, strict=True)
    ]
    return _sort([*_iter_said(labels.said), *recorded])


def list_row_statements(labels: Labels, keys: Table, row: int) -> tuple[Statement, ...]:
    """List what people said of one row, or of an image with its digest, the oldest first.

    Parameters
    ----------
    labels : Labels
        Labels of a cache.
    keys : Table
        Columns `id` and `digest` of the rows.
    row : int
        Number of the row.
    """
    key, digest = keys["id"][row], keys["digest"][row : row + 1]
    said = labels.said
    is_meant = said["id"].equal(Texts.from_list([key] * len(said)))
    is_meant |= is_known(said["digest"]) & (said["digest"] == digest).all(axis=1)
    codes = labels.recorded.split[:, row].tolist()
    hexadecimal = unpack_digests(digest)[0]
    recorded = [
        (occasion, Statement(id=key, digest=hexadecimal, value=SPLIT_CODES[code], **rest))
        for (occasion, rest), code in zip(_iter_records(labels), codes, strict=True)
        if code != NOTHING_SAID
    ]
    return _sort([*_iter_said(said[is_meant]), *recorded])


def _sort(statements: list[tuple[int, Statement]]) -> tuple[Statement, ...]:
    return tuple(one for _, one in sorted(statements, key=lambda pair: pair[0]))


def _iter_said(said: Table) -> Iterator[tuple[int, Statement]]:
    """Yield each statement after the number of its occasion."""
    columns = [said[name].to_list() for name in ("id", "field", "value", "kind", "author")]
    numbers = said["occasion"].tolist(), said["time"].tolist(), unpack_digests(said["digest"])
    for key, field, value, kind, author, occasion, time, digest in zip(
        *columns, *numbers, strict=True
    ):
        yield (
            occasion,
            Statement(
                id=key,
                digest=digest,
                field=field,
                value=value,
                kind=kind,
                author=author,
                time=format_time(time),
            ),
        )


def _iter_records(labels: Labels) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of the occasion of each recorded split, and what its statements share."""
    records = labels.recorded.records
    for author, note, occasion, time in zip(
        records["author"],
        records["note"],
        records["occasion"].tolist(),
        records["time"].tolist(),
        strict=True,
    ):
        shared: dict[str, Any] = {"field": "split", "kind": "sure", "author": author, "note": note}
        yield occasion, shared | {"time": format_time(time)}


def count_by_author(labels: Labels, keys: Table) -> list[HeldBy]:
    """Count the rows of which each person said what holds; the source comes first.

    Parameters
    ----------
    labels : Labels
        Labels of a cache.
    keys : Table
        Columns `id` and `digest` of the rows.
    """
    counts = []
    for field in FIELDS:
        held = hold_field(field, labels, keys)
        held.by[find_withdrawn(labels.said, held.by)] = BY_SOURCE
        n_source = int(((held.by == BY_SOURCE) & (held.values.codes != 0)).sum())
        if n_source:
            counts.append(HeldBy(field=field, author=None, n_rows=n_source, n_unsure=0))
        counts += _count_people(field, labels, held.by)
    return counts


def _count_people(field: LabelField, labels: Labels, by: IntArray) -> list[HeldBy]:
    said, records = labels.said, labels.recorded.records
    is_unsure = said["kind"].mask("unsure")
    chosen, recorded = by[by >= 0], -2 - by[by < BY_SOURCE]
    n_rows = {name: 0 for name in (*said["author"].names, *records["author"].names)}
    n_unsure = dict(n_rows)
    for name, count in said["author"][chosen].count().items():
        n_rows[name] += count
    for name, count in records["author"][recorded].count().items():
        n_rows[name] += count
    for name, count in said["author"][chosen[is_unsure[chosen]]].count().items():
        n_unsure[name] += count
    return [
        HeldBy(field=field, author=name, n_rows=count, n_unsure=n_unsure[name])
        for name, count in sorted(n_rows.items())
        if count
    ]
