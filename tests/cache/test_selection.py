"""Rows are chosen without reading vectors, and read in blocks or as tables of pandas and Arrow."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.core.errors import CacheError, FeatxError, MissingExtraError
from featx.core.rows import Row
from featx.core.typing import Array
from featx.fitting.label import label_cache
from tests.builders import build_column, build_info, build_rows, write_rows, write_vectors

N_ROWS = 12


@pytest.fixture(scope="module")
def vectors() -> Array:
    return np.arange(N_ROWS * 3, dtype=np.float32).reshape(N_ROWS, 3)


def write_odd(path: Path, vectors: Array, dtype: Any = "float32") -> Path:
    """A cache with a row without label, one without vector, and one of which little is known."""
    labels = [*["ants", "bees"] * 5, None, "<b>é"]
    splits: list[Any] = [*["train"] * 6, *["val"] * 4, None, None]
    rows = build_rows(labels, splits, [*["a"] * 2, *[None] * 10])
    rows[3] = Row(id="bare.jpg", path="/bare.jpg", label="bees", split="train", digest="")
    some = vectors.copy()
    some[5] = np.nan
    infos = [build_info("tiny", 3), build_info("other", 3)]
    columns = [build_column(infos[0], vectors, dtype), build_column(infos[1], some, dtype)]
    write_rows(path, rows, columns, source="table.csv")
    table = {row.id: f"{number / 2}" for number, row in enumerate(rows[:4])}
    label_cache(path, table, field="weight", author="ada")
    return path


@pytest.fixture(scope="module", params=["one", "joined"])
def odd(request: Any, tmp_path_factory: Any, vectors: Array) -> Iterator[Cache]:
    """The cache of `write_odd`, as one file and as two files that are read as one."""
    folder = tmp_path_factory.mktemp("odd")
    paths = [write_odd(folder / "odd.h5", vectors)]
    if request.param == "joined":
        infos = [build_info("tiny", 3), build_info("other", 3)]
        rows = [Row(id="last.jpg", path="/last.jpg", label="ants", digest="ff" * 32)]
        last = {info.name: np.full((1, 3), 99, np.float32) for info in infos}
        paths.append(write_vectors(folder / "last.h5", infos, rows, last))
    with open_cache(paths) as cache:
        yield cache


def test_selection_holds_row_numbers_of_all_conditions(odd: Cache, vectors: Array) -> None:
    chosen = odd.select(
        "train", label="bees", embedding="tiny", where=lambda rows: rows["id"] > "bees/004"
    )
    assert chosen.rows.tolist() == [5]
    chosen = odd.select("train", label=["bees"], embedding="tiny")
    assert chosen.rows.tolist() == [1, 3, 5]
    assert len(chosen) == 3
    assert chosen.ids.tolist() == odd.ids[[1, 3, 5]].tolist()
    assert chosen.paths[1] == "/bare.jpg"
    assert chosen.labels.tolist() == chosen.y.tolist() == ["bees"] * 3
    assert chosen.splits.tolist() == ["train"] * 3
    assert chosen.groups.tolist() == ["a", "", ""]
    np.testing.assert_array_equal(chosen.X, vectors[[1, 3, 5]])
    np.testing.assert_array_equal(chosen.read_vectors("tiny"), vectors[[1, 3, 5]])
    assert repr(chosen) == f"<Selection of {odd.path.name}: 3 of {len(odd)} rows>"


def test_selection_is_narrowed_further(odd: Cache) -> None:
    chosen = odd.select(label="ants").select("val")
    assert chosen.rows.tolist() == [6, 8]
    assert chosen.select(where=np.array([False, True])).rows.tolist() == [8]
    assert len(odd.select(labelled=True, where=lambda rows: rows["label"] == "")) == 0


def test_selection_of_an_embedding_has_only_rows_with_a_vector(odd: Cache) -> None:
    assert 5 not in odd.select(embedding="other").rows
    assert len(odd.select(embedding="other")) == len(odd) - 1
    assert odd.select(embedding="other").X.shape == (len(odd) - 1, 3)
    with pytest.raises(CacheError, match=r"a vector for each row asked for"):
        odd.select().read_vectors("other")


def test_condition_sees_every_column_and_reads_what_it_uses(odd: Cache) -> None:
    seen: list[str] = []

    def look(rows: Any) -> Any:
        seen.extend(rows)
        assert len(rows) == len(seen)
        assert {rows[name].shape[0] for name in rows} == {len(odd)}
        assert rows["digest"][3] == ""
        return rows["weight"] == "0.5"

    assert odd.select(where=look).rows.tolist() == [1]
    assert seen[:6] == ["id", "path", "label", "split", "group", "weight"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        pytest.param(np.array([0, 1]), r"where: expected one bool for each of \d+ rows", id="int"),
        pytest.param(np.array([True]), r"got bool of shape \(1,\)", id="length"),
        pytest.param(lambda rows: rows["width"], r"got int32 of shape", id="function"),
        pytest.param(lambda rows: rows["wdth"] > 1, r"Nearest: width", id="column"),
    ],
)
def test_other_conditions_are_refused(odd: Cache, where: Any, message: str) -> None:
    with pytest.raises(FeatxError, match=message):
        odd.select(where=where)


def test_unknown_words_are_refused(odd: Cache) -> None:
    with pytest.raises(CacheError, match=r"rows with the label 'ant', got 3 other labels.*ants"):
        odd.select(label="ant")
    with pytest.raises(CacheError, match=r"label: expected names of classes as text, got None"):
        odd.select(label=["ants", None])  # type: ignore[list-item]
    with pytest.raises(CacheError, match=r"label: expected names of classes as text, got 3\."):
        odd.select(label=3)  # type: ignore[arg-type]
    with pytest.raises(CacheError, match=r"rows in split 'test'"):
        odd.select("test")
    with pytest.raises(CacheError, match=r"Pass embedding=NAME"):
        odd.to_arrow()
    with pytest.raises(FeatxError, match=r"n_rows: expected a number of at least 1, got 0"):
        next(odd.iter_blocks(n_rows=0))


@pytest.mark.parametrize("n_rows", [1, 5, 100])
def test_blocks_join_to_all_rows(odd: Cache, n_rows: int) -> None:
    blocks = [*odd.iter_blocks("other", n_rows=n_rows)]
    whole = odd.select(embedding="other")
    assert max(map(len, blocks)) <= n_rows
    assert np.concatenate([block.rows for block in blocks]).tolist() == whole.rows.tolist()
    np.testing.assert_array_equal(np.concatenate([block.X for block in blocks]), whole.X)
    assert [one for block in blocks for one in block.ids] == whole.ids.tolist()
    weights = [one for block in blocks for one in block.read_column("weight")]
    assert weights == whole.read_column("weight").to_list()


def test_blocks_of_all_rows_have_rows_without_a_vector(odd: Cache) -> None:
    (block,) = odd.iter_blocks()
    assert len(block) == len(odd)
    assert block.read_rows(["id"])["id"].to_list() == odd.ids.tolist()


def test_nothing_chosen_is_an_empty_table(odd: Cache) -> None:
    none = odd.select(where=np.zeros(len(odd), bool))
    assert none.read_vectors("tiny").shape == (0, 3)
    assert none.ids.tolist() == []
    assert [*none.iter_blocks()] == []
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    assert none.to_arrow("tiny").num_rows == 0
    pytest.importorskip("pandas", reason="needs pandas")
    assert none.to_pandas("tiny").shape == (0, 12)


NAMES = [
    *("id", "path", "label", "split", "group", "weight"),
    *("digest", "width", "height", "n_bytes", "mtime_ns", "embedding"),
]


def test_data_frame_has_all_columns_and_says_what_is_not_known(odd: Cache) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = odd.select("train").to_pandas("other")
    assert [*frame.columns] == NAMES
    assert frame.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert frame.index.name == "row"
    assert frame.id.tolist() == odd.ids[:6].tolist()
    assert [*frame.label.cat.categories] == ["ants", "bees"]
    assert frame.weight.isna().tolist() == [False] * 4 + [True] * 2
    assert frame.weight[:4].astype(float).tolist() == [0, 0.5, 1, 1.5]
    assert frame.digest[3] is None
    assert frame.digest[0] == odd.digests[0]
    assert frame.width.isna().tolist() == [False] * 3 + [True] + [False] * 2
    assert frame.n_bytes.isna().all()
    assert frame.embedding[5] is None
    np.testing.assert_array_equal(
        np.stack(frame.embedding[:5]), odd.read_vectors("other", np.arange(5))
    )
    assert "embedding" not in odd.to_pandas(embedding=False)
    assert pandas.isna(odd.to_pandas(False).label[10])


def test_arrow_table_has_all_columns_and_says_what_is_not_known(odd: Cache, vectors: Array) -> None:
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    table = odd.to_arrow("other")
    table.validate(full=True)
    assert table.column_names == NAMES
    assert table["id"].to_pylist() == odd.ids.tolist()
    assert table["label"].to_pylist() == [label or None for label in odd.labels]
    assert table["digest"].to_pylist() == [digest or None for digest in odd.digests]
    assert table["width"].to_pylist()[3] is None
    assert table["embedding"].type == arrow.list_(arrow.float32(), 3)
    assert table["embedding"].to_pylist()[5] is None
    np.testing.assert_array_equal(table["embedding"].to_pylist()[6], vectors[6])
    assert odd.select("val").to_arrow(False).column_names == NAMES[:-1]


def test_vectors_of_16_bit_come_as_float32(tmp_path: Path, vectors: Array) -> None:
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    with open_cache(write_odd(tmp_path / "half.h5", vectors, "float16")) as cache:
        assert cache.select(embedding="tiny").X.dtype == np.float16
        table = cache.to_arrow("tiny")
    assert table["embedding"].type.value_type == arrow.float32()
    assert table["embedding"].to_pylist() == vectors.tolist()


@pytest.mark.parametrize(
    ("package", "call", "extra"),
    [("pandas", "to_pandas", "pandas"), ("pyarrow", "to_arrow", "parquet")],
)
def test_missing_package_is_named_with_its_extra(
    odd: Cache, package: str, call: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"pip install {package} \(the extra {extra}"):
        getattr(odd, call)("tiny")


def test_notebook_shows_a_table_with_escaped_names(odd: Cache) -> None:
    for shown in (odd._repr_html_(), odd.select(embedding="tiny")._repr_html_()):
        assert "&lt;b&gt;é" in shown
        assert "<b>" not in shown
        assert "(no label)" in shown
    assert "vectors, dim 3" in odd._repr_html_()
    assert "4 rows, 4 values" in odd._repr_html_()


def test_selection_of_a_closed_cache_says_so(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        chosen = cache.select("val")
    for read in (lambda: chosen.X, lambda: chosen.ids):
        with pytest.raises(CacheError, match=r"an open cache, got a closed one.*with block"):
            read()


def test_recorded_column_of_the_name_of_the_vectors_is_not_overwritten(cache_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    label_cache(cache_path, {"bees/000.jpg": "x"}, field="embedding", author="ada")
    with open_cache(cache_path) as cache:
        with pytest.raises(CacheError, match=r"no recorded column embedding.*embedding=False"):
            cache.to_arrow()
        assert cache.to_arrow(False)["embedding"][0].as_py() == "x"
