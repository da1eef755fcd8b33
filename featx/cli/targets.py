"""Lines about heads for several classes per image, or for a number."""

from pathlib import Path

from featx.cli.printing import format_joined, print_table, print_text
from featx.heads.head import Head
from featx.heads.head_file import is_head_file
from featx.heads.load import load_head
from featx.heads.number import NumberScores
from featx.heads.target_head import TargetHead, TargetScores
from featx.heads.target_words import describe_target, list_target_scores

MAX_LINES = 20
"""Largest number of classes that are listed."""


def load_if_head(path: Path) -> Head | Path:
    """Load a head; the path of anything else is left to the library, which says what is wrong."""
    return load_head(path) if is_head_file(path) else path


def print_target_head(output: Path, head: TargetHead) -> None:
    """Print what a head predicts, what it was fitted on, and its held-out scores."""
    fitted, strength = head.fitted_on, f"C {head.params['C']:.3g}{_format_range(head)}"
    print_text(
        f"{output}: {head.kind}, {strength}, {describe_target(head)}, {fitted.n_rows} rows "
        f"(split {fitted.split}){format_joined(head)}"
    )
    print_held_out(head)


def print_held_out(head: TargetHead) -> None:
    """Print the held-out scores of a head."""
    if head.held_out is None:
        print_text("held-out scores: -")
        return
    for name, text in list_target_scores(head.held_out):
        print_text(f"held-out {name}: {text}")


def _format_range(head: TargetHead) -> str:
    """Say which values of C were tried, and whether the best one is the last of them."""
    tried = head.options.get("tried")
    if not tried:
        return ""
    end = {tried[0]: "the smallest ", tried[-1]: "the largest "}.get(head.params["C"], "")
    return f" ({end}of {tried[0]:.3g} to {tried[-1]:.3g})"


def print_target_scores(scores: TargetScores) -> None:
    """Print the scores of a head on the rows of a cache."""
    lines = [("rows", _count_rows(scores)), *list_target_scores(scores)]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        print_text(f"{name:{width}}  {text}")
    if isinstance(scores, NumberScores):
        return
    print_text()
    classes = scores.per_class
    if len(classes) > MAX_LINES:
        print_text(
            f"The {MAX_LINES} classes of {len(classes)} with the lowest average precision; "
            "--json has all.\n"
        )
        known = [one for one in classes if one.average_precision is not None]
        classes = tuple(sorted(known, key=lambda one: one.average_precision or 0.0)[:MAX_LINES])
    print_table(
        ["class", "rows", "average precision", "threshold", "precision", "recall", "F1"],
        [
            [
                one.label,
                one.n_rows,
                one.average_precision,
                one.threshold,
                one.precision,
                one.recall,
                one.f1,
            ]
            for one in classes
        ],
    )


def _count_rows(scores: TargetScores) -> str:
    n_units = f" in {scores.n_units} groups" if scores.n_units < scores.n_rows else ""
    return f"{scores.n_rows}{n_units}"
