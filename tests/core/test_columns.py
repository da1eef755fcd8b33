"""Columns do what lists of texts do, with less."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featx.core import columns
from featx.core.columns import Categories, Table, Texts, iter_blocks

WORDS = ["ant", "", "bée", "蜂", "ant", "\udcff.jpg", "a" * 300]
"""Texts of several lengths, repeats, an empty one, and a byte that is not UTF-8."""

texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=9) | st.sampled_from(WORDS))
kinds = pytest.mark.parametrize("build", [Texts.from_list, Categories.from_list])
Build = Callable[[list[str]], Texts | Categories]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let loops over blocks take several turns for a few rows."""
    monkeypatch.setattr(iter_blocks, "__defaults__", (2,))


@kinds
def test_column_is_a_sequence_of_its_texts(build: Build) -> None:
    column = build(WORDS)
    assert len(column) == len(WORDS)
    assert list(column) == column.to_list() == column.to_array().tolist() == WORDS
    assert [column[i] for i in range(len(WORDS))] == WORDS
    assert column[-1] == WORDS[-1]
    assert "bée" in column
    assert "bee" not in column
    with pytest.raises(IndexError):
        column[len(WORDS)]


@kinds
def test_column_is_chosen_from_as_an_array_is(build: Build) -> None:
    column, array = build(WORDS), np.array(WORDS, object)
    rows = np.array([3, 0, 0, 6, 1])
    for key in (slice(2, 5), slice(None, None, 3), slice(5, 2), rows, rows[:0], array == "ant"):
        assert column[key].to_list() == array[key].tolist()
    assert column[2:][1:3][rows[1:3]].to_list() == [WORDS[3], WORDS[3]]


@kinds
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(first=texts, second=texts)
def test_column_is_joined_and_compared_as_lists_are(
    build: Build, first: list[str], second: list[str]
) -> None:
    one, other = build(first), build(second)
    joined = type(one).concat([one, other])  # type: ignore[list-item]
    assert joined.to_list() == first + second
    assert (one == other) is (first == second)
    assert joined[len(first) :] == other
    n_rows = min(len(first), len(second))
    same = [a == b for a, b in zip(first, second, strict=False)]
    assert one[:n_rows].equal(other[:n_rows]).tolist() == same  # type: ignore[arg-type]


def test_texts_compact_begins_at_0() -> None:
    part = Texts.from_list(WORDS)[2:4]
    assert part.offsets[0] > 0
    assert part.compact().offsets.tolist() == [0, 4, 7]
    assert part.compact().data.tobytes().decode() == "bée蜂"


def test_texts_concat_of_none_is_empty() -> None:
    assert Texts.concat([]).to_list() == Categories.concat([]).to_list() == []


def test_categories_count_find_and_fill() -> None:
    labels = Categories.from_list(["b", None, "a", "b"])
    assert labels.names.to_list() == ["", "b", "a"]
    assert labels.count() == {"b": 2, "a": 1}
    assert labels.mask("b").tolist() == [True, False, False, True]
    assert labels.mask(None).tolist() == [False, True, False, False]
    assert not labels.mask("c").any()
    assert Categories.fill("a", 2) == Categories.from_list(["a", "a"])
    assert Categories.fill(None, 2) == Categories.from_list(["", ""])


def test_table_chooses_replaces_joins_and_compares_rows() -> None:
    table = Table({"id": Texts.from_list("abc"), "pair": np.arange(6).reshape(3, 2)})
    swapped = table[np.array([2, 1, 0])]
    assert swapped["id"].to_list() == ["c", "b", "a"]
    assert swapped["pair"].tolist() == [[4, 5], [2, 3], [0, 1]]
    assert table.equal(swapped).tolist() == [False, True, False]
    other = table.replace(pair=np.array([[0, 1], [2, 0], [4, 5]]))
    assert table.equal(other).tolist() == [True, False, True]
    joined = Table.concat([table, swapped[:1]])
    assert (len(joined), joined["id"].to_list()) == (4, ["a", "b", "c", "c"])
    assert table.select(["id"]).names == ("id",)


def test_table_refuses_columns_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="columns of"):
        Table({"id": Texts.from_list("ab"), "width": np.zeros(3)})


def test_a_million_labels_take_four_bytes_each() -> None:
    assert columns.Categories.fill("ant", 1_000_000).codes.nbytes == 4_000_000
