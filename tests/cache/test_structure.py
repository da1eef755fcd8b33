"""What a sealed file may hold: every other structure is refused before any value is read."""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache.check import verify_cache
from featx.cache.format import ElementKind, FileKind
from featx.cache.joined import open_cache
from featx.cache.shards import Shards, find_plan
from featx.cache.structure import LAYOUTS, TypeName
from featx.core.errors import CacheDamagedError, CacheError, FeatxError
from featx.core.row_tables import READ_KINDS, build_table
from featx.core.rows import Failure
from featx.core.typing import list_choices
from tests.builders import (
    build_info,
    build_rows,
    editing,
    read_rows,
    seal_data,
    split_seal,
    write_vectors,
)

Change = Callable[[h5py.File], object]

VECTORS = "embeddings/tiny/vectors"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The HDF5 data of a cache of 8 rows."""
    path = tmp_path_factory.mktemp("sound") / "c.h5"
    rows = build_rows(["ants", "bees"] * 4, ["train", "val"] * 4)
    failures = [Failure(id="x.jpg", path="x.jpg", digest="", stage="read", reason="gone")]
    vectors = {"tiny": np.ones((8, 3), np.float32)}
    write_vectors(path, [build_info(dim=3)], rows, vectors, failures=failures)
    return split_seal(path)[1]


def craft(path: Path, content: bytes, change: Change) -> Path:
    """Change a copy of a cache by plain h5py, and seal it."""
    seal_data(path, content)
    with editing(path) as file:
        change(file)
    return path


def replace(name: str, write: Callable[[h5py.Group, str], object]) -> Change:
    """Delete an object, and write another in its place."""

    def change(file: h5py.File) -> None:
        group, _, own = name.rpartition("/")
        del file[name]
        write(file[group or "/"], own)

    return change


def link(name: str, value: object) -> Change:
    def write(group: h5py.Group, own: str) -> None:
        group[own] = value

    return replace(name, write)


def dataset(name: str, *args: Any, **options: Any) -> Change:
    return replace(name, lambda group, own: group.create_dataset(own, *args, **options))


def attribute(name: str, key: str, value: object, **options: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[name].attrs[key]
        file[name].attrs.create(key, value, **options)

    return change


def make_virtual(group: h5py.Group, own: str) -> None:
    layout = h5py.VirtualLayout((8, 3), "f4")
    layout[:] = h5py.VirtualSource("missing.h5", "x", shape=(8, 3))
    group.create_virtual_dataset(own, layout)


def make_virtual_without_end(group: h5py.Group, own: str) -> None:
    layout = h5py.VirtualLayout((8, 3), "f4", maxshape=(None, 3))
    source = h5py.VirtualSource("missing.h5", "x", shape=(8, 3), maxshape=(None, 3))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    group.create_virtual_dataset(own, layout)


def alias(first: str, second: str) -> Change:
    """Let a second name lead to an object that is there."""

    def change(file: h5py.File) -> None:
        if second in file:
            del file[second]
        file[second] = file[first]

    return change


def commit_type(group: h5py.Group, own: str) -> None:
    group.file["user/type"] = np.dtype("f4")
    group.create_dataset(own, (8, 3), dtype=group.file["user/type"])


OUTSIDE = [("/etc/services", 0, h5py.h5f.UNLIMITED)]
CHANGES: dict[str, tuple[Change, str]] = {
    # values of other files
    "external link": (link(VECTORS, h5py.ExternalLink("o.h5", "/x")), "got a link to another file"),
    "external group": (link("rows", h5py.ExternalLink("o.h5", "/")), "got a link to another file"),
    "soft link": (link("rows/width", h5py.SoftLink("/rows/height")), "got a soft link"),
    "loop": (lambda f: f.__setitem__("embeddings/a", h5py.SoftLink("/embeddings")), "a soft link"),
    "dangling": (lambda f: f.__setitem__("more", h5py.SoftLink("/nowhere")), "got a soft link"),
    "external values": (
        dataset(VECTORS, (8, 3), "f4", external=OUTSIDE),
        "expected values in this file, got values in another file",
    ),
    "external column": (
        dataset("rows/width", (8,), "i4", external=OUTSIDE),
        "/rows/width: expected values in this file, got values in another file",
    ),
    "virtual": (replace(VECTORS, make_virtual), "got a virtual dataset"),
    "endless virtual": (replace(VECTORS, make_virtual_without_end), "got a virtual dataset"),
    # two names of one object
    "alias": (alias("rows/width", "rows/height"), "a second name of another object"),
    "alias of rows": (alias("rows", "failures"), "a second name of another object"),
    "alias embedding": (alias("embeddings/tiny", "embeddings/two"), "a second name"),
    "circle": (alias("/", "embeddings/root"), "expected embedding 1, got None None"),
    # more than is there
    "huge dim": (
        dataset(VECTORS, shape=(8, 10**9), dtype="f4", chunks=(1, 1024)),
        "expected no more values than the file has bytes",
    ),
    "huge rows": (
        dataset(VECTORS, shape=(10**15, 3), dtype="f4", chunks=(1, 3), maxshape=(None, 3)),
        "expected n_rows 8, as in other datasets, got 1000000000000000",
    ),
    "huge column": (
        dataset("rows/id/bytes", (10**12,), "u1", chunks=(1,)),
        "no more values than the file has",
    ),
    "huge chunk": (
        dataset(VECTORS, (8, 3), "f4", chunks=(10**6, 3), maxshape=(None, 3)),
        "expected chunks within (8, 3)",
    ),
    "never written": (
        dataset(VECTORS, (8, 3), "f4", chunks=(1, 3)),
        "expected all values in the file, got values that were never written",
    ),
    "half written": (
        replace(
            VECTORS,
            lambda g, n: g.create_dataset(n, (8, 3), "f4", chunks=(1, 3)).__setitem__(0, 1.0),
        ),
        "values that were never written",
    ),
    "never written column": (dataset("rows/width", (8,), "i4"), "never written"),
    "compressed": (
        dataset(VECTORS, data=np.zeros((8, 3), "f4"), compression="gzip"),
        "expected values as they are, got values behind a filter",
    ),
    "checksums": (dataset(VECTORS, data=np.zeros((8, 3), "f4"), fletcher32=True), "a filter"),
    # other types and shapes
    "float64": (dataset(VECTORS, data=np.full((8, 3), 1e300)), "got the type float64"),
    "big-endian": (dataset(VECTORS, data=np.zeros((8, 3), ">f4")), "got the type >f4"),
    "complex": (dataset(VECTORS, data=np.zeros((8, 3), "c8")), "got the type complex64"),
    "compound": (
        dataset("rows/width", data=np.zeros(8, [("a", "i4"), ("b", "f8")])),
        "expected int32, got the type [('a', '<i4'), ('b', '<f8')]",
    ),
    "lists": (
        dataset("rows/width", (8,), h5py.vlen_dtype(np.dtype("i4"))),
        "expected int32, got the type object",
    ),
    "references": (dataset("rows/width", (8,), h5py.ref_dtype), "expected int32"),
    "enum": (
        dataset("embeddings/tiny/present", data=np.ones(8, bool)),
        "expected uint8, got the type bool",
    ),
    "committed type": (replace(VECTORS, commit_type), "expected float32 or float16"),
    "texts": (dataset("rows/id", data=["a"] * 8), "/rows/id: expected a group, got another object"),
    "texts of another type": (
        dataset("rows/id/bytes", data=np.zeros(9, "i1")),
        "expected uint8, got the type int8",
    ),
    "one text less": (dataset("rows/path/offsets", data=np.zeros(8, "i8")), "expected n_rows 8"),
    "short digests": (
        dataset("rows/digest", data=np.zeros((8, 31), "u1")),
        "/rows/digest: expected an axis of 32, got 31",
    ),
    "scalar": (dataset("rows/width", data=np.int32(3)), "expected 1 axes, got 0"),
    "no space": (dataset("rows/width", data=h5py.Empty("i4")), "expected 1 axes, got 0"),
    "three axes": (dataset(VECTORS, data=np.zeros((8, 3, 1), "f4")), "expected 2 axes, got 3"),
    "other dim": (dataset(VECTORS, data=np.zeros((8, 2), "f4")), "got dim 3 beside vectors of 2"),
    "no dim": (dataset(VECTORS, (8, 0), "f4"), "got dim 3 beside vectors of 0"),
    "fewer vectors": (dataset(VECTORS, data=np.zeros((7, 3), "f4")), "expected n_rows 8"),
    "short ledger": (dataset("failures/n_bytes", data=np.zeros(2, "i8")), "expected n_failures 1"),
    "group": (replace(VECTORS, lambda g, n: g.create_group(n)), "expected a dataset, got another"),
    "no group": (dataset("rows", data=[1]), "/rows: expected a group, got another object"),
    "signed digests": (
        lambda f: f.create_dataset("embeddings/tiny/learnt", data=np.arange(3)),
        "/embeddings/tiny/learnt: expected uint64, got the type int64",
    ),
    "digests of two axes": (
        lambda f: f.create_dataset("embeddings/tiny/learnt", data=np.zeros((1, 3), "u8")),
        "expected 1 axes, got 2",
    ),
    "digests of all rows": (
        lambda f: f.create_dataset("rows/learnt", data=np.arange(3, dtype="u8")),
        "/rows/learnt: expected only id, path, ",
    ),
    # other objects and attributes
    "unknown dataset": (lambda f: f.create_dataset("rows/note", data=[1]), "got a dataset"),
    "unknown type": (lambda f: f.__setitem__("note", np.dtype("f4")), "got a type"),
    "strange name": (lambda f: f.create_group("embeddings/\x1b[31m"), "\\u001b[31m: expected only"),
    "list of stamps": (
        attribute("rows", "featx-version", [1, 1]),
        "expected rows 1, got rows None",
    ),
    "text as version": (attribute("rows", "featx-version", "1"), "expected rows 1, got rows None"),
    "empty source": (attribute("/", "source", h5py.Empty("S1")), "a text in the attribute source"),
    "list of sources": (
        attribute("/", "source", ["a"] * 1500, dtype=h5py.string_dtype()),
        "expected a text in the attribute source",
    ),
    "deep fingerprint": (
        attribute("embeddings/tiny", "fingerprint", "[" * 10**5),
        "JSON that nests deeper than 32",
    ),
    "deep preprocess": (
        attribute(
            "embeddings/tiny",
            "fingerprint",
            build_info(dim=3).fingerprint.to_json().replace('{"kind"', '{"a":' * 99 + '{"kind"')
            + "}" * 99,
        ),
        "JSON that nests deeper than 32",
    ),
    "fields of other types": (
        attribute(
            "embeddings/tiny",
            "fingerprint",
            build_info(dim=3).fingerprint.to_json().replace('"dim": 3', '"dim": "3"'),
        ),
        "got a text in the field 'dim'",
    ),
    "no provenance": (attribute("embeddings/tiny", "provenance", "null"), "null in place of"),
    "provenance of lists": (
        attribute("embeddings/tiny", "provenance", json.dumps([[]] * 9)),
        "a list in place of an object",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_open_cache_refuses_another_structure_in_one_line(
    tmp_path: Path, sound: bytes, name: str
) -> None:
    change, message = CHANGES[name]
    path = craft(tmp_path / "c.h5", sound, change)
    with pytest.raises(CacheError) as caught:
        open_cache(path)
    assert not isinstance(caught.value, CacheDamagedError)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500
    (problem,) = verify_cache(path).problems
    assert message in problem


def test_open_cache_takes_the_sound_file(tmp_path: Path, sound: bytes) -> None:
    path = craft(tmp_path / "c.h5", sound, lambda file: None)
    with open_cache(path) as cache:
        assert (len(cache), cache.read_vectors().shape) == (8, (8, 3))
    assert verify_cache(path).problems == ()


@pytest.mark.parametrize("chunks", [(1, 1), (8, 3), (3, 2), None])
def test_open_cache_takes_any_chunks(
    tmp_path: Path, sound: bytes, chunks: tuple[int, int] | None
) -> None:
    change = dataset(VECTORS, data=np.ones((8, 3), "f2"), chunks=chunks)
    with open_cache(craft(tmp_path / "c.h5", sound, change)) as cache:
        assert cache.read_vectors().tolist() == [[1, 1, 1]] * 8


def test_open_cache_ignores_what_users_keep(tmp_path: Path, sound: bytes) -> None:
    def change(file: h5py.File) -> None:
        file["user/elsewhere"] = h5py.ExternalLink("other.h5", "/x")
        file["user/rows"] = file["rows"]
        file.attrs["note"] = "mine"

    with open_cache(craft(tmp_path / "c.h5", sound, change)) as cache:
        assert len(read_rows(cache)) == 8


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_read_vectors_refuses_values_that_are_not_finite(
    tmp_path: Path, sound: bytes, value: float, dtype: str
) -> None:
    vectors = np.ones((8, 3), dtype)
    vectors[5, 1] = value
    path = craft(tmp_path / "c.h5", sound, dataset(VECTORS, data=vectors))
    with open_cache(path) as cache:
        assert len(cache.read_vectors(rows=np.arange(5))) == 5
        with pytest.raises(CacheError, match="expected finite vectors, got NaN or infinity"):
            cache.read_vectors()


def test_read_vectors_takes_large_values_whose_sum_overflows(tmp_path: Path, sound: bytes) -> None:
    vectors = np.full((8, 3), np.finfo("f4").max, "f4")
    with open_cache(craft(tmp_path / "c.h5", sound, dataset(VECTORS, data=vectors))) as cache:
        assert np.array_equal(cache.read_vectors(), vectors)


def test_ids_refuse_two_rows_of_one_id(tmp_path: Path, sound: bytes) -> None:
    def change(file: h5py.File) -> None:
        offsets, data = file["rows/id/offsets"][:], file["rows/id/bytes"][:]
        data[offsets[3] : offsets[4]] = data[offsets[6] : offsets[7]]
        file["rows/id/bytes"][:] = data

    path = craft(tmp_path / "c.h5", sound, change)
    with open_cache(path) as cache, pytest.raises(CacheError, match="ids to be unique"):
        cache.ids  # noqa: B018


def patch(content: bytes, old: bytes, new: bytes) -> bytes:
    assert content.count(old) >= 1
    return content.replace(old, new)


def read_all(path: Path) -> None:
    with open_cache(path) as cache:
        assert read_rows(cache) or cache.failures or cache.read_vectors() is not None


def test_texts_of_claimed_length_take_no_memory(tmp_path: Path, sound: bytes) -> None:
    """HDF5 allocates the length that a pointer claims: here 4 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = sound.index(b"source\0\0")
    attributes = bytearray(sound)
    at = attributes.index((9).to_bytes(4, "little"), source)  # the length of "generated"
    attributes[at : at + 4] = b"\xff\xff\xff\xf0"
    with pytest.raises(FeatxError, match="no text of"):
        read_all(seal_data(tmp_path / "c.h5", bytes(attributes)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_texts_in_a_collection_without_end_are_refused(tmp_path: Path, sound: bytes) -> None:
    """HDF5 2.0 never returns from a free object of no length."""
    start = sound.index(b"GCOL") + 16
    content = sound[:start] + bytes(16) + sound[start + 16 :]
    with pytest.raises(FeatxError, match="no text of"):
        read_all(seal_data(tmp_path / "c.h5", content))


# --- shards


SOURCE = build_table(build_rows(["ants"], [None]), READ_KINDS)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """The only shard of a work folder."""
    shards = Shards(
        tmp_path / "w", [build_info(dim=3)], source=SOURCE, dtype="float32", batch_size=8
    )
    shards.append(build_rows(["ants"], [None]), {"tiny": np.ones((1, 3), np.float32)})
    shards.seal()
    shards.close()
    return tmp_path / "w" / "shard-000001.h5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (link("vectors/tiny", h5py.ExternalLink("o.h5", "/x")), "got a link to another file"),
        (dataset("vectors/tiny", (1, 3), "f4", external=OUTSIDE), "values in another file"),
        (dataset("vectors/tiny", data=np.ones((1, 3))), "got the type float64"),
        (dataset("vectors/tiny", data=np.ones((2, 3), "f4")), "expected n_rows 1"),
        (dataset("vectors/tiny", data=np.ones((1, 2), "f4")), "in place of {'dim of tiny': 3}"),
        (alias("rows", "repeats"), "a second name of another object"),
        (attribute("/", "plan", "{}"), "no field 'embeddings'"),
        (attribute("/", "plan", '{"a":' * 9999), "JSON that nests deeper than 32"),
    ],
)
def test_shards_refuse_another_structure_in_one_line(
    shard: Path, change: Change, message: str
) -> None:
    craft(shard, split_seal(shard)[1], change)
    for read in (
        lambda: Shards(
            shard.parent, [build_info(dim=3)], source=SOURCE, dtype="float32", batch_size=8
        ),
        lambda: find_plan(shard.parent),
    ):
        with pytest.raises(CacheError) as caught:
            read()
        assert message in str(caught.value)
        assert str(caught.value).isprintable()


