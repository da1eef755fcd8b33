"""Records from JSON: right types, bounded depth, errors that name the field."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from featx.core.records import MAX_DEPTH, MAX_LENGTH, build_record, load_json


@dataclass(frozen=True, kw_only=True)
class Inner:
    word: Literal["a", "b"]


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    size: int | None
    share: float = 0.0
    is_whole: bool = False
    inner: Inner
    parts: tuple[Inner, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    anything: Any = None


FIELDS: dict[str, Any] = {"name": "n", "size": 3, "inner": {"word": "a"}}


def test_build_record_builds_nested_records() -> None:
    found = build_record(Outer, FIELDS | {"parts": [{"word": "b"}], "versions": {"x": "1"}})
    assert found == Outer(
        name="n", size=3, inner=Inner(word="a"), parts=(Inner(word="b"),), versions={"x": "1"}
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "a int in the field 'name'"),
        ({"name": None}, "null in the field 'name'"),
        ({"size": "3"}, "a text in the field 'size'"),
        ({"size": True}, "a bool in the field 'size'"),
        ({"size": None}, ""),
        ({"share": 1}, ""),
        ({"share": "1"}, "a text in the field 'share'"),
        ({"is_whole": 1}, "a int in the field 'is_whole'"),
        ({"is_whole": True}, ""),
        ({"inner": {"word": "c"}}, "a text in the field 'word' in the field 'inner'"),
        ({"inner": []}, "a list in place of an object in the field 'inner'"),
        ({"inner": {}}, "no field 'word' in the field 'inner'"),
        ({"parts": {}}, "an object in the field 'parts'"),
        ({"parts": [3]}, "a int in place of an object in the field 'parts'"),
        ({"versions": {"x": 1}}, "a int in the field 'versions'"),
        ({"anything": [{"deep": 1}]}, ""),
        ({"more": 1}, "an unknown field 'more'"),
    ],
)
def test_build_record_refuses_other_types_by_field(changes: Any, message: str) -> None:
    if not message:
        build_record(Outer, FIELDS | changes)
        return
    with pytest.raises(ValueError, match=f"^{message}$"):
        build_record(Outer, FIELDS | changes)


@pytest.mark.parametrize("value", [[], "x", None, 3])
def test_build_record_refuses_what_is_no_object(value: Any) -> None:
    with pytest.raises(ValueError, match="in place of an object"):
        build_record(Outer, value)


def test_build_record_missing_field_is_named() -> None:
    with pytest.raises(ValueError, match="no field 'size'"):
        build_record(Outer, {"name": "n", "inner": {"word": "a"}})


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 100_000])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_load_json_refuses_depth(depth: int, start: str, end: str) -> None:
    with pytest.raises(ValueError, match=f"nests deeper than {MAX_DEPTH}"):
        load_json(start * depth + "1" + end * depth)


def test_load_json_takes_what_is_deep_enough() -> None:
    assert load_json("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None


def test_load_json_refuses_length() -> None:
    with pytest.raises(ValueError, match=f"more than {MAX_LENGTH}"):
        load_json(" " * MAX_LENGTH + "1")


@pytest.mark.parametrize("text", ["{", "", "1 2", "nan", "9" * 5000])
def test_load_json_refuses_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        load_json(text)
