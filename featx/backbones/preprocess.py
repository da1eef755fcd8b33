"""From RGB pixels to what a network takes, in two steps.

The first step (`prepare`) runs once per image in a worker and yields small uint8 pixels; the second
(`normalise`) runs once per batch on the device.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from featx.core.errors import BackboneError, DecodeError
from featx.core.fingerprint import Identity

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, Any]

MAX_ASPECT = 200
"""Sides of an image may differ by this factor: resizing the short side of a 20,000 × 3 strip would
take gigabytes."""


FILTERS = {"nearest": 0, "bilinear": 2, "bicubic": 3}
"""Pillow's numbers of them."""


class Preprocess(Protocol):
    """What a backbone asks of its preprocessing."""

    @property
    def min_side(self) -> int | None:
        """What the shorter side of a reduced picture must keep; None: it must not be reduced."""

    def prepare(self, image: Any, *, exact: bool = True) -> Array:
        """Turn one upright RGB image into an array, all of one shape."""

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn stacked arrays into the network's input, float32 ``(n, 3, height, width)``."""

    def build_example(self) -> Array:
        """Make what `prepare` gives for a black picture."""

    def identify(self) -> Identity:
        """Return versioned data for the fingerprint: equal data, equal pixels."""


@dataclass(frozen=True)
class ImageClassification:
    """Resize the short side, crop the centre, normalise: torchvision's classification presets.

    Equal to ``weights.transforms()`` on a Pillow image: the resize and crop are torchvision's own.

    Attributes
    ----------
    resize_size, crop_size : int
        Pixels.
    interpolation : {"bilinear", "bicubic"}
        Pillow's filter, which is antialiased.
    mean, std : tuple of float
        Per channel, for pixels in 0..1.
    """

    resize_size: int
    crop_size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_torchvision(cls, transform: Any) -> ImageClassification:
        """Read the numbers of ``weights.transforms()``."""
        return cls(
            resize_size=transform.resize_size[0],
            crop_size=transform.crop_size[0],
            interpolation=transform.interpolation.value,
            mean=tuple(transform.mean),
            std=tuple(transform.std),
        )

    def resized(self, size: int) -> ImageClassification:
        """Return the same for pictures whose shorter side becomes `size`, none of it cropped."""
        return replace(self, resize_size=size, crop_size=size)

    @property
    def min_side(self) -> int:
        """What the shorter side of a picture must keep where it is decoded at a reduced size."""
        return self.resize_size

    def prepare(self, image: Any, *, exact: bool = True) -> Array:
        """Resize and crop one RGB image to uint8 ``(crop_size, crop_size, 3)``.

        Parameters
        ----------
        image : PIL.Image.Image
        exact : bool
            To the last bit as torchvision does; otherwise in one step, which spares what the crop
            drops: one value in a hundred is one off, with the bicubic filter some are more.

        Raises
        ------
        ValueError
            If one side is more than `MAX_ASPECT` times the other.
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
        long = int(self.resize_size * long / short)
        new = (self.resize_size, long) if width <= height else (long, self.resize_size)
        # torchvision rounds halves to even, as Python does.
        left, top = (round((side - size) / 2) for side in new)
        resample = FILTERS[self.interpolation]
        if not exact:
            x, y = width / new[0], height / new[1]
            box = (left * x, top * y, (left + size) * x, (top + size) * y)
            return np.asarray(image.resize((size, size), resample, box))
        # Pillow resizes rows, rounds, then columns: done one by one, columns that the crop drops
        # are never computed.
        rows = image.resize((new[0], height), resample).crop((left, 0, left + size, height))
        return np.asarray(rows.resize((size, new[1]), resample).crop((0, top, size, top + size)))

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn uint8 ``(n, h, w, 3)`` into float32 ``(n, 3, h, w)``, channels last in memory."""
        pixels = batch.permute(0, 3, 1, 2).float().div(255)
        mean, std = (_build_constant(part, batch.device) for part in (self.mean, self.std))
        return (pixels - mean) / std

    def build_example(self) -> Array:
        """Make what `prepare` gives for a black picture."""
        return np.zeros((self.crop_size, self.crop_size, 3), np.uint8)

    def identify(self) -> Identity:
        """Return kind and numbers, in JSON types."""
        return {
            "kind": "image-classification/1",
            "resize": self.resize_size,
            "crop": self.crop_size,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def describe(self) -> str:
        """Write the numbers in one line, for a reader."""
        mean, std = (", ".join(f"{value:g}" for value in part) for part in (self.mean, self.std))
        return (
            f"resize {self.resize_size} {self.interpolation} antialiased, "
            f"crop {self.crop_size}, mean ({mean}), std ({std})"
        )


@functools.cache
def _build_constant(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Put one value per channel on a device, once: each copy would wait for what runs there."""
    import torch

    with torch.inference_mode(False):
        return torch.tensor(values, device=device).view(-1, 1, 1)


@dataclass(frozen=True)
class CustomTransform:
    """A user's own transform: any callable from a Pillow image to a float tensor ``(3, h, w)``."""

    transform: Callable[[Any], Any]

    @property
    def min_side(self) -> None:
        """Nothing is known of it: pictures come in full size."""

    def prepare(self, image: Any, *, exact: bool = True) -> Array:  # noqa: ARG002
        """Apply the transform to one image, always as it is."""
        return np.asarray(self.transform(image), dtype=np.float32)

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Leave the batch as the transform made it."""
        return batch

    def build_example(self) -> Array:
        """Apply the transform to a black picture.

        Raises
        ------
        BackboneError
            If it gives something else than a float tensor ``(3, height, width)``.
        """
        import torch
        from torchvision.transforms.functional import to_pil_image

        black = to_pil_image(torch.zeros(3, 64, 64, dtype=torch.uint8))
        array = self.prepare(black)
        if array.ndim != 3 or array.shape[0] != 3:
            raise BackboneError(
                f"transform: expected it to give a tensor (3, height, width), got {array.shape}. "
                "End it with torchvision's ToTensor and Normalize."
            )
        return array

    def identify(self) -> Identity:
        """Return the name of the transform: its own repr, or a function's full name.

        Raises
        ------
        BackboneError
            If neither says what it does, since a fingerprint could not either.
        """
        text = " ".join(repr(self.transform).split())
        if isinstance(self.transform, types.FunctionType):
            text = f"{self.transform.__module__}.{self.transform.__qualname__}"
        # What follows these words, or stands behind them, is not told.
        if any(word in text for word in (" at 0x", "<lambda>", "<locals>", "Lambda()")):
            raise BackboneError(
                f"transform: expected a repr that names what it does, got {text}. "
                "Use torchvision's transforms, a function of a module, or a class with a __repr__."
            )
        return {"kind": "custom/1", "transform": text}
