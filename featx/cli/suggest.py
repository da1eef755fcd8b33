"""featx suggest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import AsJson, CacheArgument, Embeddings, choose
from featx.cli.printing import print_json, print_table, print_text
from featx.core.address import name_caches
from featx.core.errors import CacheError
from featx.core.files import check_destination
from featx.core.inputs import check_apart, check_not_read
from featx.core.text import count_noun
from featx.core.typing import StrategyChoice

if TYPE_CHECKING:
    from featx.analytics.suggestions import Suggestions

MAX_LINES = 20
"""Largest number of rows that are listed."""


def suggest(
    cache: CacheArgument,
    head: Annotated[
        Path | None,
        typer.Option(
            metavar="HEAD",
            help="Head whose doubts count.  [default: one that is fitted on the labels of CACHE]",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, metavar="N", help="Number of rows.")] = 50,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="CSV",
            help="Table to write, with an empty column label to fill in, for featx label.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a table that exists.")
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG|HTML",
            help="Contact sheet or page of the images to write; replaces one that exists.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Source of the images, if it was moved, for --sheet.",
            show_default=False,
        ),
    ] = None,
    strategy: Annotated[
        StrategyChoice,
        choose(
            "strategy",
            StrategyChoice,
            "Way to choose rows; auto goes by the labels there are, random is to score on.",
        ),
    ] = "auto",
    previous: Annotated[
        Path | None,
        typer.Option(
            metavar="HEAD",
            help="Head of two batches before: what the labels since then gained says whether to go "
            "on.",
            show_default=False,
        ),
    ] = None,
    embedding: Embeddings = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of all that is random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Suggest which images to label next.

    Typical ones while labels are few; from 8 labels per class and 64 in all on, those that a head
    doubts and that differ from each other. Images in val and test, and copies, are never suggested.

    featx suggest photos.h5 -n 200 --strategy random -o val.csv

    featx suggest photos.h5 -n 50 -o next.csv --sheet next.png

    featx suggest photos.h5 --head 3.joblib --previous 1.joblib -o next.csv
    """
    from featx.cache.inputs import check_not_of_cache
    from featx.cache.joined import open_cache
    from featx.fitting.suggest import suggest as choose_rows

    if output is not None:
        check_destination(output, overwrite=overwrite, error=CacheError)
    if sheet is not None:
        from featx.report.gallery import check_output

        check_output(sheet)
    check_apart(output, sheet, error=CacheError)
    read = [one for one in (head, previous) if one is not None]
    with open_cache(cache) as opened:
        for path in (output, sheet):
            if path is not None:
                check_not_read(path, read, error=CacheError)
                check_not_of_cache(path, opened, error=CacheError)
    found = choose_rows(
        cache,
        head,
        n,
        embedding=embedding or None,
        strategy=strategy,
        previous=previous,
        seed=seed,
    )
    if output is not None:
        found.write(output, overwrite=overwrite)
    if sheet is not None:
        from featx.report.suggestions import write_suggested

        write_suggested(sheet, found, cache, source)
    if as_json:
        print_json({"cache": name_caches(cache), **found.to_dict()})
        return
    print_suggestions(found)
    print_text(f"\n{name_caches(cache)}: {describe(found)}")
    if found.gain is not None:
        print_text(found.gain.verdict)
    if output is not None:
        print_text(f"{output}: fill in the column label, then run: featx label CACHE {output}")


def print_suggestions(found: "Suggestions") -> None:
    """Print the first rows, with their scores and reasons."""
    lines = [[one["id"], one["score"], one["why"]] for one in found.list_lines()]
    print_table(["id", "score", "why"], lines[:MAX_LINES], cut=["id"])
    if len(lines) > MAX_LINES:
        print_text(f"… {len(lines) - MAX_LINES:,} more")


def describe(found: "Suggestions") -> str:
    """Say how many rows were chosen, how and why, and give the account of all rows."""
    from featx.analytics.pool import describe_others

    looked = "" if found.n_considered == found.n_open else f", {found.n_considered:,} looked at"
    return (
        f"{count_noun(len(found), f'{found.strategy} row')} ({found.because}) of "
        f"{found.n_open:,} that may be labelled next{looked}; "
        f"{count_noun(found.n_rows, 'row')} in all{describe_others(found)}"
    )
