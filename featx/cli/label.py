"""featx label."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import AsJson, Author, CacheArgument, choose
from featx.cli.printing import print_json, print_table, print_text
from featx.core.address import name_caches, name_location
from featx.core.text import count_noun
from featx.core.typing import LabelField, LabelKind, list_choices

if TYPE_CHECKING:
    from featx.fitting.label import LabelReport

MAX_LINES = 20
"""Largest number of kinds of changes that are listed."""


def label(
    cache: CacheArgument,
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="Table with a column id, path or digest, and a column of labels: CSV, JSON lines "
            "or Parquet.",
        ),
    ],
    field: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Column of the table to record: label, split, group, or another one for "
            "fit-head --target.",
        ),
    ] = "label",
    kind: Annotated[
        LabelKind,
        choose("kind", LabelKind, "Certainty; withdrawn takes back what was said before."),
    ] = "sure",
    author: Author = None,
    remove_empty: Annotated[
        bool,
        typer.Option("--remove-empty", help="Take the label away where the cell is empty."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Record what a person says of images: labels, splits, groups, other columns.

    It holds from then on, whatever the source says later. The history keeps everything.

    featx label photos.h5 labels.csv --dry-run

    featx label photos.h5 labels.csv --author ada

    featx label photos.h5 prices.csv --field price
    """
    from featx.fitting.label import label_cache

    report = label_cache(
        cache,
        labels,
        field=field,
        kind=kind,
        author=author,
        remove_empty=remove_empty,
        dry_run=dry_run,
    )
    if as_json:
        print_json({"cache": name_caches(cache), **report.to_dict()})
        return
    print_changes(report)
    known = f", {report.n_known} known before" if report.n_known else ""
    done = "" if report.is_written else "; nothing was written"
    print_text(
        f"{name_location(report.path)}: {count_noun(report.n_new, 'new statement')}{known}, "
        f"{count_noun(report.n_changed, 'row')} changed{done}"
    )


def print_changes(report: "LabelReport") -> None:
    """Print how many rows change in which way."""
    lines = [
        [change.field, change.before or "-", change.after or "-", change.n_rows]
        for change in report.changes
    ]
    shown = lines[:MAX_LINES]
    if len(lines) > MAX_LINES and report.changes[0].field not in list_choices(LabelField):
        return  # numbers: each of them changes in a way of its own
    if len(lines) > MAX_LINES:
        rest = report.changes[MAX_LINES:]
        n_rows = sum(change.n_rows for change in rest)
        shown.append([f"… {len(rest)} more", "", "", n_rows])
    if shown:
        print_table(["column", "before", "after", "rows"], shown)
        print_text()
