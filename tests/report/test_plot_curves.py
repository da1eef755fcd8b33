"""The figures of curves, logs and maps have the values that they were given."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from featx.analytics.row_map import RowMap
from featx.core.errors import FeatxError
from featx.finetune.log import Epoch
from featx.fitting.learning_curve import CurvePoint, LearningCurve
from featx.report.figures import write_figure
from featx.report.plot_curves import MANY_POINTS, plot_learning_curve, plot_map, plot_tuning


def draw(plot: Any, *values: Any, **options: Any) -> Any:
    """Draw a figure: the types of matplotlib are too wide to look into it."""
    return plot(*values, **options)


def list_legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def build_epoch(number: int, **values: float) -> Epoch:
    fields = {
        "train_loss": float("nan") if number == 0 else 1 / number,
        "holdout_loss": 0.5,
        "holdout_accuracy": 0.7 + number / 100,
        "holdout_balanced_accuracy": 0.6,
        "lr": 0.001 if number else 0.0,
        "seconds": 1.0,
        "images_per_s": 2.0,
    }
    return Epoch(epoch=number, **(fields | values))


def build_map(labels: list[str], n_rows: int) -> RowMap:
    n = len(labels)
    return RowMap(
        method="tsne",
        rows=np.arange(n),
        xy=np.random.default_rng(0).random((n, 2)).astype(np.float32),
        ids=np.arange(n).astype(str).astype(object),
        labels=np.array(labels, object),
        splits=np.full(n, "train", object),
        n_rows=n_rows,
    )


def test_learning_curve_has_its_points_and_intervals() -> None:
    points = tuple(
        CurvePoint(rows_per_class=size, accuracy=accuracy, accuracy_ci95=ends)
        for size, accuracy, ends in ((10.0, 0.5, (0.4, 0.6)), (1000.0, 0.9, (0.8, 1.0)))
    )
    curve = LearningCurve(
        points=points, majority_accuracy=0.2, balanced_ci95=(0.8, 1.0), n_classes=5, n_rows=6250
    )
    ax = draw(plot_learning_curve, curve)
    assert ax.lines[0].get_xydata().tolist() == [[10, 0.5], [1000, 0.9]]
    (segments,) = (one.get_segments() for one in ax.collections)
    assert [tuple(s[:, 1]) for s in segments] == [
        pytest.approx((0.4, 0.6)),
        pytest.approx((0.8, 1.0)),
    ]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["10", "1,000"]
    assert ax.get_title("left") == "6,250 rows of 5 classes, each scored once, in 5 folds"
    assert list_legend(ax) == ["head, with 95 % intervals", "always the most frequent class"]
    assert ax.get_ylim()[1] <= 1


def test_tuning_has_losses_accuracies_and_rates() -> None:
    history = [build_epoch(number) for number in range(4)]
    losses, accuracies, rates = draw(plot_tuning, history)
    train, holdout = (line.get_ydata() for line in losses.lines)
    assert np.isnan(train[0])
    assert train[1:].tolist() == [1, 1 / 2, 1 / 3]
    assert holdout.tolist() == [0.5] * 4
    assert accuracies.lines[0].get_ydata().tolist() == [0.7, 0.71, 0.72, 0.73]
    assert np.isnan(rates.lines[0].get_ydata()[0])
    assert losses.get_title("left") == (
        "accuracy of the holdout: 0.700 at epoch 0, highest 0.730 at epoch 3"
    )


def test_tuning_is_written_as_one_figure(tmp_path: Path) -> None:
    write_figure(plot_tuning([build_epoch(0), build_epoch(1)]), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text("utf-8")
    assert "Cross-entropy (nats)" in text
    assert "Learning rate" in text


def test_tuning_draws_what_is_not_finite_nowhere() -> None:
    history = [build_epoch(0), build_epoch(1, train_loss=float("inf"), holdout_loss=1.0)]
    losses = draw(plot_tuning, history)[0]
    assert np.isnan(losses.lines[0].get_ydata()).all()
    assert np.isfinite(losses.get_ylim()).all()


def test_tuning_takes_three_axes_and_at_least_one_epoch() -> None:
    axes = Figure().subplots(3)
    assert draw(plot_tuning, [build_epoch(0)], axes=axes) is axes
    with pytest.raises(FeatxError, match=r"^axes: expected three axes, got 1\."):
        draw(plot_tuning, [build_epoch(0)], axes=[axes[0]])
    with pytest.raises(FeatxError, match=r"^history: expected at least one epoch, got none\."):
        draw(plot_tuning, [])


def test_map_has_each_class_at_its_positions_with_a_sign_of_its_own() -> None:
    found = build_map([f"c{number % 12:02}" for number in range(60)] + [""] * 3, 63)
    ax = draw(plot_map, found)
    assert ax.get_title("left") == "t-SNE of 63 rows"
    names = [f"c{number:02} (5)" for number in range(12)]
    assert list_legend(ax) == [*names, "no label (3)"]
    looks = set()
    for number, points in enumerate(ax.collections[:12]):
        chosen = found.xy[found.labels == f"c{number:02}"]
        np.testing.assert_array_equal(np.asarray(points.get_offsets()), chosen)
        looks.add((points.get_paths()[0].vertices.tobytes(), tuple(points.get_facecolor()[0])))
    assert len(looks) == 12
    np.testing.assert_array_equal(np.asarray(ax.collections[12].get_offsets()), found.xy[60:])


def test_map_of_many_classes_tells_the_largest_apart() -> None:
    labels = [f"c{number % 50:02}" for number in range(230)]
    ax = draw(plot_map, build_map(labels, 1000))
    largest = [name for name, n in Counter(labels).items() if n == 5][:20]
    assert list_legend(ax)[:-1] == [f"{name} (5)" for name in sorted(largest)]
    assert list_legend(ax)[-1] == f"other classes: 30 ({230 - 100})"
    assert ax.get_title("left") == "t-SNE of a random sample of 230 of 1,000 rows"


def test_map_takes_positions_and_labels_of_ones_own() -> None:
    xy = np.array([[0.0, 0.0], [3.0, 1.0], [2.0, 2.0]])
    ax = draw(plot_map, xy, ["b", "a", "b"])
    assert list_legend(ax) == ["a (1)", "b (2)"]
    for labels in (None, ["a"]):
        with pytest.raises(FeatxError, match=r"^labels: expected a label for each of 3 points"):
            draw(plot_map, xy, labels)


def test_map_of_one_point_is_drawn() -> None:
    assert list_legend(draw(plot_map, np.zeros((1, 2)), [""])) == ["no label (1)"]


def test_map_of_many_points_is_an_image_within_a_vector_file(tmp_path: Path) -> None:
    xy = np.random.default_rng(0).random((MANY_POINTS + 1, 2))
    for n, is_image in ((MANY_POINTS, False), (MANY_POINTS + 1, True)):
        write_figure(plot_map(xy[:n], ["a"] * n), tmp_path / "a.svg")
        assert ("data:image/png" in (tmp_path / "a.svg").read_text("utf-8")) == is_image
