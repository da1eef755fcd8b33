"""A file of format version 1 is read for ever."""

from pathlib import Path

import h5py
import numpy as np

from featx.cache.check import verify_cache
from featx.cache.reader import open_cache
from featx.core.rows import Failure, Row

FILE = Path(__file__).parent / "fixtures" / "version-1.h5"

ROWS = [
    Row("ants/ä.jpg", "/p/ants/ä.jpg", "ants", "train", "burst 1", "0a" * 32, 640, 480, 5, 2**60),
    Row(r"bees/\x80.png", r"/p/bees/\x80.png", "bees", "val", None, "0b" * 32, 1, 7, 6, -1),
    Row("c.gif", "/p/c.gif", None, None, None, "0c" * 32, 3, 3, 7, 1),
]
FAILURES = (
    Failure("c.gif", "/p/c.gif", "0c" * 32, "embed", "not finite", "tiny@conv", 7, 1),
    Failure("d.jpg", "/p/d.jpg", "0d" * 32, "decode", "empty file", "", 0, 12),
    Failure("e.jpg", "/p/e.jpg", "", "read", "No such file or directory"),
)
TINY = np.arange(12, dtype=np.float32).reshape(3, 4) / 8
DIGEST = "9e97d312af981f70f6b09645ceb52fdd18167a4918fcd52f2f71304b1aeb2aa9"
CONV = np.array([[1, -2], [0.5, 65504]], np.float16)


def test_version_1_is_sound():
    found = verify_cache(FILE)
    assert found.problems == ()
    assert (found.n_rows, found.n_vectors) == (3, 5)


def test_version_1_rows_failures_and_vectors_are_what_was_written():
    with open_cache(FILE) as cache:
        assert cache.rows == ROWS
        assert cache.failures == FAILURES
        assert cache.names == ("tiny", "tiny@conv")
        assert cache.source == "photos/"
        np.testing.assert_array_equal(cache.read_vectors("tiny"), TINY)
        assert cache.get_dtype("tiny@conv") == "float16"
        assert cache.read_present("tiny@conv").tolist() == [True, True, False]
        np.testing.assert_array_equal(cache.read_vectors("tiny@conv", [0, 1]), CONV)
        info = cache.get_info("tiny@conv")
        assert (info.fingerprint.dim, info.fingerprint.layer) == (2, "conv")
        assert info.provenance["batch_size"] == 32


def test_version_1_is_plain_hdf5():
    with h5py.File(FILE) as file:
        assert (file.attrs["format"], file.attrs["format_version"]) == ("featx-cache", 1)
        assert file["rows/label"].asstr()[:].tolist() == ["ants", "bees", ""]
        np.testing.assert_array_equal(file["embeddings/tiny/vectors"][:], TINY)


def test_version_1_file_is_the_one_that_was_kept():
    assert verify_cache(FILE).digest == DIGEST
