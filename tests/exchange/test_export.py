"""What an export writes, what it leaves out, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.core import errors
from featx.core.errors import CacheError, ExchangeError, MissingExtraError
from featx.exchange import table as export_table
from featx.exchange.export import export_cache
from tests.builders import build_rows
from tests.exchange.builders import SUFFIXES, read_bytes, write_odd_cache, write_rows_with

VECTORS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
LABELS = ["a", "b", "", "a", "b", "a", "c"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_odd_cache(Path("c.h5"), VECTORS, LABELS)


def test_rows_without_a_vector_are_left_out_and_counted(cache: Path) -> None:
    rows = build_rows(["a", "b", "a"], ["train", None, "val"])
    vectors = VECTORS[:3].copy()
    vectors[1] = np.nan
    path = write_rows_with(Path("gap.h5"), rows, vectors, {})
    report = export_cache(path, "gap.npz")
    assert (report.n_rows, report.n_without_vector, report.n_not_asked) == (2, 1, 0)
    assert "2 rows, tiny (dim 3, float32), 8 columns; 1 without a vector left out" in str(report)
    with np.load("gap.npz") as arrays:
        assert np.array_equal(arrays["embedding"], vectors[[0, 2]])
        assert arrays["id"].tolist() == [rows[0].id, rows[2].id]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"split": "train"}, [0, 3, 6]),
        ({"split": "all"}, [*range(7)]),
        ({"labels": "a"}, [0, 3, 5]),
        ({"labels": ["a", "c"], "split": "train"}, [0, 3, 6]),
    ],
)
def test_rows_are_chosen_by_split_and_label(
    cache: Path, options: dict[str, Any], chosen: list[int]
) -> None:
    report = export_cache(cache, "c.npz", **options)
    assert (report.n_rows, report.n_not_asked) == (len(chosen), 7 - len(chosen))
    with np.load("c.npz") as arrays:
        assert np.array_equal(arrays["embedding"], VECTORS[chosen])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blocks_of_any_size_give_the_same_file(
    cache: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"h5ad": "anndata", "lance": "lance", "npz": "numpy", "csv": "csv"}
    pytest.importorskip(package.get(suffix, "pyarrow"), reason="needs an extra")
    export_cache(cache, f"one.{suffix}")
    monkeypatch.setattr(export_table, "BLOCK_BYTES", 2 * 12)
    monkeypatch.setattr(export_table, "MAX_SPAN", 3)
    export_cache(cache, f"many.{suffix}")
    if suffix in ("parquet", "arrow"):  # blocks are their groups of rows
        featx.import_embeddings(f"many.{suffix}", output="back.h5")
        with featx.open_cache("back.h5") as back:
            assert np.array_equal(back.read_vectors(), VECTORS)
            assert back.labels.tolist() == LABELS
    else:
        assert read_bytes(Path(f"one.{suffix}")) == read_bytes(Path(f"many.{suffix}"))


def test_one_of_several_embeddings_is_named(make_cache: Any, make_info: Any) -> None:
    path = make_cache("s.h5", infos=[make_info("tiny"), make_info("wide", dim=5)])
    with pytest.raises(CacheError, match="Pass embedding=NAME"):
        export_cache(path, path.with_suffix(".npz"))
    assert export_cache(path, path.with_suffix(".npz"), embedding="wide").dim == 5


@pytest.mark.parametrize("suffix", ["npz", "csv", "lance"])
def test_an_output_that_exists_is_replaced_only_if_asked(cache: Path, suffix: str) -> None:
    if suffix == "lance":
        pytest.importorskip("lance", reason="needs pylance")
    path = Path(f"c.{suffix}")
    export_cache(cache, path, split="train")
    before = read_bytes(path)
    with pytest.raises(ExchangeError, match="Pass overwrite=True to replace it"):
        export_cache(cache, path)
    assert read_bytes(path) == before
    assert export_cache(cache, path, overwrite=True).n_rows == 7
    assert read_bytes(path) != before
    assert not [*Path().glob(".*partial")]


def test_a_folder_that_is_no_dataset_is_never_replaced(cache: Path) -> None:
    Path("c.lance").mkdir()
    Path("c.lance/precious").touch()
    with pytest.raises(ExchangeError, match="expected a new dataset, got something else"):
        export_cache(cache, "c.lance", overwrite=True)


def test_lance_prints_no_warning(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lance", reason="needs pylance")
    export_cache(cache, "c.lance")
    assert "WARN" not in capfd.readouterr().err


def test_an_export_never_replaces_its_cache(cache: Path) -> None:
    named = cache.with_suffix(".npz")
    before = cache.read_bytes()
    named.symlink_to(cache)
    with pytest.raises(ExchangeError, match="got a file that the run reads"):
        featx.export_cache(cache, named, overwrite=True)
    assert cache.read_bytes() == before


def test_a_failed_export_leaves_what_was_there(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_cache(cache, "c.npz")
    before = Path("c.npz").read_bytes()

    def fail(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_table.ExportTable, "read_vectors", fail)
    with pytest.raises(ExchangeError, match=r"got No space left on device\. The file at this path"):
        export_cache(cache, "c.npz", overwrite=True)
    assert Path("c.npz").read_bytes() == before
    assert not [*Path().glob(".*partial")]


def test_what_is_not_there_is_refused(cache: Path) -> None:
    with pytest.raises(ExchangeError, match=r"c\.xlsx: expected the name of a file .*: \.parquet"):
        export_cache(cache, "c.xlsx")
    with pytest.raises(CacheError, match="expected rows with the label 'd'"):
        export_cache(cache, "c.npz", labels="d")
    with pytest.raises(CacheError, match="expected rows in split 'test'"):
        export_cache(cache, "c.npz", split="test")
    with pytest.raises(ExchangeError, match="expected at least one row with a tiny vector"):
        export_cache(cache, "c.npz", labels="c", split="val")
    assert not Path("c.npz").exists()


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        ("npz", ["embedding"]),
        ("csv", ["e7", "embedding"]),
        ("h5ad", ["_index", "a/b", "embedding"]),
        ("lance", ["a.b", "embedding"]),
    ],
)
def test_a_column_whose_name_is_taken_is_left_out_with_a_note(
    cache: Path, suffix: str, names: list[str]
) -> None:
    pytest.importorskip({"h5ad": "anndata", "lance": "lance"}.get(suffix, "numpy"))
    further = {name: ["1"] * 7 for name in ("embedding", "e7", "_index", "a/b", "a.b", "a b")}
    path = write_odd_cache(Path("t.h5"), VECTORS, LABELS, further=further)
    with pytest.warns(featx.FeatxWarning, match=f"cannot have: {names[0]}"):
        report = export_cache(path, f"t.{suffix}")
    assert set(further) - set(report.columns) == set(names)


@pytest.mark.parametrize(
    ("suffix", "package", "extra"),
    [("parquet", "pyarrow", "parquet"), ("h5ad", "anndata", "h5ad"), ("lance", "lance", "lance")],
)
def test_a_missing_package_is_named_with_its_extra(
    cache: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, package: str, extra: str
) -> None:
    find = errors.importlib.import_module  # type: ignore[attr-defined]

    def refuse(name: str) -> Any:
        if name.split(".")[0] == package:
            raise ImportError(name)
        return find(name)

    monkeypatch.setattr(errors.importlib, "import_module", refuse)  # type: ignore[attr-defined]
    with pytest.raises(MissingExtraError, match=f"the extra {extra} of featx installs it"):
        export_cache(cache, f"c.{suffix}")
    assert not Path(f"c.{suffix}").exists()


def test_several_caches_are_exported_as_one(cache: Path) -> None:
    rows = [replace(row, id=f"other/{row.id}") for row in build_rows(["a", "b"], ["val", "val"])]
    other = write_rows_with(Path("d.h5"), rows, VECTORS[:2], {})
    report = export_cache([cache, other], "both.npz")
    assert report.n_rows == 9
    with np.load("both.npz") as arrays:
        assert np.array_equal(arrays["embedding"], np.concatenate([VECTORS, VECTORS[:2]]))
