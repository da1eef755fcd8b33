"""Augmented views of images."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from featx.backbones.bundled.specs import LENET5
from featx.backbones.views import MIN_AREA, View

BASE = LENET5.preprocess


def draw_image(seed: int = 0, size: tuple[int, int] = (60, 44)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def view() -> View:
    return View(BASE, 1, 0)


def test_view_of_an_image_is_always_the_same(view: View) -> None:
    first = view.prepare(draw_image())
    assert first.shape == (32, 32, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(view.prepare(draw_image()), first)
    np.testing.assert_array_equal(replace(view).prepare(draw_image(), exact=False), first)


@pytest.mark.parametrize("change", [{"number": 2}, {"seed": 1}])
def test_view_of_another_number_or_seed_is_another(view: View, change: Any) -> None:
    other = replace(view, **change)
    assert not np.array_equal(other.prepare(draw_image()), view.prepare(draw_image()))
    assert other.identify() != view.identify()


def build_ramp(number: int, size: int = 64) -> Image.Image:
    """Red grows to the right, green downwards; blue tells images apart."""
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    red, green = np.meshgrid(ramp, ramp)
    return Image.fromarray(np.stack([red, green, np.full_like(red, number)], axis=2))


def test_view_of_many_images_crops_and_flips_each_in_its_own_way(view: View) -> None:
    corners = []
    n_flipped = 0
    for number in range(200):
        red, green, _ = np.moveaxis(view.prepare(build_ramp(number)).astype(int), 2, 0)
        left, right = sorted((red[0, 0], red[0, -1]))
        n_flipped += red[0, 0] > red[0, -1]
        assert green[0, 0] < green[-1, 0]  # never upside down
        corners.append((left, right, green[0, 0], green[-1, 0]))
    assert 60 <= n_flipped <= 140
    assert len(set(corners)) > 100
    for left, right, top, bottom in corners:
        # The ends of a ramp that is resized lie half a pixel further in.
        width, height = (right - left + 8) / 255, (bottom - top + 8) / 255
        assert 0.30 < width * height < 1.1
        assert 0.70 < width / height < 1.43


@pytest.mark.parametrize("size", [(300, 1), (1, 300), (1, 1), (4000, 7), (33, 2000)])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_view_of_a_strip_is_an_image_like_any(size: Any, number: int) -> None:
    pixels = View(BASE, number, 0).prepare(draw_image(size=size))
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8


def test_view_min_side_is_enough_for_its_smallest_crop(view: View) -> None:
    # A square crop of the smallest area has this side, and is not enlarged.
    assert view.min_side * math.sqrt(MIN_AREA) >= 32
    assert view.min_side < 60


def test_view_normalises_as_the_preprocessing_proper(view: View) -> None:
    pixels = torch.from_numpy(np.array(draw_image(size=(32, 32)))[None])
    assert torch.equal(view.normalise(pixels), BASE.normalise(pixels))
    np.testing.assert_array_equal(view.build_example(), BASE.build_example())
    shared = {key: value for key, value in BASE.identify().items() if key != "kind"}
    assert view.identify().items() >= shared.items()
