"""Lines about heads for several classes per image, or for a number."""

from pathlib import Path

from featx.cli.printing import format_joined, print_table, print_text
from featx.core.text import join_some
from featx.heads.head import Head
from featx.heads.head_file import is_head_file
from featx.heads.load import load_head
from featx.heads.number import NumberScores
from featx.heads.several import SeveralScores
from featx.heads.target_head import TargetHead, TargetScores

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


def describe_target(head: TargetHead) -> str:
    """Say in words what a head predicts."""
    target = head.target
    if target.kind == "number":
        return f"the number {target.columns[0]}"
    return f"several of {len(target.classes)} classes ({join_some(target.columns, 3)})"


def print_held_out(head: TargetHead) -> None:
    """Print the held-out scores of a head."""
    if head.held_out is None:
        print_text("held-out scores: -")
        return
    for name, text in _list_scores(head.held_out):
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
    lines = [("rows", _count_rows(scores)), *_list_scores(scores)]
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


def _list_scores(scores: TargetScores) -> list[tuple[str, str]]:
    """List names and values of the scores, each beside what costs nothing."""
    if isinstance(scores, SeveralScores):
        ranked = _format(scores.macro_average_precision, scores.macro_average_precision_ci95)
        control = _format(scores.control_average_precision)
        return [
            (
                "macro average precision",
                f"{ranked}{_format_repeats(scores.repeats)}; by chance {control}",
            ),
            ("macro F1", _format(scores.macro_f1)),
            ("all classes right", f"{scores.exact:.3f} of the rows"),
        ]
    explained = _format(scores.r2, scores.r2_ci95)
    error = _format(scores.mae, scores.mae_ci95, digits=".4g")
    return [
        (
            "R2",
            f"{explained}{_format_repeats(scores.repeats)}; always the mean "
            f"{_format(scores.control_r2)}",
        ),
        ("mean absolute error", f"{error}; always the median {scores.control_mae:.4g}"),
    ]


def _format_repeats(scores: tuple[float, ...]) -> str:
    """Write between which scores several dealings of the folds lie."""
    if not scores:
        return ""
    return f", dealt {len(scores)} times: {min(scores):.3f} to {max(scores):.3f}"


def _format(
    value: float | None, ends: tuple[float, float] | None = None, *, digits: str = ".3f"
) -> str:
    """Write a score with its interval; "-" for none."""
    if value is None:
        return "-"
    text = f"{value:{digits}}".replace("-0.000", "0.000")
    if ends is None:
        return text
    return f"{text} (95 % interval {ends[0]:{digits}} to {ends[1]:{digits}})"
