"""Galleries in a browser: quiet, offline, for phones, in the dark, and for screen readers."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import featx
from featx.report.audit_page import write_audit
from featx.report.found import write_search
from featx.report.gallery import Card, Section, write_gallery
from featx.report.montage import montage
from featx.report.suggestions import write_suggested
from tests.report.browser import PHONE, Browser, check_page
from tests.report.test_class_maps import MAPS
from tests.report.test_gallery import build_sections

pytestmark = pytest.mark.slow

RIGHT_TO_LEFT = "نمل ונמלים"
"""Ants, in Arabic and in Hebrew."""


def write_strange(cache: Path, output: Path) -> None:
    names = ["\"quotes\" & 'more'", "<script>alert(1)</script>", RIGHT_TO_LEFT, "x" * 200]
    image = Image.new("RGB", (64, 48), (200, 30, 30))
    cards = [Card(images=[image, None], lines=[name, name]) for name in names]
    sections = [Section(title=name, text=name, cards=cards) for name in names]
    write_gallery(output, names[2], [*sections, *build_sections()])


def write_montage(cache: Path, output: Path) -> None:
    montage(cache, output)


def write_found(cache: Path, output: Path) -> None:
    found = featx.search(cache, "train/ants/0.jpg", top=5, progress=False)
    with featx.open_cache(cache) as opened:
        write_search(opened, found, output)


def write_findings(cache: Path, output: Path) -> None:
    with featx.open_cache(cache) as opened:
        write_audit(opened, featx.audit(opened), output)


def write_suggestions(cache: Path, output: Path) -> None:
    featx.label_cache(cache, {f"train/ants/{n}.jpg": "" for n in range(4)}, author="ada")
    write_suggested(output, featx.suggest(cache, n=3), cache)


def write_class_maps(cache: Path, output: Path) -> None:
    featx.write_maps(MAPS, output)


@pytest.mark.parametrize(
    "write",
    [
        *(write_strange, write_montage, write_found),
        *(write_findings, write_suggestions, write_class_maps),
    ],
)
def test_page_is_quiet_and_open_to_all(
    write: Callable[[Path, Path], None],
    photos_cache: Path,
    tmp_path: Path,
    browser: Browser,
    axe: str,
) -> None:
    path = tmp_path / f"{write.__name__}.html"
    write(photos_cache, path)
    check_page(browser, axe, path)


def test_links_of_a_page_lead_to_its_sections(
    photos_cache: Path, tmp_path: Path, browser: Browser
) -> None:
    montage(photos_cache, tmp_path / "page.html")
    with browser.open_page(tmp_path / "page.html", width=PHONE) as page:
        page.tab_to("nav a[href='#section-2']")
        page.press("Enter")
        page.wait_for("location.hash === '#section-2' && scrollY > 0")
        page.check_quiet()
