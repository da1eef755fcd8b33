"""featx import."""

from pathlib import Path
from typing import Annotated

import typer

from featx.cli.options import AsJson
from featx.cli.printing import print_json, print_text
from featx.cli.records import describe_fingerprint, rename_keys


def import_vectors(
    vectors: Annotated[
        Path,
        typer.Argument(
            metavar="VECTORS",
            help="File of vectors, one per row: .npy, .npz, .parquet, .arrow, .csv, .h5ad or "
            ".lance.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="CACHE", help="HDF5 file to write.")
    ],
    ids: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="CSV or Parquet with a line for each vector: id, path, label, split, group, and "
            "columns of your own.  [default: columns beside the vectors]",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the model that computed the vectors: two imports are comparable only if "
            "it agrees.  [default: this file alone]",
        ),
    ] = None,
    embedding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the embedding in the cache.  [default: as exported, or the model]",
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column of the vectors; in CSV, the beginning of the names of their columns.  "
            "[default: embedding, or the only one]",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the existing output.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a cache of vectors that another program computed, such as timm, CLIP or BERT.

    Heads, evaluation and search take it like any cache; new images need vectors of the same model.
    A file of featx export gives the same cache again.

    featx import vectors.npy --ids ids.csv --model clip-vit-b-32 -o clip.h5
    """
    from featx.exchange.imported import import_embeddings

    report = import_embeddings(
        vectors,
        output=output,
        ids=ids,
        model=model,
        embedding=embedding,
        column=column,
        overwrite=overwrite,
    )
    if as_json:
        record = rename_keys(report.to_dict(), path="cache")
        print_json({**record, "fingerprint": describe_fingerprint(report.fingerprint)})
        return
    print_text(str(report))
