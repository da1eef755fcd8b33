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
from featx.heads.gains import sum_units, weigh_rows


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
        selection.update(number, build_correct(count), loss=(losses or {}).get(number, 1.0))
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
    monkeypatch.setattr("featx.heads.gains.N_RESAMPLES", 1000)
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
            selection.update(number, correct, loss=1.0)
            winners[measure, number] = selection.choose_winner()
    assert winners["accuracy", 1] == 1
    assert winners["balanced_accuracy", 1] == 0
    assert winners["balanced_accuracy", 2] == winners["accuracy", 2] == 2


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        pytest.param((0.8, 0.5), (0.9, 0.9), id="accuracy before loss"),
        pytest.param((0.8, 0.5), (0.8, 0.4), id="loss of equal accuracies"),
    ],
)
def test_rank_orders_epochs(worse: tuple[float, float], better: tuple[float, float]) -> None:
    ranks = [
        rank(build_epoch(1, accuracy=accuracy, loss=loss), "accuracy")
        for accuracy, loss in (worse, better)
    ]
    assert ranks[0] < ranks[1]


@pytest.mark.parametrize(
    ("n_correct", "winner"),
    [
        pytest.param((10,), 0, id="the head alone"),
        pytest.param((10, 15), 1, id="surely better"),
        pytest.param((10, 11), 0, id="better by chance"),
        pytest.param((10, 10), 0, id="as good as the head"),
        pytest.param((10, 8, 9), 0, id="only harm"),
        pytest.param((10, 18, 14), 2, id="a better one before"),
        pytest.param((10, 18, 10), 0, id="worse in the end"),
    ],
)
def test_selection_judges_the_last_epoch(n_correct: tuple[int, ...], winner: int) -> None:
    assert select(*n_correct).choose_winner() == winner


@pytest.mark.parametrize(
    ("n_gained", "n_lost", "loss", "winner"),
    [
        pytest.param(5, 2, 0.9, 1, id="a lower loss too"),
        pytest.param(4, 2, 0.9, 1, id="two images are enough"),
        pytest.param(3, 2, 0.9, 0, id="one image is not"),
        pytest.param(4, 2, 1.0, 0, id="the same loss"),
        pytest.param(4, 2, math.nan, 0, id="a loss that is no number"),
        pytest.param(2, 2, 0.1, 0, id="a lower loss alone"),
        pytest.param(7, 2, 9.0, 1, id="surely better, whatever the loss"),
    ],
)
def test_selection_takes_a_small_gain_only_with_a_lower_loss(
    n_gained: int, n_lost: int, loss: float, winner: int
) -> None:
    head, correct = build_correct(10), build_correct(10 + n_gained)
    correct[:n_lost] = False
    selection = build_selection()
    selection.update(0, head, loss=1.0)
    selection.update(1, correct, loss=loss)
    assert selection.choose_winner() == winner


def test_selection_compares_epochs_image_by_image() -> None:
    # One image more is correct, but of other images: nothing is sure.
    selection = build_selection()
    selection.update(0, build_correct(10), loss=1.0)
    selection.update(1, ~build_correct(9), loss=1.0)
    assert selection.choose_winner() == 0


def test_selection_without_any_epoch_has_the_head() -> None:
    assert build_selection().choose_winner() == 0


def test_selection_continues_from_its_state() -> None:
    before, after = select(10, 11), build_selection()
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert after.choose_winner() == before.choose_winner() == 0
    correct = build_correct(14)
    correct[:2] = False
    for selection in (before, after):
        selection.update(2, correct, loss=0.9)
        assert selection.choose_winner() == 2


def build_best(number: int, *, is_best: bool) -> Epoch:
    """Build an epoch that is better than all before it, or worse than all."""
    return build_epoch(number, accuracy=0.5 + number / 1000 if is_best else 0.1)


def stop_after(
    is_best: list[bool], *, patience: int | None, n_epochs: int, first_low: int = 0
) -> tuple[int, str]:
    """Return the epoch at which training ends, and why."""
    stopping = EarlyStopping(patience, n_epochs, "accuracy")
    for number, best in enumerate(is_best):
        stopping.update(build_best(number, is_best=best), is_low=number >= first_low)
        if stopping.reason:
            return number, stopping.reason
    return len(is_best) - 1, ""


@pytest.mark.parametrize(
    ("is_best", "patience", "n_epochs", "end"),
    [
        pytest.param([True, False, False, False], 2, 9, 2, id="nothing better than the head"),
        pytest.param([True, True, False, True, False, False, True], 2, 9, 5, id="later"),
        pytest.param([True, False, True], 1, 9, 1, id="at once"),
    ],
)
def test_stopping_ends_after_so_many_epochs_without_a_better_one(
    is_best: list[bool], patience: int, n_epochs: int, end: int
) -> None:
    number, reason = stop_after(is_best, patience=patience, n_epochs=n_epochs)
    assert number == end
    epochs = f"{patience} epoch{'s' if patience > 1 else ''}"
    assert reason == (
        f"after epoch {end} of {n_epochs}, because {epochs} at low learning rates brought nothing "
        "better on the holdout"
    )


@pytest.mark.parametrize(
    ("is_best", "patience", "n_epochs"),
    [
        pytest.param([True, False, False], 2, 2, id="at the last epoch"),
        pytest.param([True, True, True, True], 1, 3, id="never"),
        pytest.param([True, *[False] * 20], None, 20, id="no patience was named"),
    ],
)
def test_stopping_lets_the_training_finish(
    is_best: list[bool], patience: int | None, n_epochs: int
) -> None:
    assert stop_after(is_best, patience=patience, n_epochs=n_epochs) == (len(is_best) - 1, "")


@pytest.mark.parametrize(
    ("is_best", "end"),
    [
        pytest.param([True, *[False] * 9], 8, id="nothing better"),  # epochs 7 and 8 count
        pytest.param([True, *[False] * 5, True, *[False] * 3], 8, id="better before"),
        pytest.param([True, *[False] * 6, True, False, False], 9, id="better after"),
    ],
)
def test_stopping_counts_from_where_the_rates_have_come_down(is_best: list[bool], end: int) -> None:
    number, _ = stop_after(is_best, patience=2, n_epochs=10, first_low=7)
    assert number == end


def test_stopping_continues_from_its_state() -> None:
    before, after = EarlyStopping(3, 9, "accuracy"), EarlyStopping(3, 9, "accuracy")
    for number, best in enumerate([True, False, False]):
        before.update(build_best(number, is_best=best), is_low=True)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert after.reason == ""
    after.update(build_best(3, is_best=False), is_low=True)
    assert after.reason.startswith("after epoch 3 of 9, because 3 epochs")


def test_stopping_for_another_reason_is_told() -> None:
    stopping = EarlyStopping(3, 9, "accuracy")
    stopping.stop("the loss was not finite")
    assert stopping.reason == "the loss was not finite"
    after = EarlyStopping(3, 9, "accuracy")
    after.load_state_dict(stopping.state_dict())
    assert after.reason == stopping.reason
