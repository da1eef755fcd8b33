"""Check a whole cache: every byte, and every promise of FORMAT.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featx.cache.joined import JoinedCache, fetch_caches, list_cache_files
from featx.cache.label_columns import read_labels
from featx.cache.open import check_exists
from featx.cache.reader import Cache
from featx.cache.seal import SealedFile
from featx.cache.tables import BLOCK_ROWS
from featx.core.address import name_caches, name_location
from featx.core.columns import Table, Texts, iter_blocks
from featx.core.errors import CacheError, FeatxError
from featx.core.lookup import TextIndex
from featx.core.parts import describe_missing, list_missing
from featx.core.progress import stage
from featx.core.text import show_text
from featx.core.typing import BoolArray, CachePaths, LabelKind, Split, Stage, list_choices
from featx.labels.element import FIELDS, KEYS, NOTHING_SAID, SPLIT_CODES, Labels
from featx.labels.hold import hold

MAX_PROBLEMS = 100
"""Largest number of problems that are listed one by one."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of `verify_cache`.

    Attributes
    ----------
    path : Path
        The file that was checked, or the name of several files.
    digest : str
        SHA-256 that stands for every byte, hexadecimal; empty if a seal is damaged.
    n_rows, n_vectors : int
        Number of rows and of vectors that were checked; 0 if the file is damaged.
    n_missing : int
        Number of parts of a source that are missing, which is a problem, too.
    problems : tuple of str
        One line for each problem; empty if the cache is sound.
    """

    path: Path
    digest: str = ""
    n_rows: int = 0
    n_vectors: int = 0
    n_missing: int = 0
    problems: tuple[str, ...] = ()


def verify_cache(path: CachePaths) -> Verification:
    """Check every byte of a cache, or of several, and every promise of the file format.

    First, all bytes are compared with the seal. Then the structure of the file, the agreement of
    rows and vectors, the fingerprints and the ledger are checked. Several caches must fit together,
    too, and no part of a source be missing.

    Parameters
    ----------
    path : path or sequence of paths
        One cache or several, as `featx.open_cache` takes them.

    Returns
    -------
    Verification
        Counts and problems. Damage is reported as a problem; it does not raise an error.

    Raises
    ------
    CacheError
        If there is no file, or if the system does not let it be read.

    See Also
    --------
    featx.compare_with_source : Embed a sample of the images again, and compare.

    Examples
    --------
    >>> featx.verify_cache("photos.h5").problems
    ()
    """
    path = fetch_caches(path)
    files = list_cache_files(path)
    if files == path and len(files) == 1:
        return _verify_file(files[0])
    found = [_verify_file(file) for file in files]
    problems = [f"{name_location(one.path)}: {line}" for one in found for line in one.problems]
    missing = list_missing(files)
    problems += [f"expected all parts, got {describe_missing(missing, files)}"] if missing else []
    name, digest = Path(name_caches(path)), ""
    if all(one.digest and not one.problems for one in found):
        try:
            with JoinedCache(files, name) as joined:
                digest, _ = joined.digest, joined.ids
        except FeatxError as error:
            problems.append(f"{show_text(error.subject)}: {error.reason}")
    return Verification(
        path=name,
        digest=digest,
        n_rows=sum(one.n_rows for one in found),
        n_vectors=sum(one.n_vectors for one in found),
        n_missing=len(missing),
        problems=tuple(problems),
    )


def _verify_file(path: Path) -> Verification:
    """Check every byte of one cache, and every promise of the file format."""
    check_exists(path)
    try:
        with stage(f"checking every byte of {path.name}"), SealedFile(path) as sealed:
            digest, damaged = sealed.digest, sealed.verify()
    except CacheError as error:
        if isinstance(error.__cause__, OSError):  # nobody knows whether the bytes are damaged
            raise
        return Verification(path=path, problems=(f"{error.reason}. {error.remedy}",))
    if damaged:
        lines = tuple(
            f"bytes {start} to {end} changed after the file was sealed" for start, end in damaged
        )
        return Verification(path=path, digest=digest, problems=lines)
    try:
        with Cache(path) as cache:
            return _verify_content(cache)
    except CacheError as error:
        line = f"the file breaks its format: {show_text(error.subject)}: {error.reason}"
        return Verification(path=path, digest=digest, problems=(line,))


def _verify_content(cache: Cache) -> Verification:
    """Check the content of a cache whose bytes are unchanged since the seal."""
    present = {name: cache.read_present(name) for name in cache.embeddings}
    problems: list[str] = []
    for block in iter_blocks(len(cache)):
        problems += list_row_problems(cache.read_rows(start=block.start, stop=block.stop))
    problems += list_label_problems(read_labels(cache), cache.read_rows(KEYS))
    ledger = cache.read_ledger()
    problems += list_failure_problems(ledger)
    n_vectors = 0
    for name, flags in present.items():
        count, found = _check_vectors(cache, name, flags)
        n_vectors += count
        problems += found
        cache.read_learnt_digests(name)
    cache.check_ids()
    ids = cache.read_column("id")
    problems += list_presence_problems(ids, present, ledger)
    if len(problems) > MAX_PROBLEMS:
        n_more = len(problems) - MAX_PROBLEMS
        problems = [*problems[:MAX_PROBLEMS], f"{n_more} more problems"]
    return Verification(
        path=cache.path,
        digest=cache.digest,
        n_rows=len(cache),
        n_vectors=n_vectors,
        problems=tuple(problems),
    )


def list_row_problems(rows: Table) -> list[str]:
    """List what is wrong with rows of a cache: their texts, sizes and splits.

    Parameters
    ----------
    rows : Table
        Some rows of the cache.
    """
    ids, width, height, split = (rows[name] for name in ("id", "width", "height", "split"))
    problems = [
        f"row {ids[row]!r}: expected one printable line in {name}"
        for name in ("id", "path", "label", "group")
        for row, text in enumerate(rows[name])
        if not text.isprintable()
    ]
    # An image of unknown size has none at all.
    wrong = (width < 0) | (height < 0) | ((width == 0) != (height == 0))
    problems += [
        f"row {ids[row]!r}: expected a size, got {width[row]} x {height[row]}"
        for row in np.flatnonzero(wrong).tolist()
    ]
    problems += [
        f"row {ids[row]!r}: expected a split, got {text!r}"
        for text in split.count().keys() - set(list_choices(Split))
        for row in np.flatnonzero(split.mask(text)).tolist()
    ]
    return problems


def list_label_problems(labels: Labels, keys: Table) -> list[str]:
    """List what is wrong with what is said of the rows of a cache.

    Parameters
    ----------
    labels : Labels
        Everything that is said of the rows.
    keys : Table
        Columns `id` and `digest` of the rows.
    """
    problems = [
        f"labels: expected one of {', '.join(list_choices(LabelKind))}, got {kind!r}"
        for kind in labels.said["kind"].count().keys() - set(list_choices(LabelKind))
    ]
    problems += [
        f"labels: expected one printable line in {name}, got {text!r}"
        for name in ("field", "value", "author")
        for text in labels.said[name].names
        if not text.isprintable()
    ]
    codes = np.unique(labels.recorded.split)
    if not np.isin(codes, [*range(len(SPLIT_CODES)), NOTHING_SAID]).all():
        return [*problems, f"labels: expected codes of splits, got {codes.max()}"]
    if (np.diff(labels.recorded.records["occasion"]) <= 0).any():
        return [*problems, "labels: expected ascending occasions of recorded splits, got others"]
    held = hold(labels, keys).held
    problems += [
        f"labels: expected what was said to hold, got another {field} in {count} rows"
        for field in FIELDS
        if (count := int((~held[field].equal(labels.held[field])).sum()))
    ]
    return problems


def list_failure_problems(ledger: Table) -> list[str]:
    """List what is wrong with the texts of the ledger of a cache.

    Parameters
    ----------
    ledger : Table
        Ledger of the cache, as `featx.Cache.read_ledger` reads it.
    """
    return [
        f"failure {key!r}: expected one printable line in {name}"
        for name in ("id", "path", "reason")
        for key, text in zip(ledger["id"], ledger[name], strict=True)
        if not text.isprintable()
    ]


def list_presence_problems(
    ids: Texts, present: Mapping[str, BoolArray], ledger: Table
) -> list[str]:
    """List the rows without any vector, and the failures that contradict the vectors.

    Parameters
    ----------
    ids : Texts
        Id of each row.
    present : mapping of str to ndarray of bool
        Flags ``(n_rows,)`` of each embedding: True if the row has a vector.
    ledger : Table
        Ledger of the cache, as `featx.Cache.read_ledger` reads it.
    """
    if not present:
        return ["expected an embedding, got none"]
    alone = np.flatnonzero(~np.any(list(present.values()), axis=0)).tolist()
    problems = [f"row {ids[number]!r}: expected a vector, got none" for number in alone[:1]]
    rows = TextIndex(ids).find(ledger["id"]).tolist()
    columns = [ledger[name] for name in ("id", "stage", "reason", "embedding")]
    for key, stage_name, reason, embedding, row in zip(*columns, rows, strict=True):
        subject = f"failure {key!r}"
        if stage_name not in list_choices(Stage) or not reason:
            problems.append(f"{subject}: expected a stage and a reason, got {stage_name!r}")
        if embedding not in ("", *present):
            problems.append(f"{subject}: expected an embedding, got {embedding!r}")
        elif row >= 0:
            names = [embedding] if embedding else list(present)
            if any(present[name][row] for name in names):
                problems.append(f"{subject}: expected no vector, got one")
    return problems


def _check_vectors(cache: Cache, name: str, present: BoolArray) -> tuple[int, list[str]]:
    """Count the vectors of one embedding; list what is wrong with their values."""
    for start in range(0, len(cache), BLOCK_ROWS):
        flags = present[start : start + BLOCK_ROWS]
        block = cache.take_vectors(name, np.arange(start, start + len(flags)))
        if not np.isfinite(block[flags]).all():
            return 0, [f"embedding {name}: expected finite vectors, got NaN or infinity"]
        if not np.isnan(block[~flags]).all():
            return 0, [f"embedding {name}: expected NaN in rows without a vector, got values"]
    return int(present.sum()), []
