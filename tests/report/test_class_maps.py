"""Files of class maps: a page, a sheet, arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featx
from featx.report.class_maps import list_lines
from tests.explanation.test_class_map import build_map

MAPS = [
    build_map([[0, 1], [2, 1]], path="<b>ant</b>.jpg", true_label="bees"),
    build_map([[0, -1], [-2, -1]], path="<b>ant</b>.jpg", label="<i>", logit=-2.5, bias=-1.5),
    featx.ClassMap(number=1, path="bad.jpg", error="no image"),
]


def test_page_holds_images_and_says_what_they_are(tmp_path: Path) -> None:
    assert featx.write_maps(iter(MAPS), tmp_path / "maps.html") == tmp_path / "maps.html"
    text = (tmp_path / "maps.html").read_text(encoding="utf-8")
    assert "<b>" not in text
    assert "<i>" not in text
    for words in (
        *("Exact class maps", "How to read a map", "mean of a map plus the bias is the logit"),
        *("&lt;b&gt;ant&lt;/b&gt;.jpg", "labelled bees", "ants, 90.0%", "no image"),
        *("logit 2.00 = mean 1.00 + bias 1.00", "logit −2.50 = mean −1.00 + bias −1.50"),
        *("strongest at column 75, row 75", "no place speaks for it"),
    ):
        assert words in text, words
    assert text.count("data:image/jpeg") == 1 + 2 * 2  # the legend; two maps beside their image


def test_page_of_approximations_says_so(tmp_path: Path) -> None:
    one = build_map([[0, 1]], bias=None, method="grad-cam")
    featx.write_maps([one], tmp_path / "maps.html")
    text = (tmp_path / "maps.html").read_text(encoding="utf-8")
    assert "Approximate class maps (Grad-CAM)" in text
    assert "do not add up to it" in text
    assert list_lines(one)[1] == "logit 2.00, approximate map"


def test_sheet_shows_the_image_once(tmp_path: Path) -> None:
    featx.write_maps(MAPS, tmp_path / "maps.png")
    with Image.open(tmp_path / "maps.png") as sheet:
        assert sheet.width == 2 * 16 + 4 * 224 + 3 * 10  # image, two maps, an error
    featx.write_maps(MAPS[:1], tmp_path / "maps.png")  # a sheet of featx is replaced


def test_arrays_have_a_row_for_each_map(tmp_path: Path) -> None:
    for _ in range(2):  # arrays of featx are replaced
        featx.write_maps(MAPS, tmp_path / "maps.npz")
    with np.load(tmp_path / "maps.npz") as found:
        assert found["values"].shape == (3, 2, 2)
        assert np.isnan(found["values"][2]).all()
        assert found["label"].tolist() == ["ants", "<i>", ""]
        assert found["number"].tolist() == [0, 0, 1]
        np.testing.assert_allclose(
            found["values"].mean(axis=(1, 2)) + found["bias"], [2.0, -2.5, np.nan]
        )
        np.testing.assert_array_equal(found["box"][0], MAPS[0].box)


@pytest.mark.parametrize("name", ["maps.png", "maps.html", "maps.npz"])
def test_foreign_file_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(featx.FeatxError, match=r"that featx wrote, got another file"):
        featx.write_maps(MAPS, tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["maps.html", "maps.npz"])
@pytest.mark.parametrize("maps", [[], MAPS[2:]], ids=["none", "errors"])
def test_file_without_a_map(tmp_path: Path, name: str, maps: Any) -> None:
    if name == "maps.html" and maps:
        featx.write_maps(maps, tmp_path / name)  # the page says why there is none
        assert "no image" in (tmp_path / name).read_text(encoding="utf-8")
        return
    with pytest.raises(featx.FeatxError, match=r"at least one class map, got none"):
        featx.write_maps(maps, tmp_path / name)


def test_other_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(featx.FeatxError, match=r"ends in \.html, .*\.npz, got \.gif"):
        featx.write_maps(MAPS, tmp_path / "maps.gif")
