"""Columns grow, and only what differs is written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache import datasets
from featx.cache.datasets import choose_chunk, create, resize, store


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[h5py.File]:
    monkeypatch.setattr(datasets, "CHUNK_BYTES", 80)  # ten int64
    with h5py.File(tmp_path / "file.h5", "w") as opened:
        yield opened


@pytest.mark.parametrize("lengths", [(0, 0), (0, 3), (3, 3), (3, 4), (3, 200), (35, 36), (35, 90),
                                     (35, 12), (35, 3), (200, 0), (10, 10), (10, 11)])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (2,)])
def test_store_writes_what_is_given_whatever_was_there(
    file: h5py.File, lengths: tuple[int, int], shape: tuple[int, ...]
) -> None:
    for length in lengths:
        values = np.random.default_rng(length).integers(0, 9, (length, *shape))
        store(file, "x", values)
        assert file["x"].dtype == values.dtype
        np.testing.assert_array_equal(file["x"][:], values)
        assert list(file) == ["x"]
    row_bytes = 16 if shape else 8
    assert file["x"].chunks[0] <= choose_chunk(lengths[1], row_bytes)
    assert file["x"].maxshape[0] is None


def test_store_of_another_dtype_or_width_makes_the_column_anew(file: h5py.File) -> None:
    store(file, "x", np.arange(20))
    for values in (np.arange(20, dtype=np.uint8), np.zeros((20, 3), np.uint8)):
        store(file, "x", values)
        assert (file["x"].dtype, file["x"].shape) == (values.dtype, values.shape)


class Noting:
    """A group whose datasets note which rows are written."""

    def __init__(self, file: h5py.File, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file, self.written = file, list[tuple[int, int]]()
        real = h5py.Dataset.__setitem__

        def write(dataset: h5py.Dataset, rows: Any, values: Any) -> None:
            start, stop, _ = rows.indices(len(dataset))
            self.written.append((start, stop))
            real(dataset, rows, values)

        monkeypatch.setattr(h5py.Dataset, "__setitem__", write)


def test_store_writes_only_chunks_that_differ(
    file: h5py.File, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(95)
    store(file, "x", values)
    noting = Noting(file, monkeypatch)
    store(file, "x", values)
    assert noting.written == []
    values[[33, 37, 71]] = -1
    store(file, "x", values)
    assert noting.written == [(30, 40), (70, 80)]
    noting.written.clear()
    store(file, "x", np.append(values, [7, 8, 9, 10, 11, 12]))
    assert noting.written == [(90, 100), (100, 101)]
    noting.written.clear()
    store(file, "x", values[:50])
    assert noting.written == []


def test_store_that_grows_step_by_step_leaves_little_of_the_file_unused(file: h5py.File) -> None:
    for length in range(1, 3000, 10):
        store(file, "x", np.arange(length))
    file.flush()
    assert file.id.get_filesize() < 3 * file["x"].id.get_storage_size()
    np.testing.assert_array_equal(file["x"][:], np.arange(2991))


def test_resize_of_a_dataset_that_cannot_grow_makes_one_that_can(file: h5py.File) -> None:
    for chunks in (None, (1, 2)):
        file.create_dataset("x", data=np.arange(60).reshape(30, 2), chunks=chunks)
        made = resize(file, "x", 33, chunk_rows=5)
        made[30:] = 7
        assert file["x"][:].tolist() == [[2 * i, 2 * i + 1] for i in range(30)] + [[7, 7]] * 3
        assert (made.chunks, made.maxshape, list(file)) == ((5, 2), (None, 2), ["x"])
        del file["x"]


def test_create_chunks_hold_no_more_than_the_rows(file: h5py.File) -> None:
    assert create(file, "a", (3, 4), "f4", chunk_rows=256).chunks == (3, 4)
    assert create(file, "b", (300, 4), "f4", chunk_rows=256).chunks == (256, 4)
    assert create(file, "c", (0, 4), "f4", chunk_rows=256).chunks == (1, 4)
