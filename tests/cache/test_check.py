"""A check of a cache reports every problem that a reader could meet."""

import errno
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pytest

from featx.cache.check import (
    MAX_PROBLEMS,
    list_label_problems,
    list_presence_problems,
    list_row_problems,
    verify_cache,
)
from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import Texts
from featx.core.errors import CacheError
from featx.core.row_tables import FAILURE_KINDS, ROW_KINDS, build_table
from featx.core.rows import Failure
from featx.core.typing import IntArray, Stage, Vectors
from featx.labels.element import Labels
from featx.labels.hold import hold
from tests.builders import build_info, build_rows, editing, write_vectors
from tests.labels.builders import build_keys, build_recorded, build_said, build_source

Change = Callable[[h5py.File], None]


def test_verify_whole_cache_counts_what_it_checked(cache_path: Path) -> None:
    found = verify_cache(cache_path)
    assert found.problems == ()
    assert (found.n_rows, found.n_vectors) == (60, 60)
    with open_cache(cache_path) as cache:
        assert found.digest == cache.digest


def test_verify_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="expected a cache, got no such file"):
        verify_cache(tmp_path / "none.h5")


def test_verify_file_that_may_not_be_read_is_an_error_and_no_damage(
    cache_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CacheError, match="expected a file that can be read, got Permission denied"):
        verify_cache(cache_path)


@pytest.mark.parametrize("seed", range(5))
def test_verify_flipped_bit_names_its_block(cache_path: Path, seed: int) -> None:
    data = bytearray(cache_path.read_bytes())
    place = random.Random(seed).randrange(4096, len(data))
    data[place] ^= 1
    cache_path.write_bytes(data)
    start = 4096 + (place - 4096) // 65536 * 65536
    (problem,) = verify_cache(cache_path).problems
    assert f"bytes {start} to " in problem


def test_verify_damaged_seal_is_a_problem(cache_path: Path) -> None:
    data = bytearray(cache_path.read_bytes())
    data[50] ^= 1
    cache_path.write_bytes(data)
    found = verify_cache(cache_path)
    assert (found.digest, found.n_rows, found.n_vectors) == ("", 0, 0)
    assert "its seal" in found.problems[0]


def set_text(name: str, number: int, text: bytes) -> Change:
    """Change the first bytes of a text to others."""

    def change(file: h5py.File) -> None:
        start = int(file[f"{name}/offsets"][number])
        file[f"{name}/bytes"][start : start + len(text)] = np.frombuffer(text, np.uint8)

    return change


def set_number(name: str, number: int, value: float) -> Change:
    def change(file: h5py.File) -> None:
        file[name][number] = value

    return change


def drop(name: str) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def shorten(name: str) -> Change:
    def change(file: h5py.File) -> None:
        values = file[name][:-1]
        del file[name]
        file.create_dataset(name, data=values)

    return change


def learn(*digests: int) -> Change:
    def change(file: h5py.File) -> None:
        file["embeddings/tiny"].create_dataset("learnt", data=np.array(digests, "u8"))

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (learn(1, 3, 2), "/embeddings/tiny/learnt: expected ascending digests"),
        (learn(1, 1), "/embeddings/tiny/learnt: expected ascending digests"),
        (set_text("rows/id", 1, b"bees/000.jpg"), "expected ids to be unique"),
        (set_number("rows/id/offsets", 5, 10**9), "breaks its format"),
        (set_number("rows/id/offsets", 5, -1), "breaks its format"),
        (set_number("rows/width", 0, 0), "expected a size, got 0 x 30"),
        (set_number("embeddings/tiny/vectors", 5, np.inf), "expected finite vectors"),
        (set_number("embeddings/tiny/present", 4, 0), "expected a vector, got none"),
        (shorten("embeddings/tiny/present"), "expected n_rows 60, as in other datasets, got 59"),
        (set_number("embeddings/tiny/present", 4, 2), "expected 0 or 1, got 2"),
        (set_text("rows/path", 2, b"a\x1b[31m"), "expected one printable line in path"),
        (set_text("rows/path", 2, b"\xff"), "breaks its format"),
        (drop("rows/path"), "breaks its format"),
        (drop("embeddings/tiny"), "expected an embedding, got none"),
        (shorten("rows/width"), "breaks its format"),
        (
            set_number("labels/label/codes", 0, 2),
            "labels: expected what was said to hold",
        ),
        (set_number("labels/label/codes", 0, 9), "breaks its format"),
        (drop("labels/source/group"), "breaks its format"),
    ],
)
def test_verify_sealed_nonsense_is_found(cache_path: Path, change: Change, problem: str) -> None:
    with editing(cache_path) as file:
        change(file)
    assert any(problem in found for found in verify_cache(cache_path).problems)


