"""Check a whole cache, as a reader who trusts nothing."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featx.cache.format import check_is_there
from featx.cache.reader import Cache, open_cache
from featx.cache.seal import SealedFile
from featx.cache.writer import BLOCK_ROWS
from featx.core.errors import CacheError

STAGES = ("read", "decode", "preprocess", "embed")


@dataclass(frozen=True)
class Verification:
    """What a check of a cache found.

    Attributes
    ----------
    path : Path
    digest : str
        Of the whole file, in hexadecimal; empty where the seal itself is damaged.
    n_rows, n_vectors : int
        Checked; 0 where the file is damaged.
    problems : tuple of str
        One line each; none where all is well.
    """

    path: Path
    digest: str
    n_rows: int
    n_vectors: int
    problems: tuple[str, ...]


def verify_cache(path: str | os.PathLike[str]) -> Verification:
    """Read a whole cache and check what FORMAT.md promises.

    Every byte is compared with the seal; then the format, the agreement of rows and vectors, the
    fingerprints and the ledger are checked.

    Parameters
    ----------
    path : path

    Returns
    -------
    Verification

    Raises
    ------
    CacheError
        If there is no file.
    """
    path = Path(path)
    check_is_there(path)
    try:
        with SealedFile(path) as sealed:
            digest, damaged = sealed.digest, sealed.verify()
    except CacheError as error:
        return Verification(path, "", 0, 0, (str(error),))
    if damaged:
        places = tuple(f"bytes {start} to {end} are not what was sealed" for start, end in damaged)
        return Verification(path, digest, 0, 0, places)
    try:
        with open_cache(path) as cache:
            n_vectors = 0
            problems = [*_check_rows(cache), *_check_failures(cache)]
            for name in cache.embeddings:
                count, found = _check_vectors(cache, name)
                n_vectors += count
                problems += found
            problems += _check_presence(cache)
            return Verification(path, digest, len(cache), n_vectors, tuple(problems))
    except (CacheError, KeyError, TypeError, ValueError) as error:
        return Verification(path, digest, 0, 0, (f"the file breaks its format: {error}",))


def _check_rows(cache: Cache) -> list[str]:
    """Check ids, digests and the columns' lengths."""
    problems = []
    rows = cache.rows
    if len(rows) != len(cache):
        problems.append(f"expected {len(cache)} rows in each column, got {len(rows)}")
    twice = [name for name, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        problems.append(f"expected ids to be unique, got {twice[0]!r} more than once")
    for row in rows:
        if not re.fullmatch(r"[0-9a-f]{64}", row.digest):
            problems.append(f"row {row.id!r}: expected a SHA-256, got {row.digest!r}")
        if row.width < 1 or row.height < 1:
            problems.append(f"row {row.id!r}: expected a size, got {row.width} x {row.height}")
    return problems


def _check_failures(cache: Cache) -> list[str]:
    """Check that the ledger agrees with the rows."""
    problems = []
    numbers = {row_id: number for number, row_id in enumerate(cache.ids.tolist())}
    present = {name: cache.read_present(name) for name in cache.embeddings}
    if any(len(flags) != len(cache) for flags in present.values()):
        return []  # told by the vectors' own check
    for failure in cache.failures:
        where = f"failure {failure.id!r}"
        if failure.stage not in STAGES or not failure.reason:
            problems.append(f"{where}: expected a stage and a reason, got {failure.stage!r}")
        number = numbers.get(failure.id)
        if number is None:
            continue
        names = [failure.embedding] if failure.embedding else list(cache.embeddings)
        if any(name not in present or present[name][number] for name in names):
            problems.append(f"{where}: expected no vector, got one")
    return problems


def _check_vectors(cache: Cache, name: str) -> tuple[int, list[str]]:
    """Check one embedding's shape and values; return how many vectors it has."""
    dim, present = cache.get_info(name).fingerprint.dim, cache.read_present(name)
    if len(present) != len(cache):
        return 0, [f"embedding {name}: expected {len(cache)} rows, got {len(present)}"]
    if cache.count_vectors(name) != len(cache):
        return 0, [f"embedding {name}: expected {len(cache)} vectors, got others"]
    rows = np.flatnonzero(present)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = cache.read_vectors(name, rows[start : start + BLOCK_ROWS])
        if block.shape[1] != dim:
            return 0, [f"embedding {name}: expected dim {dim}, got {block.shape[1]}"]
        if not np.isfinite(block).all():
            return 0, [f"embedding {name}: expected finite vectors, got others"]
    return len(rows), []


def _check_presence(cache: Cache) -> list[str]:
    """Check that each row has a vector in one embedding at least."""
    if not cache.embeddings:
        return ["expected an embedding, got none"]
    some = np.any([cache.read_present(name) for name in cache.embeddings], axis=0)
    return [] if some.all() else [f"row {cache.ids[~some][0]!r}: expected a vector, got none"]
