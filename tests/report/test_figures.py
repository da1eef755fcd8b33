"""Files of figures: text stays text, settings stay, and no file of somebody else is replaced."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from featx.core.errors import FeatxError, MissingExtraError
from featx.heads.evaluate import Evaluation, score_predictions
from featx.report.figures import (
    COLOURS,
    LEFT_TO_RIGHT,
    MARKERS,
    MAX_NAME,
    build_axes,
    show_name,
    write_figure,
)
from featx.report.plot_curves import plot_map
from featx.report.plot_scores import plot_classes, plot_confusion

ODD = [
    *("$x^2_{\\frac", "_hidden", "<script>alert(1)</script>", "שלום עולם", "مرحبا بالعالم"),
    *("a\nb\x1b[31m", "\u202eabc", "   x", "A" * 200, "ü 😀 中文", "100 % & #", "\udcff"),
]


def score_odd() -> Evaluation:
    y = np.repeat(np.array(ODD, object), 3)
    return score_predictions(y, np.roll(y, 1), classes=np.array(ODD, object))


def draw_axes() -> Any:
    ax = build_axes(None, 2, 1.5)
    ax.plot([0, 1], label="x")
    ax.set_title("one title", loc="left")
    return ax


@pytest.fixture
def axes() -> Any:
    return draw_axes()


def test_svg_has_text_and_pdf_has_truetype_fonts(axes: Any, tmp_path: Path) -> None:
    write_figure(axes, tmp_path / "a.svg")
    assert ">one title</text>" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    write_figure(axes, tmp_path / "a.pdf")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_png_has_300_dots_per_inch(axes: Any, tmp_path: Path) -> None:
    write_figure(axes, tmp_path / "a.PNG")
    png = (tmp_path / "a.PNG").read_bytes()
    assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (600, 450)
    place = png.index(b"pHYs") + 4
    assert int.from_bytes(png[place : place + 4]) == round(300 / 0.0254)


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_same_numbers_give_the_same_bytes_and_replace_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    written = []
    for _ in range(2):
        write_figure(draw_axes(), path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_figure_of_another_program_is_not_replaced(axes: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    axes.figure.savefig(path)
    before = path.read_bytes()
    with pytest.raises(FeatxError, match=r"expected no file, or a figure that featx wrote"):
        write_figure(axes, path)
    assert path.read_bytes() == before


def test_wrong_suffix_is_refused(axes: Any, tmp_path: Path) -> None:
    with pytest.raises(FeatxError, match=r"ends in \.png, \.svg, \.pdf, got \.jpg\."):
        write_figure(axes, tmp_path / "a.jpg")


def test_settings_of_matplotlib_stay(axes: Any, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    write_figure(axes, tmp_path / "a.svg")
    write_figure(axes, tmp_path / "a.pdf")
    assert dict(mpl.rcParams) == before


def test_neither_pyplot_nor_a_backend_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from featx.report.figures import build_axes, write_figure\n"
        "assert 'matplotlib' not in sys.modules\n"
        "write_figure(build_axes(None, 2, 2), sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.svg")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_missing_matplotlib_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"^matplotlib: .*extra plot of featx"):
        build_axes(None, 2, 2)


@pytest.mark.parametrize("draw", [plot_confusion, plot_classes], ids=["confusion", "classes"])
def test_odd_names_are_shown_as_they_are(draw: Any, tmp_path: Path) -> None:
    write_figure(draw(score_odd()), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    for name in ("$x^2_{\\frac", "_hidden", "&lt;script&gt;alert(1)", "שלום", "\\u000ab"):
        assert name in text
    assert "<script" not in text
    assert "\u202e" not in text
    assert "A" * MAX_NAME not in text


def test_odd_names_stand_in_the_legend_of_a_map(tmp_path: Path) -> None:
    xy = np.random.default_rng(0).random((len(ODD), 2))
    write_figure(plot_map(xy, ODD), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "_hidden (1)" in text
    assert "$x^2_{\\frac (1)" in text


def test_name_from_right_to_left_stays_apart_from_its_number() -> None:
    assert show_name("שלום") == f"{LEFT_TO_RIGHT}שלום{LEFT_TO_RIGHT}"
    assert show_name("ants") == "ants"


def test_axes_that_are_given_are_drawn_into() -> None:
    ax = Figure().subplots()
    assert plot_classes(score_odd(), ax=ax) is ax


def test_colours_and_signs_together_are_many() -> None:
    pairs = {(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i in range(20)}
    assert len(pairs) == 20
    assert all(re.fullmatch(r"#[0-9A-F]{6}", colour) for colour in COLOURS)
