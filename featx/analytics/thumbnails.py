"""Thumbnails of images as arrays of local contrast, in which copies of an image agree.

Local contrast is what is left of the brightness without its slow changes, and divided by how much
it varies nearby: a copy that is brighter, of other contrast or saved at a lower quality has the
same, and two images of the same kind, such as a ship on a sea, differ in it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from featx.analytics.row_images import RowImages
from featx.core.columns import iter_blocks
from featx.core.progress import open_bar
from featx.core.typing import Array, BoolArray, Float32Array, IntArray

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 32
"""Side of a thumbnail, in pixels."""

READ_SIDE = 128
"""Side that images are decoded at, in pixels: four pixels for each of a thumbnail."""

WEIGHTS = (0.299, 0.587, 0.114)
"""Share of red, green and blue in the brightness."""

NARROW, WIDE, NEARBY = 0.7, 3.0, 4.0
"""Widths of the blurs, in pixels: against noise, for slow changes, and for the contrast nearby."""

LEAST_CONTRAST = 6.0
"""Contrast, of 255, that is added nearby: below it, an area counts as flat."""

BLOCK = 2048
"""Number of thumbnails whose contrast is computed at once."""


def read_thumbnails(images: RowImages, rows: IntArray) -> tuple[Float32Array, BoolArray]:
    """Decode images and compute the local contrast of their thumbnails.

    Parameters
    ----------
    images : RowImages
        Images of the rows of a cache.
    rows : ndarray of int64
        ``(n_rows,)``, rows to decode.

    Returns
    -------
    contrasts : ndarray of float32
        ``(n_rows, 32, 32)``.
    found : ndarray of bool
        ``(n_rows,)``, False if the image is gone or cannot be read.
    """
    contrasts = np.zeros((len(rows), SIDE, SIDE), np.float32)
    found = np.zeros(len(rows), bool)
    with open_bar("comparing images", len(rows), unit="images") as bar:
        for number, (_, image) in enumerate(images.decode(rows, side=READ_SIDE)):
            if image is not None:
                contrasts[number] = shrink(image)
                found[number] = True
            bar.update(1)
    for block in iter_blocks(len(rows), BLOCK):
        contrasts[block] = find_contrast(contrasts[block])
    return contrasts, found


def shrink(image: Image) -> Float32Array:
    """Shrink an image to the brightness of its thumbnail; its shape becomes a square.

    Parameters
    ----------
    image : PIL.Image.Image
        Image of mode RGB.

    Returns
    -------
    ndarray of float32
        ``(32, 32)``, from 0 to 255.
    """
    brightness = np.asarray(image, np.float32) @ np.array(WEIGHTS, np.float32)
    height, width = brightness.shape
    small: Float32Array = brightness.astype(np.float32)
    if (height, width) != (SIDE, SIDE):
        small = _resize(small, build_resizing(height, SIDE), build_resizing(width, SIDE))
    return small


def find_contrast(brightness: Float32Array) -> Float32Array:
    """Compute the local contrast of thumbnails.

    Parameters
    ----------
    brightness : ndarray of float32
        ``(n_images, 32, 32)``, from 0 to 255.

    Returns
    -------
    ndarray of float32
        ``(n_images, 32, 32)``: 0 where an image is flat, some 1 at an edge.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> dark = rng.uniform(0, 100, size=(1, 32, 32)).astype(np.float32)
    >>> dark, bright = find_contrast(dark).ravel(), find_contrast(2 * dark + 20).ravel()
    >>> bool(np.corrcoef(dark, bright)[0, 1] > 0.99)
    True
    """
    detail: Float32Array = _blur(brightness, NARROW) - _blur(brightness, WIDE)
    nearby = np.sqrt(_blur(detail * detail, NEARBY))
    detail /= nearby + np.float32(LEAST_CONTRAST)
    return detail


def _blur(images: Float32Array, width: float) -> Float32Array:
    blur = _build_blur(width)
    return _resize(images, blur, blur)


@functools.cache
def _build_blur(width: float) -> Float32Array:
    """Build the matrix that blurs a column of a thumbnail by a normal distribution."""
    steps = np.subtract.outer(np.arange(SIDE), np.arange(SIDE))
    return _share(np.exp(-0.5 * (steps / width) ** 2))


@functools.lru_cache(256)
def build_resizing(length: int, new_length: int) -> Float32Array:
    """Build the matrix that resizes a column of pixels, by triangles as wide as the step.

    Parameters
    ----------
    length, new_length : int
        Numbers of pixels.

    Returns
    -------
    ndarray of float32
        ``(new_length, length)``; each row sums to 1.

    Examples
    --------
    >>> build_resizing(2, 1).tolist()
    [[0.5, 0.5]]
    """
    step = length / new_length
    centres = (np.arange(new_length) + 0.5) * step - 0.5
    away = np.abs(np.subtract.outer(centres, np.arange(length)))
    return _share(np.clip(1 - away / max(step, 1.0), 0, None))


def _resize(images: Float32Array, rows: Float32Array, columns: Float32Array) -> Float32Array:
    resized: Float32Array = np.matmul(np.matmul(rows, images), columns.T)
    return resized


def _share(weights: Array) -> Float32Array:
    shares: Float32Array = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
