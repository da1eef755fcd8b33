"""A cache is checked as a whole."""

import random

import numpy as np
import pytest

from featx.cache.check import verify_cache
from featx.cache.reader import open_cache
from featx.cache.writer import Column, rewrite_cache, write_cache
from featx.core.errors import CacheError
from featx.core.rows import Failure


def test_verify_whole_cache_counts_what_it_checked(cache_path):
    found = verify_cache(cache_path)
    assert found.problems == ()
    assert (found.n_rows, found.n_vectors) == (60, 60)
    with open_cache(cache_path) as cache:
        assert found.digest == cache.digest


def test_verify_missing_file_is_refused(tmp_path):
    with pytest.raises(CacheError, match="expected a cache, got no such file"):
        verify_cache(tmp_path / "none.h5")


@pytest.mark.parametrize("seed", range(5))
def test_verify_flipped_bit_names_its_block(cache_path, seed):
    data = bytearray(cache_path.read_bytes())
    place = random.Random(seed).randrange(len(data) - 64 - 32 * 2)
    data[place] ^= 1
    cache_path.write_bytes(data)
    start = place // 65536 * 65536
    (problem,) = verify_cache(cache_path).problems
    assert f"bytes {start} to " in problem


def test_verify_damaged_seal_is_a_problem(cache_path):
    data = bytearray(cache_path.read_bytes())
    data[-1] ^= 1
    cache_path.write_bytes(data)
    found = verify_cache(cache_path)
    assert found.digest == ""
    assert "its seal" in found.problems[0]


def set_text(name, number, text):
    def change(file):
        file[name][number] = text

    return change


def set_number(name, number, value):
    def change(file):
        file[name][number] = value

    return change


def drop(name):
    def change(file):
        del file[name]

    return change


def shorten(name):
    def change(file):
        values = file[name][:-1]
        del file[name]
        file.create_dataset(name, data=values)

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (set_text("rows/id", 1, b"bees/000.jpg"), "expected ids to be unique"),
        (set_text("rows/digest", 3, b"nonsense"), "expected a SHA-256, got 'nonsense'"),
        (set_number("rows/width", 0, 0), "expected a size, got 0 x 30"),
        (set_number("embeddings/tiny/vectors", 5, np.inf), "expected finite vectors"),
        (set_number("embeddings/tiny/present", 4, 0), "expected a vector, got none"),
        (shorten("embeddings/tiny/present"), "expected 60 rows, got 59"),
        (drop("rows/label"), "breaks its format"),
        (drop("embeddings/tiny"), "expected an embedding, got none"),
        (shorten("rows/group"), "breaks its format"),
    ],
)
def test_verify_sealed_nonsense_is_found(cache_path, change, problem):
    with rewrite_cache(cache_path) as file:
        change(file)
    assert any(problem in found for found in verify_cache(cache_path).problems)


@pytest.mark.parametrize(
    ("failure", "problem"),
    [
        (Failure("bees/000.jpg", "", "", "decode", "broken"), "expected no vector, got one"),
        (Failure("x.jpg", "", "", "dreaming", "broken"), "expected a stage and a reason"),
        (Failure("x.jpg", "", "", "read", ""), "expected a stage and a reason"),
    ],
)
def test_verify_ledger_that_disagrees_is_found(tmp_path, make_info, make_rows, failure, problem):
    column = Column(make_info(), "float32", lambda start, end: np.ones((end - start, 8)))
    path = tmp_path / "c.h5"
    write_cache(path, make_rows(["bees"], [None]), [column], failures=[failure], source="")
    assert problem in verify_cache(path).problems[0]
