"""featx export."""

from pathlib import Path
from typing import Annotated, Any

import typer

from featx.cli.options import AsJson, CacheArgument, Embedding, choose
from featx.cli.printing import print_json, print_text
from featx.cli.records import describe_fingerprint, rename_keys
from featx.core.address import name_caches
from featx.core.typing import SplitChoice


def export(
    cache: CacheArgument,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write; its suffix decides the kind: .parquet, .arrow, .npz, .csv, .h5ad "
            "or .lance.",
        ),
    ],
    embedding: Embedding = None,
    split: Annotated[Any, choose("split", SplitChoice, "Split of the rows.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Label of the rows; may be repeated."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the existing file.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write rows and vectors to a file for other programs: Parquet, Arrow, NumPy, CSV, AnnData.

    Columns: id, path, label, split, group, your own, digest, width, height, embedding. Rows without
    a vector are left out and counted. featx import makes the same cache of the file again.

    featx export photos.h5 -o photos.npz

    featx export photos.h5 -o train.csv --split train
    """
    from featx.exchange.export import export_cache

    report = export_cache(
        cache, output, embedding=embedding, split=split, labels=label or None, overwrite=overwrite
    )
    if as_json:
        record = rename_keys(report.to_dict(), path="output")
        record["fingerprint"] = describe_fingerprint(report.fingerprint)
        print_json({"cache": name_caches(cache), **record})
        return
    print_text(str(report))
