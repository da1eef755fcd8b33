"""Files that a run reads, which it must not replace, and outputs, which must be different files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from featx.core.errors import FeatxError
from featx.core.typing import PathLike


def check_not_read(path: Path, inputs: Iterable[PathLike], *, error: type[FeatxError]) -> None:
    """Refuse to replace a file that the run reads, even if it may overwrite.

    Parameters
    ----------
    path : Path
        Path of the file that is to be written.
    inputs : iterable of path
        Files and folders that the run reads; what does not exist is passed over.
    error : type
        Class of the error to raise.

    Raises
    ------
    FeatxError
        If the path is one of the inputs. The class of the error is `error`.
    """
    with suppress(OSError):
        if any(path.samefile(one) for one in inputs if os.path.exists(one)):
            raise error(
                subject=str(path),
                expected="a file of its own",
                got="a file that the run reads",
                remedy="Pass another path.",
            )


def check_apart(first: Path | None, other: Path | None, *, error: type[FeatxError]) -> None:
    """Refuse to write two outputs to one file.

    Parameters
    ----------
    first, other : Path or None
        Paths of the files that are to be written; None for no file.
    error : type
        Class of the error to raise.

    Raises
    ------
    FeatxError
        If both lead to one file. The class of the error is `error`.
    """
    if first is not None and other is not None and first.resolve() == other.resolve():
        raise error(
            subject=str(first),
            expected="an output of its own",
            got="one file for two outputs",
            remedy="Pass another path.",
        )
