"""The page of a report in a browser, with made-up contents: what each part of it does."""

import base64
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.report.contents import ReportContents
from featx.report.report_page import MAX_LINES, render_report
from tests.report.browser import PHONE, Browser, Page, check_page
from tests.report.contents import (
    AWKWARD,
    build_awkward,
    build_contents,
    build_empty,
    build_large,
    build_small,
    build_ten,
)

pytestmark = pytest.mark.slow

SHOWN_IMAGES = """[...document.querySelectorAll(%r)].filter(
  one => one.complete && one.naturalWidth > 1 && one.alt).length"""
"""Expression for the number of images that were decoded and have a name."""


@pytest.fixture
def write_page(tmp_path: Path) -> Callable[[ReportContents], Path]:
    """Write the page of contents; a factory."""

    def write(contents: ReportContents) -> Path:
        path = tmp_path / "report.html"
        path.write_text(render_report(contents), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "build",
    [build_small, build_ten, build_large, build_awkward, build_empty],
    ids=lambda one: one.__name__,
)
def test_page_is_quiet_and_open_to_all(
    build: Callable[[], ReportContents], tmp_path: Path, browser: Browser, axe: str
) -> None:
    path = tmp_path / f"{build.__name__}.html"
    path.write_text(render_report(build()), encoding="utf-8")
    check_page(browser, axe, path)


def read_tip(page: Page) -> str:
    """See that the image of a row lies on the map, and return the row's id."""
    assert page.is_shown("#map-tip img")
    page.wait_for(f"{SHOWN_IMAGES % '#map-tip img'} === 1")
    return page.read("#map-tip .id")


def find_point(page: Page, row: int) -> tuple[float, float]:
    """Return the position of a row of the map in the window; the map is scrolled into view."""
    page.find_middle("#map-plane")
    x, y = page.evaluate(
        f"""(() => {{
          const box = document.querySelector('#map-plane').getBoundingClientRect();
          const {{ map }} = JSON.parse(document.querySelector('#report-data').textContent);
          const at = map.rows.indexOf({row}), place = (share, from, size) =>
            from + 18 + share / map.units * (size - 36);
          return [place(map.x[at], box.left + 1, box.width - 2),
            place(map.y[at], box.top + 1, box.height - 2)]; }})()"""
    )
    return x, y


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_mouse_on_a_point_shows_its_image(
    write_page: Callable[[ReportContents], Path], browser: Browser, width: int
) -> None:
    contents = build_small()
    with browser.open_page(write_page(contents), width=width) as page:
        assert not page.is_shown("#map-tip")
        points = contents.points
        assert points is not None
        row = int(points.rows[np.argmin(points.xy[:, 1])])
        x, y = find_point(page, row)
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        assert read_tip(page) == contents.rows.ids[row]
        page.hover("h1")
        assert not page.is_shown("#map-tip")
        page.check_quiet()


def test_keys_walk_over_the_map(
    write_page: Callable[[ReportContents], Path], browser: Browser, axe: str
) -> None:
    contents = build_small()
    with browser.open_page(write_page(contents)) as page:
        page.tab_to("#map-point")
        first = read_tip(page)
        seen = {first}
        for key in ("ArrowRight", "ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft"):
            page.press(key)
            seen.add(read_tip(page))
            name = page.evaluate("document.activeElement.getAttribute('aria-label')")
            assert name.startswith(page.read("#map-tip .id"))
            assert page.read("#map-said") == name
        assert len(seen) > 3
        assert page.list_violations(axe) == []
        page.press("Enter")
        assert page.is_shown("dialog#images[open] img")
        assert page.list_violations(axe) == []
        page.press("Escape")
        assert not page.is_shown("dialog#images")
        assert page.is_focused("#map-point")
        page.press("Escape")
        assert not page.is_shown("#map-tip")
        page.check_quiet()


