"""Galleries hold their images, fetch nothing, and show names of strangers as text."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from featx.core.errors import FeatxError
from featx.report.gallery import SHEETS, Card, Section, check_output, write_gallery, write_images

NAME = "<script>alert('1')</script>\u202e\x1b[31m\"&" + "x" * 1000


class Reader(HTMLParser):
    """Collect the tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def build_sections() -> list[Section]:
    image = Image.new("RGB", (640, 320), (250, 0, 0))
    one = Card(images=[image], lines=[NAME, NAME])
    pair = Card(images=[image, None], lines=["a.jpg", "b.jpg", "0.99"])
    return [
        Section(title=NAME, text=NAME[:60], cards=[one] * 3),
        Section(title="pairs", cards=[pair]),
        Section(title="none"),
    ]


def read_page(tmp_path: Path) -> str:
    write_gallery(tmp_path / "page.html", NAME, build_sections())
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_names_are_text(tmp_path: Path) -> None:
    text = read_page(tmp_path)
    page = Reader(text)
    assert not page.find("script")
    assert "\u202e" not in text
    assert "x" * 300 not in text
    alt = str(page.find("img")[0]["alt"])
    assert alt.startswith("<script>alert('1')</script>\\u202e\\u001b[31m\"&x")


def test_page_holds_its_images_and_names_no_other_file(tmp_path: Path) -> None:
    page = Reader(read_page(tmp_path))
    images = page.find("img")
    assert len(images) == 4
    for attributes in images:
        head, data = str(attributes["src"]).split(",")
        assert head == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.size == (224, 112)
    links = [a["href"] for a in page.find("a")]
    assert links == ["#main", "#section-1", "#section-2", "#section-3"]
    assert {a["id"] for a in page.find("h2")} == {str(link)[1:] for link in links[1:]}
    assert not page.find("link")
    assert "default-src 'none'" in str(page.find("meta"))


def test_every_image_has_a_text_of_its_own(tmp_path: Path) -> None:
    images = Reader(read_page(tmp_path)).find("img")
    assert all(a["alt"] for a in images)
    assert images[3]["alt"] == "a.jpg, image 1 of 2"


def compute_contrast(first: str, second: str) -> float:
    """Compute the contrast of two colours by WCAG 2."""
    lights = []
    for colour in (first, second):
        digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_colours_have_enough_contrast_in_light_and_dark(tmp_path: Path) -> None:
    themes = re.findall(r":root \{([^}]*--ink[^}]*)\}", read_page(tmp_path))
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w+)", theme))
        for name, least in (("ink", 7), ("quiet", 4.5), ("link", 4.5), ("line", 3)):
            for ground in ("paper", "field"):
                assert compute_contrast(colours[name], colours[ground]) >= least, (name, ground)


@pytest.mark.parametrize("suffix", sorted(SHEETS))
def test_suffix_chooses_the_format_of_a_sheet(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"sheet{suffix.upper()}"
    write_images(path, "title", build_sections())
    with Image.open(path) as image:
        assert image.format == SHEETS[suffix]


def test_suffix_chooses_a_page(tmp_path: Path) -> None:
    write_images(tmp_path / "sheet.HTML", "title", build_sections())
    assert (tmp_path / "sheet.HTML").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_other_suffixes_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatxError, match=r"expected a file that ends in \.html, \.png"):
        check_output(tmp_path / "sheet.pdf")
    with pytest.raises(FeatxError, match="none of these"):
        write_images(tmp_path / "sheet", "title", build_sections())
    with pytest.raises(FeatxError):
        check_output(tmp_path / "nowhere" / "sheet.png")


@pytest.mark.parametrize("suffix", [".html", *SHEETS])
def test_only_what_featx_wrote_is_replaced(tmp_path: Path, suffix: str) -> None:
    sections = [Section(title="ants", cards=[Card(images=[Image.new("RGB", (8, 8))], lines=["a"])])]
    path = tmp_path / f"sheet{suffix}"
    path.touch()  # an empty file, as of `mktemp`
    for _ in range(2):
        write_images(path, "one", sections)
    if suffix == ".html":
        path.write_text("<!doctype html><title>my page</title>")
    else:
        Image.new("RGB", (8, 8)).save(path)
    before = path.read_bytes()
    with pytest.raises(FeatxError, match="expected no file, or a page or sheet that featx wrote"):
        write_images(path, "one", sections)
    assert path.read_bytes() == before
