"""Export, import, export: the second file is the first one to the last bit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.core.errors import ExchangeError
from featx.exchange.export import export_cache
from featx.exchange.imported import import_embeddings
from featx.images.labels import clean_label
from tests.exchange.builders import (
    SUFFIXES,
    check_same_content,
    read_bytes,
    write_odd_cache,
)

pytest.importorskip("pyarrow", reason="needs pyarrow")

PACKAGES = {"h5ad": "anndata", "lance": "lance"}

ODD = ["10", "2", "ant", 'naïve, "x"', "", "NA", "=1+1", "'tis", "1.0", "蟻", "a;b|c", "null"]

LABELS = st.one_of(
    st.sampled_from(ODD), st.text(max_size=8).map(lambda text: clean_label(text) or "")
)

DTYPES = [np.float32, np.float16]


@pytest.fixture(params=SUFFIXES)
def suffix(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(PACKAGES.get(name, "pyarrow"), reason="needs an extra")
    return name


def go_round(folder: Path, suffix: str) -> None:
    """Export, import and export again; compare both files, and both caches."""
    first, second = folder / f"first.{suffix}", folder / f"second.{suffix}"
    before, after = folder / "before.h5", folder / "after.h5"
    exported = export_cache(before, first)
    imported = import_embeddings(first, output=after)
    assert (imported.is_own, imported.n_rows) == (True, exported.n_rows)
    assert imported.fingerprint == exported.fingerprint
    again = export_cache(after, second)
    assert again.columns == exported.columns
    assert read_bytes(first) == read_bytes(second)
    check_same_content(before, after)


@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_labels_and_values_go_round(
    tmp_path: Path, suffix: str, dtype: type[np.floating]
) -> None:
    info = np.finfo(dtype)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(ODD), 5)).astype(dtype)
    vectors[0] = [info.max, info.min, info.tiny, info.smallest_subnormal, -0.0]
    further = {"price": ["1.50", "", *ODD[2:]], "größe in m": [""] * len(ODD)}
    write_odd_cache(tmp_path / "before.h5", vectors, ODD, further=further)
    go_round(tmp_path, suffix)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    suffix=st.sampled_from(["parquet", "npz", "csv", "arrow"]),
    labels=st.lists(LABELS, min_size=1, max_size=6),
    dim=st.integers(1, 4),
    is_half=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_labels_go_round(
    suffix: str, labels: list[str], dim: int, is_half: bool, seed: int
) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(labels), dim))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_odd_cache(
            folder / "before.h5",
            vectors.astype(np.float16 if is_half else np.float32),
            labels,
            further={"note": labels[::-1]},
        )
        go_round(folder, suffix)


def test_an_import_of_others_goes_round_too(tmp_path: Path, suffix: str) -> None:
    np.save(tmp_path / "v.npy", np.eye(4, 3, dtype=np.float32))
    import_embeddings(tmp_path / "v.npy", output=tmp_path / "before.h5", model="clip")
    go_round(tmp_path, suffix)


@pytest.mark.parametrize("part", ["vectors", "texts"])
@pytest.mark.parametrize("name", ["parquet", "arrow", "npz", "h5ad"])
def test_a_byte_that_changed_is_found(tmp_path: Path, name: str, part: str) -> None:
    pytest.importorskip(PACKAGES.get(name, "pyarrow"), reason="needs an extra")
    if (name, part) == ("h5ad", "texts"):
        pytest.skip("the columns of AnnData have no checksums")
    vectors = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    write_odd_cache(tmp_path / "before.h5", vectors, ["first-label"] * 5)
    file = tmp_path / f"first.{name}"
    export_cache(tmp_path / "before.h5", file)
    data = bytearray(file.read_bytes())
    text = b"first-label" if name != "npz" else "first-label".encode("utf-32-le")
    data[data.index(vectors[3].tobytes() if part == "vectors" else text) + 1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ExchangeError, match=rf"first\.{name}"):
        import_embeddings(file, output=tmp_path / "after.h5")
    assert not (tmp_path / "after.h5").exists()
