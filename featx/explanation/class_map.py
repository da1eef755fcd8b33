"""A class map: the evidence for one class at each place of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.core.errors import FeatxError
from featx.core.typing import Array, ClassMapMethod, Float32Array, UInt8Array
from featx.explanation.overlay import draw_overlay, resize_image

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassMap:
    """The evidence for one class at each place of an image.

    An exact map is a part of the logit: ``values.mean() + bias == logit``. A cell of ``h`` × ``w``
    cells adds its value over ``h * w`` to the logit; a value below 0 speaks against the class.

    Attributes
    ----------
    number : int
        Number of the image among those given.
    path : str
        Path or name of the image.
    true_label : str or None
        Label that the source gives the image.
    label : str or None
        Class that the map is of; None if the image has an error.
    probability : float or None
        Probability that the head gives the class.
    logit : float or None
        Score of the class before the temperature of the head. Of two classes, the logit of the
        first is minus that of the second.
    bias : float or None
        Part of the logit that lies at no place; None for an approximation, which is no part of the
        logit.
    values : ndarray of float32 or None
        ``(h, w)``, the map; None if the image has an error.
    image : ndarray of uint8 or None
        ``(height, width, 3)``, the image as the network saw it: resized and cropped. The output of
        a user's transform is stretched to 0..255.
    size : tuple of int or None
        Width and height of the whole image in pixels.
    box : tuple of float or None
        Left, top, right and bottom of the part that the network saw, in pixels of the whole image;
        None if a user's transform cut it out.
    method : {"exact", "grad-cam"}
        Way in which the map was computed.
    error : str or None
        Reason why the image has no map.

    See Also
    --------
    featx.explain : Compute class maps.

    Examples
    --------
    >>> (found,) = featx.explain("head.joblib", "ant.jpg", progress=False)
    >>> found.is_exact, found.values.shape
    (True, (8, 8))
    >>> bool(abs(found.values.mean() + found.bias - found.logit) < 1e-4)
    True
    >>> found.overlay(160).size
    (160, 160)
    """

    number: int
    path: str
    true_label: str | None = None
    label: str | None = None
    probability: float | None = None
    logit: float | None = None
    bias: float | None = None
    values: Float32Array | None = None
    image: UInt8Array | None = None
    size: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None
    method: ClassMapMethod = "exact"
    error: str | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the mean of the map plus the bias is the logit."""
        return self.method == "exact"

    @property
    def mean(self) -> float | None:
        """Mean of the map, added up in double precision."""
        return None if self.values is None else float(self.values.mean(dtype=np.float64))

    def overlay(self, side: int | None = None, *, limit: float | None = None) -> Image:
        """Draw the map over the image that the network saw.

        Orange speaks for the class, blue against it. A line surrounds what speaks for it with at
        least half of the limit, stripes cover what speaks against it so much, and a ring is the
        strongest place.

        Parameters
        ----------
        side : int, optional
            Longer side of the drawing in pixels. Default: that of the image.
        limit : float, optional
            Value with the fullest colour. Default: the largest absolute value of the map.

        Returns
        -------
        PIL.Image.Image
            The drawing, of mode RGB.

        Raises
        ------
        FeatxError
            If the image has an error, and so no map.
        """
        image, values = self._get_arrays()
        return draw_overlay(image, values, side=side, limit=limit)

    def show(self, side: int | None = None) -> Image:
        """Return the image that the network saw.

        Parameters
        ----------
        side : int, optional
            Longer side in pixels. Default: as the network saw it.

        Returns
        -------
        PIL.Image.Image
            The image, of mode RGB.

        Raises
        ------
        FeatxError
            If the image has an error.
        """
        return resize_image(self._get_arrays()[0], side)

    def _get_arrays(self) -> tuple[UInt8Array, Float32Array]:
        """Return image and map."""
        if self.values is None or self.image is None:
            raise FeatxError(
                subject=self.path,
                expected="an image with a class map",
                got=self.error or "no map",
                remedy="Leave out class maps that have an error.",
            )
        return self.image, self.values

    def find_peak(self) -> tuple[int, int] | None:
        """Find the place with the strongest evidence for the class.

        Returns
        -------
        tuple of int or None
            Column and row of the pixel in the whole image, upright; the middle of the cell with the
            largest value. None if no value is above 0, or a user's transform cut the image.
        """
        if self.values is None or self.box is None or self.size is None or self.values.max() <= 0:
            return None
        row, column = np.unravel_index(int(self.values.argmax()), self.values.shape)
        left, top, right, bottom = self.box
        height, width = self.values.shape
        x = int(left + (int(column) + 0.5) / width * (right - left))
        y = int(top + (int(row) + 0.5) / height * (bottom - top))
        return min(max(x, 0), self.size[0] - 1), min(max(y, 0), self.size[1] - 1)

    def to_dict(self) -> dict[str, Any]:
        """Return what the map says as objects that ``json.dumps`` takes; without the arrays."""
        values = self.values
        return {
            "number": self.number,
            "path": self.path,
            "true_label": self.true_label,
            "label": self.label,
            "probability": self.probability,
            "logit": self.logit,
            "bias": self.bias,
            "mean": self.mean,
            "lowest": None if values is None else float(values.min()),
            "highest": None if values is None else float(values.max()),
            "peak": self.find_peak(),
            "shape": None if values is None else list(values.shape),
            "width": None if self.size is None else self.size[0],
            "height": None if self.size is None else self.size[1],
            "box": self.box,
            "method": self.method,
            "is_exact": self.is_exact,
            "error": self.error,
        }


def show_pixels(pixels: Array) -> UInt8Array:
    """Return the input of a network as an image.

    Parameters
    ----------
    pixels : ndarray
        uint8 ``(height, width, 3)``; or what a user's transform returned, float32 ``(3, height,
        width)``, whose values are stretched to 0..255.
    """
    if pixels.dtype == np.uint8:
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    stretched = (pixels.transpose(1, 2, 0) - low) * (255 / max(high - low, 1e-12))
    return np.asarray(stretched.round(), np.uint8)


def describe_method(method: ClassMapMethod) -> str:
    """Say in a sentence what maps are.

    Parameters
    ----------
    method : {"exact", "grad-cam"}
        Way in which they were computed.
    """
    if method == "exact":
        return (
            "The maps are exact: the mean of a map plus the bias is the logit of the class, before "
            "the temperature of the head."
        )
    return (
        "The maps are approximations by Grad-CAM (Selvaraju et al. 2017): they show where the last "
        "feature map raises the logit of the class, and do not add up to it."
    )
