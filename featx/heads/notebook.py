"""Scores and heads as small tables, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featx.core.html import render_card

Facts = list[tuple[str, Any]]
"""Names and values, in the order in which they are shown."""

HEADER = ("class", "rows", "precision", "recall", "from", "to", "F1")
"""Columns of the table of classes; from and to are the ends of the 95 % interval of the recall."""


def show_scores(scores: Mapping[str, Any]) -> str:
    """Show the scores of a head on labelled rows.

    Parameters
    ----------
    scores : mapping
        Fields of `featx.Evaluation`.
    """
    return render_card("Evaluation", list_facts(scores), table=list_classes(scores))


def list_facts(scores: Mapping[str, Any], *, where: str = "") -> Facts:
    """List what a reader has to know of scores: each beside its interval and its rows.

    Parameters
    ----------
    scores : mapping
        Fields of `featx.Evaluation`.
    where : str
        Words behind the name of the accuracy, such as ``" in 5 folds"``.
    """
    n_seen, n_units = scores["n_seen"], scores["n_units"]
    rows = f"{scores['n_rows']:,}" + (f" in {n_units:,} units" if n_units else "")
    facts: Facts = [("rows scored", rows)]
    if n_seen:
        facts.append(("rows learnt from", n_seen))
    if scores.get("n_related"):
        facts.append(("rows of groups learnt from", scores["n_related"]))
    if scores["n_unknown"]:
        facts.append(("rows of other classes", scores["n_unknown"]))
    others, every = (" of rows not learnt from", " of all rows") if n_seen else ("", "")
    share = scores["unseen_majority_accuracy"]
    return [
        *facts,
        (f"accuracy{where}{others}", show_interval(scores, "unseen_accuracy")),
        (f"always the most frequent class{others}", share),
        (f"balanced accuracy{where}{every}", show_interval(scores, "balanced_accuracy")),
        (f"macro F1{every}", scores["macro_f1"]),
        (f"log loss{every}", scores["log_loss"]),
        (f"calibration error{every}", scores["calibration_error"]),
    ]


def show_interval(scores: Mapping[str, Any], name: str) -> str | None:
    """Write a score with its 95 % interval; None for one that was not measured.

    Parameters
    ----------
    scores : mapping
        Scores and the ends of their intervals.
    name : str
        Name of the score.
    """
    value, ends = scores[name], scores[f"{name}_ci95"]
    if value is None:
        return None
    return f"{value:.3f}" + (f" (95 % interval {ends[0]:.3f} to {ends[1]:.3f})" if ends else "")


def list_classes(scores: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """List the scores of the classes, the smallest recall first.

    Parameters
    ----------
    scores : mapping
        Fields of `featx.Evaluation`.
    """
    classes = sorted(scores["per_class"], key=lambda one: (one["recall"] is None, one["recall"]))
    return HEADER, [
        [
            *(one[name] for name in ("label", "n_rows", "precision", "recall")),
            *(one.get("recall_ci95") or (None, None)),
            one["f1"],
        ]
        for one in classes
    ]
