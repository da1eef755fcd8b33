"""Lines, points and intervals of a chart as positions on a page, which a template draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 300
"""Size of a chart in the units of its SVG, which are pixels if there is space."""

LEFT, RIGHT, TOP, BOTTOM = 48, 16, 14, 46
"""Space around the plane for the numbers and the names of the axes."""

N_TICKS = 5
"""Largest number of steps between the numbers of an axis."""

RADIUS = 4.0

Axis = tuple[float, float]
"""Smallest and largest value of an axis."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values of one line.

    Attributes
    ----------
    name : str
        Name of the line.
    x, y : sequence of float
        Values of its points; NaN leaves a point out.
    intervals : sequence of (float, float)
        Ends of the interval of each point; may be empty.
    weights : sequence of float
        Number of rows of each point, which its area shows; may be empty.
    is_line : bool
        Whether a line joins the points.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    intervals: Sequence[Axis] = ()
    weights: Sequence[float] = ()
    is_line: bool = True


@dataclass(frozen=True, kw_only=True)
class Line:
    """A series where the page draws it.

    Attributes
    ----------
    name : str
        Name of the series.
    path : str
        Coordinates of the line that joins its points; empty for points alone.
    dots : sequence of (float, float, float)
        Position and radius of each point.
    bars : sequence of (float, float, float)
        Position and both ends of each interval.
    is_square : bool
        Whether its points are squares: every second series, so that no colour is needed.
    """

    name: str
    path: str
    dots: Sequence[tuple[float, float, float]]
    bars: Sequence[tuple[float, float, float]]
    is_square: bool


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart where the page draws it.

    Attributes
    ----------
    title : str
        Sentence that names the chart.
    x_name, y_name : str
        Names of the axes.
    x_ticks, y_ticks : sequence of (float, str)
        Position and text of each number of an axis.
    lines : sequence of Line
        The series.
    reference : (float, float, float, float) or None
        Ends of a thin line that the series stand beside.
    reference_name : str
        What that line is; may be empty.
    header : sequence of str
        Names of the columns of its values.
    values : sequence of sequence of str
        The values, as a table.
    """

    title: str
    x_name: str
    y_name: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    lines: Sequence[Line]
    reference: tuple[float, float, float, float] | None
    reference_name: str
    header: Sequence[str]
    values: Sequence[Sequence[str]]


def build_chart(  # noqa: PLR0913
    title: str,
    series: Sequence[Series],
    *,
    names: tuple[str, str],
    header: Sequence[str],
    values: Sequence[Sequence[str]],
    x_axis: Axis | None = None,
    y_axis: Axis | None = None,
    x_at: Sequence[float] = (),
    is_log: bool = False,
    reference: tuple[Axis, Axis] | None = None,
    reference_name: str = "",
) -> Chart:
    """Place series on a plane.

    Parameters
    ----------
    title : str
        Sentence that names the chart.
    series : sequence of Series
        What to draw.
    names : (str, str)
        Names of both axes.
    header, values : sequence
        The same values as a table.
    x_axis, y_axis : (float, float), optional
        Ranges of the axes. Default: those of the values.
    x_at : sequence of float, optional
        Values that the horizontal axis names. Default: round ones.
    is_log : bool
        Whether the horizontal axis is logarithmic.
    reference : ((float, float), (float, float)), optional
        Horizontal and vertical ends of a line that the series stand beside.
    reference_name : str
        What that line is.
    """
    xs = [x for one in series for x in one.x]
    ys = [y for one in series for y in (*one.y, *(end for of in one.intervals for end in of))]
    ys += list(reference[1]) if reference else []
    x_axis = x_axis or _widen(min(xs), max(xs))
    y_axis = y_axis or _widen(*_find_range(ys))
    place_x = _build_scale(x_axis, LEFT, WIDTH - RIGHT, is_log=is_log)
    place_y = _build_scale(y_axis, HEIGHT - BOTTOM, TOP)
    x_at = x_at or list_ticks(*x_axis)
    return Chart(
        title=title,
        x_name=names[0],
        y_name=names[1],
        x_ticks=[(place_x(value), f"{value:g}") for value in x_at],
        y_ticks=[(place_y(value), f"{value:g}") for value in list_ticks(*y_axis)],
        lines=[
            _place(one, place_x, place_y, is_square=number % 2 == 1)
            for number, one in enumerate(series)
        ],
        reference=None
        if reference is None
        else (
            *(place_x(reference[0][0]), place_y(reference[1][0])),
            *(place_x(reference[0][1]), place_y(reference[1][1])),
        ),
        reference_name=reference_name,
        header=header,
        values=values,
    )


def list_ticks(low: float, high: float) -> list[float]:
    """List round numbers of a range.

    Parameters
    ----------
    low, high : float
        Ends of the range, in order.

    Examples
    --------
    >>> list_ticks(0.42, 1)
    [0.6, 0.8, 1.0]
    >>> list_ticks(0, 6)
    [0.0, 2.0, 4.0, 6.0]
    """
    least = (high - low) / N_TICKS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _find_range(values: Sequence[float]) -> Axis:
    finite = [value for value in values if math.isfinite(value)]
    return min(finite, default=0.0), max(finite, default=1.0)


def _widen(low: float, high: float) -> Axis:
    """Return a range that is not empty."""
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _build_scale(
    axis: Axis, first: float, last: float, *, is_log: bool = False
) -> Callable[[float], float]:
    """Build the function from values to positions."""
    change = math.log if is_log else float
    low, high = change(axis[0]), change(axis[1])

    def place(value: float) -> float:
        return round(first + (change(value) - low) / (high - low) * (last - first), 1)

    return place


def _place(
    one: Series,
    place_x: Callable[[float], float],
    place_y: Callable[[float], float],
    *,
    is_square: bool,
) -> Line:
    largest = max(one.weights, default=1)
    known = [number for number, y in enumerate(one.y) if math.isfinite(y)]
    dots = [
        (
            place_x(one.x[number]),
            place_y(one.y[number]),
            round(2 + 6 * math.sqrt(one.weights[number] / largest), 1) if one.weights else RADIUS,
        )
        for number in known
    ]
    return Line(
        name=one.name,
        path=" ".join(f"{x},{y}" for x, y, _ in dots) if one.is_line else "",
        dots=dots,
        bars=[
            (
                place_x(one.x[number]),
                place_y(one.intervals[number][0]),
                place_y(one.intervals[number][1]),
            )
            for number in known
            if one.intervals
        ],
        is_square=is_square,
    )
