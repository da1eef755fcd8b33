"""Seal a cache anew that another program has changed, after saying what differs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import h5py
from h5py import h5d

from featx.cache.check import verify_cache
from featx.cache.datasets import list_datasets
from featx.cache.lock import CacheLock
from featx.cache.open import check_exists, open_sealed
from featx.cache.remote_output import has_address, open_output
from featx.cache.sealing import seal_file
from featx.cache.user_block import DIGEST_SIZE, Seal, read_seal
from featx.core.copies import copy_content
from featx.core.drafts import open_draft
from featx.core.errors import CacheError
from featx.core.files import explain_errors, put_in_place
from featx.core.parts import list_part_files
from featx.core.progress import stage
from featx.core.typing import PathLike
from featx.remote.copies import localise

NO_SEAL = "the file has no sound seal: nothing to compare with"
OTHER = "other: names, attributes, texts or structure"

Span = tuple[int, int]
"""Start and end of some bytes."""


@dataclass(frozen=True, kw_only=True)
class SealReport:
    """The result of `seal_cache`.

    Attributes
    ----------
    path : Path
        The cache.
    digest : str
        SHA-256 that stands for every byte of the file, hexadecimal, as sealed now.
    changes : tuple of str
        One line for each part of the file that lies in blocks that differ from what was sealed;
        empty if nothing differs. A block has 64 KiB: not all that lies in it need have changed.
    is_sealed : bool
        True if the file was sealed anew.
    """

    path: Path
    digest: str
    changes: tuple[str, ...]
    is_sealed: bool


def seal_cache(path: PathLike, *, dry_run: bool = False) -> SealReport:
    """Seal a cache anew that another program has changed, and say what differs.

    By the seal, featx notices each byte that is not as it was written, and cannot tell a wanted
    change from damage. If you changed the file, for example added a dataset below ``/user`` with
    h5py, this call makes it a sound cache again. The file must keep the format in all else.

    Parameters
    ----------
    path : path
        The cache.
    dry_run : bool
        True to say what differs and seal nothing.

    Returns
    -------
    SealReport
        Parts of the file that differ from what was sealed, and the new digest.

    Raises
    ------
    CacheError
        If the file breaks the format, or cannot be read or written. It is unchanged then.
    CacheLockedError
        If another process writes the cache.

    See Also
    --------
    featx.verify_cache : Check every byte of a cache.

    Examples
    --------
    >>> import h5py
    >>> with h5py.File("photos.h5", "a") as file:
    ...     file["user/weights"] = [1, 2, 3]
    >>> report = featx.seal_cache("photos.h5")
    >>> report.is_sealed, "user/weights: rows 0 to 2 of 3" in report.changes
    (True, True)
    """
    return seal_after(path, lambda _: None, dry_run=dry_run)


def seal_after(
    path: PathLike, show: Callable[[tuple[str, ...]], None], *, dry_run: bool
) -> SealReport:
    """Do what `seal_cache` does, after a person has seen what differs.

    Parameters
    ----------
    path : path
        The cache.
    show : callable
        Function that takes the changes before the file is sealed, and may raise an error to prevent
        it.
    dry_run : bool
        True to seal nothing.
    """
    if not dry_run and has_address(path):
        with open_output(path) as copy:
            return seal_after(copy, show, dry_run=False)
    path = localise(path).resolve()
    if list_part_files(path):
        raise CacheError(
            subject=str(path),
            expected="one cache",
            got="a folder of parts",
            remedy="Seal the part that was changed; featx.verify_cache(folder) names it.",
        )
    check_exists(path)
    with (
        CacheLock(path) as lock,
        explain_errors(path, error=CacheError),
        open_draft(path) as draft,
        path.open("rb", buffering=0) as stream,
    ):
        state = _read_state(stream)
        old = _find_seal(stream)
        with stage(f"checking every byte of {path.name}"):
            copy_content(stream, draft)
            digest = seal_file(draft)
            _check_content(path, draft)
        changes = () if old is not None and old.digest.hex() == digest else _compare(draft, old)

        def check() -> None:
            lock.check()
            with path.open("rb", buffering=0) as again:
                if _read_state(again) != state:
                    raise CacheError(
                        subject=str(path),
                        expected="a file that nobody writes",
                        got="changes in the meantime",
                        remedy="Close the program that writes the file, and try again.",
                    )

        show(changes)
        is_sealed = bool(changes) and not dry_run
        if is_sealed:
            put_in_place(draft, path, overwrite=True, check=check)
    return SealReport(path=path, digest=digest, changes=changes, is_sealed=is_sealed)


def _read_state(stream: BinaryIO) -> tuple[int, int, int]:
    found = os.fstat(stream.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns


def _find_seal(stream: BinaryIO) -> Seal | None:
    try:
        return read_seal(stream.fileno())
    except ValueError:
        return None


def _check_content(path: Path, draft: Path) -> None:
    """Refuse to vouch for a file that breaks the format."""
    problems = verify_cache(draft).problems
    if problems:
        raise CacheError(
            subject=str(path),
            expected="a file that keeps the format of a cache",
            got=f"{len(problems)} problems, first: {problems[0].replace(str(draft), str(path))}",
            remedy="Undo the change, restore a copy, or extract again.",
        )


def _compare(draft: Path, old: Seal | None) -> tuple[str, ...]:
    """Say which parts of a sealed file lie in blocks that differ from an older seal."""
    if old is None:
        return (NO_SEAL,)
    with open_sealed(draft, "featx-cache") as (file, sealed, _), sealed.guard():
        runs = list_changed(old, sealed.seal)
        lines = []
        if old.n_bytes != len(sealed):
            lines.append(f"length: {len(sealed):,} bytes of HDF5 data, {old.n_bytes:,} when sealed")
        n_other = sum(end - start for start, end in runs)
        for name, dataset in list_datasets(file):
            rows = []
            for piece in iter_pieces(dataset):
                for first, last, n_bytes in piece.find_rows(runs):
                    n_other -= n_bytes
                    rows += [first, last]
            if rows:
                n_rows = dataset.shape[0] if dataset.shape else 1
                last = min(max(rows), n_rows - 1)
                lines.append(f"{name}: rows {min(rows):,} to {last:,} of {n_rows:,}")
    return (*lines, *([OTHER] if n_other else []))


def list_changed(old: Seal, new: Seal) -> list[Span]:
    """List the runs of blocks of which a seal has other digests than an older one.

    Parameters
    ----------
    old, new : Seal
        The two seals of one file.

    Returns
    -------
    list of (int, int)
        Start and end of each run in the HDF5 data, in bytes, ascending.
    """
    runs: list[Span] = []
    for number in range(new.n_blocks):
        place = slice(number * DIGEST_SIZE, (number + 1) * DIGEST_SIZE)
        if old.block_size == new.block_size and old.table[place] == new.table[place]:
            continue
        start, size = new.locate(number)
        first = runs.pop()[0] if runs and runs[-1][1] == start else start
        runs.append((first, start + size))
    return runs


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Values of a dataset that lie together in the file.

    Attributes
    ----------
    start, n_bytes : int
        Position and length in the HDF5 data.
    first, n_rows : int
        First row of the piece, and number of its rows.
    """

    start: int
    n_bytes: int
    first: int
    n_rows: int

    def find_rows(self, runs: list[Span]) -> Iterator[tuple[int, int, int]]:
        """Yield the first and the last row in each run of bytes, and the bytes in the run."""
        for start, end in runs:
            first, last = max(start, self.start), min(end, self.start + self.n_bytes)
            if first < last:
                size = self.n_bytes / self.n_rows
                yield (
                    self.first + int((first - self.start) / size),
                    self.first + int((last - 1 - self.start) / size),
                    last - first,
                )


def iter_pieces(dataset: h5py.Dataset) -> Iterator[Piece]:
    """Yield where the values of a dataset lie; nothing for values in its header, or elsewhere."""
    n_rows = dataset.shape[0] if dataset.shape else 1
    if dataset.chunks is None:
        start = dataset.id.get_offset()
        if start is not None and n_rows:
            n_bytes = dataset.id.get_storage_size()
            yield Piece(start=start, n_bytes=n_bytes, first=0, n_rows=n_rows)
        return
    chunks: list[h5d.StoreInfo] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        yield Piece(
            start=chunk.byte_offset,
            n_bytes=chunk.size,
            first=chunk.chunk_offset[0],
            n_rows=dataset.chunks[0],
        )
