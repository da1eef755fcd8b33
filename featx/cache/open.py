"""Open a sealed file of featx's format for reading."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import h5py

from featx.cache.format import FileKind, check_file_stamp
from featx.cache.seal import ReadPool, SealedFile
from featx.cache.structure import check_structure
from featx.core.address import find_address
from featx.core.errors import CacheError
from featx.core.parts import list_part_files
from featx.core.recognise import LET_READ, UNREADABLE, describe_path, recognise_file
from featx.core.typing import PathLike

OpenedFile: TypeAlias = AbstractContextManager[tuple[h5py.File, SealedFile, dict[str, int]]]
"""What `open_sealed` returns."""

RECORD_SPLITS = "Record splits with featx.split_cache(cache, val=0.2), or pass split='all'."
"""Remedy for a cache without splits."""


def refuse_split(path: Path, split: str, have: Sequence[str]) -> CacheError:
    """Build the error for a split that a cache does not have.

    Parameters
    ----------
    path : Path
        Path of the cache.
    split : str
        Name of the split that was asked for.
    have : sequence of str
        Names of the splits that the cache has.
    """
    return CacheError(
        subject=str(path),
        expected=f"rows in split {split!r}",
        got=f"splits {', '.join(have)}" if have else "no splits",
        remedy="Pass one of these splits, or split='all'." if have else RECORD_SPLITS,
    )


def is_cache_file(path: PathLike) -> bool:
    """Return True if a file begins like HDF5, or if a folder has parts of a source.

    Such a file is a cache, even a damaged one, and not an image. Of an address, the suffix decides.
    """
    address = find_address(path)
    if address is not None:
        return address.suffix.lower() in (".h5", ".hdf5")
    return bool(h5py.is_hdf5(path)) if os.path.isfile(path) else bool(list_part_files(path))


def check_exists(path: Path) -> None:
    """Refuse a path that is not a file, and a file of another kind that featx writes.

    Raises
    ------
    CacheError
        If the file does not exist, or is a head or a file of weights. The remedy says where to pass
        it.
    """
    if os.path.isfile(path) and recognise_file(path) in (None, "cache"):
        return
    got = describe_path(path)
    remedies = {
        "a head": f"Pass the cache that it was fitted on, or show it: featx.load_head('{path}').",
        "a file of weights": f"Embed with it: featx.extract(source, path, weights='{path}').",
        "a folder": f"Make a cache of its images: featx.extract('{path}', output='photos.h5').",
    }
    default = "Make a cache with featx.extract(source, output=path)."
    if got.startswith(UNREADABLE):
        default = LET_READ
    raise CacheError(
        subject=str(path), expected="a cache", got=got, remedy=remedies.get(got, default)
    )


@contextmanager
def open_sealed(
    path: PathLike, kind: FileKind, pool: ReadPool | None = None
) -> Iterator[tuple[h5py.File, SealedFile, dict[str, int]]]:
    """Open a sealed HDF5 file, check its structure, and close it at the end of the block.

    Parameters
    ----------
    path : path
        The file.
    kind : {"featx-cache", "featx-shard"}
        The kind of file that is expected.
    pool : ReadPool, optional
        What the file shares with others that are read as one.

    Yields
    ------
    file : h5py.File
        The file as HDF5 sees it.
    sealed : SealedFile
        The same file as checked bytes. Read from `file` under ``sealed.guard()`` only: HDF5 ignores
        some failed reads.
    lengths : dict of str to int
        Length of each axis by its name, such as ``n_rows``.

    Raises
    ------
    CacheError
        If the file is missing, not sealed, damaged, no HDF5 file, of another kind or version, or
        has another structure than FORMAT.md allows.
    """
    path = Path(path)
    check_exists(path)
    with SealedFile(path, pool) as sealed:
        _check_superblock(sealed)
        with sealed.guard():
            try:
                file = h5py.File(sealed, "r")
            except OSError as error:
                raise CacheError(
                    subject=str(path),
                    expected="an HDF5 file",
                    got=str(error).splitlines()[0],
                    remedy="Extract again with featx.extract(source, output=path).",
                ) from error
        with file:
            if pool is not None:
                _shrink_metadata_cache(file)
            with sealed.guard():
                check_file_stamp(file, kind, sealed)
                lengths = _check_once(file, sealed, kind)
            yield file, sealed, lengths


METADATA_BYTES = 1 << 14
"""Metadata that HDF5 keeps of a file at first, if many are open; it keeps more if it has to read
the same again and again. By default, it is 2 MiB a file."""


def _shrink_metadata_cache(file: h5py.File) -> None:
    config = file.id.get_mdc_config()
    config.set_initial_size = True
    config.initial_size = config.min_size = METADATA_BYTES
    file.id.set_mdc_config(config)


DRIVER_ADDRESS = {0: 48, 1: 52}
"""Position of the address of the driver information, by the version of HDF5's superblock."""


def _check_superblock(sealed: SealedFile) -> None:
    """Refuse a file that names driver information, which no file of one part has.

    libhdf5 2.0 opens such a file at one time and refuses it at another.
    """
    start = sealed.read_at(0, 60)
    position = DRIVER_ADDRESS.get(start[8] if len(start) > 8 else -1)
    if position and start[position : position + 8] != b"\xff" * 8:
        raise CacheError(
            subject=str(sealed.path),
            expected="an HDF5 file of one part",
            got="one with driver information",
            remedy="Extract again with featx.extract(source, output=path).",
        )


_checked: dict[tuple[str, FileKind], dict[str, int]] = {}
"""Lengths of the axes of files whose structure was checked, by the digest of all their bytes."""

MAX_CHECKED = 256
"""Number of files to remember: opening a file again takes half the time without the check."""


def _check_once(file: h5py.File, sealed: SealedFile, kind: FileKind) -> dict[str, int]:
    """Check the structure of a file, unless this process has checked the same bytes before."""
    key = sealed.digest, kind
    if key not in _checked:
        lengths = check_structure(file, kind, sealed)
        if len(_checked) >= MAX_CHECKED:
            _checked.clear()
        _checked[key] = lengths
    return _checked[key]
