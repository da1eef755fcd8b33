"""Augmented readings of pictures, each the same whenever it is read again."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.backbones.preprocess import FILTERS, ImageClassification
from featx.core.fingerprint import Identity

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, Any]

MIN_AREA = 0.35
"""Of a random crop, relative to the picture. ImageNet's own 0.08 is for hundreds of epochs."""

MAX_RATIO = 4 / 3
"""Between the sides of a random crop."""


@dataclass(frozen=True)
class View:
    """One augmented reading of pictures: a random crop, flipped in half of the cases.

    What is drawn depends on the seed, the view and the picture alone.

    Attributes
    ----------
    base : ImageClassification
        The preprocessing proper.
    number : int
        Which view, from 1.
    seed : int
    """

    base: ImageClassification
    number: int
    seed: int

    @property
    def min_side(self) -> int:
        """Enough for the smallest crop, where a picture is decoded at a reduced size."""
        return math.ceil(self.base.crop_size / math.sqrt(MIN_AREA))

    def prepare(self, image: Any, *, exact: bool = True) -> Array:  # noqa: ARG002
        """Crop, flip and resize one RGB image to uint8 ``(crop_size, crop_size, 3)``."""
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
        """As the preprocessing proper."""
        return self.base.normalise(batch)

    def build_example(self) -> Array:
        """As the preprocessing proper."""
        return self.base.build_example()

    def identify(self) -> Identity:
        """Return kind and numbers, those of the preprocessing proper among them."""
        return {
            **self.base.identify(),
            "kind": "random-view/1",
            "view": self.number,
            "seed": self.seed,
            "min_area": MIN_AREA,
            "max_ratio": MAX_RATIO,
        }
