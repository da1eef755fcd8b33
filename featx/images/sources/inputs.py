"""The one reading of images as callers give them: paths, bytes, files, PIL images, arrays, many.

Every public call that takes images reads them here. What is no image is refused at once, before
anything is iterated; an image that cannot be read is an entry, which fails when it is decoded.
"""

from __future__ import annotations

import inspect
import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from featx.core.errors import SourceError
from featx.core.notes import note
from featx.core.rows import Row
from featx.core.text import shorten
from featx.images.content import InMemory
from featx.images.decode import copy_pillow, is_pillow
from featx.images.entries import Entry
from featx.images.ignored import describe_ignored
from featx.images.names import escape_name
from featx.images.sources.arrays import is_array, is_text, iter_arrays, list_texts
from featx.images.sources.read import check_path, find_kind

EXPECTED = "an image (a path, bytes, an open file, a PIL image or an array)"

N_KEYS_SHOWN = 5
"""Number of keys of a mapping that an error names."""


class EntryStream(Iterator[Entry]):
    """Entries of images that are taken from an iterator only when they are needed.

    What an iterator yields is copied, because it may write the next image into the same memory.

    Parameters
    ----------
    images : iterable
        Images, each as `read_images` takes it.
    n_images : int
        Number of images to expect; 0 if it is not known.
    """

    def __init__(self, images: Iterable[Any], n_images: int) -> None:
        self._entries = _iter_entries(images, is_stream=True)
        self._n_left = n_images

    def __next__(self) -> Entry:
        entry = next(self._entries)
        self._n_left = max(0, self._n_left - 1)
        return entry

    def __length_hint__(self) -> int:
        return self._n_left


def read_images(images: Any) -> Sequence[Entry] | EntryStream:
    """Read images in every form in which a public call takes them.

    Parameters
    ----------
    images : path, bytes, open file, PIL image, array, or iterable of these
        A path stands for all images of its source. Bytes are the content of one image file. An
        open binary file is read from its start. An array of uint8 is one image, ``(height, width)``
        or ``(height, width, channels)``, or a batch ``(n, height, width, channels)``; a tensor of
        torch has its channels first, as in torchvision. An array, a series or a list of paths is a
        sequence.

    Returns
    -------
    sequence of Entry or EntryStream
        Images in the order given, repeats included. A missing image file is an entry too, which
        fails when its bytes are read. A list or a tuple is listed at once; any other iterable is a
        stream, so that memory does not hold its images. ``operator.length_hint`` gives the number
        of images, or 0 if it is not known.

    Raises
    ------
    SourceError
        If something is no image, or a path cannot be read as a source. A stream raises the error
        when it comes to that image.
    """
    is_foreign = is_array(images) and not isinstance(images, np.ndarray)
    if is_foreign and len(getattr(images, "shape", ())) == 4:  # it may be larger than memory
        return EntryStream([images], len(images))
    if _is_one(images) or is_array(images) or isinstance(images, list | tuple):
        return list(_iter_entries(list_inputs(images)))
    if isinstance(images, Mapping | Set) or hasattr(images, "columns"):
        raise _refuse("images", images, expected="images, or a sequence of images")
    if hasattr(images, "__getitem__") and not isinstance(images, Iterable):
        return EntryStream(_iter_items(images), operator.length_hint(images))
    if isinstance(images, Iterable):
        return EntryStream(images, operator.length_hint(images))
    raise _refuse("images", images, expected=f"{EXPECTED}, or several")


def list_entries(images: Any) -> list[Entry]:
    """List images, those of a stream too.

    Parameters
    ----------
    images : path, bytes, open file, PIL image, array, or iterable of these
        Images as `read_images` takes them.

    Raises
    ------
    SourceError
        As `read_images` raises it.
    """
    return list(read_images(images))


def list_inputs(images: Any) -> list[Any]:
    """List the single values that a caller gives together, without taking any from a stream.

    Parameters
    ----------
    images : path, bytes, open file, PIL image, array, or iterable of these
        Images as `read_images` takes them.

    Returns
    -------
    list
        Values of a list, a tuple or an array of text; any other object is one value.
    """
    if is_array(images) and is_text(images):
        return list_texts(images)
    return [*images] if isinstance(images, list | tuple) else [images]


