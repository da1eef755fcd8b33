"""Figures of a learning curve, of a fine-tuning, and of a map of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.analytics.row_map import RowMap
from featx.core.errors import FeatxError, require
from featx.core.text import count_noun
from featx.core.typing import Array
from featx.finetune.log import Epoch
from featx.fitting.learning_curve import LearningCurve
from featx.images.manifest import order_label
from featx.report.figures import (
    BLUE,
    COLOURS,
    EXTRA,
    GREEN,
    GREY,
    INCHES_PER_LETTER,
    MARKERS,
    RED,
    add_legend,
    build_axes,
    set_title,
    show_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_COLOURED = 20
"""Largest number of classes that a map tells apart; rows of the others are grey."""

MAP_INCHES = 4.4
"""Width of a map."""

N_LAYERS = 10
"""Number of parts of each class that are drawn in turn, so that no class covers the others."""

LEGEND_SIZE = 36
"""Area of a sign in the legend of a map, in square points."""

MANY_POINTS = 2000
"""Number of points above which they are drawn smaller, so that they do not cover each other, and as
an image within an SVG or a PDF, which would be large."""


def plot_learning_curve(curve: LearningCurve, *, ax: Axes | None = None) -> Axes:
    """Draw the held-out accuracy of heads by the number of rows that they were fitted on.

    Parameters
    ----------
    curve : LearningCurve
        The curve, such as `featx.measure_learning_curve` returns it.
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
    >>> ax = featx.plot_learning_curve(featx.measure_learning_curve("photos.h5"))
    >>> ax.get_ylabel()
    'Held-out accuracy'
    """
    ax = build_axes(ax, 5.0, 3.8)
    sizes = np.array([point.rows_per_class for point in curve.points])
    accuracies = np.array([point.accuracy for point in curve.points])
    ends = np.array([point.accuracy_ci95 for point in curve.points])
    points = ax.errorbar(
        sizes,
        accuracies,
        yerr=np.abs(ends.T - accuracies),
        fmt="o-",
        ms=5,
        color=BLUE,
        capsize=3,
    )
    line = ax.axhline(curve.majority_accuracy, color=RED, ls="--")
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{size:.3g}" if size < 100 else f"{size:,.0f}" for size in sizes])
    ax.minorticks_off()
    ax.set(xlabel="Labelled rows per class", ylabel="Held-out accuracy")
    ax.set_ylim(top=min(1.0, ax.get_ylim()[1]))
    ax.spines[["top", "right"]].set_visible(False)
    add_legend(
        ax,
        [points, line],
        ["head, with 95 % intervals", "always the most frequent class"],
    )
    rows = f"{count_noun(curve.n_rows, 'row')} of {count_noun(curve.n_classes, 'class')}"
    set_title(ax, f"{rows}, each scored once, in 5 folds")
    return ax


def plot_tuning(history: Sequence[Epoch], *, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Draw the losses, the accuracy of the holdout and the learning rate of a fine-tuning.

    Parameters
    ----------
    history : sequence of Epoch
        Epochs, such as `featx.read_log` returns them.
    axes : sequence of matplotlib.axes.Axes, optional
        Three axes to draw into: losses, accuracies, learning rate. Default: a new figure, which
        pyplot does not keep.

    Returns
    -------
    sequence of matplotlib.axes.Axes
        The three axes.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    FeatxError
        If there are no epochs, or not three axes.

    See Also
    --------
    featx.read_log : Read the log of a fine-tuning.
    featx.write_figure : Write the figure for a paper.

    Examples
    --------
    >>> epochs = [
    ...     featx.Epoch(
    ...         epoch=number,
    ...         train_loss=1 / (number + 1),
    ...         holdout_loss=1 / (number + 1),
    ...         holdout_accuracy=0.5 + number / 10,
    ...         holdout_balanced_accuracy=0.5 + number / 10,
    ...         lr=0.001,
    ...         seconds=1.0,
    ...         images_per_s=30.0,
    ...     )
    ...     for number in range(4)
    ... ]
    >>> losses, accuracies, rates = featx.plot_tuning(epochs)
    >>> losses.get_ylabel(), rates.get_xlabel()
    ('Cross-entropy (nats)', 'Epoch')
    """
    if not history or (axes is not None and len(axes) != 3):
        raise FeatxError(
            subject="axes" if history else "history",
            expected="three axes" if history else "at least one epoch",
            got=str(len(axes)) if history and axes is not None else "none",
            remedy="Pass axes=figure.subplots(3)." if history else "Pass featx.read_log(path).",
        )
    if axes is None:
        require("matplotlib", EXTRA)
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.0, 6.0), layout="constrained")
        axes = figure.subplots(3, sharex=True, height_ratios=(3, 3, 2))
    losses, accuracies, rates = axes
    values = {
        name: _hide_infinite([getattr(epoch, name) for epoch in history])
        for name in Epoch.__dataclass_fields__
    }
    epochs = values["epoch"]
    style: dict[str, Any] = {"ms": 4, "lw": 1.5}
    for ax, name, sign, colour, text in (
        (losses, "train_loss", "o-", BLUE, "training images"),
        (losses, "holdout_loss", "s--", RED, "holdout"),
        (accuracies, "holdout_accuracy", "s-", RED, "holdout, accuracy"),
        (accuracies, "holdout_balanced_accuracy", "D--", GREEN, "holdout, balanced accuracy"),
        (rates, "lr", "o-", BLUE, ""),
    ):
        # Before the first step there is no learning rate.
        shown = values[name] if name != "lr" else np.where(epochs > 0, values[name], np.nan)
        ax.plot(epochs, shown, sign, color=colour, label=text, **style)
    for ax in (losses, accuracies):
        ax.legend(fontsize="small", frameon=False)
    losses.set_ylabel("Cross-entropy (nats)")
    accuracies.set_ylabel("Accuracy")
    rates.set(ylabel="Learning rate", xlabel="Epoch")
    rates.set_ylim(bottom=0)
    rates.locator_params(axis="x", integer=True)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    set_title(losses, _describe_best(history))
    return axes


