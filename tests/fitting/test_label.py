"""Recording labels in caches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.errors import CacheError, FeatxError, FeatxWarning, SourceError
from featx.fitting.label import choose_author, label_cache
from featx.fitting.split import split_cache
from featx.labels.changes import LabelChange
from tests.builders import MakeCache

FIRST, SECOND = "bees/000.jpg", "ants/001.jpg"


def read_value(path: Any, row_id: str, column: str = "labels") -> Any:
    with open_cache(path) as cache:
        return getattr(cache, column)[cache.ids.tolist().index(row_id)]


def test_label_cache_changes_labels_and_nothing_else(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        before = cache.read_vectors().tobytes(), cache.splits.tolist(), cache.ids.tolist()
        assert not cache.has_history
    report = label_cache(cache_path, {FIRST: "ants", SECOND: "ants"}, author="ada")
    assert report.changes == (LabelChange(field="label", before="bees", after="ants", n_rows=1),)
    assert (report.n_new, report.n_known, report.is_written) == (2, 0, True)
    with open_cache(cache_path) as cache:
        assert before == (
            cache.read_vectors().tobytes(),
            cache.splits.tolist(),
            cache.ids.tolist(),
        )
        assert cache.labels[0] == "ants"
        assert cache.read_source("label")[0] == "bees"
        said = cache.read_history(FIRST)
        assert cache.has_history
    assert [(one.value, one.author, one.kind) for one in said] == [("ants", "ada", "sure")]


def test_label_cache_again_leaves_the_file(cache_path: Path) -> None:
    labels = {FIRST: "ants", SECOND: None}
    label_cache(cache_path, labels, author="ada")
    before = cache_path.read_bytes(), cache_path.stat().st_ino
    report = label_cache(cache_path, labels, author="ada")
    assert (report.n_new, report.n_known, report.is_written) == (0, 2, False)
    assert (cache_path.read_bytes(), cache_path.stat().st_ino) == before


def test_label_cache_dry_run_leaves_the_file(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    report = label_cache(cache_path, {FIRST: "ants"}, dry_run=True)
    assert (report.n_new, report.n_changed, report.is_written) == (1, 1, False)
    assert cache_path.read_bytes() == before


def test_label_cache_takes_a_label_away_and_gives_it_back(cache_path: Path) -> None:
    label_cache(cache_path, {FIRST: ""})
    assert read_value(cache_path, FIRST) == ""
    label_cache(cache_path, {FIRST: None})
    assert read_value(cache_path, FIRST) == "bees"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (7.0, "7"),
        pytest.param(np.int64(7), "7", id="numpy"),
        pytest.param(np.float32(7), "7", id="a float of numpy"),
        (False, "False"),
        pytest.param(" ants ", "ants", id="spaces"),
    ],
)
def test_label_cache_reads_numbers_as_in_a_table(
    cache_path: Path, value: Any, expected: str
) -> None:
    label_cache(cache_path, {FIRST: value}, field="group")
    assert read_value(cache_path, FIRST, "groups") == expected


@pytest.mark.parametrize("value", [float("nan"), np.float32("nan")], ids=["python", "numpy"])
def test_label_cache_of_nan_says_nothing(cache_path: Path, value: Any) -> None:
    with pytest.warns(FeatxWarning, match=r"^1 line without a label: they say nothing\."):
        report = label_cache(cache_path, {FIRST: value, SECOND: "bees"})
    assert (report.n_new, report.n_empty) == (1, 1)
    label_cache(cache_path, {FIRST: value}, remove_empty=True)
    assert read_value(cache_path, FIRST) == ""
    label_cache(cache_path, {FIRST: value}, kind="withdrawn")
    assert read_value(cache_path, FIRST) == "bees"


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (1.5, "1.5"),
        (["ants"], "a list"),
        pytest.param(np.array(["ants", "bees"]), "ndarray", id="array"),
    ],
)
def test_label_cache_refuses_other_values(cache_path: Path, value: Any, got: str) -> None:
    with pytest.raises(SourceError) as caught:
        label_cache(cache_path, {FIRST: value})
    assert (caught.value.subject, caught.value.got) == (f"labels[{FIRST!r}]", got)


@pytest.mark.parametrize(
    "key",
    [
        FIRST,
        f"/photos/{FIRST}",
        pytest.param(os.path.relpath(f"/photos/{FIRST}"), id="relative path"),
    ],
)
def test_label_cache_finds_rows_by_id_and_path(cache_path: Path, key: str) -> None:
    label_cache(cache_path, {key: "ants"})
    assert read_value(cache_path, FIRST) == "ants"


def test_label_cache_finds_rows_by_digest(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        digest = cache.digests[1]
    label_cache(cache_path, {digest: "bees"})
    assert read_value(cache_path, SECOND) == "bees"


def test_label_cache_reads_a_table_beside_its_images(cache_path: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"path,label\n{os.path.relpath('/photos', tmp_path)}/{FIRST},ants\n")
    assert label_cache(cache_path, table).n_changed == 1


def test_label_cache_names_what_has_no_row(cache_path: Path) -> None:
    with pytest.warns(FeatxWarning, match=r"^2 lines without a row in .*: 'x' and 'y'$"):
        report = label_cache(cache_path, {FIRST: "ants", "x": "ants", "y": "ants"})
    assert report.unmatched == ("x", "y")


def test_label_cache_without_any_row_is_refused(cache_path: Path) -> None:
    before = cache_path.read_bytes()
    with pytest.raises(CacheError, match=r"labels: expected ids, .*, got none among 1, such as x"):
        label_cache(cache_path, {"x": "ants"})
    assert cache_path.read_bytes() == before


def test_label_cache_names_persons_who_disagree(cache_path: Path) -> None:
    label_cache(cache_path, {FIRST: "ants"}, author="ada")
    with pytest.warns(FeatxWarning, match=rf"^1 row .*: {FIRST} \('ants' by ada, now none\)\."):
        report = label_cache(cache_path, {FIRST: ""}, author="bob")
    assert report.conflicts[0].before_author == "ada"
    assert read_value(cache_path, FIRST) == ""


def test_label_cache_tells_what_holds_after_another_person_withdraws(cache_path: Path) -> None:
    label_cache(cache_path, {FIRST: "ants"}, author="ada")
    with pytest.warns(FeatxWarning, match=rf"{FIRST} \('ants' by ada, now 'bees'\)\."):
        report = label_cache(cache_path, {FIRST: None}, author="bob")
    assert report.conflicts[0].after == read_value(cache_path, FIRST) == "bees"


def test_label_cache_with_a_table_of_two_persons_again_leaves_the_file(
    cache_path: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"id,label,author\n{FIRST},ants,ada\n{FIRST},wasps,bob\n")
    with pytest.warns(FeatxWarning):
        label_cache(cache_path, table)
    before = cache_path.read_bytes()
    with pytest.warns(FeatxWarning, match="'ants' by ada, now 'wasps'"):
        report = label_cache(cache_path, table)
    assert (report.n_new, report.n_known, report.changes) == (0, 2, ())
    assert cache_path.read_bytes() == before
    assert read_value(cache_path, FIRST) == "wasps"


def test_label_cache_tells_new_labels_with_the_nearest(cache_path: Path) -> None:
    with pytest.warns(FeatxWarning, match=r"^new label 'antz', 1 row \(nearest: 'ants'\)$"):
        label_cache(cache_path, {FIRST: "antz"})


def test_label_cache_tells_empty_lines_and_columns_passed_over(
    cache_path: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"id,label,split\n{FIRST},ants,val\n{SECOND},,train\n")
    with pytest.warns(FeatxWarning) as caught:
        report = label_cache(cache_path, table)
    notes = [str(one.message) for one in caught]
    assert notes[0].startswith("1 line without a label: they say nothing. Pass remove_empty=True")
    assert notes[1].startswith("columns passed over: 'split'.")
    assert (report.n_new, report.n_empty) == (1, 1)
    assert read_value(cache_path, FIRST, "splits") == "train"


def test_label_cache_of_splits_and_groups(cache_path: Path) -> None:
    label_cache(cache_path, {FIRST: "Validation"}, field="split")
    label_cache(cache_path, {FIRST: "g"}, field="group")
    assert [read_value(cache_path, FIRST, name) for name in ("splits", "groups")] == ["val", "g"]
    with pytest.raises(SourceError, match=r"expected train, val or test, got 'middle'"):
        label_cache(cache_path, {FIRST: "middle"}, field="split")


def test_label_cache_after_split_cache_counts_more_and_less_than_the_next_one(
    make_cache: MakeCache,
) -> None:
    path = make_cache(splits=False)
    split_cache(path, val=0.5, seed=1)
    other = "train" if read_value(path, FIRST, "splits") == "val" else "val"
    label_cache(path, {FIRST: other}, field="split")
    assert read_value(path, FIRST, "splits") == other
    split_cache(path, val=0.5, seed=1, overwrite=True)
    assert read_value(path, FIRST, "splits") != other
    with open_cache(path) as cache:
        history = cache.read_history(FIRST)
        assert [one.note for one in history] == ["val=0.5, test=0, seed=1", "", history[0].note]
        assert [one.n_rows for one in cache.read_history()] == [60, 1, 60]


@pytest.mark.parametrize(("name", "value"), [("field", "lable"), ("kind", "shure")])
def test_label_cache_with_a_wrong_word_is_refused(cache_path: Path, name: str, value: str) -> None:
    options: Any = {name: value}
    with pytest.raises(FeatxError, match=rf"{name}: expected .*, got '{value}'"):
        label_cache(cache_path, {FIRST: "ants"}, **options)


def test_choose_author_of_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("uid")

    assert choose_author(" ada ") == "ada"
    monkeypatch.setattr("getpass.getuser", fail)
    assert choose_author(None) == "unknown"
