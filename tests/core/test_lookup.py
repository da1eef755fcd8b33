"""Rows are found by their texts and digests, even if hashes are equal."""

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featx.core import lookup
from featx.core.columns import Texts, iter_blocks
from featx.core.digests import pack_digests
from featx.core.lookup import DigestIndex, DigestSet, TextIndex, count_distinct
from featx.core.typing import Array

words = st.lists(st.sampled_from([*"abcdefg", "", "ä"]))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iter_blocks, "__defaults__", (3,))


@pytest.fixture(params=[False, True], ids=["hashes", "all hashes equal"])
def _hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def collide(rows: Texts) -> Array:
        return np.zeros(len(rows), np.int64)

    if request.param:
        monkeypatch.setattr(lookup, "_hash_texts", collide)


@pytest.mark.usefixtures("_hashes")
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=words, sought=words)
def test_text_index_finds_the_first_row_of_a_text(rows: list[str], sought: list[str]) -> None:
    index = TextIndex(Texts.from_list(rows))
    expected = [rows.index(text) if text in rows else -1 for text in sought]
    assert index.find(Texts.from_list(sought)).tolist() == expected
    repeats = [row for row, text in enumerate(rows) if rows.index(text) < row]
    assert index.find_repeat() == (repeats[0] if repeats else None)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_digest_index_compares_all_bytes() -> None:
    ones = ["aa" * 32, "bb" * 32, "aa" * 8 + "cc" * 24, "aa" * 32]
    index = DigestIndex(pack_digests(ones))
    sought = pack_digests(["aa" * 8 + "cc" * 24, "aa" * 32, "aa" * 8 + "dd" * 24, ""])
    assert index.find(sought).tolist() == [2, 0, -1, -1]


@pytest.mark.parametrize("n_first", [0, 3, 40])
def test_digest_set_holds_what_it_began_with_and_what_was_added(n_first: int) -> None:
    listed = [digest(str(number)) for number in range(40)]
    digests = DigestSet(pack_digests(listed[:n_first]))
    for one in listed:
        digests.add(one)
        digests.add(one)
    assert all(one in digests for one in listed)
    assert digest("another") not in digests
    assert "" not in digests


def test_digest_set_does_not_find_the_end_of_one_with_the_start_of_the_next() -> None:
    first, second = "aa" * 2 + "01" * 14 + "aa" * 2 + "02" * 14, "aa" * 2 + "03" * 14 + "04" * 16
    digests = DigestSet()
    digests.add(first)
    digests.add(second)
    across = first[32:] + second[:32]
    assert across not in digests
    digests.add(across)
    assert across in digests


def test_count_distinct_counts_equal_texts_once() -> None:
    for texts in ([], ["a"], ["a", "b", "a", "", ""]):
        assert count_distinct(Texts.from_list(texts)) == len(set(texts))
