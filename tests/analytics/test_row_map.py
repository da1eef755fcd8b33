"""Maps of rows: groups stay together, the same seed gives the same map, and samples are said."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import featx
from featx.analytics import row_map
from featx.analytics.row_map import arrange_rows, fit_unit_square, map_rows
from featx.core.errors import CacheError, FeatxError, FeatxWarning, MissingExtraError
from featx.core.typing import Float32Array
from tests.builders import build_info, build_rows, write_vectors


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 20 rows that lie far apart."""
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(8, dtype=np.float32)[:2], 20, axis=0)
    X = (centres + rng.normal(scale=0.05, size=centres.shape)).astype(np.float32)
    path = tmp_path_factory.mktemp("maps") / "c.h5"
    rows = build_rows(["a"] * 20 + ["b"] * 20, ["train", "val"] * 20)
    write_vectors(path, [build_info(dim=8)], rows, {"tiny": X})
    return path


@pytest.fixture
def fake_umap(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a module in place of umap-learn, which turns points by a quarter."""
    seen: dict[str, Any] = {}

    class UMAP:
        def __init__(self, **options: Any) -> None:
            seen.update(options)

        def fit_transform(self, points: Float32Array) -> Float32Array:
            seen["n_dims"] = points.shape[1]
            return points[:, 1::-1]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    return seen


def share_of_nearest(found: featx.RowMap) -> float:
    """Return the share of rows whose nearest row on the map has their class."""
    gaps = ((found.xy[:, None] - found.xy[None]) ** 2).sum(-1)
    np.fill_diagonal(gaps, np.inf)
    return float((found.labels[gaps.argmin(1)] == found.labels).mean())


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_map_keeps_classes_together_and_is_reproducible(clusters: Path, method: Any) -> None:
    found = map_rows(clusters, method=method)
    assert found.xy.dtype == np.float32
    assert found.xy.shape == (40, 2)
    assert (found.xy.min(), found.xy.max()) == (0, 1)
    assert share_of_nearest(found) == 1
    assert (found.xy == map_rows(clusters, method=method).xy).all()
    assert found.text.startswith(f"{row_map.NAMES[method]} of 40 rows. ")


def test_other_seed_gives_another_map(clusters: Path) -> None:
    first, second = (map_rows(clusters, method="tsne", seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.xy, second.xy)


def test_umap_gets_components_and_seed(clusters: Path, fake_umap: dict[str, Any]) -> None:
    found = map_rows(clusters, method="umap", seed=3)
    assert fake_umap["n_dims"] == row_map.N_DIMS
    assert (fake_umap["random_state"], fake_umap["n_neighbors"]) == (3, 15)
    np.testing.assert_allclose(found.xy, map_rows(clusters).xy[:, ::-1], atol=1e-6)


def test_missing_umap_is_told_before_the_work(
    clusters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(
        MissingExtraError, match=r"^umap: .*pip install umap-learn \(the extra umap of"
    ):
        map_rows(clusters, method="umap")


def test_sample_is_said_and_belongs_to_the_split(clusters: Path) -> None:
    with pytest.warns(FeatxWarning, match=r"^the map shows a random sample of 7 of 20 rows$"):
        found = map_rows(clusters, split="val", max_rows=7)
    assert (len(found), found.n_rows, set(found.splits)) == (7, 20, {"val"})
    assert "a random sample of 7 of 20 rows" in found.text
    assert (np.diff(found.rows) > 0).all()
    with featx.open_cache(clusters) as cache:
        assert cache.ids[found.rows].tolist() == found.ids.tolist()


def test_rows_without_a_vector_are_counted(tmp_path: Path) -> None:
    X = np.eye(6, 3, dtype=np.float32)
    X[4:] = np.nan
    rows = build_rows(["a"] * 6, [None] * 6)
    write_vectors(tmp_path / "c.h5", [build_info(dim=3)], rows, {"tiny": X})
    with pytest.warns(FeatxWarning, match=r"^left out: 2 rows without a vector$"):
        assert len(map_rows(tmp_path / "c.h5")) == 4


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_rows_that_are_all_equal_have_a_map(tmp_path: Path, method: Any) -> None:
    rows = build_rows(["a"] * 6, [None] * 6)
    write_vectors(
        tmp_path / "c.h5", [build_info(dim=3)], rows, {"tiny": np.ones((6, 3), np.float32)}
    )
    found = map_rows(tmp_path / "c.h5", method=method)
    assert np.isfinite(found.xy).all()


def test_too_few_rows_and_wrong_words_are_refused(clusters: Path) -> None:
    with featx.open_cache(clusters) as cache:
        few = cache.select(embedding="tiny", where=np.arange(40) < 4)
        with pytest.raises(CacheError, match=r"at least 5 rows .* for t-SNE, got 4\. .*pca"):
            arrange_rows(few, "tsne")
        with pytest.raises(FeatxError, match=r"^method: expected pca, tsne or umap, got 'mds'"):
            arrange_rows(few, "mds")  # type: ignore[arg-type]
        with pytest.raises(FeatxError, match=r"^max_rows: .* at least 1, got 0"):
            arrange_rows(few, max_rows=0)


def test_unit_square_keeps_proportions() -> None:
    points = np.array([[3, 1], [5, 1], [3, 0]], np.float32)
    assert fit_unit_square(points).tolist() == [[0, 0.75], [1, 0.75], [0, 0.25]]
    assert fit_unit_square(points[:1]).tolist() == [[0.5, 0.5]]
