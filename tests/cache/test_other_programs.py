"""Other programs open a cache for writing by default: unchanged, it stays sealed."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.cache.seal import check_seal
from featx.core.errors import CacheDamagedError


def read_all(file: h5py.Group) -> None:
    file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)


@pytest.mark.parametrize("mode", ["a", "r+", "r"])
def test_h5py_opens_a_cache_in_any_mode_and_it_stays_sealed(cache_path: Path, mode: str) -> None:
    before = cache_path.read_bytes()
    with h5py.File(cache_path, mode) as file:
        read_all(file)
    assert cache_path.read_bytes() == before
    check_seal(cache_path)


def test_pandas_opens_a_cache_in_its_default_mode_and_it_stays_sealed(cache_path: Path) -> None:
    pytest.importorskip("tables", reason="needs PyTables")
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    before = cache_path.read_bytes()
    with pandas.HDFStore(cache_path) as store:
        store.keys()
    assert cache_path.read_bytes() == before


HDF5R = """
file <- hdf5r::H5File$new(commandArgs(TRUE)[1]%s)
stopifnot(identical(dim(file[["embeddings/tiny/vectors"]][, ]), c(8L, 60L)))
file$close_all()
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["", ', mode = "a"', ', mode = "r+"', ', mode = "r"'])
def test_hdf5r_opens_a_cache_and_it_stays_sealed(cache_path: Path, mode: str) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("needs R with hdf5r: apt-get install r-cran-hdf5r")
    before = cache_path.read_bytes()
    command = ["Rscript", "--vanilla", "-e", HDF5R % mode, str(cache_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "no package called" in done.stderr:
        pytest.skip("needs the R package hdf5r: apt-get install r-cran-hdf5r")
    assert done.returncode == 0, done.stderr
    assert cache_path.read_bytes() == before


def change_value(file: h5py.File) -> None:
    file["embeddings/tiny/vectors"][3, 1] = 7


def add_large(file: h5py.File) -> None:
    file["user/more"] = np.arange(100_000)


@pytest.mark.parametrize("change", [change_value, add_large])
def test_open_cache_that_another_program_changed_says_who_and_what_to_do(
    cache_path: Path, change: Callable[[h5py.File], None]
) -> None:
    with h5py.File(cache_path, "a") as file:
        change(file)
    with pytest.raises(CacheDamagedError) as caught:
        open_cache(cache_path)
    assert "by a program that wrote to the file, such as h5py, pandas or R's hdf5r" in str(
        caught.value
    )
    assert "seal the file anew with featx.seal_cache(path)" in caught.value.remedy
    assert len(str(caught.value).splitlines()) == 1
