"""The rule behind the advice, on both sides of its thresholds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

import featx
from featx.core.errors import FeatxError, TuningError
from featx.core.typing import Array, IntArray, StrArray
from featx.finetune.advise import (
    MIN_GAIN,
    Advice,
    BlockChoice,
    choose_blocks,
    count_more_blocks,
)
from featx.finetune.measured import (
    MEASURED,
    MeasuredGain,
    Measurement,
    Spread,
    find_measurements,
)
from featx.finetune.plan import choose_n_blocks
from featx.fitting.learning_curve import (
    CurvePoint,
    LearningCurve,
    draw_curve,
)
from tests.builders import MakeCache, mark_learnt, rewrite_values


def spread(mean: float, *, half: float = 0.0) -> Spread:
    return Spread(mean, mean - half, mean + half)


def measure(
    *gains: tuple[float, float, float], half: float = 0.0, data: str = "digits"
) -> Measurement:
    """Build a measurement whose shares reach by `half` to both sides."""
    return Measurement(
        backbone="lenet5",
        data=data,
        size=32,
        gains=tuple(
            MeasuredGain(
                rows_per_class=rows,
                top=spread(top, half=half),
                more=spread(more, half=half),
                n_seeds=3,
            )
            for rows, top, more in gains
        ),
    )


HALF = measure((10, 0.0, 0.0), (1000, 0.5, 0.5))
"""At 100 rows per class, half way by the logarithm, a quarter of the errors go."""


def build_point(per_class: float, accuracy: float, *, half: float = 0.0) -> CurvePoint:
    return CurvePoint(
        rows_per_class=per_class,
        accuracy=accuracy,
        accuracy_ci95=(accuracy - half, accuracy + half),
    )


def build_curve(*points: CurvePoint, majority: float = 0.1, balanced: float = 0.5) -> LearningCurve:
    """Build a curve of ten classes; `balanced` is the low end of the balanced accuracy."""
    return LearningCurve(
        points=points,
        majority_accuracy=majority,
        balanced_ci95=(balanced, 1.0),
        n_classes=10,
        n_rows=1000,
    )


def choose(
    per_class: float, accuracy: float, *measured: Measurement, half: float = 0.0
) -> BlockChoice:
    curve = build_curve(build_point(per_class, accuracy, half=half))
    return choose_blocks(per_class, curve, measured=measured)


def test_choose_blocks_just_below_a_point_stays_frozen() -> None:
    assert choose(100, 1 - 4 * MIN_GAIN + 1e-4, HALF).part == "none"


def test_choose_blocks_just_above_a_point_unfreezes_the_top_block() -> None:
    assert choose(100, 1 - 4 * MIN_GAIN - 1e-4, HALF).part == "top"


@pytest.mark.parametrize(("extra", "part"), [(-1e-4, "top"), (1e-4, "more")])
def test_choose_blocks_takes_more_where_they_gain_a_point_more(extra: float, part: str) -> None:
    measured = measure((100, 0.2, 0.2 + 2 * (MIN_GAIN + extra)))
    assert choose(100, 0.5, measured).part == part


def test_choose_blocks_where_only_more_blocks_pay_takes_them() -> None:
    measured = measure((100, 1.8 * MIN_GAIN, 2.2 * MIN_GAIN))
    assert choose(100, 0.5, measured).part == "more"


@pytest.mark.parametrize(
    ("half", "part"),
    [pytest.param(0.179, "more", id="above"), pytest.param(0.181, "none", id="reaches below")],
)
def test_choose_blocks_needs_the_whole_range_of_the_seeds(half: float, part: str) -> None:
    # A fifth of one half: a tenth, less up to nine hundredths.
    assert choose(100, 0.5, measure((100, 0.0, 0.2), half=half)).part == part


@pytest.mark.parametrize(
    ("half", "part"),
    [pytest.param(0.04, "top", id="above"), pytest.param(0.06, "none", id="reaches below")],
)
def test_choose_blocks_needs_the_whole_interval_of_the_curve(half: float, part: str) -> None:
    assert choose(100, 0.9, measure((100, 0.2, 0.2)), half=half).part == part


def test_choose_blocks_is_only_as_sure_as_the_worst_data_set() -> None:
    good, none = measure((10, 0.5, 0.5), (200, 0.5, 0.5)), measure((50, 0.0, 0.0), (150, 0.0, 0.0))
    assert choose(100, 0.5, good).part == "top"
    choice = choose(100, 0.5, good, none)
    assert (choice.part, choice.gain_more) == ("none", Spread(0.125, 0.0, 0.25))
    assert choose(20, 0.5, good, none).part == "top"  # only one was measured there


@pytest.mark.parametrize(
    ("per_class", "found"), [(1, "a"), (13, "a"), (30, "ab"), (59, "ab"), (61, "b"), (1e6, "b")]
)
def test_find_measurements_takes_those_at_about_so_many_rows(per_class: float, found: str) -> None:
    measured = [
        measure((10, 0, 0), (40, 0, 0), data="a"),
        measure((20, 0, 0), (300, 0, 0), data="b"),
    ]
    assert "".join(one.data for one in find_measurements(per_class, measured)) == found


@pytest.mark.parametrize(("per_class", "gain"), [(1, 0.0), (10, 0.0), (100, 0.05), (1e6, 0.1)])
def test_choose_blocks_interpolates_over_the_logarithm_and_stays_within(
    per_class: float, gain: float
) -> None:
    assert choose(per_class, 0.8, HALF).gain_top.mean == pytest.approx(gain)


def test_choose_blocks_harm_is_never_advised() -> None:
    assert choose(100, 0.5, measure((100, -0.1, -0.2))).part == "none"


def test_choose_blocks_tells_figures_and_where_they_were_measured() -> None:
    last = replace(build_point(80, 0.76), step=0.06, step_ci95=(0.02, 0.1))
    measured = measure((10, 0.0, 0.02), (1000, 0.5, 0.62), half=0.01)
    curve = build_curve(build_point(40, 0.7), last)
    text = " ".join(choose_blocks(100, curve, measured=[measured]).reasons)
    for part in (
        "24.0 % (24.0 to 24.0 %) of held-out rows",
        "100 labelled rows per class",
        "by +6.0 points (+2.0 to +10.0): more labels should help too.",
        "lenet5 on digits at 32 pixels: one block removed between 0 % (-1 to 1 %, 3 seeds) at 10 "
        "rows per class and 50 % (49 to 51 %, 3 seeds) at 1000 rows per class; half of the "
        "blocks, between 2 % (1 to 3 %, 3 seeds) at 10 rows per class and 62 % (61 to 63 %, "
        "3 seeds) at 1000 rows per class.",
        "one block brings +6.0 points (+5.8 to +6.2), and half of the blocks +7.7 points (+7.4 to",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        ((0.10, -0.01, 0.21), "cannot tell whether more labels would help"),
        ((0.10, 0.001, 0.21), "more labels should help too"),
        ((-0.15, -0.3, 0.02), "cannot tell whether more labels would help"),
        ((0.0, -0.009, 0.009), "more labels will hardly help"),
        ((0.0, -0.02, 0.02), "cannot tell whether more labels would help"),
        ((-0.1, -0.2, -0.01), "more labels will hardly help"),
    ],
    ids=str,
)
def test_choose_blocks_says_of_a_step_what_its_interval_bears_out(
    step: tuple[float, float, float], verdict: str
) -> None:
    last = replace(build_point(80, 0.76), step=step[0], step_ci95=step[1:])
    (told,) = [
        reason
        for reason in choose_blocks(100, build_curve(build_point(40, 0.7), last)).reasons
        if "last doubling" in reason
    ]
    assert told.endswith(f": {verdict}.")


def test_choose_blocks_of_one_point_says_nothing_of_a_step() -> None:
    assert not [reason for reason in choose(100, 0.5, HALF).reasons if "doubling" in reason]


@pytest.mark.parametrize(
    ("gain", "told"),
    [
        (Spread(0.05, 0.01, 0.1), "+5.0 points (+1.0 to +10.0)"),
        (Spread(0.05, 0.009, 0.1), "+0.9 to +10.0 points, so that nobody can tell"),
        (Spread(0.0, -0.05, 0.009), "less than 1 point"),
    ],
    ids=["both", "low", "none"],
)
def test_choose_blocks_names_a_gain_only_if_it_is_one_at_both_ends(gain: Spread, told: str) -> None:
    measured = Measurement(
        backbone="lenet5",
        data="digits",
        size=32,
        gains=(MeasuredGain(rows_per_class=100, top=gain, more=gain, n_seeds=3),),
    )
    wrong_for_all = build_curve(build_point(100, 0.0), majority=-1.0)
    text = choose_blocks(100, wrong_for_all, measured=[measured]).reasons[-1]
    assert text.count(told) == 2


# ---- what cannot be told from chance


@pytest.mark.parametrize(
    ("accuracy", "half", "balanced", "is_chance", "is_sure"),
    [
        (0.6, 0.14, 0.05, True, False),
        (0.6, 0.16, 0.05, False, False),
        (0.75, 0.24, 0.05, False, False),
        (0.6, 0.14, 0.15, False, False),
        (0.75, 0.13, 0.15, False, False),
        (0.75, 0.12, 0.15, False, True),
    ],
    ids=["chance", "too-few", "above", "balanced-above", "too-near", "clear"],
)
def test_choose_blocks_promises_only_what_lies_clearly_above_the_majority(
    accuracy: float, half: float, balanced: float, is_chance: bool, is_sure: bool
) -> None:
    curve = build_curve(build_point(100, accuracy, half=half), majority=0.5, balanced=balanced)
    assert (curve.is_chance, curve.is_sure) == (is_chance, is_sure)
    choice = choose_blocks(100, curve, measured=[measure((100, 0.5, 0.9))])
    text = " ".join(choice.reasons)
    assert (choice.part != "none") == is_sure
    assert math.isnan(choice.gain_top.mean) == (not is_sure)
    assert math.isnan(choice.gain_more.high) == (not is_sure)
    assert ("look at the labels first" in text) == is_chance
    assert ("nobody can tell" in text) == (not is_chance and not is_sure)
    if not is_sure:
        assert "points" not in text
        assert "always says the most frequent class for 50.0 %" in text


def test_classes_that_cannot_be_held_out_are_not_what_a_head_has_not_learnt() -> None:
    y = np.repeat(["ant", "bee", "cat", "dog"], 20)
    X = np.random.default_rng(0).normal(size=(80, 8)) + 9 * np.eye(8)[np.repeat(np.arange(4), 20)]
    units = np.concatenate([np.repeat([0, 1, 2], 20), np.arange(10, 20), np.arange(10, 20)])
    curve = draw_curve(X, y, units, seed=0, subject="rows")
    assert (curve.n_single_classes, curve.n_single_rows) == (3, 60)
    assert curve.points[-1].accuracy == 0.25
    assert not curve.is_chance
    assert "add images of other groups" in choose_blocks(20, curve).reasons[-1]


def draw_noise(n_rows: int, mode: str, seed: int) -> tuple[Array, StrArray, IntArray | None]:
    """Draw vectors and labels that know nothing of each other: single rows, copies or groups."""
    rng = np.random.default_rng(seed)
    size = {"rows": 1, "copies": 2, "groups": 10}[mode]
    n_units = n_rows // size
    y = rng.choice(["ant", "bee"], n_units)
    X = rng.normal(size=(n_units, 16))
    units = np.repeat(np.arange(n_units), size)
    spread = rng.normal(size=(n_units * size, 16)) * (mode == "groups") / 2
    X = X[units] + spread
    return X.astype(np.float32), y[units], None if mode == "rows" else units


@pytest.mark.parametrize("mode", ["rows", "copies", "groups"])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_labels_promise_nothing(mode: str, seed: int) -> None:
    X, y, units = draw_noise(100, mode, seed)
    curve = draw_curve(X, y, units, seed=seed, subject="rows")
    assert not curve.is_sure
    assert curve.is_chance or mode == "groups"  # of ten units, nobody can tell
    assert choose_blocks(50, curve).part == "none"


def test_advice_at_chance_tells_to_look_at_the_labels(make_cache: MakeCache) -> None:
    path = make_cache(n_train=60)
    rng = np.random.default_rng(0)
    labels = rng.choice(["ants", "bees"], 60)
    for label in ("ants", "bees"):
        for row in np.flatnonzero(labels == label):
            rewrite_values(path, "labels/label", label, slice(int(row), int(row) + 1))
    advice = featx.advise(path)
    assert (advice.verdict, advice.unfreeze) == ("Look at the labels first.", 0)
    assert advice.is_chance
    assert advice.measured == ()
    record = advice.to_dict()
    assert math.isnan(record["gain_top"]["mean"])
    assert record["majority_accuracy"] == np.bincount(labels == "ants").max() / 60
    with pytest.raises(TuningError, match=r"got no advice\. .* look at the labels first"):
        choose_n_blocks("auto", advice, "c.h5")


@pytest.mark.parametrize("per_class", [10, 5])
def test_measurement_names_one_number_at_a_measured_one_and_outside(per_class: float) -> None:
    text = measure((10, 0.1, 0.2), (1000, 0.5, 0.6)).describe(per_class)
    assert "one block removed 10 % (10 to 10 %, 3 seeds) at 10 rows per class; half" in text
    assert "1000" not in text


def test_measured_is_by_rows_and_of_parts() -> None:
    assert len({one.data for one in MEASURED}) == len(MEASURED) >= 3
    for one in MEASURED:
        rows = [gain.rows_per_class for gain in one.gains]
        assert rows == sorted(rows)
        for gain in one.gains:
            assert gain.n_seeds >= 1
            for share in (gain.top, gain.more):
                assert -1 < share.low <= share.mean <= share.high < 1


def test_measured_rule_stays_frozen_with_few_rows_and_unfreezes_with_many() -> None:
    assert choose(25, 0.62, *MEASURED).part == "none"
    assert choose(122, 0.955, *MEASURED).part == "none"  # ants and bees
    assert choose(200, 0.71, *MEASURED).part == "more"  # CIFAR-10
    assert choose(5000, 0.77, *MEASURED).part == "more"


def test_advise_with_a_seed_that_is_none_is_refused(cache_path: Path) -> None:
    with pytest.raises(FeatxError, match=r"seed: expected .*0 to \d+, got -1"):
        featx.advise(cache_path, seed=-1)


def test_advise_keeps_copies_together(make_cache: MakeCache) -> None:
    with patch("featx.finetune.advise.draw_curve", autospec=True) as draw:
        draw.side_effect = StopIteration
        path = make_cache(n_train=40)
        with featx.open_cache(path) as cache:
            digest = cache.digests[0]
        rewrite_values(
            path, "rows/digest", np.frombuffer(bytes.fromhex(digest), np.uint8), slice(1, 2)
        )
        with pytest.raises(StopIteration):
            featx.advise(path)
    units = draw.call_args.args[2]
    assert units[0] == units[1]
    assert len(set(units.tolist())) == 39


def test_advise_looks_at_train_alone(cache_path: Path) -> None:
    with featx.open_cache(cache_path) as cache:
        n_train = len(cache.select_rows("train", labelled=True))
        n_classes = len(set(cache.labels[cache.select_rows("train", labelled=True)]))
    advice = featx.advise(cache_path)
    assert advice.curve[-1].rows_per_class <= n_train / n_classes
    assert advice.verdict in ("Stay frozen.", "Cannot tell whether it pays: stay frozen.")
    assert advice.to_dict()["verdict"] == advice.verdict


@pytest.mark.parametrize(
    ("backbone", "n_blocks"),
    [("mobilenet_v2", 9), ("resnet50", 8), ("lenet5", 2), ("of-another-process", 2)],
)
def test_count_more_blocks_is_half_of_the_blocks(backbone: str, n_blocks: int) -> None:
    assert count_more_blocks(backbone) == n_blocks


@pytest.mark.parametrize(
    ("n_blocks", "gain", "verdict"),
    [
        (0, Spread(0.002, -0.01, 0.009), "Stay frozen."),
        (0, Spread(0.002, -0.01, 0.011), "Cannot tell whether it pays: stay frozen."),
        (1, Spread(0.02, 0.01, 0.03), "Unfreeze the top block."),
        (5, Spread(0.02, 0.01, 0.03), "Unfreeze the top 5 blocks."),
    ],
)
def test_verdict_names_the_blocks_or_says_why_not(
    n_blocks: int, gain: Spread, verdict: str
) -> None:
    for gains in ((spread(0.0), gain), (gain, spread(0.0))):
        advice = Advice(
            unfreeze=n_blocks,
            curve=(),
            majority_accuracy=0.5,
            is_chance=False,
            gain_top=gains[0],
            gain_more=gains[1],
            reasons=(),
            measured=MEASURED,
        )
        assert advice.verdict == verdict
    assert advice.to_dict()["measured"][0]["data"] == MEASURED[0].data


def test_advice_says_what_it_was_measured_on(cache_path: Path) -> None:
    advice = featx.advise(cache_path)
    assert "mobilenet_v2 on CIFAR-10 at 96 pixels: " in " ".join(advice.reasons)
    assert set(advice.measured) <= set(MEASURED)


@pytest.mark.slow
def test_advise_on_ants_and_bees_stays_frozen(shared: Path, tmp_path: Path) -> None:
    cache = tmp_path / "photos.h5"
    weights = shared / "weights" / "mobilenet_v2-imagenet-backbone.pth"
    photos = shared / "data" / "hymenoptera_data"
    featx.extract(photos, cache, backbone="mobilenet_v2", weights=str(weights))
    advice = featx.advise(cache)
    assert advice.unfreeze == 0
    assert advice.gain_more.low < MIN_GAIN


# ---- rows that the network has learnt from


def test_advise_on_learnt_rows_cannot_tell(cache_path: Path) -> None:
    advice = featx.advise(mark_learnt(cache_path, slice(0, 40)))
    assert (advice.verdict, advice.unfreeze, advice.curve) == ("Cannot tell.", 0, ())
    assert advice.reasons[0].startswith("40 of 40 rows were learnt from by the network: a curve")
    with pytest.raises(TuningError, match=r"^c\.h5: .* got no advice\. 40 of 40 rows were learnt"):
        choose_n_blocks("auto", advice, "c.h5")


def test_advise_draws_the_curve_of_rows_that_were_not_learnt_from(make_cache: MakeCache) -> None:
    path = mark_learnt(make_cache(n_train=200), slice(0, 120))
    advice = featx.advise(path)
    assert advice.reasons[0] == "120 of 200 rows were learnt from by the network, and left out."
    assert advice.curve[-1].rows_per_class == 32  # four fifths of 40
    assert "with 40 labelled rows per class" in advice.reasons[1]
