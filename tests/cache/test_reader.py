"""Reading a cache: rows by any index, and files that are no cache."""

import shutil

import h5py
import numpy as np
import pytest

from featx.cache.format import FORMAT_VERSION
from featx.cache.reader import open_cache
from featx.cache.writer import CacheWriter
from featx.errors import CacheError

N_ROWS = 600  # more than two chunks


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """A cache whose vectors differ in every row, with the vectors."""
    from featx.cache.format import EmbeddingInfo
    from featx.fingerprint import Fingerprint
    from featx.rows import Row

    path = tmp_path_factory.mktemp("numbered") / "c.h5"
    vectors = np.arange(N_ROWS * 3, dtype=np.float32).reshape(N_ROWS, 3)
    info = EmbeddingInfo("tiny", Fingerprint("tiny", "", "penultimate", "", "", "fp32", 3), {})
    with CacheWriter(path, [info], source="") as writer:
        writer.append([Row(f"{i}.jpg", "") for i in range(N_ROWS)], {"tiny": vectors})
        writer.commit()
    return path, vectors


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(np.array([3, 4, 5]), id="ascending"),
        pytest.param(np.array([599, 0, 300]), id="any-order-sparse"),
        pytest.param(np.array([5, 2, 9, 3, 7]), id="any-order-dense"),
        pytest.param(np.array([7, 7, 0, 7]), id="repeats-dense"),
        pytest.param(np.array([599, 0, 599, 0]), id="repeats-sparse"),
        pytest.param(np.array([599]), id="last"),
        pytest.param(np.array([-1, 0, -600]), id="negative"),
        pytest.param(np.array([], dtype=int), id="empty"),
        pytest.param(np.random.default_rng(0).permutation(N_ROWS), id="permutation"),
        pytest.param(np.arange(N_ROWS) % 7 == 3, id="mask-sparse"),
        pytest.param(np.arange(N_ROWS) > 9, id="mask-dense"),
        pytest.param(np.zeros(N_ROWS, bool), id="mask-empty"),
        pytest.param(slice(None), id="slice-all"),
        pytest.param(slice(10, 500, 3), id="slice-step"),
        pytest.param(slice(-5, None), id="slice-negative"),
        pytest.param(slice(8, 8), id="slice-empty"),
    ],
)
def test_read_vectors_by_any_index_equals_numpy(numbered, rows):
    path, vectors = numbered
    with open_cache(path) as cache:
        found = cache.read_vectors(rows=rows)
    assert found.dtype == vectors.dtype
    np.testing.assert_array_equal(found, vectors[rows])


@pytest.mark.parametrize("row", [N_ROWS, -N_ROWS - 1])
def test_read_vectors_index_out_of_range_is_refused(numbered, row):
    path, _ = numbered
    with (
        open_cache(path) as cache,
        pytest.raises((IndexError, ValueError), match=r"range|out of bounds"),
    ):
        cache.read_vectors(rows=np.array([0, row]))


def write_text(path):
    path.write_text("no HDF5")


def write_other_hdf5(path):
    with h5py.File(path, "w") as file:
        file["vectors"] = np.zeros(3)


def write_newer(path, cache_path):
    shutil.copy(cache_path, path)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = FORMAT_VERSION + 1


def write_truncated(path, cache_path):
    path.write_bytes(cache_path.read_bytes()[:-2000])


def test_open_cache_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(CacheError, match=r"c\.h5: expected a cache, got no such file.*extract"):
        open_cache(tmp_path / "c.h5")


def test_open_cache_folder_is_refused(tmp_path):
    with pytest.raises(CacheError, match=r"expected a cache"):
        open_cache(tmp_path)


def test_open_cache_text_file_is_refused(tmp_path):
    write_text(tmp_path / "c.h5")
    with pytest.raises(CacheError, match=r"expected an HDF5 cache, got a file that HDF5 cannot"):
        open_cache(tmp_path / "c.h5")


def test_open_cache_truncated_file_is_refused(tmp_path, cache_path):
    write_truncated(tmp_path / "c.h5", cache_path)
    with pytest.raises(CacheError, match=r"expected an HDF5 cache, got a file that HDF5 cannot"):
        open_cache(tmp_path / "c.h5")


def test_open_cache_other_hdf5_is_refused(tmp_path):
    write_other_hdf5(tmp_path / "c.h5")
    with pytest.raises(CacheError, match=r"expected format featx-cache version .*, got None"):
        open_cache(tmp_path / "c.h5")


