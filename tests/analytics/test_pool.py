"""The account of all rows: each is counted once, and units and val are left alone."""

from pathlib import Path

import numpy as np

from featx.analytics.pool import Pool
from featx.cache.joined import open_cache
from tests.builders import build_info, build_rows, write_vectors


def test_each_row_is_counted_once(tmp_path: Path) -> None:
    labels = ["ants", "bees", None, None, None, None, None, None, None, None]
    splits = ["train", "val", "val", None, None, None, None, None, "train", None]
    groups = ["a", "v", None, "v", "a", None, "g", "g", None, None]
    vectors = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float32)
    vectors[[5, 6]] = np.nan
    rows = build_rows(labels, splits, groups)  # type: ignore[arg-type]
    path = write_vectors(tmp_path / "c.h5", [build_info()], rows, {"tiny": vectors})
    with open_cache(path) as cache:
        pool = Pool.read(cache, "tiny")
    # 2 lies in val and 3 in its group; 4 is in the group of a label; 5 and 6 lack a vector.
    assert pool.rows.tolist() == [7, 8, 9]
    assert pool.learnt.tolist() == [0]
    counts = (pool.n_labelled, pool.n_held_out, pool.n_without_vector, pool.n_alike)
    assert counts == (2, 2, 2, 1)
    assert sum(counts) + len(pool.rows) == pool.n_rows == 10
    assert pool.describe() == (
        "of 10 rows, 3 may be labelled next, 2 labelled, 2 in val or test, or of a group or file "
        "there, 2 without a vector, 1 a copy of another row, or of its group"
    )


def test_of_copies_one_is_open(tmp_path: Path) -> None:
    rows = build_rows([None] * 4, [None] * 4, [None, "g", "g", "g"])
    vectors = np.ones((4, 8), np.float32)
    path = write_vectors(tmp_path / "c.h5", [build_info()], rows, {"tiny": vectors})
    with open_cache(path) as cache:
        pool = Pool.read(cache, "tiny")
    assert pool.rows.tolist() == [0, 1]
    assert pool.n_alike == 2
    assert pool.describe().endswith("2 copies of other rows, or of their groups")
