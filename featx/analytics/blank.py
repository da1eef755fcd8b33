"""Images without content: one colour, all dark or all bright, or decoded in part only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from featx.analytics.row_images import RowImages
from featx.core.progress import open_bar
from featx.core.typing import IntArray, StrArray, UInt8Array

if TYPE_CHECKING:
    from PIL.Image import Image

BlankReason = Literal["one colour", "dark", "overexposed", "grey band"]
"""Reasons for which an image is taken to be without content."""

SIDE = 64
"""Longer side in pixels that images are judged at: noise and text become their means."""

FLAT = 3
"""Largest range of values, of 255, that is one colour: JPEG changes flat areas by 1 or 2."""

DARK, BRIGHT = 20, 245
"""Values of 255: an image is dark or overexposed if 99 % of it lies below or above."""

GREY = (122, 134)
"""Range of the grey that decoders fill in for the missing end of a JPEG: 128."""

MIN_BAND = 0.1
"""Smallest height of a grey band, as a share of the image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BlankImages:
    """Images that look blank or damaged.

    Attributes
    ----------
    rows : ndarray of int64
        ``(n,)``, rows of the cache, ascending.
    reasons : ndarray of str
        ``(n,)``, ``one colour``, ``dark``, ``overexposed`` or ``grey band``.
    n_judged : int
        Number of images that were looked at.
    n_missing : int
        Number of rows whose image is gone, was changed or cannot be read.
    """

    rows: IntArray
    reasons: StrArray
    n_judged: int
    n_missing: int

    def __len__(self) -> int:
        return len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, without the rows, as what JSON can hold."""
        return {"n_judged": self.n_judged, "n_listed": len(self), "n_missing": self.n_missing}


def find_blank(
    images: RowImages, rows: IntArray, *, progress: bool | None = False
) -> BlankImages | str:
    """Find images that look blank or damaged, by their pixels.

    Parameters
    ----------
    images : RowImages
        Images of the cache.
    rows : ndarray of int64
        Rows to look at.
    progress : bool or None
        Whether to show progress on standard error; None shows bars on a terminal and in a
        notebook, and elsewhere a line now and then.

    Returns
    -------
    BlankImages or str
        The findings; or a text that says why no image could be read.
    """
    found: list[int] = []
    reasons: list[str] = []
    n_judged = 0
    with open_bar("looking for blank images", len(rows), unit="images", show=progress) as bar:
        for row, image in images.decode(rows, side=SIDE):
            bar.update()
            if image is None:
                continue
            n_judged += 1
            reason = judge_image(image)
            if reason is not None:
                found.append(row)
                reasons.append(reason)
    if not n_judged and len(rows):
        return f"no image can be read: {images.missing[int(rows[0])]}"
    order = np.argsort(found, kind="stable")
    return BlankImages(
        rows=np.array(found, np.int64)[order],
        reasons=np.array(reasons, object)[order],
        n_judged=n_judged,
        n_missing=len(rows) - n_judged,
    )


def judge_image(image: Image) -> BlankReason | None:
    """Say in which way an image is without content; None if it shows something.

    Parameters
    ----------
    image : PIL.Image.Image
        Image of mode RGB.

    Examples
    --------
    >>> from PIL import Image
    >>> judge_image(Image.new("RGB", (40, 30), "red"))
    'one colour'
    >>> judge_image(Image.linear_gradient("L").convert("RGB")) is None
    True
    """
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    pixels: UInt8Array = np.asarray(small)
    spread = np.ptp(pixels.reshape(-1, 3).astype(np.int64), axis=0)
    if (spread <= FLAT).all():
        return "one colour"
    light = pixels.mean(axis=2)
    if np.quantile(light, 0.99) < DARK:
        return "dark"
    if np.quantile(light, 0.01) > BRIGHT:
        return "overexposed"
    return "grey band" if _measure_band(pixels) >= MIN_BAND else None


def _measure_band(pixels: UInt8Array) -> float:
    """Measure the grey band at the lower end, as a share of the height."""
    is_grey = ((pixels >= GREY[0]) & (pixels <= GREY[1])).all(axis=(1, 2))
    is_flat = np.ptp(pixels.astype(np.int64), axis=(1, 2)) <= FLAT
    is_other = ~(is_grey & is_flat)[::-1]
    n_rows = int(is_other.argmax()) if is_other.any() else len(pixels)
    return n_rows / len(pixels)
