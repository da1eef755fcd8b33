"""What the tests of pages look for is found where it is: each fault is put into a page once."""

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.report.browser import DESKTOP, PHONE, Browser

pytestmark = pytest.mark.slow

GOOD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Page</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body { color: #222; background: #fff } .tip { visibility: hidden }
a:hover + .tip, a:focus + .tip { visibility: visible }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #111 } a { color: #9cf } }
</style><main><h1>Page</h1><p><a href="#end">link</a> <span class="tip">tip</span></p>
<p><button type="button" onclick="this.textContent = 'pressed'">button</button></p>
<p id="end">end</p></main></html>"""


def write(tmp_path: Path, old: str = "", new: str = "") -> Path:
    """Write the page, with a fault in place of a part of it."""
    assert old in GOOD
    path = tmp_path / "page.html"
    path.write_text(GOOD.replace(old, new, 1) if old else GOOD, encoding="utf-8")
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_good_page_has_no_fault(
    browser: Browser, axe: str, tmp_path: Path, width: int, dark: bool
) -> None:
    with browser.open_page(write(tmp_path), width=width, dark=dark) as page:
        page.check_quiet()
        assert page.list_too_wide() == []
        assert page.list_violations(axe) == []
        assert page.evaluate("innerWidth") == width
        page.save_screenshot(tmp_path / "page.png")
        with Image.open(tmp_path / "page.png") as image:
            assert image.size[0] == width
            assert image.getpixel((0, 0)) == ((17, 17, 17) if dark else (255, 255, 255))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("<script>console.log('said', 1)</script>", "log: said 1"),
        ("<script>missing()</script>", "missing is not defined"),
        ("<script>Promise.reject(new Error('late'))</script>", "late"),
        (
            "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
            "<img alt='' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>",
            "Content Security Policy",
        ),
    ],
    ids=["console", "error", "promise", "policy"],
)
def test_message_is_seen(browser: Browser, tmp_path: Path, fault: str, message: str) -> None:
    with browser.open_page(write(tmp_path, "<main>", f"{fault}<main>")) as page:
        with pytest.raises(AssertionError):
            page.check_quiet()
        assert message in " ".join(page.messages)


def test_dialog_is_an_error(browser: Browser, tmp_path: Path) -> None:
    path = write(tmp_path, "<main>", "<script>alert('1')</script><main>")
    with pytest.raises(AssertionError, match="dialog: 1"), browser.open_page(path):
        pass


@pytest.mark.parametrize(
    "fault",
    [
        "<img alt='' src='https://example.invalid/a.png'>",
        "<img alt='' src='other.png'>",
        "<link rel=stylesheet href='//example.invalid/a.css'>",
        "<script>fetch('https://example.invalid/b').catch(() => 0)</script>",
        "<style>p { background: url(https://example.invalid/c.png) }</style>",
    ],
    ids=["image", "file", "style", "fetch", "background"],
)
def test_outside_request_is_seen(browser: Browser, tmp_path: Path, fault: str) -> None:
    with browser.open_page(write(tmp_path, "<main>", f"{fault}<main>")) as page:
        assert len(page.list_outside()) == 1


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("<h1>", "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='><h1>", "image-alt"),
        ("<p id", "<p style='color: #999' id", "color-contrast"),
        ('<html lang="en">', "<html>", "html-has-lang"),
        (">button<", "><", "button-name"),
        ("color: #eee;", "color: #444;", "color-contrast"),
    ],
    ids=["alt", "contrast", "language", "name", "dark"],
)
def test_barrier_is_found(
    browser: Browser, axe: str, tmp_path: Path, old: str, new: str, rule: str
) -> None:
    with browser.open_page(write(tmp_path, old, new), dark="#eee" in old) as page:
        (violation,) = page.list_violations(axe)
        assert violation.startswith(rule)


def test_page_that_scrolls_sideways_is_seen(browser: Browser, tmp_path: Path) -> None:
    path = write(tmp_path, "<p id", "<p style='width: 400px' id")
    with browser.open_page(path, width=PHONE) as page:
        assert page.list_too_wide()[1].startswith("P ")
    with browser.open_page(path) as page:
        assert page.list_too_wide() == []


def test_mouse_and_keys(browser: Browser, tmp_path: Path) -> None:
    with browser.open_page(write(tmp_path)) as page:
        assert not page.is_shown(".tip")
        page.hover("a")
        assert page.is_shown(".tip")
        page.hover("button")
        assert not page.is_shown(".tip")
        page.tab_to("a")
        assert page.is_shown(".tip")
        page.press("Tab")
        assert page.is_focused("button")
        page.press("Tab", shift=True)
        assert page.is_focused("a")
        page.tab_to("button")
        page.press("Enter")
        page.wait_for("document.querySelector('button').textContent === 'pressed'")
        with pytest.raises(AssertionError, match="nowhere"):
            page.tab_to("#nowhere", limit=3)
        assert not page.is_shown("#nowhere")
    for key in (" ", None):
        with browser.open_page(write(tmp_path)) as page:
            if key:
                page.tab_to("button")
                page.press(key)
            else:
                page.click("button")
            assert page.evaluate("document.querySelector('button').textContent") == "pressed"


def test_scripts_can_be_off(browser: Browser, tmp_path: Path) -> None:
    path = write(tmp_path, "<main>", "<script>document.title = 'new'</script><main>")
    for scripts, title in ((True, "new"), (False, "Page")):
        with browser.open_page(path, scripts=scripts) as page:
            assert page.evaluate("document.title") == title
            page.check_quiet()


def test_error_in_an_expression_is_told(browser: Browser, tmp_path: Path) -> None:
    with browser.open_page(write(tmp_path)) as page:
        with pytest.raises(AssertionError, match="nothing is not defined"):
            page.evaluate("nothing()")
        with pytest.raises(AssertionError, match=r"Page\.nothing"):
            page.call("Page.nothing")


def test_nothing_is_left_of_a_browser(browser: Browser, tmp_path: Path) -> None:
    started = Browser(browser.program, tmp_path / "profile")
    with started:
        with started.open_page(write(tmp_path)):
            pass
        assert (tmp_path / "profile").exists()
        os.kill(started.process, 0)
    assert not (tmp_path / "profile").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(started.process, 0)
