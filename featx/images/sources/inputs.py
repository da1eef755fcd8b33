"""Images as a notebook has them: paths, open files, bytes, PIL images, arrays, lists of these."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from featx.core.errors import SourceError
from featx.core.notes import note
from featx.core.rows import Row
from featx.images.content import InMemory
from featx.images.ignored import describe_ignored
from featx.images.manifest import Entry
from featx.images.names import escape_name
from featx.images.sources.read import check_path, find_kind

TEXT_OR_OBJECT = "OSTU"
"""Kinds of NumPy dtypes whose values are no pixels: objects, bytes and text."""


def list_inputs(images: Any) -> list[Any]:
    """List the single inputs that a caller gives together.

    Parameters
    ----------
    images : path, file, bytes, PIL image, ndarray, or iterable of these
        An array of text or objects is a sequence of inputs. An array of four axes is a batch; other
        arrays are one image.

    Returns
    -------
    list
        Paths, bytes, PIL images and arrays, in the order given.

    Raises
    ------
    SourceError
        If `images` is a table or a mapping, or an array of text with several axes.
    """
    if hasattr(images, "columns") or isinstance(images, dict):
        raise _refuse(
            "images, or a sequence of images",
            f"a {type(images).__name__}",
            "Pass its column of paths, or a list of its values.",
        )
    if isinstance(images, np.ndarray) and images.dtype.kind in TEXT_OR_OBJECT:
        if images.ndim > 1:
            raise _refuse(
                "an array of paths with one axis",
                f"one of shape {images.shape}",
                "Pass one column of it.",
            )
        found = images.reshape(-1).tolist()
        is_bytes = images.dtype.kind == "S"
        return [os.fsdecode(one) for one in found] if is_bytes else found
    if isinstance(images, np.ndarray):
        return [*images] if images.ndim == 4 else [images]
    is_one = isinstance(images, str | bytes | bytearray | memoryview | os.PathLike)
    is_many = isinstance(images, Iterable) and not hasattr(images, "read")
    return [*images] if is_many and not is_one else [images]


def list_entries(images: Any) -> list[Entry]:
    """List images that are given as in a notebook.

    Parameters
    ----------
    images : path, file, bytes, PIL image, ndarray, or iterable of these
        Images as `list_inputs` takes them. A path stands for all images of its source. An open
        binary file is read from its start.

    Returns
    -------
    list of Entry
        Images in the order given, repeats included. A missing image file is an entry too, which
        fails when its bytes are read.

    Raises
    ------
    SourceError
        If a path cannot be read as a source, or if a file is open as text.
    """
    entries: list[Entry] = []
    for number, image in enumerate(list_inputs(images)):
        if isinstance(image, str | os.PathLike):
            path = check_path(image)
            manifest = find_kind(path).read(path)
            entries.extend(manifest.entries)
            if manifest.ignored:
                note(f"{path}: {describe_ignored(manifest.ignored)}")
            continue
        name = f"image {number}"
        if hasattr(image, "read"):
            image, name = _read_file(image, name)
        elif isinstance(image, bytearray | memoryview):
            image = bytes(image)
        entries.append(Entry(Row(id=str(number), path=name), InMemory(image)))
    return entries


def _read_file(file: Any, name: str) -> tuple[bytes, str]:
    """Read an open file from its start, as Pillow does, and find its name."""
    own = getattr(file, "name", None)
    name = escape_name(own) if isinstance(own, str) else name
    try:
        if hasattr(file, "seekable") and file.seekable():
            file.seek(0)
        data = file.read()
    except (OSError, TypeError, ValueError) as error:  # a closed file; an archive
        raise SourceError(
            subject=name,
            expected="an open file",
            got=f"{type(error).__name__}: {error}",
            remedy="Pass its path, or its bytes.",
        ) from error
    if not isinstance(data, bytes):
        raise SourceError(
            subject=name,
            expected="a file that is open in binary mode",
            got=f"one that reads {type(data).__name__}",
            remedy='Open it with open(path, "rb"), or pass its path.',
        )
    return data, name


def _refuse(expected: str, got: str, remedy: str) -> SourceError:
    return SourceError(subject="images", expected=expected, got=got, remedy=remedy)
