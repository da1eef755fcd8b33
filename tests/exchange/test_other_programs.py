"""Each file is opened by the program that it is for, which sees the same rows and vectors."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.exchange.export import export_cache
from tests.exchange.builders import COLUMNS, write_odd_cache

LABELS = ["10", "2", "ant", 'naïve, "x"', "", "ant"]
PRICES = ["1.5", "", "2", "", "", "3"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of six rows, dim 4, with a column of the user."""
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    return write_odd_cache(tmp_path / "c.h5", vectors, LABELS, further={"price": PRICES})


@pytest.fixture
def known(cache: Path) -> Any:
    """Ids and vectors of the cache, and what the export says of them."""
    with open_cache(cache) as opened:
        return opened.ids.tolist(), opened.read_vectors()


NAMES = [*COLUMNS[:5], "price", *COLUMNS[5:]]
WITH_NULL = [label or None for label in LABELS]


def export(cache: Path, suffix: str) -> Path:
    path = cache.with_suffix(f".{suffix}")
    export_cache(cache, path)
    return path


def check_metadata(text: str | bytes) -> None:
    metadata = json.loads(text)
    assert (metadata["embedding"], metadata["fingerprint"]["dim"]) == ("tiny", 4)
    assert metadata["columns"] == ["price"]
    assert metadata["featx"]


def test_pyarrow_reads_parquet_and_arrow(cache: Path, known: Any) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    parquet, feather = (pytest.importorskip(f"pyarrow.{name}") for name in ("parquet", "feather"))
    for table in (
        parquet.read_table(export(cache, "parquet")),
        feather.read_table(export(cache, "arrow")),
    ):
        assert table.column_names == [*NAMES, "embedding"]
        lists = table.schema.field("embedding").type
        assert (lists.list_size, lists.value_type) == (4, pa.float32())
        assert table["id"].to_pylist() == known[0]
        assert table["label"].to_pylist() == WITH_NULL
        assert table["price"].to_pylist() == [price or None for price in PRICES]
        assert table["width"].to_pylist() == [40, 40, None] * 2
        values = table["embedding"].combine_chunks().flatten().to_numpy()
        assert np.array_equal(values.reshape(-1, 4), known[1])
        check_metadata(table.schema.metadata[b"featx"])


def test_pandas_reads_parquet_arrow_and_csv(cache: Path, known: Any) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    for frame in (
        pandas.read_parquet(export(cache, "parquet")),
        pandas.read_feather(export(cache, "arrow")),
    ):
        assert frame["id"].tolist() == known[0]
        assert np.array_equal(np.stack(frame["embedding"]), known[1])
        assert frame["label"].isna().sum() == 1
    frame = pandas.read_csv(export(cache, "csv"), dtype={"label": str})
    assert frame["label"].tolist()[:4] == LABELS[:4]
    assert np.array_equal(frame.filter(regex=r"^e\d+$").to_numpy(np.float32), known[1])


def test_polars_reads_parquet_and_arrow(cache: Path, known: Any) -> None:
    polars = pytest.importorskip("polars", reason="needs polars")
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    for frame in (
        polars.read_parquet(export(cache, "parquet")),
        polars.read_ipc(export(cache, "arrow")),
    ):
        assert frame["id"].to_list() == known[0]
        assert frame["label"].to_list() == WITH_NULL
        assert frame.schema["embedding"] == polars.Array(polars.Float32, 4)
        assert np.array_equal(frame["embedding"].to_numpy(), known[1])


def test_duckdb_reads_parquet_and_csv(cache: Path, known: Any) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs DuckDB")
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    path = export(cache, "parquet")
    query = (
        f"SELECT label, count(*), avg(embedding[1]) FROM '{path}' GROUP BY 1 ORDER BY 1 NULLS LAST"
    )
    with duckdb.connect() as connection:
        found = connection.sql(query).fetchall()
        assert [line[:2] for line in found] == [
            ("10", 1), ("2", 1), ("ant", 2), ('naïve, "x"', 1), (None, 1),
        ]  # fmt: skip
        assert found[0][2] == pytest.approx(float(known[1][0, 0]))
        csv_path = export(cache, "csv")
        assert connection.sql(f"SELECT id FROM '{csv_path}'").fetchall() == [
            (name,) for name in known[0]
        ]