@pytest.mark.parametrize("with_keys", [False, True], ids=["mouse", "keys"])
def test_cell_opens_its_images_and_gives_the_focus_back(
    write_page: Callable[[ReportContents], Path], browser: Browser, axe: str, with_keys: bool
) -> None:
    contents = build_ten()
    head = contents.heads[0]
    cell = next(one for one in head.cells if one.true != one.predicted and one.n_rows > 2)
    button = f"[data-cell='0,{cell.true},{cell.predicted},{cell.n_rows}']"
    with browser.open_page(write_page(contents)) as page:
        if with_keys:
            page.tab_to(button)
            page.press("Enter")
        else:
            page.click(button)
        assert page.is_shown("dialog#images[open]")
        title = page.read("#images-title")
        assert title == f"{head.classes[cell.true]}, predicted as {head.classes[cell.predicted]}"
        ids = page.evaluate(
            "[...document.querySelectorAll('#images-cards .id')].map(one => one.textContent)"
        )
        assert ids == [contents.rows.ids[row] for row in cell.rows.tolist()]
        n_images = sum(contents.rows.thumbnails[row] is not None for row in cell.rows.tolist())
        page.wait_for(f"{SHOWN_IMAGES % '#images-cards img'} === {n_images}")
        assert page.list_violations(axe) == []
        if with_keys:
            page.press("Escape")
        else:
            page.click("#images-close")
        assert not page.is_shown("dialog#images")
        assert page.is_focused(button)
        page.check_quiet()


def test_cells_of_each_head_add_up(
    write_page: Callable[[ReportContents], Path], browser: Browser
) -> None:
    contents = build_small()
    with browser.open_page(write_page(contents)) as page:
        for number, head in enumerate(contents.heads):
            shown = page.evaluate(
                f"[...document.querySelectorAll(\"[data-cell^='{number},']\")]"
                ".map(one => Number(one.textContent))"
            )
            assert head.scores is not None
            assert sum(shown) == head.scores.n_rows


