"""featx inside another program: its settings, its files and its links stay as they are."""

import locale
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.core.errors import FeatxError
from featx.report import render

NEEDS_POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")

QUIET: Any = {"progress": False}
RECIPE = featx.Recipe(epochs=1)


def read_host() -> dict[str, Any]:
    """Read what belongs to the program that imports featx."""
    logger = logging.getLogger("openvino")
    return {
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "log": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "openvino's log": (logger.level, logger.disabled, list(logger.handlers)),
        "signals": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)],
        "hooks": (sys.excepthook, threading.excepthook, sys.displayhook),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "numpy": np.geterr(),
        "random": (random.getstate(), np.random.get_state()[1].tolist()),  # type: ignore[index]  # noqa: NPY002
        "locale": locale.setlocale(locale.LC_ALL),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "recursion": sys.getrecursionlimit(),
    }


def use_everything(photos: Path, folder: Path) -> None:
    """Call every part of featx, and fail once."""
    folder.mkdir()
    cache, head = folder / "photos.h5", folder / "head.joblib"
    featx.extract(photos, cache, backbone="lenet5", **QUIET)
    featx.fit_head(cache, head, split="train", progress=False)
    featx.evaluate(head, cache)
    featx.predict(head, photos / "val", engine="torch", device="cpu", **QUIET)
    tuned = folder / "tuned.safetensors"
    featx.fine_tune(photos, cache, tuned, head=head, unfreeze=1, recipe=RECIPE, **QUIET)
    with pytest.raises(FeatxError):
        featx.embed(folder / "nowhere.jpg", backbone="lenet5", **QUIET)


@pytest.mark.filterwarnings("ignore::featx.FeatxWarning")
def test_calls_leave_the_host_as_it_was(photos: Path, tmp_path: Path) -> None:
    use_everything(photos, tmp_path / "first")  # packages add filters of their own on import
    before = read_host()
    use_everything(photos, tmp_path / "second")
    after = read_host()
    assert {name for name in before if before[name] != after[name]} == set()


FIRST_USE = """
import random
random.seed(1)
wanted = random.random()
random.seed(1)
import featx
featx.Head, featx.extract, featx.fit_head, featx.Recipe
assert random.random() == wanted
"""


def test_first_use_leaves_the_random_numbers_of_the_host() -> None:
    subprocess.run([sys.executable, "-c", FIRST_USE], check=True)  # scikit-learn's import draws


@pytest.fixture
def cache(photos: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cache.h5"
    featx.extract(photos, path, backbone="lenet5", **QUIET)
    return path


def write_cache(photos: Path, cache: Path, path: Path) -> None:
    featx.extract(photos, path, backbone="lenet5", overwrite=True, **QUIET)


def write_head(photos: Path, cache: Path, path: Path) -> None:
    featx.fit_head(cache, path, C=1.0, overwrite=True)


def save_head(photos: Path, cache: Path, path: Path) -> None:
    featx.fit_head(cache, C=1.0).save(path, overwrite=True)


def write_tuned(photos: Path, cache: Path, path: Path) -> None:
    featx.fine_tune(photos, cache, path, unfreeze=1, overwrite=True, recipe=RECIPE, **QUIET)


def write_html(photos: Path, cache: Path, path: Path) -> None:
    render.write_html(path, "<p>")


WRITERS = [write_cache, write_head, save_head, write_tuned, write_html]


@NEEDS_POSIX
@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a pipe"),
        (lambda path: path.symlink_to("/dev/null"), "a device"),
        (lambda path: path.symlink_to("nowhere"), "a symbolic link that leads to no file"),
    ],
    ids=["pipe", "device", "dangling link"],
)
def test_writing_never_replaces_what_is_no_file(
    photos: Path,
    cache: Path,
    tmp_path: Path,
    write: Callable[[Path, Path, Path], None],
    make: Callable[[Path], None],
    kind: str,
) -> None:
    path = tmp_path / "output.safetensors"
    make(path)
    before, names = path.lstat(), sorted(os.listdir(tmp_path))
    with pytest.raises(FeatxError, match=rf"expected the path of a file, got {kind}\. Name "):
        write(photos, cache, path)
    assert (path.lstat().st_mode, path.lstat().st_ino) == (before.st_mode, before.st_ino)
    assert sorted(os.listdir(tmp_path)) == names


@NEEDS_POSIX
@pytest.mark.parametrize("write", WRITERS)
def test_writing_to_a_link_changes_its_file_and_keeps_the_link(
    photos: Path, cache: Path, tmp_path: Path, write: Callable[[Path, Path, Path], None]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real", tmp_path / "output.safetensors"
    write(photos, cache, real.with_suffix(".safetensors"))
    real.with_suffix(".safetensors").rename(real)
    inode = real.stat().st_ino
    link.symlink_to(real)
    write(photos, cache, link)
    assert link.is_symlink()
    assert write is write_cache or real.stat().st_ino != inode
