"""Which epoch wins, and when training ends early: no network is needed to decide."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from featx.core.typing import Array, BoolArray, Float64Array, IntArray
from featx.finetune.log import Epoch
from featx.finetune.selection import (
    EarlyStopping,
    ModelSelection,
    is_sure,
    measure_holdout,
    rank,
)
from featx.heads.compare import sum_units, weigh_rows


def build_epoch(
    number: int, *, accuracy: float, balanced: float | None = None, loss: float = 1.0
) -> Epoch:
    return Epoch(
        epoch=number,
        train_loss=0.5,
        holdout_loss=loss,
        holdout_accuracy=accuracy,
        holdout_balanced_accuracy=accuracy if balanced is None else balanced,
        lr=0.1,
        seconds=1.0,
        images_per_s=1.0,
    )


def build_correct(n_correct: int, n_holdout: int = 20) -> BoolArray:
    """Return a holdout whose first images are predicted correctly."""
    return np.arange(n_holdout) < n_correct


def build_selection() -> ModelSelection:
    """Build a selection by accuracy on 20 images."""
    return ModelSelection(np.zeros(20, np.int64), np.arange(20), "accuracy")


def select(*n_correct: int, losses: dict[int, float] | None = None) -> ModelSelection:
    """Take in epochs, the head among them, that predict the first so many of 20 images."""
    selection = build_selection()
    for number, count in enumerate(n_correct):
        loss = (losses or {}).get(number, 1.0)
        epoch = build_epoch(number, accuracy=count / 20, loss=loss)
        selection.update(epoch, build_correct(count))
    return selection


@pytest.mark.parametrize(
    ("n_gained", "n_lost", "expected"),
    [(0, 0, False), (1, 0, False), (2, 0, True), (3, 1, False), (4, 1, True), (1, 4, False),
     (55, 45, False), (56, 45, True)],
)  # fmt: skip
def test_is_sure_beyond_one_standard_error(n_gained: int, n_lost: int, expected: bool) -> None:
    gains = np.zeros(200)
    gains[:n_gained] = 1 / 200
    gains[n_gained : n_gained + n_lost] = -1 / 200
    assert is_sure(gains) is expected


def test_is_sure_weighs_images_of_rare_classes() -> None:
    # Of 12 cats and 120 dogs: a cat weighs as much as ten dogs, in the gain and in its error.
    weights = weigh_rows(np.repeat([0, 1], [12, 120]))
    gains = np.zeros(132)
    gains[12:20] = 1
    assert is_sure(gains * weights)
    gains[0] = -1  # eight dogs are not worth one cat
    assert not is_sure(gains * weights)
    gains[:2] = 1  # two cats: 28 of a dog's weight, and an error of the root of 208
    assert is_sure(gains * weights)


def test_is_sure_of_units_counts_each_once() -> None:
    gains = np.zeros(20)
    gains[:4] = 1 / 20
    assert is_sure(sum_units(gains, np.arange(20)))
    assert not is_sure(sum_units(gains, np.arange(20) // 4))  # four shots of one thing


def draw_gains(rng: np.random.Generator, y: IntArray, shares: Array) -> Float64Array:
    """Draw rows gained and lost, with shares of them by class; return gains of the score."""
    drawn = rng.random(len(y))
    gained = drawn < shares[y, 0]
    lost = ~gained & (drawn < shares[y].sum(axis=1))
    gains: Float64Array = (gained.astype(np.float64) - lost) * weigh_rows(y)
    return gains


@pytest.mark.parametrize(
    ("counts", "shares"),
    [
        pytest.param([12, 120], [[0.1, 0.1], [0.1, 0.1]], id="noise"),
        pytest.param([12, 120], [[0.05, 0.25], [0.25, 0.05]], id="dogs for cats"),
        pytest.param([4, 120], [[0.1, 0.1], [0.02, 0.02]], id="four cats"),
        pytest.param([2, 200], [[0.2, 0.2], [0.05, 0.05]], id="two cats"),
        pytest.param([66, 66], [[0.1, 0.1], [0.1, 0.1]], id="as many cats as dogs"),
    ],
)
def test_is_sure_of_balanced_accuracy_is_wrong_in_one_case_of_six_at_most(
    counts: list[int], shares: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.heads.compare.N_RESAMPLES", 1000)
    # The epoch is as good as the head: one standard error is exceeded in 16 of 100 cases.
    rng, y = np.random.default_rng(0), np.repeat([0, 1], counts)
    alarms = [is_sure(draw_gains(rng, y, np.array(shares))) for _ in range(2000)]
    assert 0.05 < np.mean(alarms) < 0.18


def test_is_sure_of_balanced_accuracy_finds_what_is_better() -> None:
    rng, y = np.random.default_rng(0), np.repeat([0, 1], [12, 120])
    shares = np.array([[0.4, 0.05], [0.1, 0.1]])
    assert np.mean([is_sure(draw_gains(rng, y, shares)) for _ in range(300)]) > 0.7


def test_measure_holdout_is_the_share_and_the_mean_of_the_shares() -> None:
    y = np.array([0, 0, 0, 2])  # no image of class 1
    correct = np.array([True, True, False, False])
    accuracy, balanced = measure_holdout(correct, y)
    assert accuracy == 0.5
    assert balanced == pytest.approx(1 / 3)


def test_selection_by_balanced_accuracy_does_not_give_up_the_rare_class() -> None:
    # The epoch predicts all dogs, and no cat any more: more images, but not better.
    y = np.repeat([0, 1], [12, 120])
    head = np.concatenate([np.arange(12) < 10, np.arange(120) < 80])
    dogs, both = y == 1, np.concatenate([np.arange(12) < 11, np.arange(120) < 110])
    winners = {}
    for measure in ("accuracy", "balanced_accuracy"):
        selection = ModelSelection(y, np.arange(132), measure)
        for number, correct in enumerate((head, dogs, both)):
            accuracy, balanced = measure_holdout(correct, y)
            selection.update(build_epoch(number, accuracy=accuracy, balanced=balanced), correct)
            winners[measure, number] = selection.choose_winner()
    assert winners["accuracy", 1] == 1
    assert winners["balanced_accuracy", 1] == 0
    assert winners["balanced_accuracy", 2] == winners["accuracy", 2] == 2


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        pytest.param((0.8, 0.5, False), (0.9, 0.9, False), id="accuracy before loss"),
        pytest.param((0.8, 0.5, False), (0.8, 0.4, False), id="loss of equal accuracies"),
        pytest.param((0.9, 0.1, False), (0.8, 0.5, True), id="certainty before accuracy"),
    ],
)
def test_rank_orders_epochs(
    worse: tuple[float, float, bool], better: tuple[float, float, bool]
) -> None:
    ranks = [
        rank(build_epoch(1, accuracy=accuracy, loss=loss), "accuracy", sure=sure)
        for accuracy, loss, sure in (worse, better)
    ]
    assert ranks[0] < ranks[1]


@pytest.mark.parametrize(
    ("n_correct", "losses", "best", "winner"),
    [
        pytest.param((10,), {}, 0, 0, id="the head alone"),
        pytest.param((10, 15, 14), {}, 1, 1, id="surely better"),
        pytest.param((10, 11, 10), {}, 1, 0, id="better by chance"),
        pytest.param((10, 8, 9), {}, 0, 0, id="only harm"),
        pytest.param((10, 15, 15), {2: 0.5}, 2, 2, id="equal, with a lower loss"),
        pytest.param((10, 15, 15), {2: 1.0}, 1, 1, id="equal in all"),
        pytest.param((10, 15, 15), {2: math.nan}, 1, 1, id="a loss that is no number"),
        pytest.param((10, 11, 15, 12), {}, 2, 2, id="chance, then certainty"),
    ],
)
def test_selection_keeps_the_best_epoch(
    n_correct: tuple[int, ...], losses: dict[int, float], best: int, winner: int
) -> None:
    selection = select(*n_correct, losses=losses)
    assert (selection.best_epoch, selection.choose_winner()) == (best, winner)


def test_selection_is_sure_epoch_for_epoch_of_other_images() -> None:
    # As many are correct as of the head, and others: nothing is sure.
    selection = build_selection()
    selection.update(build_epoch(0, accuracy=0.5), build_correct(10))
    assert selection.update(build_epoch(1, accuracy=0.55), ~build_correct(9))
    assert selection.choose_winner() == 0


def test_selection_without_any_epoch_has_the_head() -> None:
    assert build_selection().choose_winner() == 0


def test_selection_continues_from_its_state() -> None:
    before, after = select(10, 11), build_selection()
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    for number, count in ((2, 10), (3, 16), (4, 15)):
        epoch, correct = build_epoch(number, accuracy=count / 20), build_correct(count)
        # A rank that was a list in a file is compared as a tuple.
        assert after.update(epoch, correct) is before.update(epoch, correct)
        assert after.choose_winner() == before.choose_winner()
    assert after.choose_winner() == 3


def stop_after(is_best: list[bool], *, patience: int, n_epochs: int) -> tuple[int, str]:
    """Return the epoch at which training ends, and why."""
    stopping = EarlyStopping(patience, n_epochs)
    for number, best in enumerate(is_best):
        stopping.update(number, is_best=best)
        if stopping.reason:
            return number, stopping.reason
    return len(is_best) - 1, ""


@pytest.mark.parametrize(
    ("is_best", "patience", "n_epochs", "end", "after"),
    [
        pytest.param([True, False, False, False], 2, 9, 2, 0, id="nothing better than the head"),
        pytest.param([True, True, False, True, False, False, True], 2, 9, 5, 3, id="later"),
        pytest.param([True, False, False], 2, 2, 2, None, id="at the last epoch"),
        pytest.param([True, True, True, True], 1, 3, 3, None, id="never"),
        pytest.param([True, False, True], 1, 9, 1, 0, id="at once"),
    ],
)
def test_stopping_ends_after_so_many_epochs_without_a_better_one(
    is_best: list[bool], patience: int, n_epochs: int, end: int, after: int | None
) -> None:
    number, reason = stop_after(is_best, patience=patience, n_epochs=n_epochs)
    assert number == end
    expected = (
        ""
        if after is None
        else f"no epoch after epoch {after} was better on the holdout, for {patience} epochs"
    )
    assert reason == expected


def test_stopping_continues_from_its_state() -> None:
    before, after = EarlyStopping(3, 9), EarlyStopping(3, 9)
    for number, best in enumerate([True, False, False]):
        before.update(number, is_best=best)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert after.reason == ""
    after.update(3, is_best=False)
    assert after.reason.startswith("no epoch after epoch 0 was better")


def test_stopping_for_another_reason_is_told() -> None:
    stopping = EarlyStopping(3, 9)
    stopping.stop("the loss was not finite")
    assert stopping.reason == "the loss was not finite"
    after = EarlyStopping(3, 9)
    after.load_state_dict(stopping.state_dict())
    assert after.reason == stopping.reason
