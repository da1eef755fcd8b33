"""featx compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import AsJson, ClassWeights, HeadScaling, choose
from featx.cli.printing import cut_name, print_json, print_table, print_text
from featx.core.address import name_caches
from featx.core.typing import SplitChoice

if TYPE_CHECKING:
    from featx.heads.candidates import CandidateScores, HeadComparison


def split_names(text: str) -> list[str]:
    """Read names with commas between them."""
    return [name for name in (part.strip() for part in text.split(",")) if name]


def compare(
    heads: Annotated[
        list[Path],
        typer.Argument(metavar="HEAD|CACHE", help="Heads, with --cache; or a cache."),
    ],
    cache: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CACHE",
            help="Cache with the rows to compare heads on; may be repeated, for several as one.",
        ),
    ] = None,
    split: Annotated[
        SplitChoice | None,
        choose(
            "split",
            SplitChoice,
            "Rows to compare on.  [default: of heads val, or test without val; of kinds train, or "
            "all without splits]",
        ),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Kinds of heads to compare.  [default: all]"),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Embeddings to compare; A+B reads two side by side.  [default: all of the cache]",
        ),
    ] = None,
    cv: Annotated[
        int, typer.Option(min=3, metavar="N", help="Number of folds, to compare kinds.")
    ] = 5,
    class_weight: ClassWeights = None,
    scaling: HeadScaling = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of folds and of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare heads, or kinds of heads and embeddings, and name the best one only if it is one.

    Heads are compared on rows of a cache that they have not learnt from. Of a cache alone, kinds of
    heads are fitted on each embedding, and compared by cross-validation on the same folds.

    featx compare first.joblib second.joblib --cache photos.h5 --split val

    featx compare photos.h5 --kinds logreg,lda,knn
    """
    from featx.fitting.compare import compare_heads, compare_kinds

    if cache:
        found = compare_heads(heads, cache, split=split, seed=seed)
    else:
        found = compare_kinds(
            heads,
            kinds=None if kinds is None else split_names(kinds),
            embeddings=None if embeddings is None else split_names(embeddings),
            split=split,
            cv=cv,
            class_weight=class_weight,
            scaling=scaling or "standard",
            seed=seed,
        )
    if as_json:
        print_json({"cache": name_caches(cache or heads), **found.to_dict()})
        return
    print_text(f"{name_caches(cache or heads)}: {describe_rows(found)}\n")
    print_candidates(found)
    print_text(f"\n{found.verdict}")


def describe_rows(found: "HeadComparison") -> str:
    """Say which rows a comparison is of, and how they were predicted."""
    units = f"{found.n_units} units in " if found.n_units else ""
    left_out = f", {found.n_left_out:,} more left out" if found.n_left_out else ""
    folds = f", held out in {found.n_folds} folds" if found.n_folds else ""
    return f"{units}{found.n_rows:,} rows (split {found.split}){left_out}{folds}"


def print_candidates(found: "HeadComparison") -> None:
    """Print a line of scores for each candidate, and for the control."""
    has_seconds = any(one.seconds is not None for one in found.candidates)
    header = ["name", "accuracy", "95 % interval", "balanced", "log loss"]
    header += ["seconds"] * has_seconds + ["less than best", "95 % interval", "p"]
    print_table(header, [_list_cells(one, has_seconds) for one in found.candidates])


def _list_cells(one: "CandidateScores", has_seconds: bool) -> list[object]:
    """List the cells of one candidate."""
    seconds: list[object] = [None if one.seconds is None else f"{one.seconds:.1f}"] * has_seconds
    return [
        cut_name(one.name),
        one.accuracy,
        _format_interval(one.accuracy_ci95),
        one.balanced_accuracy,
        one.log_loss,
        *seconds,
        one.gain,
        _format_interval(one.gain_ci95),
        None if one.p_value is None else f"{one.p_value:.2g}",
    ]


def _format_interval(interval: tuple[float, float] | None) -> str | None:
    return None if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
