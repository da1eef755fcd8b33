"""Draw one figure of a head, a cache or a log, and write it: what `featx plot` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.analytics.row_map import map_rows
from featx.core.errors import FeatxError, require
from featx.core.recognise import check_order
from featx.core.typing import PathLike, PlotKind, check_choice
from featx.finetune.log import read_log
from featx.fitting.calibration_curve import measure_calibration_curve
from featx.fitting.evaluate import evaluate
from featx.fitting.learning_curve import measure_learning_curve
from featx.report.figures import EXTRA, check_figure, write_figure
from featx.report.plot_curves import plot_learning_curve, plot_map, plot_tuning
from featx.report.plot_scores import plot_calibration, plot_classes, plot_confusion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = dict[str, Any]
"""Numbers of a figure, as JSON has them."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure that was written.

    Attributes
    ----------
    path : Path
        The file.
    kind : str
        Kind of the figure.
    title : str
        What stands over the figure: its rows, and what it leaves out.
    values : dict
        Numbers that are drawn, for JSON.
    """

    path: Path
    kind: PlotKind
    title: str
    values: Values

    def to_dict(self) -> dict[str, Any]:
        """Return the path, the kind and the numbers, for JSON."""
        return {"path": str(self.path), "kind": self.kind, **self.values}


def plot(kind: PlotKind, inputs: Sequence[PathLike], output: PathLike, **options: Any) -> Plot:
    """Draw a figure and write it.

    Parameters
    ----------
    kind : {"confusion", "calibration", "classes", "curve", "map", "log"}
        The figure.
    inputs : sequence of path
        A head and a cache, or caches that are one; a cache alone for ``"curve"`` and ``"map"``; the
        log of a fine-tuning for ``"log"``.
    output : path
        File to write, as `write_figure` takes it.
    **options : object
        Options of the figure: those of `OPTIONS` that are not None.

    Raises
    ------
    FeatxError
        If the figure does not take an option or so many inputs, if an input cannot be read, or if
        the file cannot be written.
    MissingExtraError
        If matplotlib is not installed.
    """
    check_choice("kind", kind, PlotKind)
    given = {name: value for name, value in options.items() if value is not None}
    _check_inputs(kind, inputs)
    _check_options(kind, given)
    check_figure(output)
    require("matplotlib", EXTRA)  # before the work
    ax, values = DRAWERS[kind](inputs, given)
    write_figure(ax, output)
    title = ax.get_title(loc="left").replace("\n", "; ")
    return Plot(path=Path(output), kind=kind, title=title, values=values)


def _check_inputs(kind: PlotKind, inputs: Sequence[PathLike]) -> None:
    expected = INPUTS[kind]
    is_several = expected[-1] == "CACHE" and len(inputs) > len(expected)
    if len(inputs) != len(expected) and not is_several:
        raise FeatxError(
            subject="inputs",
            expected=f"{' '.join(expected)} for {kind}",
            got=" ".join(map(str, inputs)) or "none",
            remedy=f"Run: featx plot {kind} {' '.join(expected)} -o {kind}.pdf",
        )
    if expected[0] == "HEAD":
        check_order(
            ("inputs", "inputs"),
            (inputs[0], [*inputs[1:]]),
            content="head",
            call=f"featx.plot({kind!r}, {{held!r}}, {{rest!r}})",
        )


def _check_options(kind: PlotKind, given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in OPTIONS[kind]:
            takers = ", ".join(one for one in OPTIONS if name in OPTIONS[one])
            raise FeatxError(
                subject=name,
                expected=f"a figure that it changes ({takers})",
                got=kind,
                remedy="Leave it out.",
            )


def _draw_scores(
    draw: Callable[..., Axes], inputs: Sequence[PathLike], options: Mapping[str, Any]
) -> tuple[Axes, Values]:
    """Score a head on the rows of caches, and draw the scores."""
    style = {name: value for name, value in options.items() if name == "normalize"}
    choice = {name: value for name, value in options.items() if name not in style}
    scores = evaluate(inputs[0], inputs[1:], **choice)
    return draw(scores, **style), scores.to_dict()


def _draw_confusion(inputs: Sequence[PathLike], options: Mapping[str, Any]) -> tuple[Axes, Values]:
    return _draw_scores(plot_confusion, inputs, options)


def _draw_classes(inputs: Sequence[PathLike], options: Mapping[str, Any]) -> tuple[Axes, Values]:
    return _draw_scores(plot_classes, inputs, options)


def _draw_calibration(
    inputs: Sequence[PathLike], options: Mapping[str, Any]
) -> tuple[Axes, Values]:
    curve = measure_calibration_curve(inputs[0], inputs[1:], **options)
    return plot_calibration(curve), curve.to_dict()


def _draw_curve(inputs: Sequence[PathLike], options: Mapping[str, Any]) -> tuple[Axes, Values]:
    curve = measure_learning_curve(inputs, **options)
    return plot_learning_curve(curve), curve.to_dict()


def _draw_map(inputs: Sequence[PathLike], options: Mapping[str, Any]) -> tuple[Axes, Values]:
    found = map_rows(inputs, **options)
    values = {"method": found.method, "n_rows": found.n_rows, "n_shown": len(found)}
    return plot_map(found), values


def _draw_log(inputs: Sequence[PathLike], _: Mapping[str, Any]) -> tuple[Axes, Values]:
    history = read_log(inputs[0])
    return plot_tuning(history)[0], {"history": [epoch.to_record() for epoch in history]}


INPUTS: dict[PlotKind, tuple[str, ...]] = {
    "confusion": ("HEAD", "CACHE"),
    "calibration": ("HEAD", "CACHE"),
    "classes": ("HEAD", "CACHE"),
    "curve": ("CACHE",),
    "map": ("CACHE",),
    "log": ("LOG",),
}
"""Files that each kind of figure is drawn from."""

OPTIONS: dict[PlotKind, tuple[str, ...]] = {
    "confusion": ("split", "embedding", "normalize"),
    "calibration": ("split", "embedding"),
    "classes": ("split", "embedding"),
    "curve": ("split", "embedding", "seed"),
    "map": ("split", "embedding", "seed", "method", "max_rows"),
    "log": (),
}
"""Options that each kind of figure takes."""

DRAWERS: dict[PlotKind, Callable[[Sequence[PathLike], Mapping[str, Any]], tuple[Axes, Values]]] = {
    "confusion": _draw_confusion,
    "calibration": _draw_calibration,
    "classes": _draw_classes,
    "curve": _draw_curve,
    "map": _draw_map,
    "log": _draw_log,
}
"""Function that draws each kind of figure."""