def _hide_infinite(values: Sequence[float]) -> Array:
    """Return numbers, NaN for those that cannot be drawn."""
    numbers = np.array(values, float)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _describe_best(history: Sequence[Epoch]) -> str:
    """Say which epoch has the highest accuracy of the holdout, the first of equals."""
    best = max(history, key=lambda epoch: (np.nan_to_num(epoch.holdout_accuracy), -epoch.epoch))
    start = history[0]
    return (
        f"accuracy of the holdout: {start.holdout_accuracy:.3f} at epoch {start.epoch}, highest "
        f"{best.holdout_accuracy:.3f} at epoch {best.epoch}"
    )


def plot_map(
    points: RowMap | Array, labels: Sequence[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw a map of rows, each class with a colour and a sign of its own.

    Of more than 20 classes, the 20 with most rows are told apart, and the rows of the others are
    grey.

    Parameters
    ----------
    points : RowMap or ndarray
        Map, such as `featx.map_rows` returns it; or any positions ``(n_points, 2)``.
    labels : sequence of str, optional
        Class of each point, ``""`` for none. Default: the labels of the map.
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
    FeatxError
        If there are no labels, or not as many as points.

    See Also
    --------
    featx.map_rows : Arrange rows on a map.
    featx.write_figure : Write the figure for a paper.

    Examples
    --------
    >>> ax = featx.plot_map(featx.map_rows("photos.h5"))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['ants (6)', 'bees (6)']
    """
    if isinstance(points, RowMap):
        xy, title = points.xy, points.title
        labels = points.labels.tolist() if labels is None else labels
    else:
        xy, title = np.asarray(points), ""
    if labels is None or len(labels) != len(xy) or not len(xy):
        raise FeatxError(
            subject="labels",
            expected=f"a label for each of {count_noun(len(xy), 'point')}, and at least one point",
            got="none" if labels is None else count_noun(len(labels), "label"),
            remedy="Pass the labels of the rows of the map.",
        )
    of_point = np.array([str(label) for label in labels], object)
    counts = Counter(of_point.tolist())
    named = sorted((name for name in counts if name), key=lambda name: (-counts[name], name))
    shown = sorted(named[:MAX_COLOURED], key=order_label)
    others = ~np.isin(of_point, shown)
    names = [f"{show_name(name)} ({counts[name]:,})" for name in shown]
    if others.any():
        n_others = len(named) - len(shown)
        names.append(_describe_others(n_others, counts[""], int(others.sum())))
    width, height = xy.max(axis=0) - xy.min(axis=0)
    ax = build_axes(
        ax,
        MAP_INCHES + 0.6 + INCHES_PER_LETTER * max(map(len, names)),
        max(MAP_INCHES * min(float(height / max(width, 1e-9)), 1.2), 0.2 * len(names), 2) + 0.5,
    )
    are_many = len(xy) > MANY_POINTS
    size = 7 if are_many else 16
    looks: list[tuple[Array, dict[str, Any]]] = [
        (
            xy[of_point == name],
            {
                "c": COLOURS[number % len(COLOURS)],
                "marker": MARKERS[number % len(MARKERS)],
                "alpha": 0.75,
                "linewidths": 0,
            },
        )
        for number, name in enumerate(shown)
    ]
    if others.any():
        looks.append((xy[others], {"c": GREY, "marker": ".", "zorder": 0}))
    handles = []
    n_layers = N_LAYERS if are_many else 1
    for layer in range(n_layers):
        for chosen, look in looks:
            points = chosen[layer::n_layers]
            handles.append(
                ax.scatter(points[:, 0], points[:, 1], s=size, rasterized=are_many, **look)
            )
    ax.set(xticks=[], yticks=[], aspect="equal", anchor="W")
    add_legend(
        ax, handles[: len(looks)], names, is_beside=True, enlarge=(LEGEND_SIZE / size) ** 0.5
    )
    set_title(ax, title)
    return ax


def _describe_others(n_classes: int, n_unlabelled: int, n_rows: int) -> str:
    """Name the grey points."""
    told = [f"other classes: {n_classes:,}"] * (n_classes > 0)
    told += ["no label"] * (n_unlabelled > 0)
    return f"{', '.join(told)} ({n_rows:,})"
