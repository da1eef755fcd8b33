"""Inputs of fitting: caches and heads by path or as objects, and what is chosen of them."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.errors import HeadError
from featx.fitting.fit import fit_head
from featx.fitting.inputs import (
    FEW_ROWS,
    check_known,
    check_labels,
    describe_unknown,
    note_labels,
    opened_cache,
    read_head,
)


def is_open(cache: object) -> bool:
    """Tell whether a cache can still be read."""
    try:
        return len(cache.read_present()) > 0  # type: ignore[attr-defined]
    except (ValueError, RuntimeError, OSError, KeyError):
        return False


def test_opened_cache_closes_what_it_opened(cache_path: Path) -> None:
    with opened_cache(cache_path) as cache:
        assert is_open(cache)
    assert not is_open(cache)


def test_opened_cache_leaves_an_open_cache_to_its_owner(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        with opened_cache(cache) as same:
            assert same is cache
        assert is_open(cache)


def test_read_head_takes_a_head_or_its_path(cache_path: Path, tmp_path: Path) -> None:
    head = fit_head(cache_path, tmp_path / "head.joblib", C=1.0)
    assert read_head(head) is head
    assert read_head(tmp_path / "head.joblib").params == head.params
    assert read_head(str(tmp_path / "head.joblib")).params == head.params


# --- check_labels


@pytest.mark.parametrize(
    ("labels", "got"), [([], "no labelled rows"), (["ants"] * 3, "only 'ants'")]
)
def test_check_labels_of_fewer_than_two_classes_are_refused(labels: list[str], got: str) -> None:
    with pytest.raises(HeadError) as caught:
        check_labels(np.array(labels, object), subject="c.h5, split train")
    assert caught.value.subject == "c.h5, split train"
    assert caught.value.reason == f"expected rows of at least 2 classes, got {got}"


@pytest.mark.parametrize(
    "labels",
    [
        ["ants", "bees"],
        ["ants", "bees", "cats"],
        [f"class {number}" for number in range(FEW_ROWS)],
        ["0", "1", "2"],
        ["0.5", "0.5", "1.5"],
        ["1.0", "2.0"],
        [f"IMG_{number}" for number in range(200)] + ["IMG_0"],
    ],
    ids=["two", "three", "few", "codes", "decimals", "whole", "one-twice"],
)
def test_check_labels_accepts_few_rows_and_classes_of_several(labels: list[str]) -> None:
    check_labels(np.array(labels, object), subject="c.h5")


@pytest.mark.parametrize(
    ("labels", "got", "remedy"),
    [
        ([f"{value / 7:.6f}" for value in range(200)], "200 of 1 row (0.000000, …)", "numbers"),
        (["-0.5", "1.5", "2e-3"], "3 of 1 row (-0.5, …)", "numbers"),
        ([str(value) for value in range(100, 200)], "100 of 1 row (100, …)", "numbers"),
        ([f"IMG_{value}" for value in range(11)], "11 of 1 row (IMG_0, …)", "names of images"),
        ([f"{value}.5 kg" for value in range(11)], "11 of 1 row (0.5 kg, …)", "names of images"),
        ([f"ant;{value}" for value in range(11)], "11 of 1 row (ant;0, …)", "several classes"),
    ],
    ids=["measured", "three", "whole", "ids", "units", "several"],
)
def test_check_labels_that_are_no_classes_are_refused(
    labels: list[str], got: str, remedy: str
) -> None:
    with pytest.raises(HeadError) as caught:
        check_labels(np.array(labels, object), subject="c.h5, split train")
    assert caught.value.reason == f"expected classes of several rows, got {got}"
    assert f"The labels look like {remedy}" in caught.value.remedy


# --- note_labels


def list_notes(labels: list[str], units: list[int] | None = None) -> list[str]:
    """List what `note_labels` tells."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        y = np.array(labels, object)
        note_labels(y, subject="c.h5", units=None if units is None else np.array(units))
    return [str(one.message) for one in caught]


@pytest.mark.parametrize(
    ("labels", "units"),
    [
        (["ant", "ant", "bee", "bee"], None),
        (["ant", "ant", "bee", "bee"], [0, 1, 2, 3]),
        ([str(value) for value in range(100)] * 5, None),
        ([f"{value}.5" for value in range(20)] * 2, None),
        (["ant", "bee", "cat"], None),
    ],
    ids=["classes", "units", "codes", "few-decimals", "all-single"],
)
def test_note_labels_says_nothing_of_classes_of_several_units(
    labels: list[str], units: list[int] | None
) -> None:
    assert list_notes(labels, units) == []


