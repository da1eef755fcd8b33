"""Reports that `featx.write_report` has written of real caches, in a browser."""

from pathlib import Path

import pytest
from PIL import Image

import featx
from featx.core.errors import FeatxWarning
from tests.conftest import COLOURS, write_image
from tests.report.browser import DESKTOP, PHONE, Browser, Page, check_page

pytestmark = pytest.mark.slow

STRANGE = (
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)> & '",
    "نمل ונמלים",
    "x" * 200,
)


def write_strange(folder: Path, backbone: str) -> Path:
    """Write a report of classes with strange names, whose images have strange names, too."""
    for number in range(48):
        name = f"<b>{number}<b> \"'& ${{1}} نمل.png"
        colour = list(COLOURS.values())[number % 2]
        write_image(folder / "images" / name, (40, 30), number, colour=colour)
    cache = folder / "strange <b>.h5"
    featx.extract(folder / "images", cache, backbone=backbone, progress=False)
    with featx.open_cache(cache) as opened:
        labels = {one: STRANGE[number % 4] for number, one in enumerate(opened.ids.tolist())}
    with pytest.warns(FeatxWarning, match="new label"):
        featx.label_cache(cache, labels, author="<i>ada</i>")
    featx.split_cache(cache, val=0.4)
    heads = {STRANGE[0]: featx.fit_head(cache), STRANGE[3]: featx.fit_head(cache, kind="lda")}
    featx.write_report(cache, heads, folder / "strange.html")
    return folder / "strange.html"


def test_strange_names_are_text(
    tmp_path: Path, tiny_backbone: str, browser: Browser, axe: str
) -> None:
    path = write_strange(tmp_path, tiny_backbone)
    check_page(browser, axe, path)
    with browser.open_page(path) as page:
        assert page.count("script") == 2
        assert page.count("main b b, i") == 0
        page.tab_to("#map-point")
        page.press("Enter")
        page.press("Escape")
        for button in range(page.count("[data-cell]")):
            page.evaluate(f"document.querySelectorAll('[data-cell]')[{button}].click()")
            page.press("Escape")
        page.check_quiet()


@pytest.mark.shared
def test_ants_and_bees_with_two_heads(
    shared: Path, tmp_path: Path, browser: Browser, axe: str
) -> None:
    cache, path = tmp_path / "bugs.h5", tmp_path / "bugs.html"
    featx.extract(shared / "data/hymenoptera_data", cache, backbone="mini", progress=False)
    kinds = ("logreg", "nearest-mean")
    featx.write_report(cache, {kind: featx.fit_head(cache, kind=kind) for kind in kinds}, path)
    check_page(browser, axe, path)
    for width in (PHONE, DESKTOP):
        with browser.open_page(path, width=width) as page:
            check_parts(page)
    with browser.open_page(path, scripts=False) as page:
        mistakes = "h3[id$=mistakes] + p + .cards"
        assert page.count(f"{mistakes} .wrong") > 20
        assert page.is_shown(f"{mistakes} img[alt^='class map']")
        page.check_quiet()


def check_parts(page: Page) -> None:
    """See that the map, its legend, and a cell of each head show images."""
    page.tab_to("#map-point")
    for key in ("Home", "ArrowUp", "ArrowRight", "End"):
        page.press(key)
        page.wait_for("document.querySelector('#map-tip img')?.naturalWidth > 20")
    whole = page.read("#map-shown")
    page.click("#map-classes [data-code='1']")
    assert page.read("#map-shown") != whole
    for number in range(2):
        button = f".miss [data-cell^='{number},']"
        page.click(button)
        assert 0 < page.count("#images-cards img") <= int(page.read(button))
        page.wait_for("document.querySelector('#images-cards img').naturalWidth > 20")
        page.press("Escape")
        assert page.is_focused(button)
    assert page.count("img[alt^='class map of ants']") > 20
    page.check_quiet()


def write_many(folder: Path, backbone: str) -> Path:
    """Write a report of 1,000 classes of 10 images each."""
    for label in range(1000):
        (folder / f"images/class {label:04}").mkdir(parents=True)
        for number in range(10):
            pixels = (label % 10 * 25, label // 10 % 10 * 25, label // 100 * 25 + number)
            image = Image.new("RGB", (24, 24), pixels)
            image.save(folder / f"images/class {label:04}/{number}.png", compress_level=1)
    cache = folder / "many.h5"
    featx.extract(folder / "images", cache, backbone=backbone, progress=False)
    featx.split_cache(cache, val=0.3)
    with (  # to a network of four channels, dark images are all the same
        pytest.warns(featx.FeatxWarning, match="vectors? (is|are) here twice or more"),
        pytest.warns(featx.FeatxWarning, match="have a single row or group"),
    ):
        head = featx.fit_head(cache, kind="nearest-mean")
    report = featx.write_report(cache, head, folder / "many.html", audit=False)
    assert (report.n_rows, report.n_points) == (10_000, 10_000)
    return folder / "many.html"


def test_a_thousand_classes(tmp_path: Path, tiny_backbone: str, browser: Browser, axe: str) -> None:
    path = write_many(tmp_path, tiny_backbone)
    assert path.stat().st_size <= 10_000_000
    check_page(browser, axe, path)
    with browser.open_page(path) as page:
        assert page.read("#map-shown") == "10,000 rows shown"
        page.type_text("#map-search", "class 0777")
        page.click("#map-classes [data-code='777']")
        assert page.read("#map-shown") == "10 of 10,000 rows shown"
        page.tab_to("#map-point")
        page.wait_for("document.querySelector('#map-tip img')?.naturalWidth > 8")
        page.click(".miss [data-cell^='0,']")
        page.wait_for("document.querySelector('#images-cards img').naturalWidth > 8")
        page.press("Escape")
        page.check_quiet()
