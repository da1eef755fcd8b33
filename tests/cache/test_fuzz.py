"""Sealed files of any structure and any bytes give data that keep the format, or one FeatxError."""

import contextlib
import os
import random
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.cache.check import verify_cache
from featx.cache.joined import open_cache
from featx.cache.sealing import seal_file
from featx.core.errors import FeatxError
from featx.core.rows import Failure
from tests.builders import build_info, build_rows, seal_data, split_seal, write_vectors

MAX_GROWTH_KB = 200_000
"""Largest growth of the process: a cache of 20 kB needs none."""

LONG = int(os.environ.get("FEATX_SEEDS", "1000"))
"""Seeds of each of the five long tests; 20,000 try all of 100,000 files, in an hour and a half."""

TEXTS = ("", "a", "\x1b[31m", "\u202e", "x" * 70_000, "{}", "null", "[" * 5000, '{"dim": 3}')
DTYPES = ("f4", "f2", "f8", ">f4", "i4", "u1", "i8", "c8", "S3", "?", [("a", "i4"), ("b", "f4")])
SHAPES = ((), (0,), (6,), (5,), (6, 3), (6, 2), (6, 0), (6, 3, 1), (10**9, 3), (6, 10**9))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small cache without its seal."""
    path = tmp_path_factory.mktemp("sound") / "c.h5"
    rows = build_rows(["ants", "bees", None] * 2, ["train", "val", None] * 2)
    failures = [Failure(id="x.jpg", path="x.jpg", digest="", stage="read", reason="gone")]
    vectors = {"tiny": np.ones((6, 3), np.float32)}
    write_vectors(path, [build_info(dim=3)], rows, vectors, failures=failures)
    return split_seal(path)[1]


def change_bytes(rng: random.Random, content: bytes) -> bytes:
    """Flip, set, copy or cut bytes."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        place = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[place] ^= 1 << rng.randrange(8)
            case 1:
                data[place] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
            case 2:
                n_bytes, source = rng.choice([1, 2, 4, 8, 16]), rng.randrange(len(data))
                data[place : place + n_bytes] = data[source : source + n_bytes]
            case 3:
                value = rng.choice([0, 1, 2**31, 2**32 - 1, 2**63, len(data), rng.randrange(10**5)])
                data[place : place + 8] = value.to_bytes(8, "little")
    return bytes(data[: rng.randrange(1, len(data))] if rng.random() < 0.02 else data)


def list_names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return ["/", *names]


def change_structure(rng: random.Random, file: h5py.File) -> None:
    """Change one object by what plain h5py can do."""
    name = rng.choice(list_names(file))
    parent, _, own = name.rpartition("/")
    group = file[parent or "/"]
    match rng.randrange(9):
        case 0:
            del group[own]
        case 1:
            target = file[rng.choice(list_names(file))]
            group[rng.choice([own + "2", "user", "labels", "two"])] = target
        case 2:
            del group[own]
            group[own] = rng.choice([h5py.SoftLink("/rows/id"), h5py.ExternalLink("o.h5", "/x")])
        case 3:
            key = rng.choice(["format", "source", "fingerprint", "provenance", "featx-type", "x"])
            value: Any = rng.choice([*TEXTS, 1, 2, 1.5, [1, 2], ["a", "b"], h5py.Empty("S1")])
            group.attrs[key] = value
        case 4 | 5:
            options: dict[str, Any] = {"dtype": rng.choice(DTYPES), "shape": rng.choice(SHAPES)}
            if len(options["shape"]) == 2:
                options["chunks"] = rng.choice([None, (1, 1), (1, 3), (6, 3)])
            if rng.random() < 0.2:
                options["external"] = [("/etc/hosts", 0, h5py.h5f.UNLIMITED)]
            if rng.random() < 0.1:
                options["compression"] = "gzip"
            del group[own]
            group.create_dataset(own, **options)
        case 6:
            values = [rng.choice(TEXTS) for _ in range(rng.choice([5, 6]))]
            del group[own]
            group.create_dataset(own, data=values, dtype=h5py.string_dtype())
        case 7:
            row = rng.randrange(6)
            if file[name].size > 1000:  # h5py takes gigabytes to write a row of so many chunks
                return
            is_text = h5py.check_string_dtype(file[name].dtype) is not None
            file[name][row] = (
                rng.choice(TEXTS) if is_text else rng.choice([0, 1, 2, -1, 255, np.nan])
            )
        case 8:
            layout = h5py.VirtualLayout(file[name].shape, file[name].dtype)
            layout[:] = h5py.VirtualSource("missing.h5", "x", shape=file[name].shape)
            del group[own]
            group.create_virtual_dataset(own, layout)


def write_case(seed: int, path: Path, content: bytes) -> None:
    """Write the sealed file of one seed."""
    rng = random.Random(seed)
    is_structure = rng.random() < 0.4
    seal_data(path, content if is_structure else change_bytes(rng, content))
    if is_structure:
        with h5py.File(path, "r+") as file:
            for _ in range(rng.choice([1, 1, 2, 3])):
                with contextlib.suppress(Exception):  # what h5py cannot do stays as it was
                    change_structure(rng, file)
        seal_file(path)


def iter_readings(path: Path) -> Iterator[str]:
    """Read each part of a cache by itself; yield what came of it."""
    try:
        cache = open_cache(path)
    except FeatxError as error:
        check_error(error)
        yield "unopened"
        return
    with cache:
        n_rows = len(cache)
        for name in ("ids", "paths", "labels", "splits", "groups", "digests", "sizes", "failures",
                     "read_rows", "read_history"):  # fmt: skip
            try:
                column: Any = getattr(cache, name)
                column = column() if name.startswith("read") else column
            except FeatxError as error:
                check_error(error)
                yield "refused"
            else:
                assert name in ("failures", "read_history") or len(column) == n_rows
                assert name != "ids" or len(set(column)) == n_rows
                yield "read"
        for name in cache.embeddings:
            try:
                vectors = cache.read_vectors(name, cache.read_present(name))
            except FeatxError as error:
                check_error(error)
                yield "refused"
            else:
                assert vectors.shape[1:] == (cache.get_info(name).fingerprint.dim,)
                assert vectors.dtype in (np.float32, np.float16)
                assert np.isfinite(vectors).all()
                yield "read"


def check_error(error: FeatxError) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 2500


def fuzz(path: Path, content: bytes, seeds: range) -> Counter[str]:
    """Try all seeds; return how often each outcome was met."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts: Counter[str] = Counter()
    for seed in seeds:
        write_case(seed, path, content)
        try:
            outcomes = list(iter_readings(path))
            problems = verify_cache(path).problems
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        counts.update(outcomes)
        if set(outcomes) != {"read"}:
            assert problems, seed
        counts["sound" if not problems else "problems"] += 1
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert growth < MAX_GROWTH_KB, growth
    return counts


def test_any_sealed_file_is_read_right_or_refused(tmp_path: Path, content: bytes) -> None:
    counts = fuzz(tmp_path / "c.h5", content, range(50))
    # All ways were walked. Few readings refuse anything: opening looks at the structure.
    assert all(counts[key] > 1 for key in ("unopened", "read", "sound", "problems")), counts


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 101_000, 20_000))
def test_any_sealed_file_is_read_right_or_refused_long(
    tmp_path: Path, content: bytes, start: int
) -> None:
    fuzz(tmp_path / "c.h5", content, range(start, start + LONG))
