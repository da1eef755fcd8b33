"""Near-duplicates stay together in a split, and what they were worth to a score is measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.analytics.duplicates import NearDuplicates, find_near_duplicates
from featx.cache.joined import open_cache
from featx.core.errors import FeatxWarning
from featx.fitting.similar import LeakGain, find_row_units, measure_leak, name_clusters
from featx.fitting.split import record_split, split_cache
from tests.builders import build_info, build_rows, write_vectors

N_PLAIN, N_COPIES, DIM = 240, 80, 256


def write_twins(tmp_path: Path, *, splits: bool, labels: str = "random", seed: int = 0) -> Path:
    """Write rows without any order, and near copies of a third of them, held out."""
    rng = np.random.default_rng(seed)
    plain = rng.normal(size=(N_PLAIN, DIM))
    X = np.concatenate([plain, plain[:N_COPIES] + 0.05 * rng.normal(size=(N_COPIES, DIM))])
    names = rng.choice(["ants", "bees"], N_PLAIN)
    if labels == "clear":
        names = np.where(plain[:, 0] > 0, "ants", "bees")
        X[:, 0] *= 20
    names = np.concatenate([names, names[:N_COPIES]])
    sides: Any = [*["train"] * N_PLAIN, *["val"] * N_COPIES] if splits else [None] * len(X)
    info = build_info(dim=DIM)
    rows = build_rows(names.tolist(), sides)
    return write_vectors(tmp_path / "twins.h5", [info], rows, {info.name: X.astype(np.float32)})


def find(path: Path) -> NearDuplicates:
    with open_cache(path) as cache:
        return find_near_duplicates(cache, images=None, progress=False)


def measure(path: Path) -> LeakGain | None:
    found = find(path)
    with open_cache(path) as cache:
        return measure_leak(cache, found, cache.splits)


def test_no_pair_crosses_at_any_seed_and_shares_hold(tmp_path: Path) -> None:
    path = write_twins(tmp_path, splits=False)
    found = find(path)
    assert set(zip(found.a.tolist(), found.b.tolist(), strict=True)) == {
        (row, N_PLAIN + row) for row in range(N_COPIES)
    }
    for seed in range(5):
        split_cache(path, val=0.25, seed=seed, together="similar", overwrite=True)
        with open_cache(path) as cache:
            splits, labels = cache.splits, cache.labels
        assert (splits[found.a] == splits[found.b]).all()
        for label in ("ants", "bees"):
            assert abs((splits[labels == label] == "val").mean() - 0.25) < 0.015


def test_split_without_it_parts_them(tmp_path: Path) -> None:
    path = write_twins(tmp_path, splits=False)
    found = find(path)
    split_cache(path, val=0.25)
    with open_cache(path) as cache:
        assert (cache.splits[found.a] != cache.splits[found.b]).any()


def test_new_rows_go_where_their_near_duplicates_lie(tmp_path: Path) -> None:
    path = write_twins(tmp_path, splits=False)
    with open_cache(path) as cache:
        ids = cache.ids
    held = dict.fromkeys(ids[:N_PLAIN:4].tolist(), "val") | dict.fromkeys(
        ids[2:N_PLAIN:4].tolist(), "train"
    )
    featx.label_cache(path, held, field="split", author="ada")
    with pytest.warns(FeatxWarning) as caught:
        split_cache(path, new=True, together="similar")
    told = "40 of them went where other rows of their group or file, or their near-duplicates, lie"
    assert told in [str(one.message) for one in caught]
    with open_cache(path) as cache:
        splits = cache.splits
    assert (splits[:N_PLAIN:4] == "val").all()
    assert (splits[:N_COPIES] == splits[N_PLAIN:]).all()


def test_leak_that_tells_the_labels_flatters(tmp_path: Path) -> None:
    leak = measure(write_twins(tmp_path, splits=True))
    assert leak is not None
    assert (leak.split, leak.n_held_out, leak.n_leaked) == ("val", N_COPIES, N_COPIES)
    assert leak.n_removed == N_COPIES
    assert leak.is_sure
    assert leak.gain == pytest.approx(leak.leaky - leak.clean)
    low, high = leak.gain_ci95
    assert 0 < low < leak.gain < high
    assert "flattered the score by 0." in str(leak)


def test_leak_that_tells_nothing_new_cannot_be_told(tmp_path: Path) -> None:
    leak = measure(write_twins(tmp_path, splits=True, labels="clear"))
    assert leak is not None
    assert not leak.is_sure
    assert "cannot tell" in str(leak)


def test_leak_is_none_where_nothing_leaked(tmp_path: Path) -> None:
    path = write_twins(tmp_path, splits=False)
    split_cache(path, together="similar")
    assert measure(path) is None


def test_similar_rows_are_found_by_the_embedding_that_is_named(tmp_path: Path) -> None:
    infos = [build_info(name, dim=8) for name in ("noise", "twins")]
    rng = np.random.default_rng(0)
    half = rng.normal(size=(20, 8))
    vectors = {"noise": rng.normal(size=(40, 8)), "twins": np.concatenate([half, half])}
    rows = build_rows(["ants", "bees"] * 20, [None] * 40)
    path = write_vectors(
        tmp_path / "two.h5", infos, rows, {k: v.astype(np.float32) for k, v in vectors.items()}
    )
    with pytest.raises(
        featx.CacheError, match=r"one of its embeddings \(noise, twins\), got none named"
    ):
        split_cache(path, together="similar")
    split_cache(path, together="similar", embedding="twins")
    with open_cache(path) as cache:
        assert cache.splits[:20].tolist() == cache.splits[20:].tolist()


def test_report_counts_what_was_parted_before(tmp_path: Path) -> None:
    report = record_split(
        write_twins(tmp_path, splits=True),
        val=0.25,
        test=None,
        seed=0,
        new=False,
        overwrite=True,
        author=None,
        together="similar",
    )
    similar = report.similar
    assert similar is not None
    assert (similar.n_pairs, similar.n_clusters, similar.n_parted) == (N_COPIES,) * 3
    assert 0 < similar.n_missing <= N_PLAIN + N_COPIES  # of those that were proposed
    told = similar.to_dict()
    assert set(told["leak"]) >= {"gain", "gain_ci95", "leaky", "clean"}


def test_units_join_groups_with_near_duplicates(tmp_path: Path) -> None:
    path = write_twins(tmp_path, splits=False)
    found = find(path)
    names = name_clusters(found)
    assert (names[:N_COPIES] == names[N_PLAIN:]).all()
    assert (names[N_COPIES:N_PLAIN] == "").all()
    with open_cache(path) as cache:
        assert find_row_units(cache, None) is None
        units = find_row_units(cache, found)
    assert units is not None
    assert units.max() == N_PLAIN - 1


def test_command_prints_what_was_parted(tmp_path: Path, run_cli: Any) -> None:
    path = write_twins(tmp_path, splits=True)
    result = run_cli("split", str(path), "--together", "similar", "--overwrite")
    assert result.code == 0, result.err
    assert "80 pairs of near-duplicates in 80 clusters stay together; 80 were parted" in result.out
    assert "flattered the score by 0." in result.out


def test_class_of_near_duplicates_alone_is_not_said_to_be_one_file(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(200, DIM)).astype(np.float32)
    X[1:4] = X[0] * (1 + 1e-3 * X[1:4])
    rows = build_rows(["ants"] * 4 + ["bees"] * 196, [None] * 200)
    path = write_vectors(tmp_path / "alike.h5", [build_info(dim=DIM)], rows, {"tiny": X})
    joined = r"val has no ants \(4 rows that are joined as near-duplicates\)"
    with pytest.warns(featx.FeatxWarning, match=joined):
        split_cache(path, together="similar")
    split_cache(path, overwrite=True)
    with featx.open_cache(path) as cache:
        assert set(cache.splits[:4]) == {"train", "val"}
