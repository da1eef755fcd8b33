"""Draw class maps over images: for in orange and blue, and by lines, stripes and a ring."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from featx.core.typing import Array, BoolArray, Float64Array, UInt8Array

FOR, AGAINST = (230, 97, 1), (5, 80, 190)
"""Colours of evidence for and against a class: orange and blue, which every kind of colour-blind
person tells apart."""

STRONG = 0.5
"""Share of the limit from which evidence is surrounded or striped."""

OPACITY = 0.7
"""Opacity of the fullest colour."""

LINE, PAPER = (20, 20, 20), (255, 255, 255)


def draw_overlay(
    image: UInt8Array, values: Array, *, side: int | None = None, limit: float | None = None
) -> Image.Image:
    """Draw a map over an image.

    Parameters
    ----------
    image : ndarray of uint8
        ``(height, width, 3)``.
    values : ndarray
        ``(h, w)``, the map.
    side : int, optional
        Longer side of the drawing in pixels. Default: that of the image.
    limit : float, optional
        Absolute value with the fullest colour. Default: the largest absolute value of the map.

    Returns
    -------
    PIL.Image.Image
        The drawing, of mode RGB.
    """
    base = resize_image(image, side)
    share = enlarge(values, base.size) / (limit or float(np.abs(values).max()) or 1.0)
    share = np.clip(share, -1, 1)
    # Gray below the colours: those of the image would look like evidence.
    gray = np.asarray(base.convert("L"), np.float64)[:, :, None]
    colours = np.where(share[:, :, None] >= 0, FOR, AGAINST)
    opacity = OPACITY * np.abs(share)[:, :, None]
    pixels = gray * (1 - opacity) + colours * opacity
    unit = max(1, round(max(base.size) / 112))  # width of a line
    pixels[_find_stripes(share.shape, unit) & (share <= -STRONG)] = PAPER
    pixels[_find_border(share >= STRONG, 2 * unit)] = LINE
    pixels[_find_border(share >= STRONG, unit)] = PAPER
    drawing = Image.fromarray(pixels.round().astype(np.uint8))
    if values.max() > 0:
        _draw_ring(drawing, find_strongest(values, base.size), 4 * unit, unit)
    return drawing


def resize_image(image: UInt8Array, side: int | None) -> Image.Image:
    """Resize an image so that its longer side has this number of pixels; None leaves its size.

    Parameters
    ----------
    image : ndarray of uint8
        ``(height, width, 3)``.
    side : int or None
        Longer side in pixels.
    """
    whole = Image.fromarray(image)
    if side is None:
        return whole
    factor = side / max(whole.size)
    width, height = (max(1, round(length * factor)) for length in whole.size)
    return whole.resize((width, height), Image.Resampling.BICUBIC)


def enlarge(values: Array, size: tuple[int, int]) -> Float64Array:
    """Enlarge a map to the width and height of an image, bilinearly between the cells' middles.

    Parameters
    ----------
    values : ndarray
        ``(h, w)``.
    size : (int, int)
        Width and height in pixels.

    Returns
    -------
    ndarray of float64
        ``(height, width)``.
    """
    small = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(small.resize(size, Image.Resampling.BILINEAR), np.float64)


def find_strongest(values: Array, size: tuple[int, int]) -> tuple[float, float]:
    """Find the middle of the cell with the largest value, in pixels of an image of this size."""
    row, column = np.unravel_index(int(np.argmax(values)), values.shape)
    height, width = values.shape
    return (int(column) + 0.5) / width * size[0], (int(row) + 0.5) / height * size[1]


def _find_stripes(shape: tuple[int, ...], unit: int) -> BoolArray:
    rows, columns = np.indices(shape)
    return np.asarray((rows + columns) % (8 * unit) < unit)


def _find_border(inside: BoolArray, width: int) -> BoolArray:
    """Find the pixels inside an area that are near its border; the edge of the image is none."""
    padded = np.pad(inside, width, mode="edge")
    kept = inside.copy()
    height, length = inside.shape
    for down in range(2 * width + 1):
        for right in range(2 * width + 1):
            kept &= padded[down : down + height, right : right + length]
    return inside & ~kept


def _draw_ring(drawing: Image.Image, middle: tuple[float, float], radius: int, width: int) -> None:
    draw = ImageDraw.Draw(drawing)
    for colour, grown in ((LINE, width), (PAPER, 0)):
        reach = radius + grown
        box = [*(one - reach for one in middle), *(one + reach for one in middle)]
        draw.ellipse(box, outline=colour, width=width + 2 * grown)
