"""CIFAR-10 as it lies beside the project: 32 x 32 JPEGs in two plain tars, read into memory."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

SIDE = 32
"""Height and width of every image."""


@dataclass(frozen=True)
class Images:
    """Decoded images with their labels.

    Attributes
    ----------
    pixels : Tensor
        Bytes of shape ``(n, 3, 32, 32)``.
    labels : Tensor
        Indices into ``classes``, of shape ``(n,)``.
    classes : tuple of str
        Class names in alphabetical order.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.labels)

    def subset(self, index: Tensor) -> Images:
        """Copy the images at some positions."""
        return Images(self.pixels[index], self.labels[index], self.classes)


def read_images(path: Path) -> Images:
    """Decode all images of a tar in the order of their names."""
    if not path.is_file():
        raise SystemExit(f"{path.name}: expected a tar in the data folder, got none. Pass --data.")
    decoded: list[tuple[str, np.ndarray[Any, np.dtype[np.uint8]]]] = []
    with tarfile.open(path, mode="r|") as archive:
        for member in tqdm(archive, desc=path.name, unit=" images", disable=None):
            stream = archive.extractfile(member)
            if stream is None or not member.name.endswith(".jpg"):
                continue
            image = Image.open(io.BytesIO(stream.read())).convert("RGB")
            if image.size != (SIDE, SIDE):
                raise SystemExit(
                    f"{member.name}: expected {SIDE} x {SIDE} pixels, got {image.width} x "
                    f"{image.height}. Check {path.name}."
                )
            decoded.append((member.name.removeprefix("./"), np.asarray(image)))
    if not decoded:
        raise SystemExit(f"{path.name}: expected JPEG images, got none. Check the file.")
    decoded.sort(key=lambda item: item[0])
    names = [name.split("/", 1)[0] for name, _ in decoded]
    classes = tuple(sorted(set(names)))
    pixels = torch.from_numpy(np.stack([pixel for _, pixel in decoded]))
    labels = torch.tensor([classes.index(name) for name in names])
    return Images(pixels.permute(0, 3, 1, 2).contiguous(), labels, classes)