ROWS = build_rows(["bees", "ants", "ants"], [None, "train", "val"])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"digest": ""}, None),
        ({"width": 1, "height": 1}, None),
        ({"width": 0, "height": 0}, None),
        ({"width": 0}, "row 'ants/001.jpg': expected a size, got 0 x 30"),
        ({"height": -1}, "row 'ants/001.jpg': expected a size, got 40 x -1"),
        ({"split": None}, None),
        ({"split": "dev"}, "row 'ants/001.jpg': expected a split, got 'dev'"),
        ({"path": "a\nb"}, "row 'ants/001.jpg': expected one printable line in path"),
        ({"group": "\u202e"}, "row 'ants/001.jpg': expected one printable line in group"),
    ],
)
def test_list_row_problems_of_one_row(changes: dict[str, Any], problem: str | None) -> None:
    rows = [ROWS[0], replace(ROWS[1], **changes), ROWS[2]]
    found = list_row_problems(build_table(rows, ROW_KINDS))
    assert len(found) == (problem is not None)
    assert problem is None or found[0].startswith(problem)


KEYS = build_keys(("a", "x"), ("b", "y"))
SOURCE = build_source(["ants", "bees"], ["train", ""])


@pytest.mark.parametrize(
    ("said", "recorded", "problem"),
    [
        ([("a", "x", "wasps", 0)], [(1, [1, 255])], None),
        ([("a", "x", "wasps", 0, "shure")], [], "expected one of sure, unsure, withdrawn, got 'sh"),
        ([("a", "x", "a\nb", 0)], [], "expected one printable line in value, got 'a\\nb'"),
        ([], [(0, [1, 4])], "expected codes of splits, got 4"),
        ([], [(1, [1, 1]), (0, [1, 1])], "expected ascending occasions"),
    ],
)
def test_list_label_problems_of_what_was_said(said: Any, recorded: Any, problem: str) -> None:
    labels = Labels(
        held=SOURCE, source=SOURCE, said=build_said(*said), recorded=build_recorded(2, *recorded)
    )
    if problem is None:
        labels = hold(labels, KEYS)
    found = list_label_problems(labels, KEYS)
    assert (problem is None) == (found == [])
    assert problem is None or problem in found[0]


def test_list_label_problems_names_the_columns_that_do_not_follow() -> None:
    labels = Labels.of_source(SOURCE)
    labels = replace(labels, said=build_said(("a", "x", "wasps")))
    told = ["labels: expected what was said to hold, got another label in 1 rows"]
    assert list_label_problems(labels, KEYS) == told


FAILURE = Failure(id="bees/000.jpg", path="/p", digest="", stage="decode", reason="broken")


@pytest.mark.parametrize(
    ("failure", "present", "problem"),
    [
        (FAILURE, {"a": [0, 1, 1], "b": [0, 1, 1]}, "row 'bees/000.jpg': expected a vector"),
        (replace(FAILURE, embedding="a"), {"a": [0, 1, 1], "b": [1, 1, 1]}, None),
        (replace(FAILURE, embedding="b"), {"a": [1, 1, 1], "b": [0, 1, 1]}, None),
        (replace(FAILURE, embedding="a"), {"a": [1, 1, 1]}, "expected no vector, got one"),
        (FAILURE, {"a": [0, 1, 1], "b": [1, 1, 1]}, "expected no vector, got one"),
        (replace(FAILURE, id="gone.jpg"), {"a": [1, 1, 1]}, None),
        (replace(FAILURE, id="x", embedding="c"), {"a": [1, 1, 1]}, "an embedding, got 'c'"),
        (
            replace(FAILURE, id="x", stage=cast(Stage, "dreaming")),
            {"a": [1, 1, 1]},
            "a stage and a reason",
        ),
        (replace(FAILURE, id="x", reason=""), {"a": [1, 1, 1]}, "a stage and a reason"),
        (replace(FAILURE, id="x"), {}, "expected an embedding, got none"),
    ],
)
def test_list_presence_problems_of_one_failure(
    failure: Failure, present: dict[str, list[int]], problem: str | None
) -> None:
    flags = {name: np.array(values, bool) for name, values in present.items()}
    found = list_presence_problems(
        Texts.from_list(row.id for row in ROWS), flags, build_table([failure], FAILURE_KINDS)
    )
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


