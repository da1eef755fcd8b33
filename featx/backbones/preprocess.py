"""Preprocessing: RGB pixels become the input of a network, in two steps.

The first step (`prepare`) runs once per image, in a worker, and returns small uint8 pixels. The
second step (`normalise`) runs once per batch, on the device.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from featx.core.errors import DecodeError
from featx.core.fingerprint import Identity
from featx.core.typing import Array, Interpolation, UInt8Array

if TYPE_CHECKING:
    import torch

MAX_ASPECT = 200
"""Largest ratio of the sides of an image. Resizing the shorter side of a strip of 20,000 × 3 pixels
would take gigabytes."""

FILTERS: dict[Interpolation, int] = {"nearest": 0, "bilinear": 2, "bicubic": 3}
"""Number of each filter in Pillow."""


class Preprocess(Protocol):
    """The methods that every preprocessing has."""

    @property
    def min_side(self) -> int | None:
        """Smallest shorter side of an image decoded at reduced size; None for full size only."""

    def prepare(self, image: Any, *, exact: bool = True) -> Array:
        """Turn one image into an array, whose shape is the same for all images.

        Parameters
        ----------
        image : PIL.Image.Image
            Upright image of mode RGB.
        exact : bool
            True for exactly the pixels of the reference; False for a faster way if there is one.
        """

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn stacked arrays into the input of the network, float32 ``(n, 3, height, width)``.

        Parameters
        ----------
        batch : Tensor
            Arrays of `prepare`, stacked along a new first axis.
        """

    def build_example(self) -> Array:
        """Return the array that `prepare` gives for a black image."""

    def identify(self) -> Identity:
        """Return versioned data for the fingerprint: equal data promises equal pixels."""


@dataclass(frozen=True, kw_only=True)
class ImageClassification:
    """Resize the shorter side, crop the centre, normalise, as the presets of torchvision do.

    The result equals ``weights.transforms()`` of torchvision on a Pillow image.

    Attributes
    ----------
    resize_size, crop_size : int
        Length of the shorter side after resizing, and of both sides after cropping, in pixels.
    interpolation : {"nearest", "bilinear", "bicubic"}
        Filter of Pillow, which is antialiased.
    mean, std : tuple of float
        Mean and standard deviation per channel, for pixels in 0..1.
    """

    resize_size: int
    crop_size: int
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_torchvision(cls, transform: Any) -> ImageClassification:
        """Read the numbers of a preset.

        Parameters
        ----------
        transform : torchvision.transforms._presets.ImageClassification
            The preset, as ``weights.transforms()`` returns it.
        """
        return cls(
            resize_size=transform.resize_size[0],
            crop_size=transform.crop_size[0],
            interpolation=transform.interpolation.value,
            mean=tuple(transform.mean),
            std=tuple(transform.std),
        )

    def resized(self, size: int) -> ImageClassification:
        """Return the same preprocessing with another size.

        Parameters
        ----------
        size : int
            Length of the shorter side after resizing and of the crop, in pixels, so that nothing
            of a square image is cut off.
        """
        return replace(self, resize_size=size, crop_size=size)

    @property
    def min_side(self) -> int:
        """Smallest shorter side of an image decoded at reduced size, in pixels."""
        return self.resize_size

    def prepare(self, image: Any, *, exact: bool = True) -> UInt8Array:
        """Resize and crop one image.

        Parameters
        ----------
        image : PIL.Image.Image
            Upright image of mode RGB.
        exact : bool
            True to equal torchvision to the last bit. False to resize and crop in one step, which
            skips pixels outside the crop: one value in a hundred differs by one, with the bicubic
            filter a few differ by more.

        Returns
        -------
        ndarray of uint8
            Pixels ``(crop_size, crop_size, 3)``.

        Raises
        ------
        DecodeError
            If one side is more than `MAX_ASPECT` times as long as the other.
        """
        (width, height), size = image.size, self.crop_size
        short, long = min(width, height), max(width, height)
        if long > MAX_ASPECT * short:
            raise DecodeError(
                subject="image",
                expected=f"sides within 1:{MAX_ASPECT}",
                got=f"{width} x {height}",
                remedy="Crop the image.",
            )
        new, (left, top) = self._plan(width, height)
        resample = FILTERS[self.interpolation]
        if not exact:
            return np.asarray(image.resize((size, size), resample, self.find_box(width, height)))
        # Pillow resizes rows, rounds, and resizes columns. One after the other, columns outside
        # the crop are never computed.
        rows = image.resize((new[0], height), resample).crop((left, 0, left + size, height))
        return np.asarray(rows.resize((size, new[1]), resample).crop((0, top, size, top + size)))

    def find_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Find the part of an image that the network sees.

        Parameters
        ----------
        width, height : int
            Size of the upright image in pixels.

        Returns
        -------
        tuple of float
            Left, top, right and bottom in pixels of the image. The box is larger than the image if
            the crop is larger than the resized image.

        Examples
        --------
        >>> backbone = featx.load_backbone("mini")
        >>> backbone.preprocess.find_box(200, 100)
        (50.0, 0.0, 150.0, 100.0)
        """
        new, (left, top) = self._plan(width, height)
        x, y, size = width / new[0], height / new[1], self.crop_size
        return (left * x, top * y, (left + size) * x, (top + size) * y)

    def _plan(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the size of an image after resizing, and where the crop begins in it."""
        short, long = min(width, height), max(width, height)
        long = int(self.resize_size * long / short)
        new = (self.resize_size, long) if width <= height else (long, self.resize_size)
        # torchvision rounds halves to even, and so does Python.
        left, top = (round((side - self.crop_size) / 2) for side in new)
        return new, (left, top)

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Normalise a batch.

        Parameters
        ----------
        batch : Tensor of uint8
            Pixels ``(n, height, width, 3)``.

        Returns
        -------
        Tensor of float32
            Input of the network ``(n, 3, height, width)``, channels last in memory.
        """
        pixels = batch.permute(0, 3, 1, 2).float().div(255)
        mean, std = (_build_constant(part, batch.device) for part in (self.mean, self.std))
        return (pixels - mean) / std

    def build_example(self) -> UInt8Array:
        """Return the pixels that `prepare` gives for a black image."""
        return np.zeros((self.crop_size, self.crop_size, 3), np.uint8)

    def identify(self) -> Identity:
        """Return kind, version and numbers for the fingerprint, in JSON types."""
        return {
            "kind": "image-classification/1",
            "resize": self.resize_size,
            "crop": self.crop_size,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def describe(self) -> str:
        """Write the numbers as one line for a reader; never compare this text."""
        mean, std = (", ".join(f"{value:g}" for value in part) for part in (self.mean, self.std))
        return (
            f"resize {self.resize_size} {self.interpolation} antialiased, "
            f"crop {self.crop_size}, mean ({mean}), std ({std})"
        )


@functools.cache
def _build_constant(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Copy one value per channel to a device, once: every copy waits until the device is idle."""
    import torch

    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