def test_shards_refuse_vectors_that_are_not_finite(shard: Path) -> None:
    craft(shard, split_seal(shard)[1], dataset("vectors/tiny", data=np.full((1, 3), np.inf, "f4")))
    shards = Shards(shard.parent, [build_info(dim=3)], source=SOURCE, dtype="float32", batch_size=8)
    with pytest.raises(CacheError, match="expected finite vectors, got NaN or infinity"):
        shards.read_vectors("tiny", 1, np.array([0]))
    shards.close()


# --- the table itself


def test_layouts_name_each_kind_of_file() -> None:
    assert set(LAYOUTS) == set(list_choices(FileKind))


def test_layouts_use_known_words() -> None:
    words = set(list_choices(TypeName)) | set(list_choices(ElementKind))
    assert {"uint8", "float32", "rows"} <= words


def test_driver_information_is_refused(sound: bytes, tmp_path: Path) -> None:
    # libhdf5 2.0 opens such a file at one time and refuses it at another.
    path = tmp_path / "c.h5"
    for address in (0, 96, len(sound)):
        seal_data(path, sound[:48] + address.to_bytes(8, "little") + sound[56:])
        with pytest.raises(
            CacheError, match=r"expected an HDF5 file of one part, got one with dri"
        ):
            open_cache(path)
        (problem,) = verify_cache(path).problems
        assert "driver information" in problem
