"""featx verify."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from featx.cli.options import (
    AsJson,
    CacheArgument,
    Device,
    Embedding,
    Engine,
    Register,
    WeightsNow,
    Workers,
)
from featx.cli.printing import print_json, print_text
from featx.cli.register import register_networks
from featx.core.address import name_caches


def verify(
    context: typer.Context,
    cache: CacheArgument,
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="SOURCE", help="Source to embed a sample of again; may be repeated."),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of rows to embed again.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the sample.")] = 0,
    embedding: Embedding = None,
    weights: WeightsNow = None,
    engine: Engine = "auto",
    device: Device = "auto",
    workers: Workers = "auto",
    register: Register = None,
    as_json: AsJson = False,
) -> None:
    """Check every byte of a cache.

    Rows, vectors, fingerprints and failures must agree with each other.

    featx verify photos.h5

    featx verify photos.h5 --against photos/ --sample 100

    Exit codes: 0 sound, 1 damaged, incomplete or different.
    """
    register_networks(register)
    from featx.cache.check import verify_cache
    from featx.cli.flags import translate_for

    found = verify_cache(cache)
    problems = list(found.problems)
    record = asdict(found)
    del record["path"]
    record = {"cache": name_caches(cache), **record}
    if not as_json:
        state = "damaged" if problems else "sound"
        if found.n_missing and len(problems) == 1:  # the parts that are there are sound
            state = "incomplete"
        print_text(
            f"{name_caches(cache)}: {state}, {found.n_rows} rows, {found.n_vectors} vectors checked"
        )
        print_text(f"digest  {found.digest or '-'}")
    if against and not problems:
        from featx.extraction.reembed import compare_with_source

        comparison = compare_with_source(
            cache,
            against,
            sample=sample,
            embedding=embedding,
            weights=weights,
            seed=seed,
            engine=engine,
            device=device,
            workers=workers,
        )
        problems += comparison.problems
        record["against"] = asdict(comparison)
        if not as_json:
            print_text(
                f"against the source, {comparison.embedding}: {comparison.n_compared} embedded "
                f"again, {comparison.n_identical} identical, smallest cosine "
                f"{comparison.min_cosine:.7f}, largest difference {comparison.max_difference:.2g}; "
                f"{comparison.n_changed} changed since, {comparison.n_gone} missing"
            )
    if as_json:
        print_json(record | {"is_sound": not problems, "problems": problems})
    else:
        for problem in problems:
            print_text(f"  {translate_for(context, problem)}")
    if problems:
        raise typer.Exit(1)
