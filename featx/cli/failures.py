"""Errors that no part of featx has explained: of the system, of memory, and faults of featx."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

from featx.core.errors import DeviceError, FeatxError
from featx.core.files import find_remedy
from featx.engines.limits import find_limit

ACCESS = "Check the path and its permissions."
MEMORY = "Free some memory, or raise the limit: ulimit -v, or --memory of a container."
REPORT = "This is a fault of featx: report it, with what the same command prints with --debug."


def explain_failure(error: BaseException, command: str) -> FeatxError:
    """Explain an error that ended a command, and that is none of featx's own.

    Parameters
    ----------
    error : BaseException
        The error.
    command : str
        Name of the command; empty if it had none.

    Returns
    -------
    FeatxError
        An error that can be told in one line.
    """
    subject = command or "featx"
    for cause in _iter_causes(error):
        limit = find_limit(cause, subject)
        if limit is not None:
            is_threads = limit.expected == "to start threads"
            return DeviceError(
                subject=subject,
                expected=limit.expected,
                got=limit.got,
                remedy=limit.remedy if is_threads else MEMORY,
            )
    if isinstance(error, OSError):
        return FeatxError(
            subject=subject if error.filename is None else str(error.filename),
            expected="a system without errors" if error.filename is None else "access to it",
            got=error.strerror or str(error) or type(error).__name__,
            remedy=find_remedy(error.errno, ACCESS),
        )
    if isinstance(error, ImportError):
        return FeatxError(
            subject=error.name or subject,
            expected="a package that can be imported",
            got=str(error),
            remedy="Install it again.",
        )
    return FeatxError(
        subject=subject,
        expected="no error",
        got=f"{type(error).__name__}: {error}{_find_place(error)}",
        remedy=REPORT,
    )


def _iter_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _find_place(error: BaseException) -> str:
    """Name the line that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
