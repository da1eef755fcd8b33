"""What a newcomer runs first."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from featx.demo import SIDE, draw_digits, write_digits
from featx.images.decode import decode_image


def test_draw_digits_shows_each_digit_whole_and_somewhere_else() -> None:
    images = draw_digits()
    assert images.shape == (1797, SIDE, SIDE)
    assert images.reshape(len(images), -1).max(axis=1).min() > 200
    border = np.concatenate([images[:, [0, -1]], images[:, :, [0, -1]].transpose(0, 2, 1)], axis=1)
    assert not border.any()
    ink = images.sum(axis=(1, 2)) / load_digits().images.sum(axis=(1, 2))
    sizes = np.sqrt(ink / (255 / 16)) * 8  # a turned or moved digit has as much ink
    assert 19.5 < sizes.min() < 20.5
    assert 39.5 < sizes.max() < 40.5
    rows = np.arange(SIDE)
    heights = (images.sum(axis=2) * rows).sum(axis=1) / images.sum(axis=(1, 2))
    assert heights.std() > 5


def test_write_digits_files_are_the_drawn_images(tmp_path: Path) -> None:
    write_digits(tmp_path)
    images, labels = draw_digits(), load_digits().target
    paths = sorted(tmp_path.glob("*/*.png"), key=lambda path: path.stem)
    assert len(paths) == len(images)
    for number in (0, 900, 1796):
        assert paths[number].parent.name == str(labels[number])
        gray = np.asarray(decode_image(paths[number].read_bytes()))[:, :, 0]
        assert (gray == images[number]).all()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run the demo once, as `featx demo` does; return its folder and what it printed."""
    from featx.cli import main

    folder = tmp_path_factory.mktemp("demo")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
        main(["demo", "-o", str(folder)])
    assert ended.value.code == 0
    return folder, out.getvalue()


@pytest.mark.slow
def test_demo_prints_the_commands_that_it_runs(demo: Any) -> None:
    _, text = demo
    commands = re.findall(r"^\$ featx (\S+)", text, re.M)
    assert commands == [
        *("extract", "split", "fit-head", "evaluate", "predict"),
        *("extract", "fit-head", "compare", "report"),
    ]


@pytest.mark.slow
def test_demo_shows_what_the_pretrained_network_adds(demo: Any) -> None:
    _, text = demo
    scores = dict(re.findall(r"^(mini|random)\.joblib +(0\.\d{3}) ", text, re.M))
    (pixels,) = re.findall(r"raw pixels, .*: (0\.\d{3})", text)
    assert float(scores["mini"]) > 0.87
    assert 0.5 < float(scores["random"]) < 0.7
    assert float(pixels) < 0.25
    assert "mini.joblib is the best" in text


@pytest.mark.slow
def test_demo_ends_in_a_report_that_fetches_nothing(demo: Any) -> None:
    folder, _ = demo
    page = (folder / "demo.html").read_text(encoding="utf-8")
    assert len(page) < 10e6
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page)


@pytest.mark.slow
def test_report_of_the_demo_in_a_browser(demo: Any, browser: Any, axe: str) -> None:
    from tests.report.browser import check_page

    folder, _ = demo
    check_page(browser, axe, folder / "demo.html")
    with browser.open_page(folder / "demo.html") as page:
        page.tab_to("#map-point")
        for key in ("ArrowRight", "ArrowUp"):
            page.press(key)
            page.wait_for("document.querySelector('#map-tip img')?.naturalWidth > 20")
        button = ".miss [data-cell^='0,']"
        page.click(button)
        page.wait_for("document.querySelector('#images-cards img').naturalWidth > 20")
        page.press("Escape")
        assert page.is_focused(button)
        assert page.count("img[alt^='class map']") > 20
        page.check_quiet()