def count_marks(page: Page) -> int:
    """Count the pixels of the map's marks, which are coloured; rows that are not shown are grey."""
    answer = page.evaluate("document.querySelector('#map-canvas').toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(answer.partition(",")[2]))) as image:
        pixels = np.asarray(image.convert("RGBA")).astype(int)
    spread = pixels[..., :3].max(axis=2) - pixels[..., :3].min(axis=2)
    return int(((spread > 60) & (pixels[..., 3] > 200)).sum())


def test_legend_filters_the_map(
    write_page: Callable[[ReportContents], Path], browser: Browser
) -> None:
    contents = build_ten()
    labels, splits = contents.rows.labels, contents.rows.splits
    with browser.open_page(write_page(contents)) as page:
        shown = partial(page.read, "#map-shown")
        assert shown() == "600 rows shown"
        all_marks = count_marks(page)
        page.click("#map-classes [data-code='3']")
        assert shown() == f"{(labels == 3).sum()} of 600 rows shown"
        marks = count_marks(page)
        assert all_marks / 20 < marks < all_marks / 5
        assert page.is_focused("#map-classes [data-code='3'][aria-pressed='true']")
        page.click("#map-splits button:nth-child(2)")
        both = (labels == 3) & (splits == 1)
        assert shown() == f"{both.sum()} of 600 rows shown"
        page.click("#map-wrong")
        wrong = both & (contents.heads[0].predicted != labels)
        assert shown() == f"{wrong.sum()} of 600 rows shown"
        page.tab_to("#map-clear")
        page.press("Enter")
        assert shown() == "600 rows shown"
        assert count_marks(page) == all_marks
        page.check_quiet()


def test_map_zooms_and_moves(
    write_page: Callable[[ReportContents], Path], browser: Browser
) -> None:
    with browser.open_page(write_page(build_ten())) as page:
        place = "document.querySelector('#map-canvas').toDataURL()"
        before = page.evaluate(place)
        seen = {before}
        for name in ("in", "left", "up"):
            page.click(f"[data-map='{name}']")
            seen.add(page.evaluate(place))
        assert len(seen) == 4
        page.click("[data-map='all']")
        assert page.evaluate(place) == before
        page.check_quiet()


def test_second_head_has_wrong_predictions_of_its_own(
    write_page: Callable[[ReportContents], Path], browser: Browser
) -> None:
    contents = build_small()
    with browser.open_page(write_page(contents)) as page:
        page.click("#map-wrong")
        for number, head in enumerate(contents.heads):
            page.evaluate(
                "(() => { const one = document.querySelector('#map-head');"
                f" one.value = '{number}'; one.dispatchEvent(new Event('change')) }})()"
            )
            page.settle()
            assert page.read("#map-shown") == f"{head.n_mistakes} of 60 rows shown"


def test_search_finds_one_class_of_a_thousand(
    write_page: Callable[[ReportContents], Path], browser: Browser
) -> None:
    with browser.open_page(write_page(build_large())) as page:
        for key in ("counts", "samples", "head-1-recall"):
            lines = f"#{key}-lines > [data-find]"
            assert page.count(lines) == MAX_LINES
            page.type_text(f"[data-search='{key}']", "0777")
            assert page.count(lines) == 1
            assert page.read(f"#{key}-found") == "1 found."
            assert "class 0777" in page.read(lines)
        page.wait_for(f"{SHOWN_IMAGES % '#samples-lines img'} > 0")
        page.type_text("#map-search", "class 0777")
        page.click("#map-classes [data-code='777']")
        assert page.read("#map-shown") == "10 of 10,000 rows shown"
        page.click("#map-clear")
        assert page.read("#map-shown") == "10,000 rows shown"
        page.check_quiet()


def test_names_of_strangers_are_text(
    write_page: Callable[[ReportContents], Path], browser: Browser
) -> None:
    contents = build_awkward()
    with browser.open_page(write_page(contents)) as page:
        assert page.count("script") == 2
        assert page.count("b b, script + b, main > b") == 0
        assert page.read("h1").startswith(AWKWARD[0])
        chips = page.evaluate(
            "[...document.querySelectorAll('#map-classes button')].map(one => one.textContent)"
        )
        assert [one[:8] for one in chips[:3]] == [one[:8] for one in AWKWARD[:3]]
        for code in range(len(AWKWARD)):
            page.click(f"#map-classes [data-code='{code}']")
        for button in range(3):
            page.evaluate(f"document.querySelectorAll('[data-cell]')[{button}].click()")
            page.press("Escape")
        assert "\u202e" not in page.evaluate("document.documentElement.textContent")
        page.check_quiet()


def test_mistakes_are_seen_without_scripts(
    write_page: Callable[[ReportContents], Path], browser: Browser
) -> None:
    contents = build_small()
    with browser.open_page(write_page(contents), scripts=False, width=PHONE) as page:
        assert page.is_shown(".no-script")
        assert page.count("h3[id$=mistakes]") == 2
        mistakes = "h3[id=head-1-mistakes] ~ .cards"
        n_shown = len(contents.heads[0].mistakes)
        assert page.count(f"{mistakes} .wrong") >= n_shown
        assert page.is_shown(f"{mistakes} img[alt^='class map']")
        assert page.evaluate(SHOWN_IMAGES % "h3[id=head-1-mistakes] + p + .cards img") > n_shown
        for hidden in (".needs-script", "dialog", "[data-map]", ".copy"):
            assert not page.is_shown(hidden)
        assert page.list_too_wide() == []
        page.check_quiet()


def test_first_stop_of_the_keyboard_skips_to_the_content(
    write_page: Callable[[ReportContents], Path], browser: Browser
) -> None:
    with browser.open_page(write_page(build_small())) as page:
        page.press("Tab")
        assert page.is_focused(".skip")
        page.press("Enter")
        assert page.is_focused("main")


def test_class_maps_are_beside_the_image(
    write_page: Callable[[ReportContents], Path], browser: Browser
) -> None:
    for with_maps in (True, False):
        contents = build_contents(with_maps=with_maps)
        with browser.open_page(write_page(contents)) as page:
            shown = [*contents.heads[0].mistakes, *contents.heads[0].unsure]
            shown += [*contents.heads[1].mistakes, *contents.heads[1].unsure]
            assert page.count("img[alt^='class map of']") == sum(len(one.maps) for one in shown)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("function makeImage", "function makeNone"),
        ("</main>", "</main><script>document.title = 'broken'</script>"),
        ("<main", "<main onclick='1' onfocusin=\"document.title = 'broken'\""),
    ],
    ids=["changed", "added", "attribute"],
)
def test_no_script_but_its_own_runs(tmp_path: Path, browser: Browser, old: str, new: str) -> None:
    text = render_report(build_small())
    assert text.count(old) == 1
    path = tmp_path / "report.html"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with browser.open_page(path) as page:
        page.evaluate("document.querySelector('main a').focus()")
        page.settle()
        assert page.evaluate("document.title") == "ants and other images"
        assert any("Content Security Policy" in one for one in page.messages)
        assert page.is_shown(".needs-script") == (old != "function makeImage")
