"""Charts place values where their axes say."""

from dataclasses import replace

import numpy as np
import pytest

from featx.heads.calibration_curve import measure_calibration
from featx.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Series, build_chart
from featx.report.report_charts import draw_calibration, draw_learning, draw_tuning
from tests.report.contents import build_curve, build_epoch


def test_values_are_placed_between_the_ends_of_the_axes() -> None:
    chart = build_chart(
        "title",
        [Series(name="a", x=[0, 1, 2], y=[0.0, 0.5, 1.0], intervals=[(0, 0.5)] * 3)],
        names=("x", "y"),
        header=(),
        values=(),
    )
    (line,) = chart.lines
    middle = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    assert [dot[:2] for dot in line.dots] == [
        (LEFT, HEIGHT - BOTTOM),
        middle,
        (WIDTH - RIGHT, TOP),
    ]
    assert line.bars[1] == (middle[0], HEIGHT - BOTTOM, middle[1])
    assert line.path == " ".join(f"{x},{y}" for x, y, _ in line.dots)
    assert [text for _, text in chart.y_ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_logarithmic_axis_has_equal_steps_for_equal_factors() -> None:
    chart = draw_learning(build_curve(2))
    places = [x for x, _, _ in chart.lines[0].dots]
    assert np.diff(places) == pytest.approx(np.diff(places)[0], abs=0.2)
    assert [text for _, text in chart.x_ticks] == ["5", "10", "20", "40"]


def test_one_point_is_drawn() -> None:
    (point, *_) = build_curve(2).points
    curve = build_curve(2)
    chart = draw_learning(type(curve)(**{**vars(curve), "points": (point,)}))
    assert len(chart.lines[0].dots) == 1
    assert len(draw_tuning([build_epoch(0)])) == 2


def test_epoch_without_a_training_loss_is_left_out_of_its_line_and_told() -> None:
    loss, accuracy = draw_tuning([build_epoch(number) for number in range(6)])
    assert [len(line.dots) for line in loss.lines] == [5, 6]
    assert [line.is_square for line in loss.lines] == [False, True]
    assert loss.values[0] == ("0", "-", "0.4000")
    assert [len(line.dots) for line in accuracy.lines] == [6, 6]


def test_epoch_without_an_accuracy_is_left_out_of_its_line() -> None:
    epochs = [replace(build_epoch(0), holdout_accuracy=float("nan")), build_epoch(1)]
    _, accuracy = draw_tuning(epochs)
    assert [len(line.dots) for line in accuracy.lines] == [1, 2]
    assert accuracy.values[0][1] == "-"


def test_area_of_a_point_is_its_number_of_rows() -> None:
    right = np.array([True] * 5)
    curve = measure_calibration(right, np.array([0.55, 0.9, 0.9, 0.9, 0.9]))
    small, large = (radius for _, _, radius in draw_calibration(curve).lines[0].dots)
    assert small < large
    assert draw_calibration(curve).reference == (LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, TOP)
