"""Clusters are what sure pairs connect, and one image of each is kept by rule."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.analytics.clusters import choose_kept, find_clusters
from featx.cache.joined import open_cache
from tests.builders import build_info, build_rows, write_vectors


def cluster(n_rows: int, *pairs: tuple[int, int, float]) -> list[int]:
    ordered = sorted(pairs, key=lambda pair: -pair[2])
    a, b = (np.array([pair[end] for pair in ordered], np.int64) for end in (0, 1))
    score = np.array([pair[2] for pair in ordered])
    found: list[int] = find_clusters(n_rows, a, b, score).tolist()
    return found


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], [-1, -1, -1, -1, -1]),
        ([(0, 1, 0.99), (1, 2, 0.95)], [0, 0, 0, -1, -1]),
        ([(3, 4, 0.99), (0, 2, 0.99)], [0, -1, 0, 1, 1]),
        ([(0, 1, 0.99), (1, 2, 0.86)], [0, 0, 0, -1, -1]),
        ([(0, 1, 0.99), (2, 3, 0.99), (1, 2, 0.86)], [0, 0, 1, 1, -1]),
        ([(0, 1, 0.87), (1, 2, 0.86), (2, 3, 0.86)], [0, 0, 0, 0, -1]),
    ],
)
def test_weak_pairs_join_no_two_clusters(pairs: Any, expected: list[int]) -> None:
    assert cluster(5, *pairs) == expected


def test_held_out_then_largest_then_first_is_kept(tmp_path: Path) -> None:
    splits: Any = ["train", "val", "test", "train", "train", "train", None, None, "train"]
    rows = build_rows(["a"] * len(splits), splits)
    rows[4] = replace(rows[4], width=90)
    info = build_info()
    path = write_vectors(
        tmp_path / "kept.h5", [info], rows, {info.name: np.eye(len(rows), 8, dtype=np.float32)}
    )
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, -1])
    with open_cache(path) as cache:
        kept = choose_kept(cache, groups)
    assert kept.tolist()[:3] == [False, False, True]
    assert kept.tolist()[3:6] == [False, True, False]
    assert kept.tolist()[6:] == [True, False, True]
