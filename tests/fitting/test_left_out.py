"""The account of the rows that a command passes over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.errors import FeatxWarning
from featx.fitting.left_out import (
    LeftOut,
    describe_lacking,
    describe_unlearnt,
    describe_untested,
    note_left_out,
)
from tests.builders import rewrite_values

LEFT_OUT = LeftOut(
    cache="a.h5",
    split="train",
    embeddings=("mini",),
    n_rows=10,
    n_unlabelled=0,
    n_without_vector=0,
    n_without_split=0,
    n_plain=0,
)


def test_left_out_accounts_for_all_rows(cache_path: Path) -> None:
    rewrite_values(cache_path, "labels/label", "", slice(0, 3))
    rewrite_values(cache_path, "labels/label", "", slice(50, 54))
    rewrite_values(cache_path, "labels/split", "", slice(45, 54))
    rewrite_values(cache_path, "embeddings/tiny/present", False, slice(2, 8))
    with open_cache(cache_path) as cache:
        train, val, every = (LeftOut.count(cache, name, "tiny") for name in ("train", "val", "all"))
        n_used = len(cache.select_rows("train", labelled=True, embedding="tiny"))
    assert (train.n_rows, train.n_unlabelled, train.n_without_vector) == (40, 3, 5)
    assert (train.n_without_split, train.n_plain) == (5, 4)
    assert n_used + train.n_unlabelled + train.n_without_vector == train.n_rows
    assert train.n_rows + val.n_rows + train.n_without_split + train.n_plain == every.n_rows == 60
    assert (every.n_unlabelled, every.n_without_vector) == (7, 5)
    assert (every.n_without_split, every.n_plain) == (0, 0)


def test_left_out_of_nothing_says_nothing() -> None:
    assert LEFT_OUT.list_notes() == []
    assert replace(LEFT_OUT, n_plain=5).list_notes() == []  # nothing to learn from, nor to score


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (
            {"n_unlabelled": 2, "n_without_vector": 3},
            "a.h5, split train: of 10 rows, 2 without a label and 3 without a vector in embedding "
            "mini were left out",
        ),
        (
            {"n_without_split": 120},
            "a.h5: 120 labelled rows have no split, and were left out. Split them with "
            "featx.split_cache(cache, new=True)",
        ),
        (
            {"n_without_split": 1, "n_plain": 2},
            "a.h5: 1 labelled row has no split, and was left out; 2 rows more without a label. "
            "Split them with featx.split_cache(cache, new=True)",
        ),
    ],
)
def test_left_out_is_told_with_its_reason(counts: dict[str, int], told: str) -> None:
    assert replace(LEFT_OUT, **counts).list_notes() == [told]  # type: ignore[arg-type]


def test_note_left_out_tells_of_rows_without_a_split_on_request(cache_path: Path) -> None:
    rewrite_values(cache_path, "labels/label", "", slice(0, 3))
    rewrite_values(cache_path, "labels/split", "", slice(45, 54))
    with open_cache(cache_path) as cache:
        for unsplit, n_notes in ((True, 2), (False, 1)):
            with pytest.warns(FeatxWarning) as caught:
                note_left_out(cache, "train", "tiny", unsplit=unsplit)
            assert len(caught) == n_notes


def test_describe_untested_names_classes_without_a_row() -> None:
    classes = np.array(["a", "b", "c", "d", "e"], object)
    told = "a.h5, split val: no row of b, c, d and 1 more: the scores say nothing of them"
    subject = "a.h5, split val"
    assert describe_untested(np.array(["a", "x"], object), classes, subject=subject) == told
    assert describe_untested(classes, classes, subject=subject) == ""


def test_describe_unlearnt_names_classes_that_train_lacks(cache_path: Path) -> None:
    rewrite_values(cache_path, "labels/label", "wasps", slice(40, 44))
    with open_cache(cache_path) as cache:
        y = cache.labels[:40]
        assert describe_unlearnt(cache, cache.labels) == ""
        assert describe_unlearnt(cache, y).endswith(
            "val and test have 4 rows of wasps, which the head cannot learn: no row to fit on has "
            "it"
        )


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ({"a label": 0, "a vector": 0}, ""),
        ({"a label": 1, "a vector": 0}, "a.h5: of 9 rows, 1 without a label was left out"),
        ({"a label": 0, "a vector": 1}, "a.h5: of 9 rows, 1 without a vector was left out"),
        ({"a label": 2, "a vector": 0}, "a.h5: of 9 rows, 2 without a label were left out"),
        (
            {"a label": 1, "a vector": 1},
            "a.h5: of 9 rows, 1 without a label and 1 without a vector were left out",
        ),
    ],
    ids=["none", "one", "other", "two", "one-each"],
)
def test_describe_lacking_counts_what_the_verb_is_of(lacking: dict[str, int], told: str) -> None:
    assert describe_lacking("a.h5", 9, lacking) == told
