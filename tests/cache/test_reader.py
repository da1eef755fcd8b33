"""A cache is read by any index; rows without a vector and other files are refused."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache.check import verify_cache
from featx.cache.format import FORMAT_VERSION
from featx.cache.joined import open_cache
from featx.cache.open import is_cache_file
from featx.cache.sealing import seal_file
from featx.core.errors import CacheError
from featx.core.rows import Row
from featx.core.typing import Array, Split
from tests.builders import build_column, build_info, build_rows, editing, write_rows

N_ROWS = 600  # more than two chunks


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array]:
    """A cache whose vectors differ in every row, with the vectors."""
    path = tmp_path_factory.mktemp("numbered") / "c.h5"
    vectors = np.arange(N_ROWS * 3, dtype=np.float32).reshape(N_ROWS, 3)
    info = build_info(dim=3)
    rows = [Row(id=f"{i}.jpg", path="") for i in range(N_ROWS)]
    write_rows(path, rows, [build_column(info, vectors)], source="")
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
def test_read_vectors_by_any_index_equals_numpy(numbered: tuple[Path, Array], rows: Any) -> None:
    path, vectors = numbered
    with open_cache(path) as cache:
        found = cache.read_vectors(rows=rows)
    assert found.dtype == vectors.dtype
    np.testing.assert_array_equal(found, vectors[rows])


@pytest.mark.parametrize("row", [N_ROWS, -N_ROWS - 1])
def test_read_vectors_index_out_of_range_is_refused(numbered: tuple[Path, Array], row: int) -> None:
    path, _ = numbered
    with (
        open_cache(path) as cache,
        pytest.raises(IndexError, match=r"out of bounds"),
    ):
        cache.read_vectors(rows=np.array([0, row]))


def test_open_cache_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"c\.h5: expected a cache, got no such file.*extract"):
        open_cache(tmp_path / "c.h5")


def test_open_cache_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"expected a cache"):
        open_cache(tmp_path)


def write_other_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["vectors"] = np.zeros(3)


def write_other_format(path: Path) -> None:
    write_other_hdf5(path)
    seal_file(path)


def write_sealed_text(path: Path) -> None:
    path.write_text("no HDF5")
    seal_file(path)


UNSEALED = r"c\.h5: expected a sealed cache, got a file without featx's seal"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        pytest.param(lambda path: path.write_bytes(b""), UNSEALED, id="empty"),
        pytest.param(lambda path: path.write_text("no HDF5" * 50), UNSEALED, id="text"),
        pytest.param(write_other_hdf5, UNSEALED, id="other-hdf5"),
        pytest.param(
            write_other_format, r"expected format featx-cache version .*, got None", id="format"
        ),
        pytest.param(write_sealed_text, r"c\.h5: expected an HDF5 file, got", id="sealed-text"),
    ],
)
def test_open_cache_other_file_is_refused(
    tmp_path: Path, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / "c.h5")
    with pytest.raises(CacheError, match=message):
        open_cache(tmp_path / "c.h5")


def test_open_cache_newer_version_is_refused_naming_it(cache_path: Path) -> None:
    with editing(cache_path) as file:
        file.attrs["format_version"] = FORMAT_VERSION + 1
    message = rf"expected format featx-cache version {FORMAT_VERSION}, got .*{FORMAT_VERSION + 1}"
    with pytest.raises(CacheError, match=message):
        open_cache(cache_path)


@pytest.mark.parametrize("part", ["embeddings", "fingerprint", "provenance", "source", "rows"])
def test_open_cache_that_lacks_a_part_is_refused(cache_path: Path, part: str) -> None:
    with editing(cache_path) as file:
        if part in ("embeddings", "rows"):
            del file[part]
        elif part == "source":
            del file.attrs["source"]
        elif part == "provenance":
            del file["embeddings/tiny"].attrs["provenance"]
        else:
            file["embeddings/tiny"].attrs["fingerprint"] = '{"backbone": "tiny"}'
    message = {
        "embeddings": "/embeddings: expected a part of the format, got nothing",
        "rows": "/rows: expected a part of the format, got nothing",
        "source": "/: expected a text in the attribute source, got none",
        "provenance": "/embeddings/tiny: expected a text in the attribute provenance, got none",
        "fingerprint": "/embeddings/tiny: expected a fingerprint and a provenance as the format "
        "has them, got no field 'weights_digest'",
    }[part]
    with pytest.raises(CacheError, match=f", {message}"):
        open_cache(cache_path)


def test_is_cache_file_tells_hdf5_from_others(cache_path: Path, tmp_path: Path) -> None:
    (tmp_path / "photos.csv").write_text("path,label")
    assert is_cache_file(cache_path)
    assert not is_cache_file(tmp_path / "photos.csv")
    assert not is_cache_file(tmp_path / "none.h5")
    assert not is_cache_file(tmp_path)


@pytest.fixture
def several(make_cache: Callable[..., Path]) -> Path:
    return make_cache(infos=[build_info("resnet18"), build_info("resnet18@layer3", dim=4)])


def test_read_vectors_of_several_without_name_lists_them(several: Path) -> None:
    with (
        open_cache(several) as cache,
        pytest.raises(CacheError, match=r"\(resnet18, resnet18@layer3\), got none named"),
    ):
        cache.read_vectors()


def test_get_info_unknown_name_shows_nearest(several: Path) -> None:
    with (
        open_cache(several) as cache,
        pytest.raises(CacheError, match=r"got 'resnet18@layer2'.*Nearest: resnet18@layer3"),
    ):
        cache.get_info("resnet18@layer2")


def test_read_vectors_of_several_by_name_gives_that_one(several: Path) -> None:
    with open_cache(several) as cache:
        assert cache.embeddings == ("resnet18", "resnet18@layer3")
        assert cache.read_vectors("resnet18@layer3").shape == (60, 4)


@pytest.mark.parametrize(
    ("split", "expected"),
    [(None, range(60)), ("all", range(60)), ("train", range(40)), ("val", range(40, 60))],
)
def test_select_rows_by_split_gives_its_rows(
    cache_path: Path, split: str | None, expected: Iterable[int]
) -> None:
    with open_cache(cache_path) as cache:
        assert cache.select_rows(split).tolist() == list(expected)


def test_select_rows_unknown_split_names_those_there(cache_path: Path) -> None:
    with (
        open_cache(cache_path) as cache,
        pytest.raises(CacheError, match=r"expected rows in split 'test', got splits train, val"),
    ):
        cache.select_rows("test")


def test_select_rows_without_splits_says_so(make_cache: Callable[..., Path]) -> None:
    with (
        open_cache(make_cache(splits=False)) as cache,
        pytest.raises(
            CacheError, match=r"expected rows in split 'val', got no splits.*featx\.split_cache"
        ),
    ):
        cache.select_rows("val")


def test_list_splits_are_in_order_of_use(tmp_path: Path) -> None:
    rows = build_rows(["a"] * 4, ["val", None, "test", "train"])
    columns = [build_column(build_info(dim=1), np.zeros((4, 1)))]
    write_rows(tmp_path / "c.h5", rows, columns, source="")
    with open_cache(tmp_path / "c.h5") as cache:
        assert cache.list_splits() == ["train", "val", "test"]


def test_list_splits_without_splits_is_empty(make_cache: Callable[..., Path]) -> None:
    with open_cache(make_cache(splits=False)) as cache:
        assert cache.list_splits() == []


def test_read_arrays_leaves_out_unlabelled_rows(tmp_path: Path) -> None:
    rows = build_rows(["a", None, "b", None], ["train", "train", "val", None])
    vectors = np.arange(4, dtype=np.float32)[:, None]
    write_rows(tmp_path / "c.h5", rows, [build_column(build_info(dim=1), vectors)], source="")
    with open_cache(tmp_path / "c.h5") as cache:
        X, y = cache.read_arrays()
        X_train, y_train = cache.read_arrays("train")
    assert X[:, 0].tolist() == [0, 2]
    assert y.tolist() == ["a", "b"]
    assert X_train[:, 0].tolist() == [0]
    assert y_train.tolist() == ["a"]


@pytest.fixture
def gappy(tmp_path: Path) -> Path:
    """Six rows; all have a vector in full, rows 1 and 4 have none in gappy."""
    splits: list[Split | None] = ["train", "train", "train", "train", "val", "val"]
    rows = build_rows(["a", "b", "a", None, "b", "a"], splits)
    full = np.arange(12, dtype=np.float32).reshape(6, 2)
    holes = -full
    holes[[1, 4]] = np.nan
    infos = [build_info("full", dim=2), build_info("gappy", dim=2)]
    columns = [build_column(info, part) for info, part in zip(infos, (full, holes), strict=True)]
    write_rows(tmp_path / "c.h5", rows, columns, source="")
    return tmp_path / "c.h5"


def test_read_present_tells_rows_without_vector(gappy: Path) -> None:
    with open_cache(gappy) as cache:
        assert cache.read_present("gappy").tolist() == [True, False, True, True, False, True]
        assert cache.read_present("full").tolist() == [True] * 6


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (None, "2 of 6, such as b/001.jpg"),
        ([2, 4, 0], "1 of 3, such as b/004.jpg"),
        ([-2], "1 of 1, such as b/004.jpg"),
        ([4, 4, 1], "3 of 3, such as b/004.jpg"),
    ],
)
def test_read_vectors_of_rows_without_one_is_refused_with_remedy(
    gappy: Path, rows: list[int] | None, count: str
) -> None:
    message = rf"embedding gappy: expected a vector .*got none for {count}\. .*featx\.extract"
    with open_cache(gappy) as cache, pytest.raises(CacheError, match=message):
        cache.read_vectors("gappy", None if rows is None else np.array(rows))


def test_select_rows_by_name_gives_those_with_a_vector(gappy: Path) -> None:
    with open_cache(gappy) as cache:
        rows = cache.select_rows(embedding="gappy")
        labelled = cache.select_rows("train", labelled=True, embedding="gappy")
        vectors = cache.read_vectors("gappy", rows)
    assert rows.tolist() == [0, 2, 3, 5]
    assert labelled.tolist() == [0, 2]
    assert vectors[:, 0].tolist() == [0, -4, -6, -10]


def test_read_arrays_leaves_out_rows_without_vector(gappy: Path) -> None:
    with open_cache(gappy) as cache:
        X, y = cache.read_arrays(embedding="gappy")
        X_full, y_full = cache.read_arrays(embedding="full")
    assert X[:, 0].tolist() == [0, -4, -10]
    assert y.tolist() == ["a", "a", "a"]
    assert X_full[:, 0].tolist() == [0, 2, 4, 8, 10]
    assert y_full.tolist() == ["a", "b", "a", "b", "a"]


def test_cache_columns_are_read_once(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        assert cache.labels is cache.labels
        assert cache.ids is cache.ids


def test_cache_after_with_block_is_closed(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        pass
    with pytest.raises((ValueError, KeyError), match=r"(?i)closed|invalid"):
        cache.read_vectors()


def test_cache_repr_names_rows_and_embeddings(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        assert repr(cache) == "<Cache cache.h5: 60 rows, tiny>"


def test_columns_that_a_cache_lacks_are_not_known(cache_path: Path) -> None:
    """As in a cache of imported vectors."""
    with editing(cache_path) as file:
        for name in ("digest", "width", "height", "n_bytes", "mtime_ns"):
            del file["rows"][name]
    with open_cache(cache_path) as cache:
        assert set(cache.digests) == {""}
        assert cache.sizes.tolist() == [[0, 0]] * 60
        rows = cache.read_rows(start=58)
        assert rows["digest"].shape == (2, 32)
        assert rows["n_bytes"].tolist() == rows["mtime_ns"].tolist() == [-1, -1]
        assert cache.read_vectors().shape == (60, 8)
    assert verify_cache(cache_path).problems == ()


def test_read_rows_reads_a_block_of_the_columns(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        rows = cache.read_rows(("id", "label"), 10, 13)
        assert rows.names == ("id", "label")
        assert rows["id"].to_list() == cache.ids[10:13].tolist()
        assert rows["label"].to_list() == cache.labels[10:13].tolist()
        assert len(cache.read_rows(start=70)) == 0


def test_count_labels_counts_by_label_and_split(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        pairs = zip(cache.labels.tolist(), cache.splits.tolist(), strict=True)
        assert cache.count_labels() == Counter(pairs)
