"""Every number of a recipe: what is refused, and how the learning rate rises and falls."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from featx.core.errors import TuningError
from featx.core.typing import OptimizerName, list_choices
from featx.finetune.recipe import MIN_WARMUP, Recipe


def build(**numbers: Any) -> Recipe:
    return Recipe(**numbers)


def test_recipe_with_an_unknown_optimizer_names_the_nearest() -> None:
    with pytest.raises(
        TuningError, match=r"^optimizer: expected adamw or sgd, got 'adam'. Nearest: adamw\.$"
    ):
        build(optimizer="adam")


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


@pytest.mark.parametrize("name", ["lr_decay", "warmup", "label_smoothing"])
def test_recipe_with_a_share_above_one_is_refused(name: str) -> None:
    with pytest.raises(TuningError, match=rf"^{name}: .* at most 1, got 1\.5\."):
        build(**{name: 1.5})


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
    most = Recipe(lr_decay=1, warmup=1, label_smoothing=0.99, clip_norm=math.inf, precision="bf16")
    assert {least.optimizer, most.optimizer} < set(list_choices(OptimizerName))


SCHEDULES = [(0.1, 2000), (0.0, 50), (0.5, 310), (1.0, 400), (0.1, 100), (0.1, 1), (0.3, 3)]


@pytest.mark.parametrize(("warmup", "n_steps"), SCHEDULES)
def test_scale_rate_is_above_zero_and_at_most_one(warmup: float, n_steps: int) -> None:
    scales = [Recipe(warmup=warmup).scale_rate(step, n_steps) for step in range(n_steps)]
    assert all(0 < scale <= 1 for scale in scales)
    # Too few steps to warm up in end on the way.
    assert max(scales) > 0.9 or (warmup and n_steps < MIN_WARMUP)


@pytest.mark.parametrize(("warmup", "n_steps"), SCHEDULES)
def test_scale_rate_rises_through_the_warmup_and_then_falls(warmup: float, n_steps: int) -> None:
    scales = [Recipe(warmup=warmup).scale_rate(step, n_steps) for step in range(n_steps)]
    n_rising = max(MIN_WARMUP, round(warmup * n_steps)) if warmup else 0
    assert scales[:n_rising] == sorted(set(scales[:n_rising]))
    assert scales[n_rising:] == sorted(set(scales[n_rising:]), reverse=True)
    assert all(scale < 1 for scale in scales[:n_rising])
    if n_rising < n_steps:
        assert scales[n_rising] == 1


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
