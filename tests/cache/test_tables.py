"""Columns and vectors come back as they were written, by the way of reading that is fastest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache.tables import (
    CHUNK_ROWS,
    Reading,
    check_unique,
    choose_reading,
    create_vectors,
    read_table,
    take_rows,
    write_table,
)
from featx.core.columns import Texts
from featx.core.errors import CacheError
from featx.core.row_tables import ROW_KINDS, build_table, list_rows
from featx.core.rows import Row
from featx.core.typing import VectorDtype, list_choices


@pytest.fixture
def file(tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "file.h5", "w") as opened:
        yield opened


@pytest.mark.parametrize(
    ("rows", "reading"),
    [
        ([], "nothing"),
        ([0], "run"),
        ([7], "run"),
        ([3, 4, 5], "run"),
        ([5, 4, 3], "span"),
        ([3, 5, 4, 6], "span"),  # first and last as in a run
        ([3, 3], "span"),
        ([0, 6], "span"),
        ([6, 0], "span"),
        ([0, 7], "points"),  # a quarter of eight: not more
        ([7, 0], "points"),
        ([0, 1, 11], "points"),
        ([0, 1, 10], "span"),
        ([10, 1, 0], "span"),
        ([599, 0, 300], "points"),
    ],
)
def test_choose_reading_of_rows(rows: list[int], reading: Reading) -> None:
    assert choose_reading(np.array(rows, np.int64)) == reading


def test_reading_has_four_ways() -> None:
    assert list_choices(Reading) == ("nothing", "run", "span", "points")


class Watched:
    """A dataset that notes the indices that it is read by."""

    def __init__(self, values: Any) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.indices: list[Any] = []

    def __getitem__(self, index: Any) -> Any:
        self.indices.append(index)
        return self.values[index]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([3, 4, 5], [slice(3, 6)]),
        ([5, 3, 5], [slice(3, 6)]),
        ([40, 3, 40, 20], [[3, 20, 40]]),
    ],
)
def test_take_rows_reads_once_and_as_chosen(rows: list[int], expected: list[Any]) -> None:
    dataset = Watched(np.arange(100, dtype=np.float32).reshape(50, 2))
    found = take_rows(dataset, np.array(rows, np.int64))
    np.testing.assert_array_equal(found, dataset.values[rows])
    assert found.shape == (len(rows), 2)
    assert found.dtype == np.float32
    read = [one if isinstance(one, slice) else one.tolist() for one in dataset.indices]
    assert read == expected


@pytest.mark.parametrize(
    ("n_rows", "chunks"),
    [(1, (1, 3)), (CHUNK_ROWS, (CHUNK_ROWS, 3)), (9 * CHUNK_ROWS, (CHUNK_ROWS, 3)), (0, (1, 3))],
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_create_vectors_in_chunks_of_whole_rows(
    file: h5py.File, n_rows: int, chunks: tuple[int, int], dtype: VectorDtype
) -> None:
    dataset = create_vectors(file, "vectors", (n_rows, 3), dtype)
    assert (dataset.shape, dataset.dtype, dataset.chunks) == ((n_rows, 3), dtype, chunks)


ROWS = build_table(
    [
        Row(id="a.jpg", path="/p/a.jpg", label="ants", split="val", group="g", digest="ab" * 32),
        Row(id="ü.jpg", path="", width=2**31 - 1, height=1, n_bytes=2**62, mtime_ns=-1),
        Row(id="c.jpg", path="/p/蜂.jpg", label="ants"),
    ],
    ROW_KINDS,
)


@pytest.mark.parametrize("n_rows", [0, 1, 3])
def test_read_table_gives_the_rows_that_were_written(file: h5py.File, n_rows: int) -> None:
    write_table(file, "rows", "rows", ROWS[:n_rows])
    assert list_rows(read_table(file["rows"], ROW_KINDS)) == list_rows(ROWS[:n_rows])


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (1, 3), (1, None), (3, 3)])
def test_read_table_reads_a_run_of_rows(file: h5py.File, start: int, stop: int | None) -> None:
    write_table(file, "rows", "rows", ROWS)
    found = read_table(file["rows"], ROW_KINDS, start, stop)
    assert list_rows(found) == list_rows(ROWS[start:stop])


def test_write_table_over_another_leaves_the_new_one(file: h5py.File) -> None:
    write_table(file, "rows", "rows", ROWS[1:])
    write_table(file, "rows", "rows", ROWS)
    assert list_rows(read_table(file["rows"], ROW_KINDS)) == list_rows(ROWS)
    write_table(file, "rows", "rows", ROWS[:1])
    assert list_rows(read_table(file["rows"], ROW_KINDS)) == list_rows(ROWS[:1])


def test_write_table_stamps_the_element(file: h5py.File) -> None:
    write_table(file, "repeats", "rows", ROWS)
    assert dict(file["repeats"].attrs) == {"featx-type": "rows", "featx-version": 1}


def test_write_table_types_are_those_of_the_format(file: h5py.File) -> None:
    write_table(file, "rows", "rows", ROWS)
    types = {}
    file["rows"].visititems(
        lambda name, item: (
            types.update({name: item.dtype.str}) if isinstance(item, h5py.Dataset) else None
        )
    )
    texts = {"id": {}, "path": {}, "label": {"codes"}, "split": {"codes"}, "group": {"codes"}}
    expected = {"digest": "|u1", "width": "<i4", "height": "<i4", "n_bytes": "<i8"}
    expected |= {"mtime_ns": "<i8"}
    for name, more in texts.items():
        expected |= {f"{name}/offsets": "<i8", f"{name}/bytes": "|u1"}
        expected |= {f"{name}/{column}": "<i4" for column in more}
    assert types == expected
    assert file["rows/digest"].shape == (3, 32)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("rows/id/offsets", [0, 9, 5, 16], "offsets that do not fit the bytes of id"),
        ("rows/id/offsets", [0, 5, 11, 99], "offsets that do not fit the bytes of id"),
        ("rows/id/offsets", [-1, 5, 11, 16], "offsets that do not fit the bytes of id"),
        ("rows/id/offsets", [0, 6, 11, 16], "a text of id that begins inside a character"),
        ("rows/id/bytes", [0xFF] * 16, "invalid start byte"),
        ("rows/id/offsets", [0, 5, 11, 15], "offsets that do not fit the bytes of id"),
        ("rows/id/offsets", [1, 5, 11, 16], "offsets that do not fit the bytes of id"),
        ("rows/id/offsets", [0, 2**63 - 1, -(2**63) + 1, 16], "offsets that do not fit the bytes"),
        ("rows/label/codes", [1, 0, 2], "codes without a name in label"),
        ("rows/label/codes", [1, 0, -1], "codes without a name in label"),
        ("rows/label/bytes", [0xFF] * 4, "invalid start byte"),
        ("rows/label/offsets", [0, 4], "codes without a name in label"),
    ],
)
def test_read_table_refuses_columns_that_break_the_format(
    file: h5py.File, name: str, values: list[int], message: str
) -> None:
    write_table(file, "rows", "rows", ROWS)
    file[name][: len(values)] = values
    with pytest.raises(ValueError, match=message):
        read_table(file["rows"], ROW_KINDS)


def test_check_unique_names_the_id_that_comes_twice(tmp_path: Path) -> None:
    check_unique(ROWS["id"], tmp_path)
    with pytest.raises(CacheError, match=r"/rows/id: expected ids to be unique, got 'b' more"):
        check_unique(Texts.from_list("abcb"), tmp_path)
