"""Draw the images of the report that README and the tutorial show, of the report of `featx demo`.

    python docs/draw_pictures.py

It needs Chromium. The images are those of scikit-learn's digits, and may be shown anywhere.
"""

from __future__ import annotations

import argparse
import base64
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.report.browser import Browser, Page, find_chromium  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"

WIDTH = 960
"""Width of the window in pixels."""

N_COLOURS = 96
"""Colours of an image: enough for text, bars and gray digits under a class map."""

MAX_BYTES = 150_000
"""Largest size of an image."""


def draw(page: Page, name: str, top: str, height: int) -> None:
    """Write what a page shows from an element on, with few colours.

    Parameters
    ----------
    page : Page
        The report.
    name : str
        Name of the image.
    top : str
        Selector of the element at whose upper edge the image begins.
    height : int
        Height of the image in pixels.
    """
    page.evaluate(
        f"document.querySelector('{top}').scrollIntoView({{behavior: 'instant'}}), scrollBy(0, 4)"
    )
    page.settle()
    answer = page.call("Page.captureScreenshot")
    image = Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("RGB")
    image = image.crop((0, 0, WIDTH, height))
    path = FOLDER / f"{name}.png"
    image.quantize(N_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {image.width} × {image.height}, {size:,} bytes")
    if size > MAX_BYTES:
        sys.exit(f"{path.name}: expected at most {MAX_BYTES:,} bytes. Draw less of the page.")


def main() -> None:
    """Run the demo, and draw parts of its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="report of a demo that has run")
    report = parser.parse_args().report
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        if report is None:
            # The page names its files: they are relative to the folder.
            command = [sys.executable, "-m", "featx", "--quiet", "demo"]
            subprocess.run(command, cwd=temporary, stdout=subprocess.DEVNULL, check=True)
            report = Path(temporary) / "featx-demo" / "demo.html"
        browser = Browser(find_chromium(), Path(temporary) / "profile")
        with browser, browser.open_page(report, width=WIDTH) as page:
            page.evaluate(
                "Promise.all([...document.images].map(one => { one.loading = 'eager';"
                " return one.decode() })).then(() => 0)"
            )
            draw(page, "report", "#summary", 560)
            draw(page, "mistakes", "#head-1-mistakes", 412)
            page.evaluate("document.getElementById('map-point').focus()")
            draw(page, "map", "#map", 720)
            page.evaluate(
                "[...document.querySelectorAll('#head-1-confusion ~ * .miss button')].reduce("
                "(one, other) => Number(other.textContent) > Number(one.textContent) ? other : one"
                ").id = 'worst'"
            )
            page.click("#worst")
            draw(page, "confusion", "#head-1-confusion", 440)


if __name__ == "__main__":
    main()
