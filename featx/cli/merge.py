"""featx merge."""

from pathlib import Path
from typing import Annotated

import typer

from featx.cli.options import AsJson, CacheArgument
from featx.cli.printing import print_json, print_text
from featx.cli.records import rename_keys


def merge(
    caches: CacheArgument,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="CACHE", help="HDF5 file to write, or its address."),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the existing output.")
    ] = False,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="Take over the lock of a dead process.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write several caches, such as the parts of a source, to one cache.

    The caches must have been made alike, and no part may be missing or unfinished. They stay as
    they are. An interrupted merge leaves nothing: call it again.

    featx merge parts/ -o photos.h5
    """
    from featx.cache.merge import merge_caches

    report = merge_caches(caches, output, overwrite=overwrite, break_lock=break_lock)
    if as_json:
        print_json(rename_keys(report.to_dict(), path="cache"))
        return
    print_text(str(report))
