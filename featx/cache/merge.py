"""Merge several caches into one file."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from featx.cache.joined import JoinedCache, list_cache_files
from featx.cache.label_columns import read_labels
from featx.cache.lock import CacheLock
from featx.cache.reader import Cache
from featx.cache.remote_output import check_new, open_output
from featx.cache.writer import Column, Placement, write_cache
from featx.core.address import find_address, name_caches, name_location
from featx.core.errors import CacheError
from featx.core.files import check_destination, follow_link, name_work_dir
from featx.core.lookup import count_distinct
from featx.core.notes import note
from featx.core.parts import MAX_NAMED, describe_missing, list_missing
from featx.core.progress import stage
from featx.core.text import count_noun, join_some
from featx.core.typing import CachePaths, PathLike


@dataclass(frozen=True, kw_only=True)
class MergeReport:
    """Summary of a merge; ``print(report)`` shows it in one line.

    Attributes
    ----------
    path : Path
        Path of the merged cache; for an address, that of the file on this machine.
    digest : str
        SHA-256 that stands for every byte of the merged cache, hexadecimal.
    n_caches : int
        Number of caches that were merged.
    n_rows : int
        Number of rows of the merged cache.
    n_failures : int
        Number of images that lack an embedding.
    dims : dict of str to int
        Length of each embedding, by its name.
    """

    path: Path
    digest: str
    n_caches: int
    n_rows: int
    n_failures: int
    dims: dict[str, int]

    def __str__(self) -> str:
        dims = ", ".join(f"{name} (dim {dim})" for name, dim in self.dims.items())
        merged = count_noun(self.n_caches, "cache")
        return f"{name_location(self.path)}: {count_noun(self.n_rows, 'row')} of {merged}, {dims}"

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self) | {"path": name_location(self.path)}


def merge_caches(
    caches: CachePaths, output: PathLike, *, overwrite: bool = False, break_lock: bool = False
) -> MergeReport:
    """Write the rows of several caches, such as the parts of a source, to one cache.

    Vectors are copied to the last bit. The caches that are merged stay as they are, and the output
    gets its name when it is complete: if the merge is interrupted, call it again.

    Parameters
    ----------
    caches : path or sequence of paths
        Caches to merge, as `featx.open_cache` takes them: a folder of parts, a pattern, or several
        files.
    output : path
        Path or address of the merged cache. For an address, the cache is written on this machine
        first, and copied when it is complete.
    overwrite : bool
        Whether to replace an existing file.
    break_lock : bool
        True to write even though another process seems to write the output; pass it only if that
        process is dead.

    Returns
    -------
    MergeReport
        Summary of the merge.

    Warns
    -----
    FeatxWarning
        If the vectors of one embedding were computed in batches of several sizes, or if users keep
        something below ``/user/`` in a cache, which is not merged.

    Raises
    ------
    CacheError
        If a part is missing or unfinished, a cache lacks an embedding that others have, two caches
        have rows of the same id, or a file cannot be read or written.
    CacheLockedError
        If another process writes the output.
    FingerprintError
        If the caches have embeddings of one name that were made differently.

    See Also
    --------
    featx.extract : Extract one part of a source with its argument `part`.
    featx.open_cache : Read several caches as one, without merging them.
    """
    address = find_address(output)
    if address is not None:
        check_new(address, overwrite=overwrite)
        with open_output(address, overwrite=True, break_lock=break_lock) as path:
            return merge_caches(caches, path, overwrite=True, break_lock=break_lock)
    output = follow_link(Path(output))
    check_destination(output, overwrite=overwrite, error=CacheError)
    files = list_cache_files(caches)
    name = name_caches(caches)
    check_complete(files, name)
    check_is_other(output, files)
    with (
        CacheLock(output, break_lock=break_lock) as lock,
        stage(f"merging {count_noun(len(files), 'cache')}"),
        JoinedCache(files, Path(name)) as joined,
    ):
        joined.check_ids()
        check_embeddings(joined)
        _note_batches(joined, output)
        _note_user_groups(joined, output)
        ledger = joined.read_ledger()
        digest = write_cache(
            output,
            joined.read_rows(),
            [_build_column(joined, embedding) for embedding in joined.embeddings],
            failures=ledger,
            source=joined.source,
            labels=read_labels(joined),
            placement=Placement(overwrite=overwrite, check=lock.check),
        )
        return MergeReport(
            path=output,
            digest=digest,
            n_caches=len(files),
            n_rows=len(joined),
            n_failures=count_distinct(ledger["id"]),
            dims={one: joined.get_info(one).fingerprint.dim for one in joined.embeddings},
        )


def _build_column(joined: Cache, embedding: str) -> Column:
    return Column(
        info=joined.get_info(embedding),
        dtype=joined.get_dtype(embedding),
        read=functools.partial(joined.take_vectors, embedding),
        learnt=joined.read_learnt_digests(embedding),
    )


def check_is_other(output: Path, files: Sequence[Path]) -> None:
    """Refuse an output that is one of the caches to merge.

    Parameters
    ----------
    output : Path
        The output; it need not exist.
    files : sequence of Path
        Caches to merge. Of a cache at an address, it is the copy on this machine.

    Raises
    ------
    CacheError
        If the output is one of them.
    """
    is_same_file = output.exists() and any(output.samefile(file) for file in files)
    if is_same_file or name_location(output) in map(name_location, files):
        raise CacheError(
            subject=str(output),
            expected="a file of its own",
            got="one of the caches to merge",
            remedy="Name another output.",
        )


def check_complete(files: Sequence[Path], name: str) -> None:
    """Refuse caches that are not yet the whole of what they are a share of.

    Parameters
    ----------
    files : sequence of Path
        Caches to merge.
    name : str
        Name of all of them, for the error.

    Raises
    ------
    CacheError
        If a part is missing, or work on a cache is unfinished.
    """
    missing = list_missing(files)
    if missing:
        raise CacheError(
            subject=name,
            expected=f"all {missing[0].count} parts",
            got=describe_missing(missing, files),
            remedy="Extract each missing part, for example with featx.extract(source, "
            f"output={str(files[0].parent)!r}, part={str(missing[0])!r}).",
        )
    unfinished = [str(file) for file in files if name_work_dir(file).is_dir()]
    if unfinished:
        raise CacheError(
            subject=name,
            expected="finished extractions",
            got=f"unfinished work beside {join_some(unfinished, MAX_NAMED)}",
            remedy="Run these extractions again, or remove the folders that end in .partial.",
        )


def check_embeddings(joined: Cache) -> None:
    """Refuse caches that lack an embedding which others have.

    Parameters
    ----------
    joined : Cache
        The open caches.

    Raises
    ------
    CacheError
        If a cache that has rows lacks an embedding.
    """
    for name in joined.embeddings:
        lacking = [
            str(cache.path)
            for cache in joined.members
            if len(cache) and name not in cache.embeddings
        ]
        if lacking:
            raise CacheError(
                subject=str(joined.path),
                expected=f"the embedding {name} in each cache",
                got=f"none in {join_some(lacking, MAX_NAMED)}",
                remedy="Extract it there too.",
            )


def _note_batches(joined: Cache, output: Path) -> None:
    """Tell the user if the last bits of vectors may depend on the cache that they come from."""
    for name in joined.embeddings:
        made = joined.get_info(name).provenance
        sizes = sorted({run.batch_size for run in (made, *made.updates)})
        if len(sizes) > 1:
            note(
                f"{output}, embedding {name}: computed in batches of several sizes "
                f"({', '.join(map(str, sizes))}). The last bits of a vector may depend on that."
            )


def _note_user_groups(joined: Cache, output: Path) -> None:
    """Tell the user what is left out: nobody knows how to join what users keep in their caches."""
    keeping = [str(cache.path) for cache in joined.members if cache.has_user_group]
    if keeping:
        note(f"{output}: without what lies below /user/ in {join_some(keeping, MAX_NAMED)}.")
