"""Columns and vectors come back as they were written, by the way of reading that is fastest."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache.seal import SealedFile
from featx.cache.sealing import seal_file
from featx.cache.tables import (
    CHUNK_ROWS,
    Reading,
    choose_reading,
    create_vectors,
    read_column,
    read_table,
    take_rows,
    write_table,
)
from featx.core.rows import Failure, Row
from featx.core.typing import VectorDtype, list_choices


@pytest.fixture
def file(tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "file.h5", "w") as opened:
        yield opened


def seal(file: h5py.File) -> SealedFile:
    """Seal a copy of an open file, and open the copy."""
    file.flush()
    path = Path(f"{file.filename}.sealed")
    shutil.copyfile(file.filename, path)
    seal_file(path)
    return SealedFile(path)


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


ROWS = [
    Row(id="a.jpg", path="/p/a.jpg", label="ants", split="val", group="g", digest="ab" * 32),
    Row(id="ü.jpg", path="", width=2**31 - 1, height=1, n_bytes=2**62, mtime_ns=-1),
]
FAILURES = [
    Failure(id="b.jpg", path="/p", digest="", stage="read", reason="gone", n_bytes=0),
    Failure(id="c.jpg", path="/p", digest="c", stage="embed", reason="x", embedding="tiny"),
]


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_read_table_gives_the_rows_that_were_written(file: h5py.File, n_rows: int) -> None:
    write_table(file, "rows", Row, ROWS[:n_rows])
    assert read_table(file["rows"], Row, seal(file)) == ROWS[:n_rows]


def test_read_table_gives_the_failures_that_were_written(file: h5py.File) -> None:
    write_table(file, "failures", Failure, FAILURES)
    assert read_table(file["failures"], Failure, seal(file)) == FAILURES


def test_write_table_stamps_the_element(file: h5py.File) -> None:
    write_table(file, "repeats", Row, ROWS)
    write_table(file, "failures", Failure, [])
    assert dict(file["repeats"].attrs) == {"featx-type": "rows", "featx-version": 1}
    assert dict(file["failures"].attrs) == {"featx-type": "failures", "featx-version": 1}


def test_write_table_dtypes_are_those_of_the_format(file: h5py.File) -> None:
    write_table(file, "rows", Row, ROWS)
    dtypes = {name: dataset.dtype for name, dataset in file["rows"].items()}
    assert dtypes.pop("width") == dtypes.pop("height") == np.int32
    assert dtypes.pop("n_bytes") == dtypes.pop("mtime_ns") == np.int64
    assert sorted(dtypes) == ["digest", "group", "id", "label", "path", "split"]
    assert all(h5py.check_string_dtype(dtype).length is None for dtype in dtypes.values())


@pytest.mark.parametrize(
    ("name", "values"),
    [("id", ["a.jpg", "ü.jpg"]), ("label", ["ants", ""]), ("n_bytes", [-1, 2**62])],
)
def test_read_column_is_text_or_numbers(file: h5py.File, name: str, values: list[Any]) -> None:
    write_table(file, "rows", Row, ROWS)
    assert read_column(file["rows"], name, seal(file)).tolist() == values
