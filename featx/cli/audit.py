"""featx audit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import AsJson, CacheArgument, Embedding, ImageSource, SheetOutput
from featx.cli.printing import cut_name, print_json, print_table, print_text
from featx.core.address import name_caches
from featx.core.errors import FeatxError
from featx.core.files import check_destination
from featx.core.inputs import check_apart
from featx.core.text import count_noun

if TYPE_CHECKING:
    from featx.analytics.audit_report import AuditReport, ReviewLine

MAX_LINES = 5
"""Largest number of findings of one kind that are listed."""


def audit(
    cache: CacheArgument,
    source: ImageSource = None,
    embedding: Embedding = None,
    output: SheetOutput = None,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Table (.csv) of all findings, to review and pass to featx label."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a table that exists.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find leaks between splits, duplicates, label errors, outliers and blank images.

    All thresholds are chosen from the data, and nothing is changed. Write the right labels into the
    empty column of the table, and pass it to featx label.

    featx audit photos.h5 -o audit.html --table review.csv
    """
    from featx.analytics.audit import audit as audit_cache
    from featx.cache.inputs import check_not_of_cache
    from featx.cache.joined import open_cache

    if output is not None:
        from featx.report.gallery import check_output

        check_output(output)
    if table is not None:
        check_destination(table, overwrite=overwrite, error=FeatxError)
        check_apart(table, output, error=FeatxError)
    with open_cache(cache) as opened:
        for path in (output, table):
            if path is not None:
                check_not_of_cache(path, opened, error=FeatxError)
        report = audit_cache(opened, source=source or None, embedding=embedding, progress=None)
        if output is not None:
            from featx.report.audit_page import write_audit

            output = write_audit(opened, report, output, source=source or None)
    if table is not None:
        report.write_table(table, overwrite=overwrite)
    if as_json:
        named = {"cache": name_caches(cache), "path": output, "table": table}
        print_json(report.to_dict() | named)
        return
    print_report(report)
    for path in (output, table):
        if path is not None:
            print_text(f"written to {path}")


def print_report(report: "AuditReport") -> None:
    """Print what matters most in a few lines, then the first findings of each kind."""
    from featx.analytics.audit_words import describe_parts

    rows = count_noun(report.n_rows, "row")
    lacking = report.n_without_vector
    rest = f", {lacking} without a vector" if lacking else ""
    print_text(
        f"{report.cache}: {rows}, {report.n_labelled} labelled{rest}, embedding {report.embedding}"
    )
    for part, text in describe_parts(report).items():
        print_text(f"{part:<13} {text}")
    kinds: dict[str, list[ReviewLine]] = {}
    for line in report.list_lines():
        kinds.setdefault(line.finding, []).append(line)
    shown = [line for lines in kinds.values() for line in lines[:MAX_LINES]]
    if shown:
        print_text()
        print_table(
            ["finding", "id", "label", "suggested", "score", "other"],
            [
                [
                    line.finding,
                    line.id,
                    cut_name(line.given) or None,
                    cut_name(line.suggested) or None,
                    None if line.score is None else f"{line.score:.2f}",
                    line.other or None,
                ]
                for line in shown
            ],
            cut=("id", "other"),
        )
        n_left = sum(map(len, kinds.values())) - len(shown)
        if n_left:
            print_text(f"… {count_noun(n_left, 'more finding')}; --table FILE writes all")
