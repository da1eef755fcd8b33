"""Figures of the scores of a head: confusion matrix, classes and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.core.text import count_noun
from featx.core.typing import Array, IntArray
from featx.heads.calibration_curve import CalibrationCurve
from featx.heads.evaluate import Evaluation
from featx.heads.notebook import show_interval
from featx.report.figures import (
    BLUE,
    GREY,
    INCHES_PER_LETTER,
    INCHES_PER_LINE,
    RED,
    add_legend,
    build_axes,
    name_ticks,
    set_title,
    show_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_MATRIX = 20
"""Largest number of classes whose whole confusion matrix is drawn."""

MAX_PAIRS = 20
"""Largest number of pairs of classes that are drawn, if there are more classes."""

MAX_CLASSES = 30
"""Largest number of classes whose recall is drawn."""


def plot_confusion(
    evaluation: Evaluation, *, normalize: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw a confusion matrix; of more than 20 classes, the pairs that are confused most.

    Parameters
    ----------
    evaluation : Evaluation
        Scores of a head.
    normalize : bool
        True to write shares of the true class in place of numbers of rows. The colours are these
        shares in any case.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into. Default: a new figure, which pyplot does not keep.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; ``ax.figure`` is the figure.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    See Also
    --------
    featx.write_figure : Write the figure for a paper.

    Examples
    --------
    >>> ax = featx.plot_confusion(featx.evaluate("head.joblib", "photos.h5"))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('Predicted class', 'True class')
    """
    if len(evaluation.classes) > MAX_MATRIX:
        return _plot_pairs(evaluation, normalize=normalize, ax=ax)
    counts, shares = _count(evaluation)
    names = [show_name(label) for label in evaluation.classes]
    beside = INCHES_PER_LETTER * max(map(len, names))
    side = 1.6 + 0.36 * len(counts)
    ax = build_axes(ax, max(side + 2 + beside, 4.8), max(side + 1.1 + beside / 2, 3.4))
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for true, predicted in np.argwhere(counts > 0):
        share = shares[true, predicted]
        text = _format_share(share) if normalize else f"{counts[true, predicted]:,}"
        ax.text(
            predicted,
            true,
            text,
            ha="center",
            va="center",
            fontsize="small" if len(counts) <= 10 else "x-small",
            color="white" if share > 0.5 else "black",
        )
    lines = [f"{name} ({n:,})" for name, n in zip(names, counts.sum(axis=1), strict=True)]
    is_long = len(names) > 4 or max(map(len, names)) > 10
    slant = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if is_long else {}
    name_ticks(ax.xaxis, range(len(names)), names, **slant)
    name_ticks(ax.yaxis, range(len(names)), lines)
    ax.set(xlabel="Predicted class", ylabel="True class")
    scale = ax.inset_axes((1.03, 0, 0.05, 1))  # as high as the matrix
    ax.figure.colorbar(image, cax=scale, label="Share of the true class")
    set_title(ax, *_describe_scores(evaluation))
    return ax


def _count(evaluation: Evaluation) -> tuple[IntArray, Array]:
    """Return the confusion matrix, as numbers of rows and as shares of the true classes."""
    counts = np.array(evaluation.confusion, np.int64)
    return counts, counts / np.maximum(counts.sum(axis=1), 1)[:, None]


def _plot_pairs(evaluation: Evaluation, *, normalize: bool, ax: Axes | None) -> Axes:
    """Draw the pairs of classes that are confused most, the worst at the top."""
    counts, shares = _count(evaluation)
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    pairs = np.argwhere(wrong > 0)
    sizes = (shares if normalize else counts)[tuple(pairs.T)]
    pairs = pairs[np.argsort(-sizes, kind="stable")[:MAX_PAIRS]]
    n_pairs = int((wrong > 0).sum())
    values = (shares if normalize else counts)[tuple(pairs.T)]
    names = [
        f"{show_name(evaluation.classes[true])} → {show_name(evaluation.classes[predicted])}"
        for true, predicted in pairs
    ]
    ax = build_axes(ax, _find_width(names), 1.4 + INCHES_PER_LINE * max(len(pairs), 4))
    bars = ax.barh(np.arange(len(pairs)), values, color=BLUE)
    texts = [
        f"{counts[true, predicted]:,} ({_format_share(shares[true, predicted])})"
        for true, predicted in pairs
    ]
    ax.bar_label(bars, texts, padding=3, fontsize="small")
    name_ticks(ax.yaxis, range(len(pairs)), names, fontsize="small")
    ax.set_ylim(max(len(pairs), 1) - 0.4, -0.6)
    ax.margins(x=0.18)
    ax.locator_params(axis="x", integer=not normalize)
    ax.set_xlabel("Share of the true class" if normalize else "Rows (share of the true class)")
    ax.set_ylabel("True class → predicted class")
    ax.spines[["top", "right"]].set_visible(False)
    shown = f"the {len(pairs)} worst of {n_pairs:,} confused pairs of {len(counts):,} classes"
    none = f"no rows of the {len(counts):,} classes are confused"
    set_title(ax, *_describe_scores(evaluation), shown if len(pairs) else none)
    return ax


