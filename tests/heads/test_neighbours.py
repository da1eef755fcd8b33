"""One pass over all pairs of rows finds the neighbours of every part."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from featx.heads import neighbours
from featx.heads.neighbours import find_cells, find_nearest


@pytest.mark.parametrize("block_rows", [7, 1024])
@pytest.mark.parametrize("n_most", [1, 4, 30])
def test_each_cell_has_its_nearest_rows(
    monkeypatch: pytest.MonkeyPatch, block_rows: int, n_most: int
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", block_rows)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    sizes = [11, 3, 26]
    found = find_nearest(rows, np.arange(40), sizes, n_most)
    assert found.shape == (40, sum(min(size, n_most) for size in sizes))
    alike = rows @ rows.T
    for row, near in enumerate(found):
        assert (np.diff(alike[row, near]) <= 0).all()
        for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
            in_cell = np.arange(start, start + size)
            nearest = in_cell[np.argsort(-alike[row, in_cell])][:n_most]
            assert set(near) & set(in_cell) == set(nearest)


def test_cells_are_folds_where_parts_leave_pairs_of_folds_out() -> None:
    folds = np.arange(20) % 4
    folds[18:] = 9  # never scored, such as rows that a network has learnt from
    parts = [
        (np.flatnonzero(~np.isin(folds, pair)), np.flatnonzero(np.isin(folds, pair)))
        for pair in itertools.combinations_with_replacement(range(4), 2)
    ]
    cells = find_cells(parts, 20)
    assert cells.max() == 4
    assert len(set(zip(cells.tolist(), folds.tolist(), strict=True))) == 5
