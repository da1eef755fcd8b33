"""What a head for several classes per image, or for a number, is and how good it is: in words."""

from __future__ import annotations

from featx.core.text import join_some
from featx.heads.several import SeveralScores
from featx.heads.target_head import TargetHead, TargetScores


def describe_target(head: TargetHead) -> str:
    """Say in words what a head predicts.

    Parameters
    ----------
    head : TargetHead
        Head for several classes per image, or for a number.
    """
    target = head.target
    if target.kind == "number":
        return f"the number {target.columns[0]}"
    return f"several of {len(target.classes)} classes ({join_some(target.columns, 3)})"


def list_target_scores(scores: TargetScores) -> list[tuple[str, str]]:
    """List names and values of the scores, each beside what costs nothing.

    Parameters
    ----------
    scores : SeveralScores or NumberScores
        Scores of a head.
    """
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
