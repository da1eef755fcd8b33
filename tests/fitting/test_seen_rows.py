"""Rows that a head has learnt from, also where no digest tells them."""

from pathlib import Path

import numpy as np
import pytest

import featx
from featx.fitting.seen_rows import find_seen_rows
from featx.heads.head import Head


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


@pytest.mark.parametrize(("split", "seen"), [("train", range(16)), ("all", range(24))])
def test_rows_without_digests_are_known_by_cache_and_split(
    imported: Path, split: str, seen: range
) -> None:
    with featx.open_cache(imported) as cache:
        found = find_seen_rows(cache, fit(imported, split))
    assert np.flatnonzero(found).tolist() == list(seen)


def test_rows_without_digests_of_another_cache_are_not_taken_for_those(
    imported: Path, tmp_path: Path
) -> None:
    head = fit(imported, "all")
    other = tmp_path / "other.h5"
    other.write_bytes(imported.read_bytes())
    with featx.open_cache(other) as cache:
        assert not find_seen_rows(cache, head).any()


def test_imported_rows_that_were_fitted_on_are_told(imported: Path) -> None:
    head = fit(imported, "all")
    with pytest.warns(featx.FeatxWarning, match="8 of 8 rows were used to fit the head"):
        assert featx.evaluate(head, imported).n_seen == 8
    assert featx.evaluate(fit(imported, "train"), imported).n_seen == 0
