"""The list of failures that a refused extraction leaves beside its output, and how to read it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from featx.cache.joined import open_cache
from featx.cache.remote_output import find_staged
from featx.core.address import find_address, list_paths
from featx.core.errors import CacheError, FeatxError, TooManyFailuresError
from featx.core.files import follow_link, replacing
from featx.core.notes import note
from featx.core.parts import list_part_files
from featx.core.rows import Failure
from featx.core.text import count_noun, guard_cell, show_text, unguard_cell
from featx.core.typing import CachePaths, PathLike, Stage, check_choice
from featx.extraction.checks import FailureLimit

COLUMNS = ("path", "stage", "reason", "embedding", "id", "digest")
"""Fields of a failure in the list, those that a person reads first."""

N_SHOWN = 2
"""Number of failures that an error shows as examples."""


LIST_SUFFIX = ".failures.csv"
"""End of the name of a list of failures."""


def name_failure_list(output: Path) -> Path:
    """Name the list of failures of a refused extraction: a CSV table beside the output."""
    return output.with_name(output.name + LIST_SUFFIX)


def remove_failure_list(output: Path) -> None:
    """Remove the list of failures of an earlier extraction; if this fails, a note says so.

    Parameters
    ----------
    output : Path
        The cache, which is written.
    """
    path = name_failure_list(output)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        note(f"{path} could not be removed ({error.strerror}): it is of an earlier extraction")


def refuse_failures(
    output: Path, limit: FailureLimit, n_failed: int, failures: Sequence[Failure]
) -> TooManyFailuresError:
    """Leave the list of failures beside the output, and build the error of the extraction.

    Parameters
    ----------
    output : Path
        The cache that is not written.
    limit : FailureLimit
        The limit that was exceeded.
    n_failed : int
        Number of images that failed.
    failures : sequence of Failure
        All failures.
    """
    remedy = "Repair or remove the files, or pass a larger max_failures; finished work is kept."
    with suppress(CacheError):  # the disk is full: the error below matters more
        _write_list(name_failure_list(output), failures)
        remedy = f"List all of them with featx.read_failures({str(output)!r}). {remedy}"
    is_all = n_failed >= limit.n_images
    shown = "; ".join(map(_describe, failures[:N_SHOWN]))
    error = TooManyFailuresError(
        subject=limit.source,
        expected="images" if is_all else f"at most {count_noun(limit.n_allowed, 'failure')}",
        got=f"failures in {n_failed} of {limit.n_images} images, such as {shown}",
        remedy=remedy,
    )
    error.failures = tuple(failures)
    return error


def _describe(failure: Failure) -> str:
    """Name an image and the reason briefly, so that an error has space for several."""
    reason = failure.reason.partition(". ")[0]
    return f"{show_text(failure.path, 50)}: {show_text(reason, 75)}"


def _write_list(path: Path, failures: Sequence[Failure]) -> None:
    with (
        replacing(path, error=CacheError, overwrite=True) as draft,
        draft.open("w", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([guard_cell(getattr(one, name)) for name in COLUMNS] for one in failures)


def read_failures(cache: CachePaths) -> tuple[Failure, ...]:
    """Read why images failed in the last extraction to a cache.

    If the extraction was refused with `TooManyFailuresError`, it left the list of all failures in
    ``CACHE.failures.csv``, even if there is no cache yet. The next extraction that succeeds removes
    the list. Without such a list, the failures are those that the cache records.

    Parameters
    ----------
    cache : path or sequence of paths
        Path of the cache, or of the folder of parts, as it was given to `featx.extract`; or several
        of these.

    Returns
    -------
    tuple of Failure
        One entry for each image, or for each embedding that the image lacks.

    Raises
    ------
    CacheError
        If there is neither a list nor a cache, or one of them cannot be read.

    See Also
    --------
    featx.extract : Embed images; it counts the failures in its report.

    Examples
    --------
    >>> featx.read_failures("photos.h5")
    ()
    """
    return tuple(
        failure
        for path in list_paths(cache)
        for output in _list_outputs(path)
        for failure in _read_failures(output)
    )


def _list_outputs(path: PathLike) -> list[PathLike]:
    """List the outputs that a path stands for: parts may have a list of failures and no cache."""
    if find_address(path) is not None:
        return [path]
    path = Path(path)
    refused = [
        Path(str(one).removesuffix(LIST_SUFFIX)) for one in path.glob(f"part-*{LIST_SUFFIX}")
    ]
    return [*sorted({*list_part_files(path), *refused})] or [path]


def _read_failures(path: PathLike) -> tuple[Failure, ...]:
    listed = name_failure_list(follow_link(find_staged(path)))
    if not listed.is_file():
        with open_cache(path) as opened:
            return opened.failures
    try:
        with listed.open(encoding="utf-8", newline="") as stream:
            return tuple(_read_line(line) for line in csv.DictReader(stream))
    except (OSError, ValueError, KeyError, TypeError, FeatxError) as error:
        raise CacheError(
            subject=str(listed),
            expected="the list of failures of an extraction",
            got=f"a file that cannot be read ({type(error).__name__})",
            remedy="Delete the file, and extract again.",
        ) from error


def _read_line(line: dict[str, str]) -> Failure:
    check_choice("stage", line["stage"], Stage)
    return Failure(**{name: unguard_cell(line[name]) for name in COLUMNS})  # type: ignore[arg-type]
