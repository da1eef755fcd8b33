"""Scores of few classes are a matrix; of many, the worst of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.cli.evaluate import (
    MAX_LINES,
    MAX_MATRIX,
    print_classes,
    print_confusion,
    print_scores,
)
from featx.cli.printing import format_accuracy, format_held_out, format_params
from featx.fitting.fit import fit_head
from featx.heads.evaluate import CrossValidation, Evaluation, score_predictions


def score(n_classes: int, *, shift: int = 0, name: str = "class") -> Evaluation:
    """Score ten rows of each class, of which the head takes `shift` for the next class."""
    names = [f"{name}-{number:03}" for number in range(n_classes)]
    y, predicted = [], []
    for number, label in enumerate(names):
        y += [label] * 10
        n_wrong = shift if number else 2 * shift  # the first class is the worst
        predicted += [names[(number + 1) % n_classes]] * n_wrong + [label] * (10 - n_wrong)
    return score_predictions(
        np.array(y, object), np.array(predicted, object), classes=np.array(names, object)
    )


def test_confusion_of_few_classes_is_a_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    print_confusion(score(3, shift=1))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [
        ["class-000", "8", "2", "0"],
        ["class-001", "0", "9", "1"],
        ["class-002", "1", "0", "9"],
    ]


@pytest.mark.parametrize(
    ("n_classes", "name"), [(MAX_MATRIX + 1, "c"), (65, "class"), (12, "a class with a long name")]
)
def test_confusion_that_no_screen_shows_is_a_list_of_the_worst_pairs(
    capsys: pytest.CaptureFixture[str], n_classes: int, name: str
) -> None:
    print_confusion(score(n_classes, shift=1, name=name))
    out = capsys.readouterr().out
    lines = out.splitlines()
    n_shown = min(n_classes, MAX_LINES)
    assert (
        lines[0] == f"The {n_shown} worst confusions of {n_classes}; --json has the whole matrix."
    )
    assert lines[3].split("  ")[0] == f"{name}-000"
    assert lines[3].split()[-2:] == ["2", "0.200"]
    assert len(lines) == 3 + n_shown
    assert max(map(len, lines)) <= 100


def test_confusion_without_confusions_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_confusion(score(40))
    assert capsys.readouterr().out == "No rows of the 40 classes are confused.\n"


def test_classes_beyond_a_screen_are_those_of_the_lowest_f1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_classes(score(65, shift=1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The 20 classes of 65 with the lowest F1; --json has all."
    assert lines[3].startswith("class-000")
    assert len(lines) == 3 + MAX_LINES


def test_classes_of_one_screen_are_all_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_classes(score(MAX_LINES, shift=1))
    assert len(capsys.readouterr().out.splitlines()) == 1 + MAX_LINES


def test_lines_fit_a_screen_whatever_the_names_of_classes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = score(150, shift=1, name="a species whose name is long " * 10)
    print_scores(scores)
    print_classes(scores)
    print_confusion(scores)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 200


def test_what_was_not_measured_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    y = np.array(["a", "a", "b"], object)
    scores = score_predictions(
        y, np.array(["a"] * 3, object), classes=np.array(["a", "b", "c"], object)
    )
    print_scores(scores)
    print_classes(scores)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["log", "loss", "-"] in lines
    assert ["mean", "score", "-"] in lines
    assert lines[-2:] == [
        ["b", "1", "-", "0.000", "0.000", "0.793", "0.000"],
        ["c", "0", "-", "-", "-", "-", "-"],
    ]


def test_an_accuracy_stands_beside_that_of_one_answer_and_its_units() -> None:
    y = np.array(["a"] * 15 + ["b"] * 5, object)
    predicted, classes = np.array(["a"] * 20, object), np.array(["a", "b"], object)
    text = format_accuracy(score_predictions(y, predicted, classes=classes))
    assert text == "0.750 (95 % interval 0.531 to 0.888; 20 rows), always a: 0.750"
    units = np.arange(20) // 2
    text = format_accuracy(score_predictions(y, predicted, classes=classes, units=units))
    assert "; 10 units in 20 rows), always a: 0.750" in text
    seen = np.arange(20) < 10
    text = format_accuracy(score_predictions(y, predicted, classes=classes, seen=seen))
    assert text.endswith("; 10 rows not learnt from), always the same: 0.500")
    seen[:] = True
    assert format_accuracy(score_predictions(y, predicted, classes=classes, seen=seen)) == "-"


@pytest.mark.parametrize(
    ("strengths", "expected"),
    [
        ((0.01, 0.1, 1.0), "C 0.1 of 0.01 to 1"),
        ((0.1, 1.0), "C 0.1 of 0.1 to 1 (the smallest)"),
        ((0.01, 0.1), "C 0.1 of 0.01 to 0.1 (the largest)"),
        ((0.1,), "C 0.1"),
        ((), "C 0.1"),
    ],
)
def test_a_search_names_its_range_and_where_it_stood(
    cache_path: Path, strengths: tuple[float, ...], expected: str
) -> None:
    head = fit_head(cache_path, C=0.1)
    found = CrossValidation(
        scores=score(2),
        n_folds=5,
        strengths=strengths,
        mean_scores=(0.5,) * len(strengths),
        chosen=0.1,
    )
    assert format_params(replace(head, cross_validation=found)) == expected


def test_a_search_by_balanced_accuracy_prints_that_first(cache_path: Path) -> None:
    head = fit_head(cache_path)
    y = np.array(["a"] * 15 + ["b"] * 5, object)
    scores = score_predictions(y, np.array(["a"] * 20, object), classes=np.array(["a", "b"]))
    found = CrossValidation(scores=scores, n_folds=5, measure="balanced_accuracy")
    text = format_held_out(replace(head, cross_validation=found))
    assert text.startswith("balanced accuracy in 5 folds: 0.500 (95 % interval ")
    assert text.endswith("; 20 rows), accuracy 0.750, always a: 0.750")
    found = replace(found, measure="accuracy")
    text = format_held_out(replace(head, cross_validation=found))
    assert text.startswith("accuracy in 5 folds: 0.750 (95 % interval ")
