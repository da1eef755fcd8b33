"""Arrays as images: which shapes and dtypes are images, and what to do with others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from featx.core.errors import SourceError
from featx.core.typing import Array
from featx.images.decode import CHANNELS, is_pixels

TEXT_OR_OBJECT = "OSTU"
"""Kinds of NumPy dtypes whose values are no pixels: objects, bytes and text."""


def is_array(image: object) -> bool:
    """Tell an array from other objects: of NumPy, torch, pandas, HDF5, or any with ``__array__``.

    Parameters
    ----------
    image : object
        Anything.
    """
    is_table = hasattr(image, "columns")  # its rows are no images
    return (
        hasattr(image, "__array__") and not is_table and not isinstance(image, type | str | bytes)
    )


def is_text(array: Any) -> bool:
    """Tell an array of text or objects, such as a series of paths, from one of numbers.

    Parameters
    ----------
    array : array
        An array, as `is_array` tells it.
    """
    if _is_tensor(array) or len(getattr(array, "shape", ())) > 1:
        return isinstance(array, np.ndarray) and array.dtype.kind in TEXT_OR_OBJECT
    return np.asarray(array).dtype.kind in TEXT_OR_OBJECT


def list_texts(array: Any) -> list[Any]:
    """List the values of an array of text or objects.

    Parameters
    ----------
    array : array
        An array for which `is_text` is true. Bytes are paths, as the file system has them.

    Raises
    ------
    SourceError
        If the array has several axes.
    """
    values = np.asarray(array)
    if values.ndim > 1:
        raise SourceError(
            subject="images",
            expected="an array of paths with one axis",
            got=f"one of {values.dtype} of shape {values.shape}",
            remedy="Pass one column of it; of images, make a list or an array of uint8.",
        )
    found = values.reshape(-1).tolist()
    return [os.fsdecode(one) for one in found] if values.dtype.kind == "S" else found


def iter_arrays(array: Any, name: str) -> Iterator[Array]:
    """Read an array of pixels as one image, or as a batch of images.

    The kind of the array says where its channels are: first in a tensor of torch, as in
    torchvision, and last in every other array. Three axes are always one image.

    Parameters
    ----------
    array : array
        An array of numbers.
    name : str
        Name of the image, for errors.

    Yields
    ------
    ndarray
        One image, for which `featx.images.decode.is_pixels` is true.

    Raises
    ------
    SourceError
        If the dtype or the shape is not that of images.
    """
    images = _read_tensor(array) if _is_tensor(array) else array
    if not hasattr(images, "shape"):  # columns of Arrow
        images = array = np.asarray(images)
    if len(images.shape) == 4:
        for number in range(len(images)):  # one by one: the array may lie in a file
            yield _check_pixels(np.asarray(images[number]), array, name)
    else:
        yield _check_pixels(np.asarray(images), array, name)


def _is_tensor(array: object) -> bool:
    """Tell a tensor of torch, without an import: a caller who has one has imported torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def _read_tensor(tensor: Any) -> Any:
    """Copy a tensor to the memory of the CPU, and put its channels last."""
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # NumPy has no bfloat16
    return (tensor.movedim(-3, -1) if tensor.ndim >= 3 else tensor).numpy()


def _check_pixels(image: Array, given: Any, name: str) -> Array:
    """Return an image; refuse an array that is none, in the words of what was given."""
    if is_pixels(image):
        return image
    is_tensor = _is_tensor(given)
    channels = ("channels, height, width", "height, width, channels")[not is_tensor]
    numbers = str(given.dtype).removeprefix("torch.")
    values = ""
    if image.dtype.kind in "fiu" and image.size:
        values = f", values {image.min():.4g} to {image.max():.4g}"
    raise SourceError(
        subject=name,
        expected=f"uint8 of shape ({channels}) or (height, width), or a batch (n, {channels})",
        got=f"{'a tensor' if is_tensor else 'an array'} of {numbers} of shape "
        f"{tuple(given.shape)}{values}",
        remedy=_find_remedy(image, tuple(given.shape), is_tensor=is_tensor),
    )


def _find_remedy(image: Array, shape: tuple[int, ...], *, is_tensor: bool) -> str:
    """Find out how an array becomes an image: by the order of its axes, or by its values."""
    array, convert = (
        ("tensor", "to(torch.uint8)") if is_tensor else ("array", "astype(numpy.uint8)")
    )
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in CHANNELS)):
        if len(shape) in (3, 4) and is_tensor and shape[-1] in CHANNELS:
            return "Put the channels first: tensor.movedim(-1, -3)."
        if len(shape) in (3, 4) and not is_tensor and shape[-3] in CHANNELS:
            return "Put the channels last: numpy.moveaxis(array, -3, -1)."
        if len(shape) == 3:
            return f"Pass gray images one by one: list({array})."
        if len(shape) == 1 and image.dtype == np.uint8:
            return f"Of the bytes of an image file, pass {array}.{'numpy().' * is_tensor}tobytes()."
        return "Pass images one by one, or as a batch."
    if image.dtype.kind == "b":
        return f"Pass {array}.{convert} * 255."
    if image.dtype.kind in "fiu" and image.size:
        low, high = image.min(), image.max()
        rounded = f"{array}.round()" if image.dtype.kind == "f" else array
        if image.dtype.kind == "f" and low >= 0 and high <= 1:
            return f"Pass ({array} * 255).round().{convert}."
        if low >= 0 and high <= 255:
            return f"Pass {rounded}.{convert}."
        if image.dtype.kind in "iu" and low >= 0 and high <= 65535:
            return f"If its values have 16 bits, pass ({array} >> 8).{convert}."
    return f"Undo its normalisation, so that its values are 0 to 255, and convert it: {convert}."
