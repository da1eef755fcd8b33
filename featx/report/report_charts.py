"""The charts of a report: accuracy by rows, by score, by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from featx.finetune.log import Epoch
from featx.fitting.learning_curve import LearningCurve
from featx.heads.calibration_curve import CalibrationCurve
from featx.report.charts import Chart, Series, build_chart

MAX_NAMED = 10
"""Largest number of epochs that the axis of a log names one by one."""


def draw_learning(curve: LearningCurve) -> Chart:
    """Draw the accuracy by the number of rows that were fitted on.

    Parameters
    ----------
    curve : LearningCurve
        The curve.
    """
    sizes = [point.rows_per_class for point in curve.points]
    accuracies = [point.accuracy for point in curve.points]
    intervals = [point.accuracy_ci95 for point in curve.points]
    axis = (sizes[0] * 0.9, sizes[-1] * 1.1)
    share = curve.majority_accuracy
    return build_chart(
        f"Accuracy by rows per class: from {accuracies[0]:.3f} at {sizes[0]:.1f} "
        f"to {accuracies[-1]:.3f} at {sizes[-1]:.1f}",
        [Series(name="accuracy", x=sizes, y=accuracies, intervals=intervals)],
        names=("rows per class to learn from", "accuracy"),
        header=("rows per class", "accuracy", "95 % interval"),
        values=[
            (f"{size:.1f}", f"{accuracy:.3f}", f"{low:.3f} to {high:.3f}")
            for size, accuracy, (low, high) in zip(sizes, accuracies, intervals, strict=True)
        ],
        x_axis=axis,
        y_axis=(math.floor(min(share, *(low for low, _ in intervals)) * 10) / 10, 1),
        x_at=[float(f"{size:.3g}") for size in sizes],
        is_log=True,
        reference=(axis, (share, share)),
        reference_name="always the most frequent class",
    )


def draw_calibration(curve: CalibrationCurve) -> Chart:
    """Draw the share of right predictions by the score of the predicted class.

    Parameters
    ----------
    curve : CalibrationCurve
        The curve.
    """
    bins = curve.bins
    return build_chart(
        f"Share of right predictions by score, in {len(bins)} bins",
        [
            Series(
                name="rows of a bin",
                x=[one.mean_score for one in bins],
                y=[one.accuracy for one in bins],
                intervals=[one.accuracy_ci95 for one in bins],
                weights=[one.n_rows for one in bins],
                is_line=False,
            )
        ],
        names=("score of the predicted class", "share that is right"),
        header=("scores", "rows", "mean score", "share right", "95 % interval"),
        values=[
            (
                f"{one.low:.2f} to {one.high:.2f}",
                f"{one.n_rows}",
                f"{one.mean_score:.3f}",
                f"{one.accuracy:.3f}",
                "{:.3f} to {:.3f}".format(*one.accuracy_ci95),
            )
            for one in bins
        ],
        x_axis=(0, 1),
        y_axis=(0, 1),
        reference=((0, 1), (0, 1)),
        reference_name="scores that hold what they promise",
    )


def draw_tuning(epochs: Sequence[Epoch]) -> list[Chart]:
    """Draw the loss and the accuracy by epoch.

    Parameters
    ----------
    epochs : sequence of Epoch
        The log; at least one epoch.
    """
    numbers = [float(one.epoch) for one in epochs]
    at = numbers if len(numbers) <= MAX_NAMED else ()
    train, holdout = [one.train_loss for one in epochs], [one.holdout_loss for one in epochs]
    plain = [one.holdout_accuracy for one in epochs]
    balanced = [one.holdout_balanced_accuracy for one in epochs]
    losses, shares = _select_finite(train, holdout), _select_finite(plain, balanced)
    return [
        build_chart(
            f"Loss by epoch, {len(epochs)} epochs",
            [
                Series(name="training images", x=numbers, y=train),
                Series(name="holdout", x=numbers, y=holdout),
            ],
            names=("epoch", "loss in nats"),
            header=("epoch", "training images", "holdout"),
            values=_list_values(epochs, train, holdout),
            y_axis=(0, max([*losses, 1e-3]) * 1.05),
            x_at=at,
        ),
        build_chart(
            f"Accuracy of the holdout by epoch, {len(epochs)} epochs",
            [
                Series(name="accuracy", x=numbers, y=plain),
                Series(name="balanced accuracy", x=numbers, y=balanced),
            ],
            names=("epoch", "accuracy of the holdout"),
            header=("epoch", "accuracy", "balanced accuracy"),
            values=_list_values(epochs, plain, balanced),
            y_axis=(math.floor(min(shares, default=0) * 9.9) / 10, 1),
            x_at=at,
        ),
    ]


def _select_finite(*columns: Sequence[float]) -> list[float]:
    return [value for column in columns for value in column if math.isfinite(value)]


def _list_values(epochs: Sequence[Epoch], *columns: Sequence[float]) -> list[tuple[str, ...]]:
    return [
        (f"{epoch.epoch}", *(f"{value:.4f}" if math.isfinite(value) else "-" for value in values))
        for epoch, *values in zip(epochs, *columns, strict=True)
    ]
