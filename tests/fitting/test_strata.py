"""What splits are stratified by."""

from __future__ import annotations

import numpy as np
import pytest

from featx.fitting.strata import Strata


def test_count_counts_labelled_rows_of_splits() -> None:
    labels = np.array(["b", "a", "b", "", "a"], object)
    splits = np.array(["val", "train", "train", "", ""], object)
    assert Strata.find(labels).count(splits) == {
        "a": {"train": 1, "val": 0},
        "b": {"train": 1, "val": 1},
    }


def test_equal_numbers_lie_in_one_run_however_they_are_written() -> None:
    labels = np.array(["1.0", "1", "1e0", *(str(2 + row / 7) for row in range(40)), "", "1.00"])
    strata = Strata.find(labels.astype(object))
    assert strata.are_runs
    assert strata.of_row[-2] == ""
    assert len({strata.of_row[row] for row in (0, 1, 2, -1)}) == 1
    assert len(set(strata.names)) == len(strata.names)


@pytest.mark.parametrize(
    ("n_rows", "fractions", "n_runs"),
    [(100, (0.2, 0.0), 10), (100, (0.2, 0.05), 5), (30, (0.2,), 6), (12, (0.1,), 1), (200, (), 10)],
)
def test_runs_are_no_more_than_the_rows_that_are_set_aside(
    n_rows: int, fractions: tuple[float, ...], n_runs: int
) -> None:
    labels = np.array([f"{row / 3:.3f}" for row in range(n_rows)], object)
    assert len(Strata.find(labels, *fractions).names) == n_runs


def test_many_equal_numbers_make_fewer_runs() -> None:
    labels = np.array(["0"] * 60 + [f"{row / 3:.3f}" for row in range(1, 41)], object)
    strata = Strata.find(labels)
    assert strata.names[0] == "0"
    assert 3 <= len(strata.names) <= 6


def test_classes_are_their_own_strata() -> None:
    strata = Strata.find(np.array(["bee", "", "ant"], object), 0.5)
    assert (strata.names, strata.are_runs, strata.list_notes()) == (("ant", "bee"), False, [])


@pytest.mark.parametrize(
    ("n_classes", "n_rows", "fractions", "are_runs"),
    [
        (25, 100, (0.25,), False),
        (25, 100, (0.2,), True),  # 20 rows cannot have each of 25 numbers
        (25, 100, (0.25, 0.2), True),
        (25, 100, (), False),
        (60, 100, (0.6,), True),  # 20 of them have one row
    ],
    ids=str,
)
def test_numbers_of_several_rows_are_classes_if_each_split_has_room_for_them(
    n_classes: int, n_rows: int, fractions: tuple[float, ...], are_runs: bool
) -> None:
    labels = np.array([f"{row % n_classes:03}" for row in range(n_rows)], object)
    assert Strata.find(labels, *fractions).are_runs == are_runs


def test_note_counts_runs() -> None:
    (note,) = Strata.find(np.array(["1.5", "2.5", "3.5"], object), 0.4).list_notes()
    assert note.endswith("its share of 1 run of like ones, not of each label")
