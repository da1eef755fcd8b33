"""Store of artifacts: converted networks that this machine keeps for the next run.

The store may be deleted at any time: featx builds a missing or damaged artifact again. If the store
cannot be written, featx runs without it. Copies of caches at addresses lie in it, too, in the
folder ``copies``. What is not at its address yet lies apart, in the folder of `find_state_folder`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from featx.core.drafts import open_draft_folder
from featx.core.notes import note
from featx.core.records import load_json

STORE_VARIABLE = "FEATX_STORE"
"""Environment variable that names the folder. Default: ``featx`` in the system's cache folder."""

MAX_BYTES = 2 << 30
"""Largest size of all artifacts, and of all copies of caches that were unused for a day. Above it,
those that were unused for longest are deleted."""

_told: set[str] = set()
"""Folders of which a note has said in this process that they cannot be written."""

_SUMS = "sums.json"
"""Name of the file that holds the checksums of an artifact's other files."""


def find_store() -> Path:
    """Return the folder of the store; the folder need not exist.

    Raises
    ------
    OSError
        If this process has no home folder and no environment variable names another one.
    """
    named = os.environ.get(STORE_VARIABLE)
    if named:
        return Path(named)
    return _find_base("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", ".cache") / "featx"


def find_state_folder() -> Path:
    """Return the folder for work that exists nowhere else; the folder need not exist.

    Returns
    -------
    Path
        ``featx`` in the system's folder for the state of programs. If the environment variable
        `STORE_VARIABLE` names the store, and on Windows: the folder beside the store whose name
        ends in ``-state``.

    Raises
    ------
    OSError
        If this process has no home folder and no environment variable names another one.
    """
    if os.environ.get(STORE_VARIABLE) or os.name == "nt":
        return Path(f"{find_store()}-state")
    return _find_base("XDG_STATE_HOME", ".local/state") / "featx"


def _find_base(variable: str, below_home: str) -> Path:
    """Return the folder that a variable names, or one below the home folder."""
    named = os.environ.get(variable)
    try:
        return Path(named) if named else Path.home() / below_home
    except RuntimeError as error:
        raise OSError(str(error)) from error


def build_key(parts: dict[str, Any], *, packages: Iterable[str], sources: Iterable[Path]) -> str:
    """Build the key of an artifact from everything that it depends on.

    Parameters
    ----------
    parts : dict
        Values that the artifact depends on, in the types of JSON.
    packages : iterable of str
        Packages whose versions the artifact depends on.
    sources : iterable of Path
        Folders of Python files. The artifact depends on every Python file in them and in their
        sub-folders.

    Returns
    -------
    str
        Key of 32 hexadecimal digits. The key changes if a value, a version or a file changes.
    """
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for package in packages:
        digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    for folder in sources:
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder).as_posix()} {_digest(path)}\n".encode())
    return digest.hexdigest()[:32]


def find_kept(key: str) -> Path | None:
    """Find an artifact, and check that its files are unchanged.

    Parameters
    ----------
    key : str
        Key of the artifact, from `build_key`.

    Returns
    -------
    Path or None
        Folder of the artifact; None if there is none, or if it cannot be read. A damaged artifact
        is deleted.
    """
    try:
        folder = find_store() / key
    except OSError:
        return None
    try:
        if not folder.is_dir():
            return None
        sums = load_json((folder / _SUMS).read_text())
        if any(_digest(folder / name) != digest for name, digest in sums.items()):
            raise ValueError("damaged")
    except (FileNotFoundError, ValueError, AttributeError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    except OSError:  # too many open files, for example: the artifact may be whole
        return None
    with suppress(OSError):  # a store of another user
        os.utime(folder)
    return folder


def keep(key: str, write: Callable[[Path], None]) -> None:
    """Keep an artifact. If it cannot be written, nothing is kept, and a note says so once.

    Parameters
    ----------
    key : str
        Key of the artifact, from `build_key`.
    write : callable
        Function that writes the files of the artifact to the folder that it is called with.
    """
    try:
        store = find_store()
        store.mkdir(parents=True, exist_ok=True)
        with open_draft_folder(store / "artifact") as draft:
            write(draft)
            sums = {path.name: _digest(path) for path in sorted(draft.iterdir())}
            (draft / _SUMS).write_text(json.dumps(sums))
            try:
                draft.rename(store / key)
            except OSError:
                # Another process may have kept the same artifact meanwhile: this draft is dropped.
                if not (store / key).is_dir():
                    raise
        # A folder without checksums is not an artifact: the variable may name a folder of the user.
        drop_oldest(sums.parent for sums in store.glob(f"[!.]*/{_SUMS}"))
    except OSError as error:
        _tell_once(error)


def _tell_once(error: OSError) -> None:
    """Say that nothing can be kept; once for each folder."""
    try:
        store = str(find_store())
    except OSError:
        store = "no home folder"
    if store not in _told:
        _told.add(store)
        note(
            f"nothing is kept for later runs ({store}: {error.strerror or error}): each run "
            f"prepares its network anew. Name a folder that can be written in {STORE_VARIABLE}."
        )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def drop_oldest(folders: Iterable[Path], *, min_age_s: float = 0.0) -> None:
    """Delete the folders that were unused for longest, until `MAX_BYTES` are left.

    Folders that another process deletes meanwhile, or that cannot be read, are passed over.

    Parameters
    ----------
    folders : iterable of Path
        Folders of files. The time of a folder is that of its last use.
    min_age_s : float
        Seconds since its last use from which a folder may be deleted.
    """
    found: list[tuple[int, int, Path]] = []
    for folder in folders:
        with suppress(OSError):
            size = sum(path.lstat().st_size for path in folder.iterdir())
            found.append((folder.stat().st_mtime_ns, size, folder))
    total, now_s = 0, time.time()
    for mtime_ns, size, folder in sorted(found, reverse=True):
        total += size
        if total > MAX_BYTES and now_s - mtime_ns / 1e9 >= min_age_s:
            shutil.rmtree(folder, ignore_errors=True)