def test_verify_tells_every_problem_at_once(tmp_path: Path) -> None:
    rows = [replace(ROWS[0], width=0), replace(ROWS[1], path="a\nb")]
    failures = [replace(FAILURE, reason="", id="x.jpg"), FAILURE]
    vectors = {"a": np.ones((2, 8)), "b": np.full((2, 8), np.inf)}
    infos = [build_info("a"), build_info("b")]
    found = verify_cache(write_vectors(tmp_path / "c.h5", infos, rows, vectors, failures=failures))
    assert found.problems == (
        "row 'ants/001.jpg': expected one printable line in path",
        "row 'bees/000.jpg': expected a size, got 0 x 30",
        "embedding b: expected finite vectors, got NaN or infinity",
        "failure 'x.jpg': expected a stage and a reason, got 'decode'",
        "failure 'bees/000.jpg': expected no vector, got one",
    )
    assert (found.n_rows, found.n_vectors) == (2, 2)


@pytest.mark.parametrize("row", [0, BLOCK_ROWS - 1, BLOCK_ROWS, -1])
def test_verify_reads_every_vector(tmp_path: Path, row: int) -> None:
    n_rows = BLOCK_ROWS + 3
    vectors = np.ones((n_rows, 2), np.float32)
    vectors[row] = np.inf, 0
    rows = [replace(ROWS[0], id=str(number)) for number in range(n_rows)]
    path = write_vectors(tmp_path / "c.h5", [build_info(dim=2)], rows, {"tiny": vectors})
    assert verify_cache(path).problems == (
        "embedding tiny: expected finite vectors, got NaN or infinity",
    )


def test_verify_holds_one_block_of_vectors_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_rows = 2 * BLOCK_ROWS + 3
    rows = [replace(ROWS[0], id=str(number)) for number in range(n_rows)]
    vectors = {"tiny": np.ones((n_rows, 1), np.float32)}
    path = write_vectors(tmp_path / "c.h5", [build_info(dim=1)], rows, vectors)
    sizes: list[int] = []
    take_vectors = Cache.take_vectors

    def take_and_note(cache: Cache, embedding: str, rows: IntArray) -> Vectors:
        sizes.append(len(rows))
        return take_vectors(cache, embedding, rows)

    monkeypatch.setattr(Cache, "take_vectors", take_and_note)
    assert verify_cache(path).n_vectors == n_rows
    assert sizes == [BLOCK_ROWS, BLOCK_ROWS, 3]


def test_verify_other_dim_than_the_fingerprint_is_found(cache_path: Path) -> None:
    with editing(cache_path) as file:
        values = file["embeddings/tiny/vectors"][:, :7]
        del file["embeddings/tiny/vectors"]
        file["embeddings/tiny/vectors"] = values
    (problem,) = verify_cache(cache_path).problems
    assert "got dim 8 beside vectors of 7" in problem


def test_verify_other_number_of_vectors_is_found(cache_path: Path) -> None:
    with editing(cache_path) as file:
        shorten("embeddings/tiny/vectors")(file)
    found = verify_cache(cache_path)
    (problem,) = found.problems
    assert "/embeddings/tiny/vectors: expected n_rows 60, as in other datasets, got 59" in problem
    assert found.n_vectors == 0


def test_verify_values_in_a_row_without_a_vector_are_found(cache_path: Path) -> None:
    with editing(cache_path) as file:
        file["embeddings/tiny/present"][3] = 0
    problems = verify_cache(cache_path).problems
    assert "embedding tiny: expected NaN in rows without a vector, got values" in problems


def test_verify_lists_a_limited_number_of_problems(cache_path: Path) -> None:
    with editing(cache_path) as file:
        file["rows/height"][:] = -1
        file["rows/path/bytes"][:] = 7
    problems = verify_cache(cache_path).problems
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == "20 more problems"
