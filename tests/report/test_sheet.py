"""Contact sheets show each image once, with captions that stay in their place."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from featx.core.errors import FeatxError
from featx.report import fonts
from featx.report.fonts import find_font
from featx.report.sheet import CAPTION, GAP, MARGIN, draw_sheet, fit_text

RED, BLUE = (250, 0, 0), (0, 0, 250)

NAMES = [
    "<script>alert('1')</script>",
    "צילום של נמלה.jpg",
    "写真.jpg",
    "x" * 200,
    "a\tb\x1b[31m",
    "",
]


def get_pixel(sheet: Any, column: int, side: int, y: int = 0) -> Any:
    return sheet.getpixel((MARGIN + column * (side + GAP) + side // 2, MARGIN + y + side // 2))


def test_images_stand_in_their_order_as_large_as_they_fit() -> None:
    images = [Image.new("RGB", (10, 10), RED), Image.new("RGB", (400, 400), BLUE)]
    sheet = draw_sheet(images, ["", ""], side=60)
    assert (get_pixel(sheet, 0, 60), get_pixel(sheet, 1, 60)) == (RED, BLUE)
    pixels = np.asarray(sheet)
    for colour in (RED, BLUE):
        assert (pixels == colour).all(axis=2).sum() == 60 * 60


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_every_mode_is_drawn(mode: str) -> None:
    assert draw_sheet([Image.new(mode, (3, 200))], ["a"], side=40).mode == "RGB"


def test_image_that_is_missing_leaves_a_field_in_its_place() -> None:
    images = [None, Image.new("RGB", (5, 5), RED)]
    sheet = draw_sheet(images, ["a", "b"], side=60)
    assert get_pixel(sheet, 1, 60) == RED
    assert sheet.getpixel((MARGIN + 1, MARGIN + 1)) != (255, 255, 255)


def test_each_group_begins_a_line_below_its_heading() -> None:
    images = [Image.new("RGB", (5, 5), RED)] * 5
    plain = draw_sheet(images, [""] * 5, n_columns=3, side=40)
    grouped = draw_sheet(images, [""] * 5, n_columns=3, side=40, groups=["a", "a", "b", "b", "b"])
    assert grouped.width == plain.width
    assert grouped.height > plain.height
    red = (np.asarray(grouped) == RED).all(axis=2)
    assert red.sum() == 5 * 40 * 40
    lines = np.flatnonzero(np.diff(red.any(axis=1).astype(int)) == 1)
    assert len(lines) == 2


@pytest.mark.parametrize("name", range(len(NAMES)))
@pytest.mark.parametrize("width", [10, 80, 300])
def test_text_is_cut_to_its_width(name: int, width: int) -> None:
    text = fit_text(NAMES[name], CAPTION, width)
    assert find_font(NAMES[name], CAPTION).getlength(text) <= width or text == "…"
    assert len(text) <= len(NAMES[name])


def test_captions_of_strangers_are_drawn() -> None:
    images = [None] * len(NAMES)
    sheet = draw_sheet(images, NAMES, groups=NAMES)
    assert sheet.width == 2 * MARGIN + 160


def test_no_image_and_too_many_are_refused() -> None:
    with pytest.raises(FeatxError, match="expected at least one image, got none"):
        draw_sheet([], [])
    with pytest.raises(FeatxError, match=r"Show fewer images, or write a page"):
        draw_sheet([None] * 60_000, ["a"] * 60_000)


def test_machine_without_fonts_shows_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "NAMES", ("no-such-font.ttf",))
    assert draw_sheet([None] * len(NAMES), NAMES, side=80).mode == "RGB"


def test_font_has_the_letters_of_a_text_if_one_of_the_machine_has() -> None:
    text = "צילום"
    fitting = [
        font for font in fonts.iter_fonts(CAPTION) if all(fonts.has_sign(font, c) for c in text)
    ]
    if fitting:
        assert find_font(text, CAPTION) == fitting[0]
