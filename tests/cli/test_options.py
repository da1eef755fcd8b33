"""Options that several commands share: what they read, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featx.cli.options import parse_class_weight
from featx.core.errors import FeatxError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("balanced", "balanced"),
        ("Balanced", "balanced"),
        ("ant=2", {"ant": 2.0}),
        ("ant=2,bee=0.5", {"ant": 2.0, "bee": 0.5}),
        ("ant=2, bee = 1e-3", {"ant": 2.0, "bee": 0.001}),
        ("10=2,2=3", {"10": 2.0, "2": 3.0}),
        ("a=b=2", {"a=b": 2.0}),
        ('"naïve, ""x""=2",ant=1', {'naïve, "x"': 2.0, "ant": 1.0}),
        ("ant=nan", pytest.approx({"ant": float("nan")}, nan_ok=True)),  # refused by the library
    ],
)
def test_parse_class_weight(text: str, expected: object) -> None:
    assert parse_class_weight(text) == expected


@pytest.mark.parametrize(
    "text", ["", "ant", "ant=", "=2", "ant=two", "ant=2,", "ant=2,ant=3", '"a']
)
def test_parse_class_weight_refuses_what_is_no_weight(text: str) -> None:
    with pytest.raises(FeatxError, match=r"^class_weight: expected balanced, or a number"):
        parse_class_weight(text)


def test_fit_head_weighs_single_classes(cache_path: Path, tmp_path: Path, run_cli: Any) -> None:
    words = ("fit-head", cache_path, "--C", "0.01", "--json")
    found = [
        json.loads(run_cli(*words, "-o", tmp_path / f"{number}.joblib", *more).out)
        for number, more in enumerate([(), ("--class-weight", "bees=50")])
    ]
    assert [one["options"]["class_weight"] for one in found] == [None, {"bees": 50.0}]
    assert [one["cross_validation"]["measure"] for one in found] == [
        "accuracy",
        "balanced_accuracy",
    ]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            "Bees=2",
            "--class-weight: expected classes among ants, bees and numbers above 0, got Bees.",
        ),
        ("bees=nan", "got nan for bees. Pass --class-weight bees=2.0 to weigh"),
        ("bees=0", "got 0 for bees. Pass --class-weight bees=2.0 to weigh"),
    ],
)
def test_weights_that_no_head_can_have_are_wrong_usage(
    cache_path: Path, tmp_path: Path, run_cli: Any, weights: str, message: str
) -> None:
    output = tmp_path / "head.joblib"
    result = run_cli("fit-head", cache_path, "-o", output, "--class-weight", weights)
    assert result.code == 2
    assert message in result.err
    assert not output.exists()