def _is_one(image: Any) -> bool:
    """Tell one image, or the path of a source, from several; arrays are another matter."""
    is_named = isinstance(image, str | os.PathLike | bytes | bytearray | memoryview)
    return is_named or is_pillow(image) or hasattr(image, "read")


def _iter_items(images: Any) -> Iterator[Any]:
    """Iterate over an object that only has numbered items, such as a data set of torch."""
    for number in range(len(images)):
        yield images[number]


def _iter_entries(images: Iterable[Any], *, is_stream: bool = False) -> Iterator[Entry]:
    n_read = 0
    for image in images:
        for entry in _iter_entries_of(image, n_read, is_stream=is_stream):
            yield entry
            n_read += 1


def _iter_entries_of(image: Any, number: int, *, is_stream: bool) -> Iterator[Entry]:
    """Read one image, a source or a batch; the number of its first image names those in memory."""
    name = f"image {number}"
    if isinstance(image, str | os.PathLike):
        path = check_path(image)
        manifest = find_kind(path).read(path)
        if manifest.ignored:
            note(f"{path}: {describe_ignored(manifest.ignored)}")
        yield from manifest.entries
    elif isinstance(image, bytes | bytearray | memoryview):
        yield _build_entry(number, name, bytes(image))
    elif is_pillow(image):
        own = getattr(image, "filename", "")  # of an image that was opened by its path
        kept = copy_pillow(image) if is_stream else image
        yield _build_entry(number, _find_name(own) or name, kept)
    elif hasattr(image, "read"):
        data, name = _read_file(image, name)
        yield _build_entry(number, name, data)
    elif is_array(image) and not is_text(image):
        for offset, array in enumerate(iter_arrays(image, name)):
            kept = np.array(array) if is_stream else array
            yield _build_entry(number + offset, f"image {number + offset}", kept)
    else:
        raise _refuse(name, image, expected=EXPECTED)


def _build_entry(number: int, name: str, image: Any) -> Entry:
    return Entry(Row(id=str(number), path=name), InMemory(image))


def _find_name(own: object) -> str:
    """Return the name of a file as it may be shown; none for a number or another object."""
    return escape_name(own) if isinstance(own, str) else ""


def _read_file(file: Any, name: str) -> tuple[bytes, str]:
    """Read an open file from its start, as Pillow does, and find its name."""
    name = _find_name(getattr(file, "name", None)) or name
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
    if inspect.iscoroutine(data):  # an upload in an asynchronous web service
        data.close()
    if not isinstance(data, bytes):
        raise SourceError(
            subject=name,
            expected="a file that is open in binary mode",
            got=f"one that reads {type(data).__name__}",
            remedy='Open it with open(path, "rb"), or pass its path or its bytes.',
        )
    return data, name


def _refuse(subject: str, given: Any, *, expected: str) -> SourceError:
    """Say what was given in place of an image, and what to do."""
    what = f"a {type(given).__name__}"
    remedy = "Pass paths, bytes, open files, PIL images or arrays of uint8."
    if given is None:
        what = "None"
        remedy = (
            "cv2.imread and others return None for a file that they cannot read: pass its path."
        )
    elif hasattr(given, "columns"):
        remedy = "Pass its column of paths."
    elif isinstance(given, Mapping):
        keys = ", ".join(map(str, list(given)[:N_KEYS_SHOWN]))
        what += f" with {keys}" if keys else ", an empty one"
        remedy = "Pass one of its values, or a list of its values."
    elif isinstance(given, Set):
        remedy = "A set has no order: pass sorted(paths), or a list."
    elif isinstance(given, list | tuple):
        remedy = "Pass one flat list of images, without labels; of numbers, make an array of uint8."
    elif isinstance(given, int | float | complex):
        what = shorten(f"{type(given).__name__} {given}", 60)
    return SourceError(subject=subject, expected=expected, got=what, remedy=remedy)
