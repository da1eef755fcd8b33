"""Blank and damaged images, by their pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFile

from featx.analytics.blank import judge_image


def draw_noise(low: int, high: int, side: int = 96) -> Image.Image:
    rng = np.random.default_rng(0)
    pixels = rng.integers(low, high, (12, 12, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize((side, side))


@pytest.mark.parametrize("colour", ["black", "white", "red", (128, 128, 128)])
@pytest.mark.parametrize("quality", [None, 30, 95])
def test_one_colour_is_blank_as_jpeg_too(colour: str, quality: int | None) -> None:
    image = Image.new("RGB", (90, 70), colour)
    if quality is not None:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        image = Image.open(stream).convert("RGB")
    assert judge_image(image) == "one colour"


def test_dark_and_bright_images_are_told_from_pale_ones() -> None:
    assert judge_image(draw_noise(0, 16)) == "dark"
    assert judge_image(draw_noise(247, 256)) == "overexposed"
    assert judge_image(draw_noise(0, 256)) is None
    assert judge_image(draw_noise(100, 140)) is None


def test_a_drawing_on_white_or_black_is_not_blank() -> None:
    for paper, ink in (("white", "black"), ("black", "white")):
        image = Image.new("RGB", (28, 28), paper)
        ImageDraw.Draw(image).line((8, 6, 18, 22), fill=ink, width=2)
        assert judge_image(image) is None


def test_a_jpeg_that_ends_early_has_a_grey_band(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    draw_noise(0, 256, side=256).save(stream, "JPEG", quality=90)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    cut = Image.open(io.BytesIO(stream.getvalue()[: len(stream.getvalue()) // 2])).convert("RGB")
    assert judge_image(cut) == "grey band"


def test_letterboxes_are_no_damage() -> None:
    for colour in ("black", "white", "navy"):
        image = Image.new("RGB", (96, 96), colour)
        image.paste(draw_noise(0, 256, side=64), (16, 0))
        assert judge_image(image) is None
