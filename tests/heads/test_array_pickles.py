"""Arrays in pickles: bytes of the file, never more than the file has."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib.numpy_pickle import NumpyArrayWrapper

from featx.heads.unpickling import read_pickle


def write_wrapper(path: Path, shape: Any, dtype: Any = "f8", order: str = "C") -> None:
    """Write an array that joblib describes, with 16 bytes in place of its values."""
    wrapper = NumpyArrayWrapper(np.ndarray, shape, order, np.dtype(dtype), False)
    path.write_bytes(pickle.dumps(wrapper, 4)[:-1] + b"\x00" + 16 * b"\x00" + b".")


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 20, 1 << 20), (3,), (1 << 46, 1 << 46)])
@pytest.mark.parametrize("dtype", ["f8", "U99999"])
def test_read_pickle_of_an_array_longer_than_the_file_allocates_nothing(
    tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    write_wrapper(tmp_path / "head.joblib", shape, dtype)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"an array of [\d,]+ bytes, where 17 are left"):
            read_pickle(tmp_path / "head.joblib")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_read_pickle_of_an_array_that_fits_reads_it(tmp_path: Path) -> None:
    write_wrapper(tmp_path / "head.joblib", (2,))
    assert read_pickle(tmp_path / "head.joblib").content.tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(-1,), (True,), (2.0,), [2], 2, (1 << 60, 0), (0,) * 33])
def test_read_pickle_refuses_what_is_no_shape(tmp_path: Path, shape: Any) -> None:
    write_wrapper(tmp_path / "head.joblib", shape)
    with pytest.raises(ValueError, match=r"an array of another shape"):
        read_pickle(tmp_path / "head.joblib")


def test_read_pickle_refuses_truth_values_beside_0_and_1(tmp_path: Path) -> None:
    joblib.dump(np.array([True, False]), tmp_path / "head.joblib")
    data = (tmp_path / "head.joblib").read_bytes()
    assert data.endswith(b"\x01\x00.")
    (tmp_path / "head.joblib").write_bytes(data[:-3] + b"\x01\x07.")
    with pytest.raises(ValueError, match=r"truth values beside 0 and 1"):
        read_pickle(tmp_path / "head.joblib")


def test_read_pickle_refuses_arrays_of_objects_within_each_other(tmp_path: Path) -> None:
    joblib.dump(np.array([np.array([None, 1]), 1], object), tmp_path / "head.joblib")
    with pytest.raises(ValueError, match=r"an array of objects"):
        read_pickle(tmp_path / "head.joblib")


def test_read_pickle_refuses_a_structured_array(tmp_path: Path) -> None:
    joblib.dump(np.zeros(2, [("a", "f8"), ("b", "O")]), tmp_path / "head.joblib")
    with pytest.raises(ValueError, match=r"a dtype that no head has"):
        read_pickle(tmp_path / "head.joblib")


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_load_head_of_a_bomb_needs_little_memory(tmp_path: Path) -> None:
    write_wrapper(tmp_path / "head.joblib", (1 << 44,))
    code = (
        "import sys, featx\n"
        "try: featx.load_head(sys.argv[1])\n"
        "except featx.HeadError as error: print(error)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "head.joblib")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    message, peak = done.stdout.splitlines()
    assert "expected a head that featx wrote, got a file that cannot be read as one" in message
    assert int(peak) < 1 << 20  # in KiB: below 1 GiB, with scikit-learn


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12)[::2],
        np.zeros((0, 4), np.float32),
        np.float32(3.5),
        np.float64(0.1),
        np.int64(-7),
        np.bool_(True),
        np.array(7, np.int32),
        np.array(["10", "naïve"]),
        np.array(["10", 'naïve, "x"'], object),
        np.array([True, False]),
        np.arange(4, dtype=">f4"),
        {"a": [1, -1, 256, 70_000, 1 << 40, 1 << 63, 0.5, None, True], "b": ("x", (), ("y",))},
        "long " * 100,
    ],
    ids=repr,
)
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_read_pickle_of_plain_values_is_what_joblib_reads(
    tmp_path: Path, value: Any, protocol: int
) -> None:
    joblib.dump(value, tmp_path / "head.joblib", protocol=protocol)
    found = read_pickle(tmp_path / "head.joblib").content
    expected = joblib.load(tmp_path / "head.joblib")
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.flags.writeable
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


def test_read_pickle_of_bytes_as_old_joblib_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "head.joblib"
    path.write_bytes(pickle.dumps(np.array(["ant", "bee"], object), protocol=2))
    assert b"_codecs" in path.read_bytes()
    np.testing.assert_array_equal(read_pickle(path).content, ["ant", "bee"])


@pytest.mark.parametrize("encoding", ["rot13", "zlib", "utf-7"])
def test_read_pickle_of_bytes_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "head.joblib"
    name = len(encoding).to_bytes(4, "little") + encoding.encode()
    data = pickle.dumps(b"\xff", protocol=2)
    path.write_bytes(data.replace(b"X\x06\x00\x00\x00latin1", b"X" + name))
    with pytest.raises(TypeError, match="a call that no head has"):
        read_pickle(path)
