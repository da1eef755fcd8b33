"""featx split."""

from typing import Annotated

import typer

from featx.cli.options import AsJson, Author, CacheArgument
from featx.cli.printing import print_json, print_text
from featx.core.address import name_caches


def split(
    cache: CacheArgument,
    val: Annotated[
        float, typer.Option(metavar="FRACTION", help="Fraction of the labelled rows, 0 to 1.")
    ] = 0.2,
    test: Annotated[
        float, typer.Option(metavar="FRACTION", help="Fraction of the labelled rows, 0 to 1.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the shuffle.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing splits.")
    ] = False,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """Record in a cache which rows are train, val and test.

    Each class is split in the same ratio. Rows of one group stay together. Rows that a tuned
    network has learnt from become train.

    featx split photos.h5 --val 0.2
    """
    from featx.fitting.split import split_cache

    counts = split_cache(cache, val=val, test=test, seed=seed, overwrite=overwrite, author=author)
    if as_json:
        print_json({"cache": name_caches(cache), "splits": counts})
        return
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    print_text(f"{name_caches(cache)}: {listed}")