def plot_classes(evaluation: Evaluation, *, ax: Axes | None = None) -> Axes:
    """Draw the recall of each class with its 95 % interval, the worst class at the top.

    Of more than 30 classes, the 30 with the lowest recall are drawn. Classes without rows are left
    out, and counted.

    Parameters
    ----------
    evaluation : Evaluation
        Scores of a head.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into. Default: a new figure, which pyplot does not keep.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; ``ax.figure`` is the figure.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    See Also
    --------
    featx.write_figure : Write the figure for a paper.

    Examples
    --------
    >>> ax = featx.plot_classes(featx.evaluate("head.joblib", "photos.h5"))
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['ants (2 rows)', 'bees (2 rows)']
    """
    scored = [one for one in evaluation.per_class if one.recall is not None]
    classes = sorted(scored, key=lambda one: (one.recall, -one.n_rows))[:MAX_CLASSES]
    recalls = np.array([one.recall for one in classes])
    labels = [f"{show_name(one.label)} ({count_noun(one.n_rows, 'row')})" for one in classes]
    ax = build_axes(ax, _find_width(labels), 1.7 + INCHES_PER_LINE * max(len(classes), 3))
    positions = np.arange(len(classes))
    bars = ax.barh(positions, recalls, height=0.6, color=BLUE, alpha=0.5)
    handles: list[Any] = [bars]
    names = ["recall"]
    ends = np.array([one.recall_ci95 or (np.nan, np.nan) for one in classes])
    if np.isfinite(ends).any():  # scores of an older featx have no intervals
        widths = np.abs(ends.T - recalls)
        handles.append(
            ax.errorbar(recalls, positions, xerr=widths, fmt="o", ms=4, color="black", capsize=3)
        )
        names.append("its 95 % interval")
    handles.append(ax.axvline(evaluation.balanced_accuracy, color=RED, ls="--"))
    names.append(f"mean of {count_noun(len(scored), 'class')}: {evaluation.balanced_accuracy:.3f}")
    name_ticks(ax.yaxis, positions.tolist(), labels, fontsize="small")
    ax.set(xlim=(0, 1), ylim=(len(classes) - 0.4, -0.6), xlabel="Recall")
    ax.spines[["top", "right"]].set_visible(False)
    add_legend(ax, handles, names)
    n_empty = len(evaluation.per_class) - len(scored)
    set_title(
        ax,
        *_describe_scores(evaluation),
        f"the {len(classes)} classes of {len(scored):,} with the lowest recall"
        * (len(classes) < len(scored)),
        f"not shown: {count_noun(n_empty, 'class')} without rows" * (n_empty > 0),
    )
    return ax


def plot_calibration(curve: CalibrationCurve, *, ax: Axes | None = None) -> Axes:
    """Draw how often a head is right, by the probability of the class that it predicts.

    Points on the diagonal are those of a head that can be believed. Bars show which share of the
    rows each bin of the probability holds.

    Parameters
    ----------
    curve : CalibrationCurve
        The curve, such as `featx.measure_calibration_curve` returns it.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into. Default: a new figure, which pyplot does not keep.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; ``ax.figure`` is the figure.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    See Also
    --------
    featx.write_figure : Write the figure for a paper.

    Examples
    --------
    >>> curve = featx.measure_calibration_curve("head.joblib", "photos.h5")
    >>> featx.plot_calibration(curve).get_xlabel()
    'Probability of the predicted class'
    """
    ax = build_axes(ax, 4.8, 5.0)
    bins = curve.bins
    low, high = np.array([[one.low, one.high] for one in bins]).T
    shares = np.array([one.n_rows for one in bins]) / curve.n_rows
    scores = np.array([one.mean_score for one in bins])
    accuracies = np.array([one.accuracy for one in bins])
    ends = np.array([one.accuracy_ci95 for one in bins])
    bars = ax.bar(low, shares, high - low, align="edge", color=GREY, alpha=0.5, edgecolor="white")
    (line,) = ax.plot([0, 1], [0, 1], color="black", ls="--", lw=1)
    points = ax.errorbar(
        scores,
        accuracies,
        yerr=np.abs(ends.T - accuracies),
        fmt="o",
        ms=5,
        color=BLUE,
        capsize=3,
        clip_on=False,
    )
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set(xlabel="Probability of the predicted class", ylabel="Share of right predictions")
    add_legend(
        ax,
        [points, line, bars],
        ["head, with 95 % intervals", "perfectly calibrated", "share of the rows"],
    )
    set_title(
        ax,
        f"calibration error {curve.calibration_error:.3f}, {count_noun(curve.n_rows, 'row')} "
        f"in {count_noun(len(bins), 'bin')}",
        f"{curve.n_seen:,} of the rows were learnt from: too good" * (curve.n_seen > 0),
        _describe_related(curve.n_related),
    )
    return ax


def _find_width(names: Sequence[str]) -> float:
    """Find the width in inches of a figure whose axes have names on the left."""
    return 4.2 + INCHES_PER_LETTER * max(map(len, names), default=0)


def _format_share(share: float) -> str:
    """Write a share with two digits; one that is not 0 is not written as 0."""
    return "<0.01" if 0 < share < 0.005 else f"{share:.2f}"


def _describe_related(n_related: int | None) -> str:
    """Say how many rows are of groups that were learnt from; empty if none is known to be."""
    if not n_related:
        return ""
    verb = "is" if n_related == 1 else "are"
    return f"{n_related:,} of the rows {verb} of groups that were learnt from: may be too good"


def _describe_scores(evaluation: Evaluation) -> tuple[str, str, str]:
    """Say the accuracy with its interval and its rows, and which rows of the figure flatter it."""
    scores, n_seen = vars(evaluation), evaluation.n_seen
    shown = show_interval(scores, "unseen_accuracy") or "-"
    related = _describe_related(evaluation.n_related)
    if not n_seen:
        return f"{count_noun(evaluation.n_rows, 'row')}, accuracy {shown}", "", related
    rows = f"{count_noun(evaluation.n_rows, 'row')}, {n_seen:,} of them learnt from: too good"
    return rows, f"accuracy of the others {shown}", related
