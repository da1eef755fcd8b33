"""Labels in a few words: rows, what the source says, and what people say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from featx.core.columns import Categories, Column, Table, Texts
from featx.core.digests import pack_digests
from featx.labels.element import FIELDS, Labels, Recorded, build_entries
from featx.labels.hold import hold

Row = tuple[str, str]
"""Id and content of a row; a row without a content has no digest."""


def build_keys(*rows: Row) -> Table:
    digests = [hashlib.sha256(text.encode()).hexdigest() if text else "" for _, text in rows]
    return Table(
        {
            "id": Texts.from_list([key for key, _ in rows]),
            "digest": pack_digests(digests),
        }
    )


def build_source(
    labels: Sequence[str] = (), splits: Sequence[str] = (), groups: Sequence[str] = ()
) -> Table:
    columns = dict(zip(FIELDS, (labels, splits, groups), strict=True))
    n_rows = max(map(len, columns.values()))
    return Table(
        {name: Categories.from_list(texts or [""] * n_rows) for name, texts in columns.items()}
    )


def build_said(*said: tuple[Any, ...]) -> Table:
    """Build statements: id, content, value; then, if given, occasion, kind, field and author."""
    tables = [build_entries()]
    defaults: Sequence[Any] = (0, "sure", "label", "ada")
    for key, content, value, *rest in said:
        occasion, kind, field, author = (*rest, *defaults[len(rest) :])
        keys = build_keys((key, content))
        tables.append(
            build_entries(
                keys["id"],
                keys["digest"],
                fields=[field],
                values=[value],
                kinds=[kind],
                authors=[author],
                time=1000 + occasion,
                occasion=occasion,
            )
        )
    return Table.concat(tables)


def build_recorded(n_rows: int, *splits: tuple[int, Sequence[int]]) -> Recorded:
    """Build recorded splits: occasion, and the codes of all rows."""
    if not splits:
        return Recorded.empty(n_rows)
    records: dict[str, Column] = {
        "author": Categories.fill("split", len(splits)),
        "note": Categories.fill("val=0.2", len(splits)),
        "time": np.array([1000 + occasion for occasion, _ in splits], np.int64),
        "occasion": np.array([occasion for occasion, _ in splits], np.int32),
    }
    return Recorded(Table(records), np.array([codes for _, codes in splits], np.uint8))


def build_labels(
    keys: Table, source: Table, said: Table | None = None, recorded: Recorded | None = None
) -> Labels:
    labels = Labels(
        held=source,
        source=source,
        said=build_said() if said is None else said,
        recorded=Recorded.empty(len(keys)) if recorded is None else recorded,
    )
    return hold(labels, keys)


def list_values(column: Iterable[str]) -> str:
    """Write a column as one text, to compare at a glance."""
    return " ".join(text or "-" for text in column)
