"""Augmented views of images: random crops and flips that repeat exactly."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.backbones.preprocess import FILTERS, ImageClassification
from featx.core.fingerprint import Identity
from featx.core.typing import UInt8Array

if TYPE_CHECKING:
    import torch

MIN_AREA = 0.35
"""Smallest area of a random crop, relative to the image. The value 0.08, as used for ImageNet,
needs hundreds of epochs."""

MAX_RATIO = 4 / 3
"""Largest ratio of the sides of a random crop."""


@dataclass(frozen=True)
class View:
    """One augmented view of each image: a random crop, flipped in half of the cases.

    The crop depends on the seed, the number of the view and the image alone.

    Attributes
    ----------
    base : ImageClassification
        The preprocessing without augmentation.
    number : int
        Number of the view, from 1.
    seed : int
        Seed of the random crops.
    """

    base: ImageClassification
    number: int
    seed: int

    @property
    def min_side(self) -> int:
        """Smallest shorter side of an image decoded at reduced size: enough for any crop."""
        return math.ceil(self.base.crop_size / math.sqrt(MIN_AREA))

    def prepare(self, image: Any, *, exact: bool = True) -> UInt8Array:  # noqa: ARG002
        """Crop, flip and resize one image.

        Parameters
        ----------
        image : PIL.Image.Image
            Upright image of mode RGB.
        exact : bool
            Has no effect: crop and resize are always one step.

        Returns
        -------
        ndarray of uint8
            Pixels ``(crop_size, crop_size, 3)``.
        """
        small = image.resize((16, 16), FILTERS["nearest"])
        rng = np.random.default_rng([self.seed, self.number, zlib.crc32(small.tobytes())])
        width, height = image.size
        area = width * height * rng.uniform(MIN_AREA, 1)
        ratio = math.exp(rng.uniform(-1, 1) * math.log(MAX_RATIO))
        w, h = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
        left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
        size = (self.base.crop_size, self.base.crop_size)
        box = (left, top, left + w, top + h)
        pixels = np.asarray(image.resize(size, FILTERS[self.base.interpolation], box))
        return pixels[:, ::-1] if rng.random() < 0.5 else pixels

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Normalise a batch as `base` does."""
        return self.base.normalise(batch)

    def build_example(self) -> UInt8Array:
        """Return the pixels that `base` gives for a black image."""
        return self.base.build_example()

    def identify(self) -> Identity:
        """Return kind, version and numbers for the fingerprint, those of `base` included."""
        return {
            **self.base.identify(),
            "kind": "random-view/1",
            "view": self.number,
            "seed": self.seed,
            "min_area": MIN_AREA,
            "max_ratio": MAX_RATIO,
        }
