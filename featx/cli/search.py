"""featx search."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import (
    AsJson,
    BatchSize,
    Device,
    Embedding,
    Engine,
    ImageSource,
    Register,
    SheetOutput,
    WeightsNow,
    Workers,
    choose,
)
from featx.cli.printing import print_json, print_table, print_text
from featx.cli.register import register_networks
from featx.core.address import name_caches
from featx.core.text import count_noun
from featx.core.typing import SplitChoice

if TYPE_CHECKING:
    from featx.analytics.search_result import SearchResult


def search(
    cache: Annotated[
        Path,
        typer.Argument(metavar="CACHE", help="Cache written by featx extract, or folder of parts."),
    ],
    queries: Annotated[
        list[str],
        typer.Argument(metavar="QUERY", help="Images, or ids of rows of the cache."),
    ],
    top: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of rows to find for each query.")
    ] = 10,
    embedding: Embedding = None,
    split: Annotated[
        SplitChoice | None, choose("split", SplitChoice, "Rows to search in.  [default: all]")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="NAME", help="Search in rows with this label only.")
    ] = None,
    output: SheetOutput = None,
    source: ImageSource = None,
    as_json: AsJson = False,
    weights: WeightsNow = None,
    engine: Engine = "auto",
    device: Device = "auto",
    batch_size: BatchSize = "auto",
    workers: Workers = "auto",
    register: Register = None,
) -> None:
    """Find the rows of a cache that are most like images, or like other rows.

    The score is the cosine of the embeddings, and every row is compared. Images are embedded with
    the backbone of the cache. A row is not found by its own id, but its copies are.

    featx search photos.h5 new.jpg --top 5

    featx search photos.h5 train/ants/0.jpg --split val -o like-ant.html
    """
    register_networks(register)
    from featx.prediction.search import search as search_cache

    if output is not None:
        from featx.report.gallery import check_output

        check_output(output)
    found = search_cache(
        cache,
        queries,
        top,
        embedding=embedding,
        split=split,
        label=label,
        weights=weights,
        engine=engine,
        device=device,
        batch_size=batch_size,
        workers=workers,
    )
    if output is not None:
        from featx.cache.joined import open_cache
        from featx.report.found import write_search

        with open_cache(cache) as opened:
            write_search(opened, found, output, source=source or None)
    if as_json:
        print_json({"cache": name_caches(cache), "path": output, **found.to_dict()})
        return
    _print_found(found)
    print_text(f"{name_caches(cache)}, embedding {found.embedding}: {_describe_counts(found)}")
    if output is not None:
        print_text(f"written to {output}")


def _print_found(found: "SearchResult") -> None:
    """Print a table for each query."""
    for number, query in enumerate(found.queries):
        lines = [
            [f"{found.scores[number, place]:.4f}", found.ids[number, place],
             found.labels[number, place] or None, found.splits[number, place] or None]
            for place in range(found.rows.shape[1])
            if found.rows[number, place] >= 0
        ]  # fmt: skip
        print_text(query)
        print_table(["score", "id", "label", "split"], lines, cut=("id",))
        print_text()


def _describe_counts(found: "SearchResult") -> str:
    """Account for every row of the cache."""
    parts = [f"{count_noun(found.n_searched, 'row')} searched"]
    for n_rows, why in (
        (found.n_not_chosen, "not in the split or the label"),
        (found.n_without_vector, "without a vector"),
        (found.n_unusable, "with a vector that is zero or not finite"),
    ):
        if n_rows:
            parts.append(f"{n_rows:,} {why}")
    return ", ".join(parts)
