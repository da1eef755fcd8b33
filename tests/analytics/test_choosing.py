"""Choices: the rule for the change-over, typical rows of clusters, uncertain rows that differ."""

import numpy as np
import pytest

from featx.analytics import choosing
from featx.analytics.choosing import (
    choose_strategy,
    choose_typical,
    choose_uncertain,
    is_sure,
    measure_density,
    take_by_turns,
)
from featx.core.typing import Strategy
from tests.analytics.test_kmeans import draw_groups


@pytest.mark.parametrize(
    ("n_labels", "n_classes", "expected"),
    [
        (0, 0, "typical"),
        (10_000, 1, "typical"),
        (16, 2, "typical"),
        (63, 2, "typical"),
        (64, 2, "uncertain"),
        (64, 8, "uncertain"),
        (71, 9, "typical"),
        (72, 9, "uncertain"),
        (799, 100, "typical"),
        (800, 100, "uncertain"),
    ],
)
def test_strategy_goes_by_labels_and_classes(
    n_labels: int, n_classes: int, expected: Strategy
) -> None:
    assert choose_strategy(n_labels, n_classes) == expected


def test_typical_rows_are_of_all_groups_and_lie_in_their_middle() -> None:
    Z = draw_groups(4)
    chosen = choose_typical(Z, np.zeros(80, bool), 4, np.random.default_rng(0))
    assert sorted((chosen.rows // 20).tolist()) == [0, 1, 2, 3]
    assert chosen.scores.tolist() == [0.25] * 4
    for row in chosen.rows.tolist():
        group = slice(row // 20 * 20, row // 20 * 20 + 20)
        assert row - group.start == measure_density(Z[group]).argmax()


def test_typical_rows_are_of_groups_without_labels_first() -> None:
    Z = draw_groups(4)
    labelled = np.zeros(80, bool)
    labelled[[0, 45]] = True
    rows = choose_typical(Z, labelled, 2, np.random.default_rng(0)).rows
    assert sorted((rows // 20).tolist()) == [1, 3]


def test_large_clusters_come_before_small_ones_and_odd_rows_last() -> None:
    Z = np.concatenate([draw_groups(1, 30), 300 + draw_groups(1, 12), -300 + draw_groups(1, 2)])
    rows = choose_typical(Z, np.zeros(44, bool), 3, np.random.default_rng(0)).rows
    assert [np.searchsorted([30, 42], row, side="right") for row in rows] == [0, 1, 2]


@pytest.mark.parametrize("n_wanted", [1, 7, 19])
def test_all_rows_can_be_chosen_each_once(n_wanted: int) -> None:
    Z = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    labelled = np.arange(20) == 4
    rng = np.random.default_rng(0)
    typical = choose_typical(Z, labelled, n_wanted, rng).rows
    probabilities = rng.dirichlet([1, 1, 1], 20)
    uncertain = choose_uncertain(Z, probabilities, n_wanted, rng).rows
    for rows in (typical, uncertain):
        assert len(set(rows.tolist())) == n_wanted
    assert 4 not in typical


def test_uncertain_rows_are_uncertain_and_of_several_groups() -> None:
    Z = draw_groups(4)
    first = np.full(80, 0.99)
    doubtful = [3, 4, 5, 6, 30, 70]
    first[doubtful] = 0.5
    chosen = choose_uncertain(Z, np.stack([first, 1 - first], axis=1), 3, np.random.default_rng(0))
    assert set(chosen.rows.tolist()) <= set(doubtful)
    assert sorted((chosen.rows // 20).tolist()) == [0, 1, 3]
    assert chosen.scores.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("best", "expected"), [(1.0, True), (0.91, True), (0.89, False)])
def test_head_is_sure_if_its_mean_doubt_is_small(best: float, expected: bool) -> None:
    assert is_sure(np.tile([best, 1 - best], (10, 1))) is expected


def test_uncertain_rows_are_sorted_by_their_doubt() -> None:
    rng = np.random.default_rng(0)
    chosen = choose_uncertain(draw_groups(3), rng.dirichlet([1, 1], 60), 9, rng)
    assert (np.diff(chosen.scores) <= 0).all()


def test_rows_that_the_head_is_sure_of_can_be_chosen_too() -> None:
    probabilities = np.tile([1.0, 0.0], (20, 1))
    chosen = choose_uncertain(draw_groups(1), probabilities, 5, np.random.default_rng(0))
    assert len(set(chosen.rows.tolist())) == 5
    assert chosen.scores.tolist() == [0] * 5


def test_more_rows_than_clusters_are_taken_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "MAX_CLUSTERS", 2)
    Z = draw_groups(2)
    rows = choose_typical(Z, np.zeros(40, bool), 6, np.random.default_rng(0)).rows
    assert np.bincount(rows // 20).tolist() == [3, 3]


def test_take_by_turns_takes_from_where_least_was_taken() -> None:
    members = {0: [1, 2, 3], 1: [4], 2: [5, 6]}
    rows = take_by_turns(
        6,
        n_open=np.array([3, 1, 2]),
        n_taken=np.array([0, 0, 1]),
        ranks=np.array([2, 1, 0]),
        order=lambda cluster: np.array(members[cluster]),
    )
    assert rows.tolist() == [4, 1, 5, 2, 6, 3]


@pytest.mark.parametrize("n_rows", [1, 2, 30])
def test_density_of_few_rows(n_rows: int) -> None:
    Z = np.arange(n_rows, dtype=np.float32)[:, None]
    density = measure_density(Z)
    assert density.shape == (n_rows,)
    assert np.isfinite(density).all()
    assert density[0] == density.min()  # the end of a line is typical of nothing
