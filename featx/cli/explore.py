"""featx explore."""

from pathlib import Path
from typing import Annotated

import typer

from featx.cli.options import AsJson, CacheArgument, Embedding, ImageSource
from featx.cli.printing import print_json, print_text
from featx.core.text import count_noun


def explore(
    cache: CacheArgument,
    source: ImageSource = None,
    embedding: Embedding = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Keep the table as this .parquet file."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing table.")
    ] = False,
    port: Annotated[
        int, typer.Option(metavar="N", min=1, max=65535, help="Port on this machine.")
    ] = 5055,
    as_json: AsJson = False,
) -> None:
    """Show a cache in embedding-atlas: a map of its images with search and filters.

    The page is on this machine only, at http://127.0.0.1:5055; Ctrl-C ends it. It needs the extra
    explore.

    featx explore photos.h5

    featx explore photos.h5 --source /new/place/photos -o photos.parquet
    """
    from featx.report.explore import explore as explore_cache

    shown = explore_cache(
        cache,
        source=source or None,
        embedding=embedding,
        output=output,
        overwrite=overwrite,
        port=port,
    )
    if as_json:
        print_json(shown.to_dict())
        return
    print_text(
        f"{count_noun(shown.n_rows, 'row')} shown, {shown.n_without_image:,} of them without an "
        f"image; {count_noun(shown.n_without_vector, 'row')} without a vector left out"
    )
