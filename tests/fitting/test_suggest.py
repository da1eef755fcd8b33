"""`featx.suggest` on caches: what it chooses, what it leaves alone, and the way back to labels."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.analytics import chooser
from featx.cache.joined import open_cache
from featx.core.errors import CacheError, FeatxError, FeatxWarning, FingerprintError, HeadError
from featx.core.typing import StrategyChoice
from featx.fitting.fit import fit_head
from featx.fitting.label import label_cache
from featx.fitting.suggest import suggest
from tests.builders import MakeCache, build_info, build_rows, write_vectors

pytestmark = pytest.mark.filterwarnings("ignore::featx.core.errors.FeatxWarning")

CLASSES = ("ants", "bees", "wasps")


@pytest.fixture
def truth() -> list[str]:
    return [CLASSES[number % 3] for number in range(300)]


@pytest.fixture
def unlabelled(tmp_path: Path, truth: list[str]) -> Path:
    """A cache of three classes that overlap little, without a label."""
    return write(tmp_path / "images.h5", truth)


def write(path: Path, truth: list[str], **columns: Any) -> Path:
    rng = np.random.default_rng(0)
    centres = dict(zip(CLASSES, columns.get("spread", 1.0) * rng.normal(size=(3, 8)), strict=True))
    vectors = np.stack([centres[name] + rng.normal(size=8) for name in truth]).astype(np.float32)
    n = len(truth)
    rows = build_rows(
        columns.get("labels", [None] * n), columns.get("splits", [None] * n), columns.get("groups")
    )
    return write_vectors(path, [build_info()], rows, {"tiny": vectors})


def say(path: Path, truth: list[str], rows: Any) -> None:
    """Label rows as they truly are."""
    with open_cache(path) as cache:
        ids = cache.ids
    label_cache(path, {ids[row]: truth[row] for row in rows}, author="ada")


def test_without_labels_typical_rows_of_all_classes_are_chosen(
    unlabelled: Path, truth: list[str]
) -> None:
    found = suggest(unlabelled, n=3)
    assert found.strategy == "typical"
    assert found.because == "0 labels of 0 classes"
    assert found.split == "train"
    assert sorted(truth[row] for row in found.rows) == list(CLASSES)
    assert (found.n_open, found.n_considered, found.n_rows) == (300, 300, 300)


@pytest.mark.parametrize("strategy", ["typical", "uncertain", "random"])
def test_same_seed_gives_the_same_rows(
    unlabelled: Path, truth: list[str], strategy: StrategyChoice
) -> None:
    say(unlabelled, truth, range(90))
    first, second = (suggest(unlabelled, n=9, strategy=strategy, seed=3) for _ in range(2))
    assert first.rows.tolist() == second.rows.tolist()
    assert (first.rows >= 90).all()


def test_change_over_comes_by_itself(unlabelled: Path, truth: list[str]) -> None:
    say(unlabelled, truth, range(63))
    assert suggest(unlabelled, n=5).strategy == "typical"
    say(unlabelled, truth, [63])
    found = suggest(unlabelled, n=5)
    assert found.strategy == "uncertain"
    assert found.because == "64 labels of 3 classes, at least 8 per class and 64 in all"
    assert all(" or " in why for why in found.reasons)


def test_uncertain_rows_are_nearer_to_other_classes_than_random_ones(
    unlabelled: Path, truth: list[str]
) -> None:
    say(unlabelled, truth, range(90))
    head = fit_head(unlabelled, C=1.0)
    with open_cache(unlabelled) as cache:
        best = np.sort(head.predict_proba(cache.read_vectors()), axis=1)
    margins = best[:, -1] - best[:, -2]
    found = suggest(unlabelled, head, n=10)
    assert margins[found.rows].mean() < margins[90:].mean()
    np.testing.assert_allclose(found.scores, 1 - margins[found.rows], atol=1e-6)


def test_head_that_is_sure_of_nearly_all_rows_takes_typical_ones(
    tmp_path: Path, truth: list[str]
) -> None:
    path = write(tmp_path / "c.h5", truth, spread=9.0)
    say(path, truth, range(90))
    found = suggest(path, n=5)
    assert found.strategy == "typical"
    assert found.because.endswith("64 in all, but the head is sure of nearly all rows")
    assert suggest(path, n=5, strategy="uncertain").strategy == "uncertain"


def test_one_class_is_not_enough_to_be_uncertain(unlabelled: Path, truth: list[str]) -> None:
    rows = [row for row in range(300) if truth[row] == "ants"]
    say(unlabelled, truth, rows[:90])
    assert suggest(unlabelled, n=2).because == "90 labels of 1 class"
    with pytest.raises(HeadError, match="no second class"):
        suggest(unlabelled, n=2, strategy="uncertain")


def test_head_says_how_much_is_labelled(unlabelled: Path, truth: list[str]) -> None:
    say(unlabelled, truth, range(30))
    head = fit_head(unlabelled, C=1.0)
    found = suggest(unlabelled, head, n=2)
    assert (found.n_labels, found.n_classes, found.strategy) == (30, 3, "typical")


def test_val_is_left_alone_and_not_learnt_from(tmp_path: Path, truth: list[str]) -> None:
    splits = ["val" if number < 100 else None for number in range(300)]
    path = write(tmp_path / "c.h5", truth, splits=splits)
    say(path, truth, range(80))
    found = suggest(path, n=200, strategy="random")
    assert sorted(found.rows.tolist()) == list(range(100, 300))
    assert found.split == "val"
    assert (found.n_labels, found.n_held_out, found.n_labelled) == (0, 20, 80)


def test_groups_count_once_and_are_suggested_once(tmp_path: Path, truth: list[str]) -> None:
    groups = [f"g{number // 3}" for number in range(300)]
    path = write(tmp_path / "c.h5", truth, groups=groups)
    say(path, truth, [0, 1, 2, 3])
    found = suggest(path, n=98, strategy="random")
    assert len({groups[row] for row in found.rows}) == 98
    assert (found.n_labels, found.n_alike, found.n_open) == (2, 198, 98)


@pytest.mark.parametrize("strategy", ["typical", "uncertain"])
def test_of_many_rows_some_are_looked_at(
    unlabelled: Path, truth: list[str], strategy: StrategyChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.fitting.suggest.MAX_CONSIDERED", 50)
    monkeypatch.setattr(chooser, "MAX_FITTED", 60)
    say(unlabelled, truth, range(90))
    found = suggest(unlabelled, n=4, strategy=strategy)
    assert (found.n_considered, found.n_open, len(found)) == (50, 210, 4)
    assert suggest(unlabelled, n=7, strategy=strategy).n_considered == 70


def test_table_goes_back_in_as_it_is(unlabelled: Path, truth: list[str], tmp_path: Path) -> None:
    table = tmp_path / "next.csv"
    found = suggest(unlabelled, n=6)
    found.write(table)
    with table.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    by_id = dict(zip(found.ids.tolist(), found.rows.tolist(), strict=True))
    for line in lines:
        line["label"] = truth[by_id[line["id"]]]
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    with pytest.warns(FeatxWarning, match="columns passed over: 'split'"):
        report = label_cache(unlabelled, table, author="ada")
    assert report.n_changed == 6
    with pytest.warns(FeatxWarning, match="columns passed over: 'label'"):
        assert label_cache(unlabelled, table, field="split", author="ada").n_changed == 6
    with open_cache(unlabelled) as cache:
        assert sorted(cache.select_rows("train", labelled=True)) == sorted(found.rows)
    again = suggest(unlabelled, n=6)
    assert not set(again.rows.tolist()) & set(found.rows.tolist())


def test_rows_whose_id_is_no_cell_go_by_their_path(tmp_path: Path, truth: list[str]) -> None:
    rows = build_rows(["=sum", "ants"], [None] * 2)
    rows = [
        type(row)(**{name: getattr(row, name) for name in row.__slots__} | {"label": None})
        for row in rows
    ]
    vectors = np.eye(2, 8, dtype=np.float32)
    path = write_vectors(tmp_path / "c.h5", [build_info()], rows, {"tiny": vectors})
    table = tmp_path / "next.csv"
    suggest(path, n=2).write(table)
    table.write_text(table.read_text().replace("jpg,,train", "jpg,bees,train"))
    with pytest.warns(FeatxWarning):
        assert label_cache(path, table, author="ada").n_changed == 2


def test_gain_of_the_last_labels_is_told(tmp_path: Path, truth: list[str]) -> None:
    splits = ["val" if number < 100 else "train" for number in range(300)]
    path = write(tmp_path / "c.h5", truth, splits=splits)
    say(path, truth, range(106))
    first = fit_head(path, C=1.0)
    say(path, truth, range(106, 180))
    second = fit_head(path, C=1.0)
    gain = suggest(path, second, n=2, previous=first).gain
    assert gain is not None
    assert (gain.n_more, gain.scores.n_rows) == (74, 100)
    assert suggest(path, second, n=2).gain is None
    with pytest.raises(HeadError, match="fewer labels than the 6 of the later one, got one of 80"):
        suggest(path, first, n=2, previous=second)
    with pytest.raises(HeadError, match=r"fewer labels than the 80 of .*, got one of 80 labels"):
        suggest(path, second, n=2, previous=second)
    with pytest.raises(HeadError, match="a later head beside it"):
        suggest(path, n=2, previous=first)


def test_fewer_rows_than_asked_for_are_told(unlabelled: Path, truth: list[str]) -> None:
    say(unlabelled, truth, range(298))
    with pytest.warns(FeatxWarning, match=r"2 may be labelled next, .*; 50 were asked for"):
        assert len(suggest(unlabelled)) == 2
    say(unlabelled, truth, [298, 299])
    with pytest.raises(CacheError, match="none: of 300 rows, 0 may be labelled next"):
        suggest(unlabelled)


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_wrong_number_is_refused(unlabelled: Path, n: Any) -> None:
    with pytest.raises(HeadError, match=r"^n: expected a number of rows, at least 1"):
        suggest(unlabelled, n=n)


def test_wrong_words_and_heads_are_refused(unlabelled: Path, make_cache: MakeCache) -> None:
    with pytest.raises(HeadError, match="strategy"):
        suggest(unlabelled, strategy="best")  # type: ignore[arg-type]
    with pytest.raises(HeadError, match="seed"):
        suggest(unlabelled, seed=-1)
    other = make_cache("other.h5", infos=[build_info("tiny", dim=4)])
    head = fit_head(other, C=1.0)
    with pytest.raises(FingerprintError):
        suggest(unlabelled, head)
    with pytest.raises(FeatxError, match=r"featx\.suggest\("):
        suggest(save(head, unlabelled.with_name("head.joblib")), unlabelled)


def save(head: featx.Head, path: Path) -> Path:
    head.save(path)
    return path
