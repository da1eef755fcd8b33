"""The map of rows is that of scikit-learn's PCA on vectors of length 1, read in blocks."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from featx.analytics.projection import project_rows
from featx.cache.joined import open_cache
from featx.cache.selection import Selection
from featx.core.errors import CacheError
from tests.builders import build_info, build_rows, write_vectors


@pytest.mark.parametrize("n_rows", [7, 1000])
def test_map_equals_principal_components(
    cache_path: Path, n_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    iter_blocks = Selection.iter_blocks
    monkeypatch.setattr(Selection, "iter_blocks", lambda self: iter_blocks(self, n_rows))
    with open_cache(cache_path) as cache:
        points = project_rows(cache.select(embedding="tiny"))
        X = normalize(cache.read_vectors().astype(np.float64))
    expected = PCA(2).fit_transform(X)
    assert points.dtype == np.float32
    signs = np.sign((points * expected).sum(axis=0))
    np.testing.assert_allclose(points, expected * signs, atol=1e-5)


def test_few_dimensions_and_zeros_have_a_map(tmp_path: Path) -> None:
    rows = build_rows(["a"] * 3, [None] * 3)
    vectors = np.array([[1], [0], [2]], np.float32)
    write_vectors(tmp_path / "c.h5", [build_info(dim=1)], rows, {"tiny": vectors})
    with open_cache(tmp_path / "c.h5") as cache:
        points = project_rows(cache.select(embedding="tiny"))
        assert points.shape == (3, 2)
        assert np.isfinite(points).all()
        with pytest.raises(CacheError, match="at least one row with a vector"):
            project_rows(cache.select(where=np.zeros(3, bool)))
