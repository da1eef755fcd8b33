"""featx advise."""

from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import AsJson, CacheArgument, Embedding
from featx.cli.printing import print_json, print_table, print_text
from featx.cli.records import describe_advice
from featx.core.address import name_caches

if TYPE_CHECKING:
    from featx.finetune.advise import Advice


def advise(
    cache: CacheArgument,
    embedding: Embedding = None,
    seed: Annotated[
        int,
        typer.Option(metavar="N", help="Seed of the rows that are drawn for the learning curve."),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Estimate whether fine-tuning will pay, and how many blocks to unfreeze.

    Nothing but the embeddings in the cache is read.

    featx advise photos.h5
    """
    from featx.finetune.advise import advise as ask

    found = ask(cache, embedding=embedding, seed=seed)
    if as_json:
        print_json({"cache": name_caches(cache), **describe_advice(found)})
        return
    if found.curve:
        print_table(
            ["rows per class", "held-out accuracy", "from", "to"],
            [
                [round(point.rows_per_class), point.accuracy, *point.accuracy_ci95]
                for point in found.curve
            ],
        )
        print_text(f"always the most frequent class: {found.majority_accuracy:.3f}\n")
    print_advice(found)
    if found.unfreeze:
        named = f" --embedding {embedding}" if embedding else ""
        caches = " ".join(f"--cache {path}" for path in cache)
        print_text(f"Run: featx fine-tune SOURCE {caches}{named} -o tuned.safetensors")


def print_advice(found: "Advice") -> None:
    """Print the reasons and the verdict."""
    for reason in found.reasons:
        print_text(reason)
    print_text(f"\n{found.verdict}")