def test_open_cache_newer_version_is_refused_naming_it(tmp_path, cache_path):
    write_newer(tmp_path / "c.h5", cache_path)
    message = rf"expected format featx-cache version {FORMAT_VERSION}, got .*{FORMAT_VERSION + 1}"
    with pytest.raises(CacheError, match=message):
        open_cache(tmp_path / "c.h5")


@pytest.fixture
def several(make_cache, make_info):
    return make_cache(infos=[make_info("resnet18"), make_info("resnet18@layer3", dim=4)])


def test_read_vectors_of_several_without_name_lists_them(several):
    with (
        open_cache(several) as cache,
        pytest.raises(CacheError, match=r"\(resnet18, resnet18@layer3\), got none named"),
    ):
        cache.read_vectors()


def test_get_info_unknown_name_shows_nearest(several):
    with (
        open_cache(several) as cache,
        pytest.raises(CacheError, match=r"got 'resnet18@layer2'.*Nearest: resnet18@layer3"),
    ):
        cache.get_info("resnet18@layer2")


def test_read_vectors_of_several_by_name_gives_that_one(several):
    with open_cache(several) as cache:
        assert cache.names == ("resnet18", "resnet18@layer3")
        assert cache.read_vectors("resnet18@layer3").shape == (60, 4)


@pytest.mark.parametrize(
    ("split", "expected"),
    [(None, range(60)), ("all", range(60)), ("train", range(40)), ("val", range(40, 60))],
)
def test_select_rows_by_split_gives_its_rows(cache_path, split, expected):
    with open_cache(cache_path) as cache:
        assert cache.select_rows(split).tolist() == list(expected)


def test_select_rows_unknown_split_names_those_there(cache_path):
    with (
        open_cache(cache_path) as cache,
        pytest.raises(CacheError, match=r"expected rows in split 'test', got train, val"),
    ):
        cache.select_rows("test")


def test_select_rows_without_splits_says_so(make_cache):
    with (
        open_cache(make_cache(splits=False)) as cache,
        pytest.raises(
            CacheError, match=r"expected rows in split 'val', got no splits.*featx split"
        ),
    ):
        cache.select_rows("val")


def test_list_splits_are_in_order_of_use(tmp_path, make_info, make_rows):
    rows = make_rows(["a"] * 4, ["val", None, "test", "train"])
    with CacheWriter(tmp_path / "c.h5", [make_info(dim=1)], source="") as writer:
        writer.append(rows, {"tiny": np.zeros((4, 1), np.float32)})
        writer.commit()
    with open_cache(tmp_path / "c.h5") as cache:
        assert cache.list_splits() == ["train", "val", "test"]


def test_list_splits_without_splits_is_empty(make_cache):
    with open_cache(make_cache(splits=False)) as cache:
        assert cache.list_splits() == []


def test_read_arrays_leaves_out_unlabelled_rows(tmp_path, make_info, make_rows):
    rows = make_rows(["a", None, "b", None], ["train", "train", "val", None])
    vectors = np.arange(4, dtype=np.float32)[:, None]
    with CacheWriter(tmp_path / "c.h5", [make_info(dim=1)], source="") as writer:
        writer.append(rows, {"tiny": vectors})
        writer.commit()
    with open_cache(tmp_path / "c.h5") as cache:
        X, y = cache.read_arrays()
        X_train, y_train = cache.read_arrays("train")
    assert X[:, 0].tolist() == [0, 2]
    assert y.tolist() == ["a", "b"]
    assert X_train[:, 0].tolist() == [0]
    assert y_train.tolist() == ["a"]


def test_cache_after_with_block_is_closed(cache_path):
    with open_cache(cache_path) as cache:
        pass
    with pytest.raises((ValueError, KeyError), match=r"(?i)closed|invalid"):
        cache.read_vectors()


def test_cache_repr_names_rows_and_embeddings(cache_path):
    with open_cache(cache_path) as cache:
        assert repr(cache) == "<Cache cache.h5: 60 rows, tiny>"


@pytest.mark.parametrize("part", ["embeddings", "fingerprint", "source"])
def test_open_cache_that_lacks_a_part_is_refused(cache_path, part):
    with h5py.File(cache_path, "r+") as file:
        if part == "embeddings":
            del file["embeddings"]
        elif part == "source":
            del file.attrs["source"]
        else:
            file["embeddings/tiny"].attrs["fingerprint"] = '{"backbone": "tiny"}'
    with pytest.raises(CacheError, match=r"expected a whole cache, got one that lacks"):
        open_cache(cache_path)
