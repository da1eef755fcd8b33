"""The middle of an image is found in copies of it, wherever it lies, and in no other image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featx.analytics.alignment import measure_agreement
from featx.analytics.thumbnails import build_resizing, find_contrast, shrink
from tests.analytics.test_duplicates import draw

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "itself": lambda image: image,
    "shifted": lambda image: image.crop((5, 4, 80, 60)),
    "zoomed in": lambda image: image.crop((8, 6, 72, 54)),
    "stretched": lambda image: image.crop((8, 0, 72, 60)),
    "mirrored and cropped": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop(
        (4, 0, 80, 58)
    ),
    "of low contrast": lambda image: image.point(lambda value: value // 3 + 90),
}


def agree(*images: Image.Image) -> Any:
    """Measure the agreement of the first image with each other one, and of them with it."""
    contrasts = find_contrast(np.stack([shrink(image) for image in images]))
    others = np.arange(1, len(images))
    first = np.zeros_like(others)
    return measure_agreement(contrasts, first, others), measure_agreement(contrasts, others, first)


@pytest.mark.parametrize("kind", CHANGES)
def test_copy_agrees_both_ways(kind: str) -> None:
    image = draw(0)
    for agreement in agree(image, CHANGES[kind](image)):
        assert agreement[0] > 0.93


def test_other_images_do_not_agree() -> None:
    for agreement in agree(*map(draw, range(40))):
        assert agreement.max() < 0.8


def test_flat_images_are_not_compared() -> None:
    flat = Image.new("RGB", (40, 30), (10, 200, 30))
    assert all(np.isnan(agreement).all() for agreement in agree(flat, flat, draw(0)))


def test_two_birds_in_two_skies_agree_less_than_two_textures() -> None:
    def draw_bird(x: int) -> Image.Image:
        sky = Image.new("RGB", (64, 64), (120, 160, 220))
        sky.paste((30, 30, 30), (x, 30, x + 4, 33))
        return sky

    birds, texture = agree(draw_bird(30), draw_bird(28))[0], agree(draw(0), draw(0))[0]
    assert np.isnan(birds[0]) or birds[0] < texture[0] - 0.02


def test_no_pairs_give_nothing() -> None:
    none = np.empty(0, np.int64)
    assert len(measure_agreement(np.zeros((3, 32, 32), np.float32), none, none)) == 0


@pytest.mark.parametrize(("length", "new_length"), [(500, 32), (20, 32), (32, 14), (1, 32)])
def test_resizing_keeps_flat_columns_flat(length: int, new_length: int) -> None:
    assert np.allclose(build_resizing(length, new_length) @ np.ones(length), 1)
