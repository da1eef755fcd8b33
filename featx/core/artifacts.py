"""What this machine keeps between runs so that the next one starts sooner.

Everything in the store can be made again: it may be removed at any time, a part that is damaged is
made anew, and where nothing can be written featx goes on without it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

STORE_VARIABLE = "FEATX_STORE"
"""Names the folder; default: ``featx`` where the system keeps caches."""

MAX_BYTES = 2 << 30
"""When more is kept, what was used longest ago is dropped."""

_SUMS = "sums.json"


def find_store() -> Path:
    """Return the store's folder, which need not be there.

    Raises
    ------
    OSError
        If this process has no home, and no variable names a place.
    """
    named = os.environ.get(STORE_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    try:
        return Path(base) / "featx" if base else Path.home() / ".cache" / "featx"
    except RuntimeError as error:
        raise OSError(str(error)) from error


def build_key(parts: dict[str, Any], *, packages: Iterable[str], sources: Iterable[Path]) -> str:
    """Name what depends on all of these: it is not found again once one of them is another.

    Parameters
    ----------
    parts : dict
        JSON's types.
    packages : iterable of str
        Whose versions decide.
    sources : iterable of Path
        Folders of featx whose code decides.
    """
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for package in packages:
        digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    for folder in sources:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def find_kept(key: str) -> Path | None:
    """Return the folder that was kept under a key, if each of its files is as it was written."""
    try:
        folder = find_store() / key
    except OSError:
        return None
    try:
        if not folder.is_dir():
            return None
        sums = json.loads((folder / _SUMS).read_text())
        if any(_digest(folder / name) != digest for name, digest in sums.items()):
            raise ValueError("damaged")
    except (OSError, ValueError, AttributeError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with suppress(OSError):  # a store that others keep
        os.utime(folder)
    return folder


def keep(key: str, write: Callable[[Path], None]) -> None:
    """Keep what `write` puts into the folder that it is given; nothing where that fails."""
    try:
        store = find_store()
        store.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=store, ignore_cleanup_errors=True) as name:
            draft = Path(name) / key
            draft.mkdir()
            write(draft)
            sums = {path.name: _digest(path) for path in sorted(draft.iterdir())}
            (draft / _SUMS).write_text(json.dumps(sums))
            # Another process may have kept the same meanwhile: then this one is dropped.
            draft.rename(store / key)
        _drop_oldest(store)
    except OSError:
        return


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _drop_oldest(store: Path) -> None:
    """Bring the store below `MAX_BYTES`."""
    # What bears no sums is not featx's own: the variable may name a folder with other things in it.
    folders = [sums.parent for sums in store.glob(f"*/{_SUMS}")]
    folders.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    total = 0
    for folder in folders:
        total += sum(path.stat().st_size for path in folder.iterdir())
        if total > MAX_BYTES:
            shutil.rmtree(folder, ignore_errors=True)