def test_note_labels_names_classes_of_one_row() -> None:
    assert list_notes(["ant", "ant", "bee", "cat"]) == [
        "c.h5: 2 of 3 classes have a single row (bee and cat): it is learnt from, but no held-out "
        "prediction of it can be right"
    ]


def test_note_labels_names_classes_of_one_group_or_of_copies() -> None:
    (told,) = list_notes(["ant", "ant", "bee", "bee", "bee"], [0, 1, 2, 2, 2])
    assert told.startswith("c.h5: 1 of 2 classes has a single row or group (bee): ")


def test_note_labels_names_some_of_many_classes() -> None:
    (told,) = list_notes(["ant", "ant", *(f"kind {number:03}" for number in range(500))])
    assert "500 of 501 classes" in told
    assert "kind 009 and 490 more" in told
    assert len(told) < 300


@pytest.mark.parametrize(
    "labels",
    [
        [f"{value:.2f}" for value in np.linspace(0, 1, 60)] * 2,
        [str(age) for age in range(90)] * 2,
        ["0.5", "0.5", *(f"{value / 3:.3f}" for value in range(100))],
    ],
    ids=["twice", "ages", "almost"],
)
def test_note_labels_tells_of_numbers(labels: list[str]) -> None:
    (told,) = list_notes(labels)
    assert told.startswith("c.h5: the labels look like numbers (")
    assert f"{len(set(labels))} classes of {len(labels)} rows" in told
    assert 'target="label"' in told


# --- check_known, describe_unknown

CLASSES = np.array(["ant", "bee"], object)


@pytest.mark.parametrize("labels", [[], ["ant"], ["Ant", "ant"], ["wasp", "bee"]], ids=str)
def test_check_known_accepts_rows_of_which_one_is_known(labels: list[str]) -> None:
    check_known(np.array(labels, object), CLASSES, subject="c.h5")


@pytest.mark.parametrize(
    ("labels", "classes", "reason", "remedy"),
    [
        (
            ["0.0", "1.0", "0.0"],
            ["0", "1"],
            "among 0, 1, got 0.0, 1.0",
            "Nearest: 0 for 0.0, 1 for",
        ),
        (["1"], ["0.0", "1.0", "10.0"], "among 0.0, 1.0, 10.0, got 1", "Nearest: 1.0 for 1."),
        (["10.00"], ["1", "10", "100"], "among 1, 10, 100, got 10.00", "Nearest: 10 for 10.00."),
        (["Ant", "xyz"], ["ant", "bee"], "among ant, bee, got Ant, xyz", "Nearest: ant for Ant."),
        (["xyz"], ["ant", "bee"], "among ant, bee, got xyz", "No known name is similar."),
    ],
    ids=["floats", "wholes", "nearest-value", "case", "strange"],
)
def test_check_known_names_the_nearest_classes(
    labels: list[str], classes: list[str], reason: str, remedy: str
) -> None:
    with pytest.raises(HeadError) as caught:
        check_known(np.array(labels, object), np.array(classes, object), subject="c.h5, split val")
    assert str(caught.value).startswith(f"c.h5, split val: expected classes {reason}. {remedy}")


def test_check_known_names_some_of_many_classes() -> None:
    labels = np.array([f"Species {number}" for number in range(100)], object)
    classes = np.array([f"kind {number}" for number in range(1000)], object)
    with pytest.raises(HeadError) as caught:
        check_known(labels, classes, subject="c.h5")
    assert caught.value.expected.endswith("kind 9, 990 more")
    assert caught.value.got.endswith(", 90 more")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (
            ["ant", "Ant", "Ant"],
            "2 rows have a class that the head does not know (Ant), and count ",
        ),
        (["ant", "wasp"], "1 row has a class that the head does not know (wasp), and counts as "),
        (["ant", "wasp", "Ant"], "2 rows have 2 classes that the head does not know (Ant, wasp), "),
    ],
    ids=["class", "row", "classes"],
)
def test_describe_unknown_names_the_classes(labels: list[str], told: str) -> None:
    said = describe_unknown(np.array(labels, object), CLASSES)
    assert said.startswith(told)
    assert ("Nearest: ant for Ant" in said) == ("Ant" in labels)


def test_describe_unknown_says_nothing_if_all_are_known() -> None:
    assert describe_unknown(np.array(["ant", "bee"], object), CLASSES) == ""
