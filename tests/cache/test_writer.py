"""Writing a cache: what comes back, and what a run that ends early leaves behind."""

import dataclasses

import h5py
import numpy as np
import pytest

from featx.cache.reader import open_cache
from featx.cache.writer import BUFFER_ROWS, CacheWriter, rewrite_cache, write_splits
from featx.errors import CacheError
from featx.rows import Failure, Row

VECTORS = np.arange(24, dtype=np.float32).reshape(3, 8) / 7
ROWS = [
    Row("ants/a.jpg", "/p/ants/a.jpg", "ants", "train", "burst 1", "0a" * 32, 640, 480),
    Row("bees/ü.png", "/p/bees/ü.png", "bees", "val", None, "0b" * 32, 1, 7),
    Row("c.gif", "/p/c.gif"),
]
FAILURES = [
    Failure("d.jpg", "/p/d.jpg", "0d" * 32, "decode", "empty file"),
    Failure("e.jpg", "/p/e.jpg", "", "read", "No such file or directory"),
]


def write_small(path, info, **options):
    with CacheWriter(path, [info], source="photos/", **options) as writer:
        writer.append(ROWS, {info.name: VECTORS})
        writer.append_failures(FAILURES)
        writer.commit()


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writer_rows_come_back_as_given(tmp_path, make_info):
    write_small(tmp_path / "c.h5", make_info())
    with open_cache(tmp_path / "c.h5") as cache:
        columns = zip(
            cache.ids,
            cache.paths,
            cache.labels,
            cache.splits,
            cache.groups,
            cache.digests,
            cache.sizes[:, 0],
            cache.sizes[:, 1],
            strict=True,
        )
        found = [tuple(values) for values in columns]
        source = cache.source
    assert found == [
        tuple("" if value is None else value for value in dataclasses.astuple(row)) for row in ROWS
    ]
    assert source == "photos/"


def test_writer_failures_come_back_as_given(tmp_path, make_info):
    write_small(tmp_path / "c.h5", make_info())
    with open_cache(tmp_path / "c.h5") as cache:
        assert cache.failures == tuple(FAILURES)


def test_writer_info_comes_back_as_given(tmp_path, make_info):
    info = make_info()
    write_small(tmp_path / "c.h5", info)
    with open_cache(tmp_path / "c.h5") as cache:
        assert cache.get_info() == info


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_writer_vectors_come_back_in_dtype(tmp_path, make_info, dtype):
    write_small(tmp_path / "c.h5", make_info(), dtype=dtype)
    with open_cache(tmp_path / "c.h5") as cache:
        vectors = cache.read_vectors()
    assert vectors.dtype == dtype
    np.testing.assert_array_equal(vectors, VECTORS.astype(dtype))


def test_writer_file_is_read_by_plain_h5py(tmp_path, make_info):
    write_small(tmp_path / "c.h5", make_info("resnet50"))
    with h5py.File(tmp_path / "c.h5") as file:
        X = file["embeddings/resnet50/vectors"][:]
        y = file["rows/label"].asstr()[:]
    np.testing.assert_array_equal(X, VECTORS)
    assert y.tolist() == ["ants", "bees", ""]


def test_writer_several_embeddings_keep_their_own_vectors(tmp_path, make_info):
    infos = [make_info("a"), make_info("a@b", dim=2, layer="b")]
    with CacheWriter(tmp_path / "c.h5", infos, source="") as writer:
        writer.append(ROWS, {"a": VECTORS, "a@b": -VECTORS[:, :2]})
        writer.commit()
    with open_cache(tmp_path / "c.h5") as cache:
        np.testing.assert_array_equal(cache.read_vectors("a"), VECTORS)
        np.testing.assert_array_equal(cache.read_vectors("a@b"), -VECTORS[:, :2])


def test_writer_more_rows_than_buffer_keep_their_order(tmp_path, make_info):
    n_rows = 2 * BUFFER_ROWS + 500
    vectors = np.arange(n_rows, dtype=np.float32)[:, None]
    with CacheWriter(tmp_path / "c.h5", [make_info(dim=1)], source="") as writer:
        for start in range(0, n_rows, 1000):
            part = vectors[start : start + 1000]
            rows = [Row(f"{int(value)}.jpg", "") for value in part[:, 0]]
            writer.append(rows, {"tiny": part})
            writer.append_failures([Failure(f"bad {start}", "", "", "read", "gone")])
        writer.commit()
    with open_cache(tmp_path / "c.h5") as cache:
        np.testing.assert_array_equal(cache.read_vectors(), vectors)
        assert cache.ids.tolist() == [f"{i}.jpg" for i in range(n_rows)]
        assert [f.id for f in cache.failures] == [f"bad {i}" for i in range(0, n_rows, 1000)]
    assert (writer.n_rows, writer.n_failures) == (n_rows, len(range(0, n_rows, 1000)))


