"""Scores, against published numbers and scikit-learn."""

import json

import numpy as np
import pytest
from sklearn import metrics

from featx.core.typing import Array
from featx.heads.evaluate import CrossValidation, Evaluation, score_predictions
from featx.heads.intervals import estimate_balanced_interval, estimate_interval

CLASSES = np.array(["1", "10", "2", "ants"])


def build_random(n_rows: int = 300, seed: int = 0) -> tuple[Array, Array, Array]:
    """Labels, probabilities and the predictions that follow from them."""
    rng = np.random.default_rng(seed)
    y = rng.choice(CLASSES, n_rows, p=[0.5, 0.3, 0.15, 0.05])
    probabilities = rng.dirichlet(np.ones(4), n_rows)
    return y, CLASSES[probabilities.argmax(axis=1)], probabilities


def test_score_predictions_has_interval_of_its_accuracy() -> None:
    y = np.array(["a"] * 29)
    predicted = np.array(["a"] + ["b"] * 28)
    scores = score_predictions(y, predicted, classes=np.array(["a", "b"]))
    assert scores.accuracy == pytest.approx(1 / 29)
    assert scores.accuracy_ci95 == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_score_predictions_equal_scikit_learns(seed: int) -> None:
    y, predicted, probabilities = build_random(seed=seed)
    scores = score_predictions(y, predicted, classes=CLASSES, probabilities=probabilities)
    assert scores.n_rows == 300
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(y, predicted))
    assert scores.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(y, predicted))
    assert scores.macro_f1 == pytest.approx(metrics.f1_score(y, predicted, average="macro"))
    assert scores.log_loss == pytest.approx(metrics.log_loss(y, probabilities, labels=CLASSES))
    squares = (probabilities - (y[:, None] == CLASSES)) ** 2
    assert scores.brier == pytest.approx(squares.sum(axis=1).mean())
    assert scores.mean_score == pytest.approx(probabilities.max(axis=1).mean())
    assert (scores.n_unknown, scores.n_seen) == (0, 0)


def test_score_predictions_per_class_equal_scikit_learns() -> None:
    y, predicted, _ = build_random()
    report = metrics.classification_report(y, predicted, output_dict=True)
    scores = score_predictions(y, predicted, classes=CLASSES)
    assert [line.label for line in scores.per_class] == CLASSES.tolist()
    for line in scores.per_class:
        expected = report[line.label]
        assert line.n_rows == expected["support"]
        assert line.precision == pytest.approx(expected["precision"])
        assert line.recall == pytest.approx(expected["recall"])
        assert line.f1 == pytest.approx(expected["f1-score"])


def test_score_predictions_confusion_has_true_classes_in_rows() -> None:
    y = np.array(["a", "a", "a", "b"])
    predicted = np.array(["a", "b", "b", "b"])
    scores = score_predictions(y, predicted, classes=np.array(["a", "b"]))
    assert scores.confusion == ((1, 2), (0, 1))
    assert scores.classes == ("a", "b")


def test_score_predictions_unknown_classes_count_as_wrong() -> None:
    y = np.array(["a", "b", "zebra", "aardvark"])
    predicted = np.array(["a", "b", "a", "b"])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.3, 0.7]])
    scores = score_predictions(
        y, predicted, classes=np.array(["a", "b"]), probabilities=probabilities
    )
    assert scores.accuracy == 0.5
    assert scores.balanced_accuracy == 0.5
    assert scores.n_unknown == 2
    assert (scores.log_loss, scores.brier) == (None, None)
    assert scores.mean_score == pytest.approx((0.9 + 0.8 + 0.9 + 0.7) / 4)
    assert scores.classes == ("a", "b", "aardvark", "zebra")
    assert scores.confusion == ((1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 0), (1, 0, 0, 0))


def test_score_predictions_without_probabilities_do_not_score_them() -> None:
    y, predicted, _ = build_random()
    scores = score_predictions(y, predicted, classes=CLASSES)
    assert (scores.log_loss, scores.brier) == (None, None)
    assert (scores.calibration_error, scores.mean_score) == (None, None)


def test_score_predictions_what_was_not_measured_is_none() -> None:
    y = np.array(["a", "a", "b", "b", "c"])
    predicted = np.array(["a", "a", "b", "a", "a"])
    scores = score_predictions(y, predicted, classes=np.array(["a", "b", "c", "d"]))
    never_predicted, without_rows = scores.per_class[2:]
    assert never_predicted.precision is None
    assert (never_predicted.recall, never_predicted.f1) == (0, 0)
    assert (without_rows.precision, without_rows.recall, without_rows.f1) == (None, None, None)


def test_score_predictions_majority_is_what_always_one_answer_scores() -> None:
    y = np.array(["b", "b", "b", "a"])
    scores = score_predictions(y, y, classes=np.array(["a", "b"]))
    assert (scores.majority_class, scores.majority_accuracy) == ("b", 0.75)


