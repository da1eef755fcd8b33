"""Images to label next on a page and on a sheet."""

from pathlib import Path

import pytest
from PIL import Image

from featx.core.errors import FeatxWarning
from featx.fitting.label import label_cache
from featx.fitting.suggest import suggest
from featx.report.suggestions import write_suggested


@pytest.fixture
def unlabelled(photos_cache: Path) -> Path:
    label_cache(photos_cache, {f"train/ants/{n}.jpg": "" for n in range(4)}, author="ada")
    return photos_cache


def test_sheet_has_the_images(unlabelled: Path, tmp_path: Path) -> None:
    write_suggested(tmp_path / "s.png", suggest(unlabelled, n=3), unlabelled)
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.width > 3 * 160


def test_page_says_why_and_how_many_images_are_gone(
    unlabelled: Path, photos: Path, tmp_path: Path
) -> None:
    found = suggest(unlabelled, n=4)
    (photos / found.ids[0]).unlink()
    with pytest.warns(FeatxWarning, match="1 image cannot be shown, such as train/ants"):
        write_suggested(tmp_path / "s.html", found, unlabelled, photos)
    text = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == 3
    assert "Typical rows" in text
    assert found.because in text
    assert found.reasons[0] in text