def test_writer_before_commit_leaves_destination_alone(tmp_path, make_info):
    with CacheWriter(tmp_path / "c.h5", [make_info()], source="") as writer:
        writer.append(ROWS, {"tiny": VECTORS})
        assert not (tmp_path / "c.h5").exists()
        writer.commit()
    assert list_names(tmp_path) == ["c.h5"]


def test_writer_without_commit_leaves_nothing(tmp_path, make_info):
    with CacheWriter(tmp_path / "c.h5", [make_info()], source="") as writer:
        writer.append(ROWS, {"tiny": VECTORS})
    assert list_names(tmp_path) == []


def stop_midway(path, info, error, *, overwrite):
    with CacheWriter(path, [info], source="", overwrite=overwrite) as writer:
        writer.append(ROWS, {info.name: VECTORS})
        raise error


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt("stop")])
def test_writer_on_exception_leaves_nothing(tmp_path, make_info, error):
    with pytest.raises(type(error), match=r"stop"):
        stop_midway(tmp_path / "c.h5", make_info(), error, overwrite=False)
    assert list_names(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt("stop")])
def test_writer_on_exception_while_overwriting_keeps_old_file(tmp_path, make_info, error):
    (tmp_path / "c.h5").write_text("old")
    with pytest.raises(type(error), match=r"stop"):
        stop_midway(tmp_path / "c.h5", make_info(), error, overwrite=True)
    assert list_names(tmp_path) == ["c.h5"]
    assert (tmp_path / "c.h5").read_text() == "old"


def test_writer_missing_folder_is_refused(tmp_path, make_info):
    with pytest.raises(CacheError, match=r"expected its folder to be there.*mkdir -p"):
        CacheWriter(tmp_path / "no" / "c.h5", [make_info()], source="")


def test_writer_folder_itself_is_refused(tmp_path, make_info):
    (tmp_path / "c.h5").mkdir()
    with pytest.raises(CacheError, match=r"expected a file to write, got a folder"):
        CacheWriter(tmp_path / "c.h5", [make_info()], source="", overwrite=True)


def test_writer_existing_file_is_refused_and_kept(tmp_path, make_info):
    (tmp_path / "c.h5").write_text("old")
    with pytest.raises(CacheError, match=r"expected a new file.*--overwrite"):
        CacheWriter(tmp_path / "c.h5", [make_info()], source="")
    assert (tmp_path / "c.h5").read_text() == "old"
    assert list_names(tmp_path) == ["c.h5"]


def test_writer_overwrite_replaces_old_file(tmp_path, make_info):
    (tmp_path / "c.h5").write_text("old")
    write_small(tmp_path / "c.h5", make_info(), overwrite=True)
    with open_cache(tmp_path / "c.h5") as cache:
        assert len(cache) == len(ROWS)


def test_writer_unknown_dtype_is_refused(tmp_path, make_info):
    with pytest.raises(CacheError, match=r"dtype: expected one of float32, float16, got 'float8'"):
        CacheWriter(tmp_path / "c.h5", [make_info()], source="", dtype="float8")
    assert list_names(tmp_path) == []


def append_large(path, info):
    with CacheWriter(path, [info], source="", dtype="float16") as writer:
        writer.append(ROWS, {info.name: VECTORS + 1e6})
        writer.commit()


def test_writer_values_beyond_float16_are_refused(tmp_path, make_info):
    with pytest.raises(CacheError, match=r"embedding tiny: expected values within float16.*1e\+06"):
        append_large(tmp_path / "c.h5", make_info())
    assert list_names(tmp_path) == []


def test_write_splits_changes_splits_and_nothing_else(cache_path):
    with open_cache(cache_path) as cache:
        vectors, ids, info = cache.read_vectors(), cache.ids, cache.get_info()
    splits = ["test"] * 10 + [""] * 50
    write_splits(cache_path, splits)
    with open_cache(cache_path) as cache:
        assert cache.splits.tolist() == splits
        assert cache.read_vectors().tobytes() == vectors.tobytes()
        assert cache.ids.tolist() == ids.tolist()
        assert cache.get_info() == info
    assert list_names(cache_path.parent) == ["cache.h5"]


def break_rewrite(path, error):
    with rewrite_cache(path) as file:
        file["rows/split"][:] = "test"
        file["embeddings/tiny/vectors"][:] = 0
        raise error


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt("stop")])
def test_rewrite_cache_on_exception_leaves_old_bytes(cache_path, error):
    before = cache_path.read_bytes()
    with pytest.raises(type(error), match=r"stop"):
        break_rewrite(cache_path, error)
    assert cache_path.read_bytes() == before
    assert list_names(cache_path.parent) == ["cache.h5"]


def test_write_splits_of_wrong_length_leaves_old_bytes(cache_path):
    before = cache_path.read_bytes()
    with pytest.raises(Exception, match=r"broadcast"):
        write_splits(cache_path, ["train", "val"])
    assert cache_path.read_bytes() == before
