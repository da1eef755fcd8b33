"""featx split."""

from typing import Annotated

import typer

from featx.cli.info import MAX_CLASSES, print_counts
from featx.cli.options import AsJson, Author, CacheArgument, choose
from featx.cli.printing import print_json, print_text
from featx.core.address import name_caches
from featx.core.typing import Together

Counts = dict[str, dict[str, int]]


def split(
    cache: CacheArgument,
    val: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="Fraction of the labelled rows, 0 to 1.  [default: 0.2, or as it is with --new]",
        ),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="Fraction of the labelled rows, 0 to 1.  [default: 0, or as it is with --new]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the shuffle.")] = 0,
    new: Annotated[
        bool, typer.Option("--new", help="Split only rows that have no split; others stay.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing splits.")
    ] = False,
    together: Annotated[
        Together | None,
        choose(
            "together",
            Together,
            "Rows to keep together beside groups and copies: images that look alike.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="Source of the images to compare.  [default: as in the cache]"
        ),
    ] = None,
    embedding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the embedding that finds images that look alike; needed only if the "
            "cache has several.",
        ),
    ] = None,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """Record in a cache which rows are train, val and test.

    Each class is split in the same ratio, and numbers by runs of like ones. Rows of one group stay
    together, and so do copies of one file. Rows that a tuned network has learnt from become train.
    With --together similar, near-duplicates stay together, too.

    featx split photos.h5 --val 0.2
    """
    from featx.fitting.split import record_split

    report = record_split(
        cache,
        val=val,
        test=test,
        seed=seed,
        new=new,
        overwrite=overwrite,
        together=together,
        source=source,
        embedding=embedding,
        author=author,
    )
    if as_json:
        print_json(
            {
                "cache": name_caches(cache),
                "splits": report.splits,
                "counts": report.counts,
                "n_dealt": report.n_dealt,
                "similar": report.similar.to_dict() if report.similar else None,
            }
        )
        return
    listed = ", ".join(f"{name} {count}" for name, count in report.splits.items())
    print_text(f"{name_caches(cache)}: {listed}\n")
    if report.similar:
        print_text(f"{report.similar}\n")
    what = "numbers" if report.are_numbers else "class"
    print_counts(sort_by_rarity(report.counts), what=what)


def sort_by_rarity(counts: Counts) -> Counts:
    """Put the classes with the fewest rows in a split first, if there are too many to print.

    Parameters
    ----------
    counts : dict of str to dict of str to int
        Number of rows of each class in each split.
    """
    if len(counts) <= MAX_CLASSES:
        return counts
    return dict(
        sorted(counts.items(), key=lambda pair: (min(pair[1].values()), sum(pair[1].values())))
    )
