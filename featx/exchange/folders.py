"""Put a folder in place: the whole folder, or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featx.core.drafts import name_draft, open_draft_folder
from featx.core.errors import ExchangeError
from featx.core.files import explain_errors, sync_folder

MARK = "_versions"
"""Folder in every Lance dataset: a folder without it is never replaced."""


def check_folder(path: Path, *, overwrite: bool) -> None:
    """Refuse, before any work is done, a path at which no dataset can be written.

    Parameters
    ----------
    path : Path
        Path of the dataset.
    overwrite : bool
        Whether to accept a dataset that exists.

    Raises
    ------
    ExchangeError
        If the parent folder is missing, or something lies at the path that must not be replaced.
    """
    if not path.parent.is_dir():
        raise ExchangeError(
            subject=str(path),
            expected="an existing folder",
            got="none",
            remedy=f"Run: mkdir -p {path.parent}",
        )
    if not os.path.lexists(path):
        return
    is_dataset = path.is_dir() and not path.is_symlink() and (path / MARK).is_dir()
    if not (is_dataset and overwrite):
        raise ExchangeError(
            subject=str(path),
            expected="a new dataset",
            got="a dataset that exists" if is_dataset else "something else",
            remedy="Pass overwrite=True to replace it." if is_dataset else "Name another output.",
        )


@contextmanager
def replacing_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a draft of a dataset, and put it in place at the end of the block.

    If the block raises an error, the draft is removed and the destination is unchanged.

    Parameters
    ----------
    path : Path
        Destination.
    overwrite : bool
        Whether to replace a dataset that exists.

    Yields
    ------
    Path
        An empty folder, which the block fills.

    Raises
    ------
    ExchangeError
        If something cannot be written, or came to the path meanwhile.
    """
    with explain_errors(path, error=ExchangeError), open_draft_folder(path) as draft:
        yield draft
        for folder, _, names in os.walk(draft):
            for name in names:
                with open(os.path.join(folder, name), "r+b") as stream:
                    os.fsync(stream.fileno())
            sync_folder(Path(folder))
        check_folder(path, overwrite=overwrite)
        old = name_draft(path)
        has_old = path.exists()
        if has_old:
            path.rename(old)
        try:
            draft.rename(path)
        except BaseException:
            if has_old:
                old.rename(path)
            raise
        sync_folder(path.parent)
        if has_old:
            shutil.rmtree(old, ignore_errors=True)
