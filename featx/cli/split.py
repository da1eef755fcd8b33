"""featx split."""

from typing import Annotated

import typer

from featx.cli.options import CacheArgument


def split(
    cache: CacheArgument,
    val: Annotated[float, typer.Option(help="Fraction of the labelled rows.")] = 0.2,
    test: Annotated[float, typer.Option(help="Fraction of the labelled rows.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the shuffle.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing splits.")
    ] = False,
) -> None:
    """Record a stratified split in a cache: train, val and test. Groups stay together.

    featx split photos.h5 --val 0.2
    """
    from featx.fitting.split import split_cache

    counts = split_cache(cache, val=val, test=test, seed=seed, overwrite=overwrite)
    print(f"{cache}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
