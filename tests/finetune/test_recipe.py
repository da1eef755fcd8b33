"""Every number of a recipe: what is refused, and how the learning rate rises and falls."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from featx.core.errors import TuningError
from featx.core.typing import OptimizerName, list_choices
from featx.finetune.recipe import LOW_RATE, MIN_STEPS, N_EPOCHS, Recipe


def build(**numbers: Any) -> Recipe:
    return Recipe(**numbers)


def test_recipe_with_an_unknown_optimizer_names_the_nearest() -> None:
    with pytest.raises(
        TuningError,
        match=r"^optimizer: expected adamw, adam or sgd, got 'adan'. Nearest: adam, adamw\.$",
    ):
        build(optimizer="adan")


@pytest.mark.parametrize("precision", ["fp16", "int8", ""])
def test_recipe_with_a_precision_that_does_not_train_is_refused(precision: str) -> None:
    with pytest.raises(TuningError, match=rf"^precision: expected fp32 or bf16, got '{precision}'"):
        build(precision=precision)


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("epochs", 0, 1),
        ("train_batch_size", 0, 1),
        ("patience", 0, 1),
        ("views", -1, 0),
        ("seed", -1, 0),
    ],
)
def test_recipe_with_a_count_too_small_is_refused(name: str, value: float, least: int) -> None:
    with pytest.raises(
        TuningError,
        match=rf"^{name}: expected at least {least}, got {value}\. Pass {least} or",
    ):
        build(**{name: value})


@pytest.mark.parametrize("value", [0, -1.0, math.nan])
@pytest.mark.parametrize("name", ["lr", "lr_decay", "clip_norm"])
def test_recipe_with_a_number_that_is_not_positive_is_refused(name: str, value: float) -> None:
    with pytest.raises(
        TuningError, match=rf"^{name}: expected a number above 0 and at most .*, got {value}\."
    ):
        build(**{name: value})


@pytest.mark.parametrize("value", [-0.1, math.nan])
@pytest.mark.parametrize("name", ["weight_decay", "warmup", "label_smoothing"])
def test_recipe_with_a_number_below_zero_is_refused(name: str, value: float) -> None:
    with pytest.raises(
        TuningError,
        match=rf"^{name}: expected a number of at least 0 and .*, got {value}\.",
    ):
        build(**{name: value})


@pytest.mark.parametrize("name", ["lr_decay", "label_smoothing"])
def test_recipe_with_a_share_above_one_is_refused(name: str) -> None:
    with pytest.raises(TuningError, match=rf"^{name}: .* at most 1, got 1\.5\."):
        build(**{name: 1.5})


@pytest.mark.parametrize("warmup", [0.51, 1, 1.5])
def test_recipe_whose_rates_rise_for_most_of_the_steps_is_refused(warmup: float) -> None:
    with pytest.raises(TuningError, match=rf"^warmup: .* and at most 0\.5, got {warmup}\."):
        build(warmup=warmup)


@pytest.mark.parametrize("value", [1e7, math.inf])
@pytest.mark.parametrize("name", ["lr", "weight_decay"])
def test_recipe_with_a_number_that_arithmetic_cannot_take_is_refused(
    name: str, value: float
) -> None:
    with pytest.raises(TuningError, match=rf"^{name}: .* at most 1000000, got "):
        build(**{name: value})


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (
            {"train_batchnorm": True, "train_batch_size": 1},
            r"^train_batchnorm: expected batches of at least 2 images.*, got train_batch_size=1\.",
        ),
        (
            {"label_smoothing": 1},
            r"^label_smoothing: expected a share below 1, got 1, which leaves",
        ),
    ],
)
def test_recipe_with_a_number_that_can_do_nothing_is_refused(
    numbers: dict[str, Any], message: str
) -> None:
    with pytest.raises(TuningError, match=message):
        Recipe(**numbers)


def test_recipe_at_its_bounds_is_taken() -> None:
    least = Recipe(
        epochs=1, train_batch_size=1, patience=1, weight_decay=0, warmup=0, label_smoothing=0
    )
    most = Recipe(
        lr_decay=1, warmup=0.5, label_smoothing=0.99, clip_norm=math.inf, precision="bf16"
    )
    assert {least.optimizer, most.optimizer} < set(list_choices(OptimizerName))


SCHEDULES = [(0.1, 2000), (0.0, 50), (0.5, 310), (0.1, 100), (0.1, 5), (0.1, 1), (0.5, 1), (0.3, 3)]
"""Shares of warm-up and numbers of steps; five steps are those of case F02."""


def scale_all(recipe: Recipe, n_steps: int) -> list[float]:
    return [recipe.scale_rate(step, n_steps) for step in range(n_steps)]


@pytest.mark.parametrize(("warmup", "n_steps"), SCHEDULES)
def test_scale_rate_is_above_zero_and_reaches_one(warmup: float, n_steps: int) -> None:
    scales = scale_all(Recipe(warmup=warmup), n_steps)
    assert all(0 < scale <= 1 for scale in scales)
    assert max(scales) == 1


@pytest.mark.parametrize(("warmup", "n_steps"), SCHEDULES)
def test_scale_rate_rises_for_the_given_share_and_then_falls(warmup: float, n_steps: int) -> None:
    recipe = Recipe(warmup=warmup)
    scales, n_rising = scale_all(recipe, n_steps), recipe.count_warmup(n_steps)
    assert abs(n_rising - warmup * n_steps) <= 0.5
    assert scales[:n_rising] == sorted(set(scales[:n_rising]))
    assert scales[n_rising:] == sorted(set(scales[n_rising:]), reverse=True)
    assert scales.index(1) == n_rising <= n_steps / 2


@pytest.mark.parametrize("n_steps", [5, 10, 40, 290, 5000])
def test_scale_rate_ends_low_however_few_the_steps(n_steps: int) -> None:
    recipe = Recipe()
    assert scale_all(recipe, n_steps)[-1] < 0.1
    assert recipe.is_low(n_steps - 1, n_steps)


def test_is_low_is_the_last_part_of_the_schedule() -> None:
    recipe = Recipe(warmup=0.2)
    low = [recipe.is_low(step, 100) for step in range(100)]
    first = low.index(True)
    assert low == [False] * first + [True] * (100 - first)
    assert recipe.scale_rate(first, 100) <= LOW_RATE < recipe.scale_rate(first - 1, 100)
    assert first > 60  # the first steps of the warm-up are lower still


@pytest.mark.parametrize(
    ("n_images", "n_epochs"),
    [
        pytest.param(1, MIN_STEPS, id="one step per epoch"),
        pytest.param(64 * 4, MIN_STEPS // 4, id="four steps"),
        pytest.param(64 * 4 + 1, MIN_STEPS // 5, id="a last batch of one"),
        pytest.param(64 * MIN_STEPS, N_EPOCHS, id="many"),
    ],
)
def test_count_epochs_makes_enough_steps_by_default(n_images: int, n_epochs: int) -> None:
    recipe = Recipe()
    assert recipe.count_epochs(n_images) == n_epochs
    assert recipe.count_epochs(n_images) * recipe.count_steps(n_images) >= MIN_STEPS


@pytest.mark.parametrize("n_images", [1, 300, 100_000])
def test_count_epochs_that_are_given_are_taken(n_images: int) -> None:
    assert Recipe(epochs=3).count_epochs(n_images) == 3


@pytest.mark.parametrize(
    ("recipe", "n_images", "expected"),
    [
        pytest.param(
            Recipe(epochs=5),
            64,
            "5 epochs of 1 step: the learning rate rises for 0 of 5 steps to 0.001, then falls to "
            "0",
            id="given",
        ),
        pytest.param(
            Recipe(epochs=1, lr=0.5, warmup=0.5),
            640,
            "1 epoch of 10 steps: the learning rate rises for 5 of 10 steps to 0.5, then falls to "
            "0",
            id="one epoch",
        ),
        pytest.param(
            Recipe(),
            64,
            f"{MIN_STEPS} epochs, for at least {MIN_STEPS} steps, of 1 step: the learning rate "
            f"rises for {MIN_STEPS // 10} of {MIN_STEPS} steps to 0.001, then falls to 0",
            id="few images",
        ),
    ],
)
def test_describe_schedule_tells_epochs_steps_and_rates(
    recipe: Recipe, n_images: int, expected: str
) -> None:
    assert recipe.describe_schedule(n_images) == expected


def test_scale_rate_makes_no_jumps_and_ends_near_zero() -> None:
    recipe = Recipe(warmup=0.1)
    scales = [recipe.scale_rate(step, 1000) for step in range(1000)]
    changes = [abs(one - other) for one, other in itertools.pairwise(scales)]
    assert max(changes) < 0.011  # a hundredth for each of 100 steps of warm-up
    assert scales[-1] < 1e-5


def test_scale_rate_falls_by_a_cosine() -> None:
    recipe = Recipe(warmup=0.2)
    for part, expected in ((0.25, (1 + math.sqrt(0.5)) / 2), (0.5, 0.5), (2 / 3, 0.25)):
        assert recipe.scale_rate(200 + round(part * 800), 1000) == pytest.approx(expected, abs=2e-3)
