"""Thousands of distinct photos out of a few hundred: seeded crops, encoded anew."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from featx.doctor.measure import generate_image


def write_photos(data: Path, folder: Path, n_photos: int, seed: int = 0) -> None:
    """Write JPEGs of many sizes, none like another.

    Parameters
    ----------
    data : Path
        Where ``hymenoptera_data`` is; where it is not, drawn pictures take its place.
    folder : Path
        Gets ``a/00000.jpg`` and so on, in no order of the photos they were made from.
    n_photos : int
    seed : int
    """
    rng = np.random.default_rng(seed)
    sources = sorted((data / "hymenoptera_data").glob("*/*/*.jpg"))
    (folder / "a").mkdir(parents=True)
    names = iter(rng.permutation(n_photos))
    n_sources = len(sources) or 400
    for index in range(min(n_sources, n_photos)):
        picture = _read(sources[index]) if sources else Image.fromarray(generate_image(rng))
        for number in range(index, n_photos, n_sources):
            crop = _crop(picture, rng) if number >= n_sources else picture
            crop.save(folder / "a" / f"{next(names):05}.jpg", quality=int(rng.integers(80, 96)))


def _crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Take 85 to 100 % of each side."""
    width, height = (int(side * rng.uniform(0.85, 1)) for side in picture.size)
    left = int(rng.integers(0, picture.width - width + 1))
    top = int(rng.integers(0, picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def _read(path: Path) -> Image.Image:
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return image.convert("RGB")


def link_some(folder: Path, target: Path, n_photos: int) -> Path:
    """Link the first photos of `write_photos` into a folder of their own."""
    (target / "a").mkdir(parents=True)
    for path in sorted((folder / "a").glob("*.jpg"))[:n_photos]:  # a random sample of all
        (target / "a" / path.name).hardlink_to(path)
    return target