def test_score_predictions_of_units_have_their_intervals() -> None:
    y, predicted, _ = build_random()
    units = np.arange(len(y)) // 10
    right = y == predicted
    alone = score_predictions(y, predicted, classes=CLASSES, units=np.arange(len(y)))
    assert alone == score_predictions(y, predicted, classes=CLASSES)
    assert alone.n_units is None
    scores = score_predictions(y, predicted, classes=CLASSES, units=units)
    assert scores.n_units == 30
    assert scores.accuracy_ci95 == estimate_interval(right, units)
    codes = np.searchsorted(np.sort(CLASSES), y)
    assert scores.balanced_accuracy_ci95 == estimate_balanced_interval(right, codes, units)
    folded = score_predictions(y, predicted, classes=CLASSES, units=units, n_folds=5)
    assert folded.accuracy_ci95 == estimate_interval(right, units, n_folds=5)


def test_score_predictions_class_without_rows_is_left_out_of_means() -> None:
    y = np.array(["a", "a", "b", "b"])
    scores = score_predictions(y, y, classes=np.array(["a", "b", "c"]))
    assert scores.balanced_accuracy == 1
    assert scores.macro_f1 == 1


def test_score_predictions_class_predicted_without_rows_lowers_macro_f1() -> None:
    y = np.array(["a", "a", "b", "b"])
    predicted = np.array(["a", "a", "b", "c"])
    scores = score_predictions(y, predicted, classes=np.array(["a", "b", "c"]))
    assert scores.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert scores.balanced_accuracy == pytest.approx(0.75)


def test_score_predictions_single_class_among_rows_has_a_log_loss() -> None:
    y = np.array(["a", "a"])
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    scores = score_predictions(y, y, classes=np.array(["a", "b"]), probabilities=probabilities)
    assert scores.log_loss == pytest.approx(-(np.log(0.5) + np.log(0.25)) / 2)


def test_score_predictions_scores_rows_that_were_not_learnt_from_apart() -> None:
    y = np.array(["a", "b", "a", "b"])
    predicted = np.array(["a", "b", "b", "b"])
    seen = np.array([True, False, False, False])
    scores = score_predictions(y, predicted, classes=y[:2], seen=seen)
    assert (scores.n_seen, scores.accuracy) == (1, 0.75)
    assert scores.unseen_accuracy == pytest.approx(2 / 3)
    assert scores.unseen_accuracy_ci95 == estimate_interval(np.array([1, 1, 0]))
    assert scores.unseen_majority_accuracy == pytest.approx(2 / 3)


def test_score_predictions_of_learnt_rows_alone_has_no_accuracy_of_others() -> None:
    y = np.array(["a", "b"])
    scores = score_predictions(y, y, classes=y, seen=np.ones(2, bool))
    assert (scores.n_seen, scores.accuracy) == (2, 1.0)
    assert (scores.unseen_accuracy, scores.unseen_accuracy_ci95) == (None, None)
    assert scores.unseen_majority_accuracy is None


def test_evaluation_to_dict_is_json() -> None:
    y, predicted, probabilities = build_random()
    scores = score_predictions(y, predicted, classes=CLASSES, probabilities=probabilities)
    assert json.loads(json.dumps(scores.to_dict()))["confusion"] == [
        list(line) for line in scores.confusion
    ]


def test_evaluation_from_dict_is_what_to_dict_was_made_of() -> None:
    y, predicted, probabilities = build_random()
    seen = np.arange(len(y)) < 3
    scores = score_predictions(
        y, predicted, classes=CLASSES, probabilities=probabilities, seen=seen
    )
    assert Evaluation.from_dict(scores.to_dict()) == scores


def test_cross_validation_from_dict_is_what_to_dict_was_made_of() -> None:
    y, predicted, _ = build_random()
    found = CrossValidation(
        scores=score_predictions(y, predicted, classes=CLASSES),
        n_folds=4,
        strengths=(0.1, 1.0),
        mean_scores=(0.5, 0.25),
        chosen=0.1,
    )
    assert CrossValidation.from_dict(found.to_dict()) == found
    values = json.loads(json.dumps(found.to_dict()))
    assert values["scores"]["n_rows"] == 300
    assert (values["n_folds"], values["strengths"]) == (4, [0.1, 1.0])
    assert (values["measure"], values["stands_at_end"]) == ("accuracy", True)


@pytest.mark.parametrize(
    ("strengths", "chosen", "expected"),
    [
        ((0.1, 1.0, 10.0), 0.1, True),
        ((0.1, 1.0, 10.0), 1.0, False),
        ((0.1, 1.0, 10.0), 10.0, True),
        ((1.0,), 1.0, False),
        ((), None, False),
    ],
)
def test_cross_validation_says_whether_the_choice_stands_at_an_end(
    strengths: tuple[float, ...], chosen: float | None, expected: bool
) -> None:
    y, predicted, _ = build_random()
    found = CrossValidation(
        scores=score_predictions(y, predicted, classes=CLASSES),
        n_folds=4,
        strengths=strengths,
        mean_scores=(0.5,) * len(strengths),
        chosen=chosen,
    )
    assert found.stands_at_end == expected
