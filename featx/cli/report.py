"""featx report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import AsJson, Embedding, ImageSource, choose
from featx.cli.printing import print_json, print_text
from featx.core.text import count_noun
from featx.core.typing import MapMethod, SplitChoice

if TYPE_CHECKING:
    from featx.report.write_report import Report


def report(
    cache: Annotated[
        Path, typer.Argument(metavar="CACHE", help="Cache, or the folder of several as one.")
    ],
    heads: Annotated[
        list[Path] | None,
        typer.Argument(metavar="HEAD", help="Heads to judge; without, the data alone."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="HTML", help="Page to write.")
    ] = Path("report.html"),
    source: ImageSource = None,
    embedding: Embedding = None,
    split: Annotated[
        SplitChoice | None,
        choose("split", SplitChoice, "Rows to judge heads by.  [default: val, or test, or all]"),
    ] = None,
    map_method: Annotated[
        MapMethod, choose("map_method", MapMethod, "Way to arrange the rows on the map.")
    ] = "pca",
    no_audit: Annotated[
        bool,
        typer.Option("--no-audit", help="Do not look for duplicates, leaks and wrong labels."),
    ] = False,
    no_explain: Annotated[
        bool, typer.Option("--no-explain", help="Draw no class maps: no network is run.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of all that is random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write one page about a cache and its heads: data, map, mistakes, what to do next.

    The page holds its images, opens without a network and has at most 10 MB. Heads are judged by
    rows that they have not learnt from. Beside each image of a mistake are its class maps, if
    the network can be run.

    featx report photos.h5 -o data.html

    featx report photos.h5 head.joblib other.joblib -o report.html
    """
    from featx.report.write_report import write_report

    done = write_report(
        cache,
        heads or [],
        output,
        source=source or None,
        embedding=embedding,
        split=split,
        map_method=map_method,
        audit=not no_audit,
        explain=not no_explain,
        seed=seed,
        progress=None,
    )
    if as_json:
        print_json(done.to_dict())
        return
    print_report(done)


def print_report(done: "Report") -> None:
    """Print what the page shows, and how large it is."""
    missing = f", {done.n_missing:,} cannot be shown" if done.n_missing else ""
    print_text(
        f"{done.path}: {count_noun(done.n_rows, 'row')}, {done.n_points:,} of them on the map; "
        f"images of {done.n_images:,} of {done.n_shown:,} rows shown{missing}; "
        f"{done.n_bytes / 1e6:.1f} MB in {done.seconds:.0f} s"
    )
    for name, n_mistakes in zip(done.heads, done.n_mistakes, strict=True):
        told = "-" if n_mistakes is None else count_noun(n_mistakes, "wrong prediction")
        print_text(f"  {name}: {told}")