def test_numpy_reads_npz_without_pickles(cache: Path, known: Any) -> None:
    with np.load(export(cache, "npz"), allow_pickle=False) as arrays:
        assert set(arrays) == {*NAMES, "embedding", "featx"}
        assert arrays["id"].tolist() == known[0]
        assert arrays["label"].tolist() == LABELS
        assert arrays["width"].tolist() == [40, 40, 0] * 2
        assert np.array_equal(arrays["embedding"], known[1])
        check_metadata(str(arrays["featx"]))


def test_csv_module_reads_csv(cache: Path, known: Any) -> None:
    path = export(cache, "csv")
    with path.open(encoding="utf-8", newline="") as stream:
        lines = [*csv.DictReader(stream)]
    assert [*lines[0]] == [*NAMES, "e0", "e1", "e2", "e3"]
    assert [line["id"] for line in lines] == known[0]
    assert [line["label"] for line in lines] == LABELS
    assert [line["width"] for line in lines] == ["40", "40", ""] * 2
    vectors = [[float(line[f"e{number}"]) for number in range(4)] for line in lines]
    assert np.array_equal(np.array(vectors, np.float32), known[1])
    beside = json.loads(Path(f"{path}.json").read_text())
    check_metadata(json.dumps(beside["featx"]))


def test_anndata_reads_h5ad(cache: Path, known: Any) -> None:
    anndata = pytest.importorskip("anndata", reason="needs anndata")
    data = anndata.read_h5ad(export(cache, "h5ad"))
    assert data.obs_names.tolist() == known[0]
    assert [*data.obs.columns] == NAMES[1:]
    assert data.obs["label"].cat.categories.tolist() == ["10", "2", "ant", 'naïve, "x"']
    assert data.obs["label"].isna().tolist() == [not label for label in LABELS]
    assert np.array_equal(data.X, known[1])
    check_metadata(data.uns["featx"])


def test_lance_reads_lance(cache: Path, known: Any) -> None:
    lance = pytest.importorskip("lance", reason="needs pylance")
    dataset = lance.dataset(str(export(cache, "lance")))
    table = dataset.to_table()
    assert table.column_names == [*NAMES, "embedding"]
    assert table["id"].to_pylist() == known[0]
    nearest = dataset.to_table(nearest={"column": "embedding", "q": known[1][2], "k": 1})
    assert nearest["id"].to_pylist() == [known[0][2]]
    check_metadata(dataset.schema.metadata[b"featx"])


ROOT = Path(__file__).parents[2]


def run_r(page: str, words: dict[str, str], check: str, folder: Path) -> None:
    """Run the first recipe for R on a page, with other names in it, and what checks its result."""
    if shutil.which("Rscript") is None:
        pytest.skip("needs R")
    found = re.search(r"^```r\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    assert found is not None
    text = found.group(1)
    for name, other in words.items():
        assert name in text
        text = text.replace(name, other)
    command = ["Rscript", "--vanilla", "-e", f"{text}\n{check}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if "no package called" in done.stderr:
        pytest.skip("needs the R package hdf5r: apt-get install r-cran-hdf5r")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_r_reads_a_cache_by_the_recipe_of_the_page(cache: Path, known: Any) -> None:
    first = float(known[1][1, 2])
    labels = "y[1:3] == c('10', '2', 'ant')"
    check = f"stopifnot(dim(X) == c(6, 4), abs(X[2, 3] - {first}) < 1e-6, {labels})"
    words = {"insects.h5": cache.name, "embeddings/mini": "embeddings/tiny"}
    run_r("docs/how_to/neighbours/r.md", words, check, cache.parent)


@pytest.mark.slow
def test_r_reads_csv_by_the_recipe_of_the_page(cache: Path, known: Any) -> None:
    path, first = export(cache, "csv"), float(known[1][1, 2])
    check = f"stopifnot(dim(X) == c(6, 4), abs(X[2, 3] - {first}) < 1e-6, table$label[1] == '10')"
    run_r("docs/how_to/neighbours.md", {"photos.csv": path.name}, check, cache.parent)
