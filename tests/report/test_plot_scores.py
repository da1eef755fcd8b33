"""The numbers in the figures of scores are those of plain counts."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from featx.heads.calibration_curve import CalibrationBin, CalibrationCurve
from featx.heads.evaluate import Evaluation, score_predictions
from featx.report.plot_scores import plot_calibration, plot_classes, plot_confusion


def draw(plot: Any, *values: Any, **options: Any) -> Any:
    """Draw a figure: the types of matplotlib are too wide to look into it."""
    return plot(*values, **options)


def score(
    n_classes: int, n_rows: int, *, seed: int = 0, **options: Any
) -> tuple[Any, Any, Evaluation]:
    rng = np.random.default_rng(seed)
    names = np.array([f"c{code:04}" for code in range(n_classes)], object)
    y = names[rng.integers(0, n_classes, n_rows)]
    predicted = np.where(rng.random(n_rows) < 0.7, y, names[rng.integers(0, n_classes, n_rows)])
    return y, predicted, score_predictions(y, predicted, classes=names, **options)


def read_cells(ax: Any) -> dict[tuple[int, int], str]:
    return {
        (int(one.get_position()[1]), int(one.get_position()[0])): one.get_text() for one in ax.texts
    }


def list_ticks(axis: Any) -> list[str]:
    return [tick.label1.get_text() for tick in axis.get_major_ticks()]


def list_legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_cells_have_the_numbers_of_rows() -> None:
    y, predicted, scores = score(4, 200)
    ax = draw(plot_confusion, scores)
    expected = Counter(zip(y, predicted, strict=True))
    cells = read_cells(ax)
    assert len(cells) == len(expected)
    for (true, as_), n in expected.items():
        assert cells[int(true[1:]), int(as_[1:])] == f"{n:,}"
    assert list_ticks(ax.xaxis) == ["c0000", "c0001", "c0002", "c0003"]
    assert list_ticks(ax.yaxis) == [f"{name} ({n})" for name, n in sorted(Counter(y).items())]
    low, high = scores.accuracy_ci95
    assert ax.get_title("left") == (
        f"200 rows, accuracy {np.mean(y == predicted):.3f} (95 % interval {low:.3f} to {high:.3f})"
    )


def test_normalized_cells_have_shares_of_the_true_class() -> None:
    y, predicted, scores = score(3, 150)
    ax = draw(plot_confusion, scores, normalize=True)
    for (true, as_), text in read_cells(ax).items():
        of_class = predicted[y == f"c{true:04}"]
        assert float(text) == pytest.approx((of_class == f"c{as_:04}").mean(), abs=0.005)
    shown = np.asarray(ax.images[0].get_array())
    assert shown.sum(axis=1) == pytest.approx(1)


def test_share_that_is_not_0_is_not_written_as_0() -> None:
    y = np.repeat(np.array(["a", "b"], object), [999, 10])
    predicted = y.copy()
    predicted[0] = "b"
    scores = score_predictions(y, predicted, classes=np.array(["a", "b"], object))
    assert read_cells(draw(plot_confusion, scores, normalize=True))[0, 1] == "<0.01"


def test_of_many_classes_the_worst_pairs_are_drawn() -> None:
    y, predicted, scores = score(40, 4000)
    wrong = Counter((t, p) for t, p in zip(y, predicted, strict=True) if t != p)
    ax = draw(plot_confusion, scores)
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == sorted(wrong.values(), reverse=True)[:20]
    for name, width in zip(list_ticks(ax.yaxis), widths, strict=True):
        true, as_ = name.split(" → ")
        assert wrong[true, as_] == width
    assert f"the 20 worst of {len(wrong):,} confused pairs of 40 classes" in ax.get_title("left")


def test_pairs_by_share_are_sorted_by_share() -> None:
    _, _, scores = score(40, 4000)
    widths = [bar.get_width() for bar in draw(plot_confusion, scores, normalize=True).patches]
    assert widths == sorted(widths, reverse=True)
    assert max(widths) < 1


def test_of_many_classes_without_mistakes_nothing_is_confused() -> None:
    y = np.array([f"c{code}" for code in range(30)], object)
    ax = draw(plot_confusion, score_predictions(y, y, classes=y))
    assert "no rows of the 30 classes are confused" in ax.get_title("left")


def test_rows_that_were_learnt_from_are_said() -> None:
    _, _, scores = score(3, 150, seen=np.arange(150) < 50)
    assert draw(plot_confusion, scores).get_title("left").splitlines()[0] == (
        "150 rows, 50 of them learnt from: too good"
    )
    related = replace(scores, n_related=7)
    for plot in (plot_confusion, plot_classes):
        assert draw(plot, related).get_title("left").splitlines()[2] == (
            "7 of the rows are of groups that were learnt from: may be too good"
        )


def test_classes_have_their_recall_and_its_interval() -> None:
    y, predicted, scores = score(5, 300)
    ax = draw(plot_classes, scores)
    recalls = {name: float((predicted[y == name] == name).mean()) for name in set(y)}
    shown = [text.split(" ")[0] for text in list_ticks(ax.yaxis)]
    assert shown == sorted(recalls, key=lambda name: recalls[name])
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([recalls[n] for n in shown])
    (bars,) = (one for one in ax.collections if len(one.get_segments()) == 5)
    by_label = {one.label: one for one in scores.per_class}
    for name, ((low, _), (high, _)) in zip(shown, bars.get_segments(), strict=True):
        assert (low, high) == pytest.approx(by_label[name].recall_ci95)
    assert list_legend(ax) == [
        "recall",
        "its 95 % interval",
        f"mean of 5 classes: {scores.balanced_accuracy:.3f}",
    ]


def test_of_many_classes_the_lowest_are_drawn_and_those_without_rows_are_counted() -> None:
    y, predicted, _ = score(100, 3000)
    names = np.array([*sorted(set(y)), "empty", "void"], object)
    scores = score_predictions(y, predicted, classes=names)
    ax = draw(plot_classes, scores)
    lines = ax.get_title("left").splitlines()
    assert lines[1:] == [
        "the 30 classes of 100 with the lowest recall",
        "not shown: 2 classes without rows",
    ]
    recalls = sorted(float((predicted[y == name] == name).mean()) for name in set(y))
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(recalls[:30])


def test_scores_of_an_older_featx_have_no_intervals() -> None:
    fields = score(3, 60)[2].to_dict()
    for one in fields["per_class"]:
        del one["recall_ci95"]
    legend = list_legend(draw(plot_classes, Evaluation.from_dict(fields)))
    assert legend == ["recall", f"mean of 3 classes: {fields['balanced_accuracy']:.3f}"]


def test_calibration_has_points_intervals_and_shares_of_rows() -> None:
    curve = CalibrationCurve(
        bins=(
            CalibrationBin(
                low=0.6, high=0.8, n_rows=10, mean_score=0.7, accuracy=0.5, accuracy_ci95=(0.2, 0.8)
            ),
            CalibrationBin(
                low=0.8, high=1.0, n_rows=30, mean_score=0.9, accuracy=1.0, accuracy_ci95=(0.9, 1.0)
            ),
        )
    )
    ax = draw(plot_calibration, curve)
    assert [(bar.get_x(), bar.get_height()) for bar in ax.patches] == [(0.6, 0.25), (0.8, 0.75)]
    assert [[0.7, 0.5], [0.9, 1.0]] in [line.get_xydata().tolist() for line in ax.lines]
    (segments,) = (one.get_segments() for one in ax.collections)
    assert [tuple(s[:, 1]) for s in segments] == [
        pytest.approx((0.2, 0.8)),
        pytest.approx((0.9, 1.0)),
    ]
    assert ax.get_title("left") == "calibration error 0.125, 40 rows in 2 bins"
    learnt = draw(plot_calibration, replace(curve, n_seen=30)).get_title("left")
    assert learnt.splitlines()[1] == "30 of the rows were learnt from: too good"
    related = draw(plot_calibration, replace(curve, n_related=1)).get_title("left")
    assert "1 of the rows is of groups that were learnt from" in related
    assert "head, with 95 % intervals" in list_legend(ax)
