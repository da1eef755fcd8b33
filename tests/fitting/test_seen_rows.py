"""Rows that a head has learnt from, also where no digest tells them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import featx
from featx.fitting.scored_rows import ScoredRows
from featx.fitting.seen_rows import find_related_rows, find_seen_rows
from featx.heads.head import Head
from tests.builders import MakeCache, build_info, build_rows, write_vectors


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """Import 24 vectors of two classes without digests, of which 16 are train and 8 val."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "v.npy", rng.normal(size=(24, 4)).astype(np.float32))
    lines = [f"{n},{'ab'[n % 2]},{'train' if n < 16 else 'val'}" for n in range(24)]
    (tmp_path / "ids.csv").write_text("\n".join(["id,label,split", *lines]))
    path = tmp_path / "imported.h5"
    featx.import_embeddings(tmp_path / "v.npy", ids=tmp_path / "ids.csv", output=path, model="m")
    return path


def fit(path: Path, split: str) -> Head:
    return featx.fit_head(path, split=split, C=1.0, progress=False)


def find_seen(path: Path, head: Head) -> list[int]:
    with featx.open_cache(path) as cache:
        return np.flatnonzero(find_seen_rows(cache, head, cache.embeddings)).tolist()


@pytest.mark.parametrize(("split", "seen"), [("train", range(16)), ("all", range(24))])
def test_rows_without_digests_are_known_by_their_vectors(
    imported: Path, tmp_path: Path, split: str, seen: range
) -> None:
    head = fit(imported, split)
    assert find_seen(imported, head) == list(seen)
    other = tmp_path / "other.h5"
    other.write_bytes(imported.read_bytes())
    assert find_seen(other, head) == list(seen)
    featx.split_cache(imported, val=0.5, overwrite=True)
    assert find_seen(imported, head) == list(seen)


def test_rows_without_digests_of_several_embeddings_and_targets_are_known(
    tmp_path: Path,
) -> None:
    rows = [replace(row, digest="") for row in build_rows(["ants", "bees"] * 20, [None] * 40)]
    X = np.random.default_rng(0).normal(size=(2, 40, 8)).astype(np.float16)
    vectors = {"one": X[0], "two": X[1]}
    infos = [build_info("one"), build_info("two")]
    path = write_vectors(tmp_path / "two.h5", infos, rows, vectors, dtype="float16")
    names = ["two", "one"]
    head = featx.fit_head(path, embedding=names, scaling="l2", C=1.0, progress=False)
    with featx.open_cache(path) as cache:
        assert find_seen_rows(cache, head, names).all()
        numbers = {key: float(n) for n, key in enumerate(cache.ids)}
    featx.label_cache(path, numbers, field="weight")
    head = featx.fit_head(path, target="weight", embedding="one", C=1.0, progress=False)
    with featx.open_cache(path) as cache:
        assert find_seen_rows(cache, head, "one").all()


def test_a_head_that_knows_no_vectors_goes_by_cache_and_split(
    imported: Path, tmp_path: Path
) -> None:
    head = fit(imported, "train")
    old = replace(head, seen=head.seen[:0])
    assert find_seen(imported, old) == list(range(16))
    other = tmp_path / "other.h5"
    other.write_bytes(imported.read_bytes())
    assert find_seen(other, old) == []


def test_an_old_head_is_not_scored_on_its_rows_after_another_split(imported: Path) -> None:
    head = fit(imported, "train")
    featx.split_cache(imported, val=0.5, seed=3, overwrite=True)
    with featx.open_cache(imported) as cache:
        n_old = int((cache.splits[:16] == "val").sum())
    with pytest.warns(featx.FeatxWarning, match=f"^{n_old} of 12 rows were used to fit the head"):
        assert featx.evaluate(head, imported).n_seen == n_old > 0


def test_imported_rows_that_were_fitted_on_are_told(imported: Path) -> None:
    head = fit(imported, "all")
    with pytest.warns(featx.FeatxWarning, match="8 of 8 rows were used to fit the head"):
        assert featx.evaluate(head, imported).n_seen == 8
    assert featx.evaluate(fit(imported, "train"), imported).n_seen == 0


def test_rows_of_groups_that_were_fitted_on_are_told(make_cache: MakeCache) -> None:
    groups = [f"g{n // 3}" for n in range(60)]  # g13 has a row in train and two in val
    path = make_cache(groups=groups)
    head = fit(path, "train")
    match = "^2 of 20 rows are of groups of which other rows were learnt from: their scores may be"
    with pytest.warns(featx.FeatxWarning, match=match):
        scores = featx.evaluate(head, path)
    assert (scores.n_related, scores.n_seen) == (2, 0)
    with featx.open_cache(path) as cache:
        seen = find_seen_rows(cache, head, cache.embeddings)
        related = find_related_rows(cache, seen)
        assert related is not None
        assert np.flatnonzero(related).tolist() == [40, 41]
        unseen = ScoredRows.read(cache, head, split="all").select_unseen()
    assert unseen is not None
    assert unseen.score().n_related == 2
    with pytest.warns(featx.FeatxWarning, match=f"split val: {match[1:]}"):
        found = featx.compare_heads({"a": head, "b": fit(path, "train")}, path)
    assert found.to_dict()["n_related"] == 2


def test_groups_of_a_cache_without_a_row_that_was_learnt_from_are_not_counted(
    make_cache: MakeCache,
) -> None:
    groups = [f"g{n // 3}" for n in range(60)]
    head = fit(make_cache("first.h5", n_train=60, n_val=0, groups=groups), "all")
    stranger = replace(head, seen=head.seen[:0] + np.uint64(1))
    second = make_cache("second.h5", n_train=0, n_val=60, groups=groups)
    scores = featx.evaluate(stranger, second)
    assert (scores.n_seen, scores.n_related, scores.n_alike) == (0, None, None)


def test_a_copy_joins_the_groups_that_it_lies_in(tmp_path: Path) -> None:
    labels, splits = ["ants", "bees"] * 20, ["train"] * 20 + ["val"] * 20
    rows = build_rows(labels, splits)  # type: ignore[arg-type]
    # Row 5 has no split: it lies in the group of row 1, of train, and is a copy of row 31, of val.
    rows[1] = replace(rows[1], group="nest")
    rows[5] = replace(rows[5], group="nest", label=None, split=None, digest=rows[31].digest)
    X = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    path = write_vectors(tmp_path / "chain.h5", [build_info()], rows, {"tiny": X})
    head = fit(path, "train")
    with pytest.warns(featx.FeatxWarning, match="^1 of 20 rows is of groups"):
        assert featx.evaluate(head, path).n_related == 1


def test_a_group_whose_rows_are_all_held_out_is_not_told(make_cache: MakeCache) -> None:
    path = make_cache(groups=[f"g{n // 2}" for n in range(60)])
    assert featx.evaluate(fit(path, "train"), path).n_related == 0


def test_rows_of_groups_are_told_of_heads_for_a_number(make_cache: MakeCache) -> None:
    path = make_cache(groups=[f"g{n // 3}" for n in range(60)])
    with featx.open_cache(path) as cache:
        numbers = {key: float(n) for n, key in enumerate(cache.ids)}
    featx.label_cache(path, numbers, field="weight")
    head = featx.fit_head(path, target="weight", C=1.0, progress=False)
    with pytest.warns(featx.FeatxWarning, match="2 of 20 rows are of groups"):
        scores = featx.evaluate_target(head, path)
    assert scores.to_dict()["n_related"] == 2
