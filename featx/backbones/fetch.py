"""Find the file of named weights on this machine, or download it."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from featx.backbones.weights import FILE_SUFFIXES, WeightsEntry, split_key
from featx.core.drafts import open_draft
from featx.core.errors import WeightsError
from featx.core.files import UnsyncedError, put_in_place
from featx.core.progress import open_bar, stage

BLOCK = 1 << 18
"""Number of bytes that are read from a server at a time."""

WEIGHTS_DIR_VARIABLE = "FEATX_WEIGHTS_DIR"
"""Environment variable that names a folder of weights; featx looks there before any download."""


def fetch_weights(entry: WeightsEntry) -> Path:
    """Find the file of named weights, and download it if it is not on this machine.

    featx looks among its bundled files, in the folder that `WEIGHTS_DIR_VARIABLE` names, and in the
    folder where torch hub keeps downloads.

    Parameters
    ----------
    entry : WeightsEntry
        The named weights.

    Returns
    -------
    Path
        The file, whose SHA-256 was checked.

    Raises
    ------
    WeightsError
        If the file cannot be downloaded, or its SHA-256 is wrong.
    """
    if entry.file:
        check_digest(entry.file, entry.digest_prefix)
        return entry.file
    folders = list_folders()
    file = find_file(entry, folders)
    return file if file is not None else download_weights(entry, folders[-1])


def list_folders() -> list[Path]:
    """List the folders that may hold downloaded weights; the last one receives downloads."""
    import torch

    by_hand = os.environ.get(WEIGHTS_DIR_VARIABLE)
    return [
        *([Path(os.path.expanduser(by_hand))] if by_hand else []),
        Path(torch.hub.get_dir()) / "checkpoints",
    ]


def find_moved(weights: str) -> str | None:
    """Find the file of weights that was recorded by a path at which it no longer lies.

    Parameters
    ----------
    weights : str
        Weights as a cache or a head records them: a name, or a path of this or another system.

    Returns
    -------
    str or None
        Weights that name the file of the same name in the folder that `WEIGHTS_DIR_VARIABLE` names;
        None if there is none, or the recorded one is still there.
    """
    folder = os.environ.get(WEIGHTS_DIR_VARIABLE)
    path, key = split_key(weights)
    name = re.split(r"[\\/]", path)[-1]
    if not folder or Path(name).suffix not in FILE_SUFFIXES or os.path.isfile(path):
        return None
    file = Path(os.path.expanduser(folder)) / name
    return f"{file}:{key}".removesuffix(":") if file.is_file() else None


def find_file(entry: WeightsEntry, folders: Sequence[Path]) -> Path | None:
    """Find the file of named weights in some folders.

    Parameters
    ----------
    entry : WeightsEntry
        The named weights.
    folders : sequence of Path
        Folders in the order in which to look.

    Returns
    -------
    Path or None
        The first file found, whose SHA-256 was checked.

    Raises
    ------
    WeightsError
        If the SHA-256 of the file is wrong.
    """
    for folder in folders:
        file = folder / entry.file_name
        if file.is_file():
            check_digest(file, entry.digest_prefix)
            return file
    return None


def download_weights(entry: WeightsEntry, folder: Path) -> Path:
    """Download named weights.

    Parameters
    ----------
    entry : WeightsEntry
        The named weights.
    folder : Path
        Folder that receives the file.

    Returns
    -------
    Path
        The file, whose SHA-256 was checked.

    Raises
    ------
    WeightsError
        If the file cannot be downloaded or written, or its SHA-256 is wrong.
    """
    file = folder / entry.file_name
    if folder.parts[0] == "~":  # a process without a home folder: torch leaves the sign as it is
        raise WeightsError(
            subject=f"weights {entry.name}",
            expected="a folder for downloads",
            got="no home folder",
            remedy=f"Name a folder in TORCH_HOME, or put the file {entry.file_name} into a folder "
            f"and name that folder in {WEIGHTS_DIR_VARIABLE}.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with stage(f"downloading {entry.file_name}, once"):
            _download(entry, file)
    except (OSError, urllib.error.URLError, RuntimeError) as error:  # RuntimeError: wrong digest
        raise WeightsError(
            subject=f"weights {entry.name}",
            expected=f"the file {entry.url}",
            got=str(error),
            remedy="Without internet: download that file on another machine (its SHA-256 begins "
            f"with {entry.digest_prefix}), put it into a folder, and name the folder in "
            f"{WEIGHTS_DIR_VARIABLE}; or pass weights=FILE.",
        ) from error
    return file


def _download(entry: WeightsEntry, file: Path) -> None:
    """Download the whole file, or nothing."""
    request = urllib.request.Request(entry.url, headers={"User-Agent": "featx"})
    digest = hashlib.sha256()
    with urllib.request.urlopen(request) as response:
        n_bytes = int(response.headers.get("Content-Length") or 0)
        with open_draft(file) as draft:
            with draft.open("wb") as stream, open_bar("received", n_bytes, unit="B") as bar:
                while block := response.read(BLOCK):
                    stream.write(block)
                    digest.update(block)
                    bar.update(len(block))
            if not digest.hexdigest().startswith(entry.digest_prefix):
                raise RuntimeError(
                    f'invalid hash value (expected "{entry.digest_prefix}", got '
                    f'"{digest.hexdigest()}")'
                )
            with suppress(UnsyncedError):  # lost in a power cut, it is downloaded again
                put_in_place(draft, file, overwrite=True)


def check_digest(file: Path, prefix: str) -> None:
    """Refuse a file with another content than expected.

    Parameters
    ----------
    file : Path
        The file to check.
    prefix : str
        First digits of the SHA-256 that the file must have.

    Raises
    ------
    WeightsError
        If the SHA-256 of the file begins with other digits.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(prefix):
        raise WeightsError(
            subject=str(file),
            expected=f"a SHA-256 that begins with {prefix}",
            got=digest,
            remedy="Download it again: the file is damaged, or it is another file.",
        )
