"""featx evaluate."""

from typing import TYPE_CHECKING, Annotated

from featx.cli.options import AsJson, CacheArgument, Embeddings, HeadArgument, choose
from featx.cli.printing import (
    cut_name,
    format_accuracy,
    measure_table,
    print_json,
    print_table,
    print_text,
)
from featx.cli.table import count_columns
from featx.core.address import name_caches
from featx.core.typing import SplitChoice

if TYPE_CHECKING:
    from featx.heads.evaluate import Evaluation

MAX_MATRIX = 12
"""Largest number of classes whose confusion matrix is printed."""

MAX_LINES = 20
"""Largest number of classes, and of pairs of classes, that are listed."""


def evaluate(
    head: HeadArgument,
    cache: CacheArgument,
    split: Annotated[
        SplitChoice | None,
        choose("split", SplitChoice, "Rows to score.  [default: val, or test without val]"),
    ] = None,
    embedding: Embeddings = None,
    as_json: AsJson = False,
) -> None:
    """Score a head on the labelled rows of a cache.

    featx evaluate head.joblib photos.h5 --split val
    """
    from featx.cli.targets import load_if_head, print_target_scores
    from featx.fitting.evaluate import evaluate as evaluate_head
    from featx.fitting.evaluate_target import evaluate_target
    from featx.heads.target_head import TargetHead

    loaded = load_if_head(head)
    if isinstance(loaded, TargetHead):
        found = evaluate_target(loaded, cache, split=split, embedding=embedding or None)
        if as_json:
            print_json({"head": head, "cache": name_caches(cache), **found.to_dict()})
        else:
            print_target_scores(found)
        return
    scores = evaluate_head(loaded, cache, split=split, embedding=embedding or None)
    if as_json:
        print_json({"head": head, "cache": name_caches(cache), **scores.to_dict()})
        return
    print_scores(scores)
    print_text()
    print_classes(scores)
    print_text()
    print_confusion(scores)


def print_scores(scores: "Evaluation") -> None:
    """Print the scores of all classes together, a line each; "-" for what was not measured."""
    print_text(f"accuracy           {format_accuracy(scores)}")
    if scores.n_seen:
        print_text(
            f"\nof all {scores.n_rows} rows, too high: {scores.n_seen} of them were learnt from"
        )
        print_text(f"accuracy           {scores.accuracy:.3f}")
    low, high = scores.balanced_accuracy_ci95
    balanced = f"{scores.balanced_accuracy:.3f} (95 % interval {low:.3f} to {high:.3f})"
    print_text(f"balanced accuracy  {balanced}")
    for name, value in (
        ("macro F1", scores.macro_f1),
        ("log loss", scores.log_loss),
        ("Brier score", scores.brier),
        ("mean score", scores.mean_score),
        ("calibration error", scores.calibration_error),
    ):
        print_text(f"{name:<19}{'-' if value is None else f'{value:.3f}'}")


def print_classes(scores: "Evaluation") -> None:
    """Print the scores of each class; of many classes, those that the head knows worst."""
    classes = scores.per_class
    if len(classes) > MAX_LINES:
        print_text(
            f"The {MAX_LINES} classes of {len(classes)} with the lowest F1; --json has all.\n"
        )
        scored = [one for one in classes if one.f1 is not None]
        classes = tuple(sorted(scored, key=lambda one: (one.f1, -one.n_rows))[:MAX_LINES])
    print_table(
        ["class", "rows", "precision", "recall", "95 % from", "to", "F1"],
        [
            [
                *(cut_name(c.label), c.n_rows, c.precision, c.recall),
                *(c.recall_ci95 or (None, None)),
                c.f1,
            ]
            for c in classes
        ],
    )


def print_confusion(scores: "Evaluation") -> None:
    """Print the confusion matrix or, if it is too large to read, its worst pairs of classes."""
    header = ["true \\ predicted", *scores.classes]
    lines = [[name, *line] for name, line in zip(scores.classes, scores.confusion, strict=True)]
    if len(scores.classes) <= MAX_MATRIX and measure_table(header, lines) <= count_columns():
        print_table(header, lines)
        return
    pairs: list[tuple[str, str, int, float]] = [
        (true, predicted, count, count / sum(line))
        for true, line in zip(scores.classes, scores.confusion, strict=True)
        for predicted, count in zip(scores.classes, line, strict=True)
        if count and true != predicted
    ]
    if not pairs:
        print_text(f"No rows of the {len(scores.classes)} classes are confused.")
        return
    pairs.sort(key=lambda pair: -pair[2])
    shown = [(cut_name(true), cut_name(as_), *rest) for true, as_, *rest in pairs[:MAX_LINES]]
    print_text(f"The {len(shown)} worst confusions of {len(pairs)}; --json has the whole matrix.\n")
    print_table(["true", "predicted", "rows", "share of the true class"], shown)
