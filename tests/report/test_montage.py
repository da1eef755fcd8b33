"""Montages show a sample of each class, or given rows, of caches and of sources."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import featx
from featx.core.errors import FeatxError, FeatxWarning, SourceError
from featx.prediction.search import search
from featx.report.found import write_search
from featx.report.montage import NO_LABEL, montage
from tests.report.test_gallery import Reader


def read_captions(path: Path) -> list[str]:
    """Read the first line of each caption of a page."""
    return [str(one["alt"]) for one in Reader(path.read_text(encoding="utf-8")).find("img")]


@pytest.mark.parametrize("is_cache", [True, False], ids=["cache", "source"])
def test_each_class_has_a_sample_in_the_order_of_rows(
    is_cache: bool, photos: Path, photos_cache: Path, tmp_path: Path
) -> None:
    shown = montage(
        photos_cache if is_cache else photos, tmp_path / "m.html", per_class=3, split="train"
    )
    assert (shown.n_rows, shown.n_shown, shown.n_classes, shown.n_missing) == (8, 6, 2, 0)
    captions = read_captions(tmp_path / "m.html")
    assert captions == sorted(captions)
    assert [name.split("/")[1] for name in captions] == ["ants"] * 3 + ["bees"] * 3


def test_seed_changes_the_sample_and_nothing_else_does(photos_cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.html"
    samples = []
    for seed in (0, 0, 1, 2, 3):
        montage(photos_cache, path, per_class=2, seed=seed)
        samples.append(tuple(read_captions(path)))
    assert samples[0] == samples[1]
    assert len(set(samples)) > 1


def test_ids_are_shown_in_their_order(photos_cache: Path, tmp_path: Path) -> None:
    ids = ["val/bees/1.jpg", "train/ants/0.jpg", "val/bees/1.jpg"]
    shown = montage(photos_cache, tmp_path / "m.html", ids=ids)
    assert (shown.n_rows, shown.n_shown, shown.n_classes) == (12, 3, 0)
    assert read_captions(tmp_path / "m.html") == ids


def test_labels_that_people_gave_are_shown(photos_cache: Path, tmp_path: Path) -> None:
    featx.label_cache(photos_cache, {"val/bees/1.jpg": "ants"}, author="ada")
    montage(photos_cache, tmp_path / "m.html")
    captions = read_captions(tmp_path / "m.html")
    assert captions.index("val/bees/1.jpg") < captions.index("train/bees/0.jpg")


def test_rows_without_a_label_come_last(tmp_path: Path, make_image: Any) -> None:
    make_image(tmp_path / "flat" / "a.jpg")
    shown = montage(tmp_path / "flat", tmp_path / "m.html")
    assert (shown.n_shown, shown.n_classes) == (1, 0)
    assert NO_LABEL in (tmp_path / "m.html").read_text(encoding="utf-8")


def test_sheet_has_a_line_for_each_class(photos_cache: Path, tmp_path: Path) -> None:
    montage(photos_cache, tmp_path / "m.png", per_class=4)
    with Image.open(tmp_path / "m.png") as sheet:
        assert sheet.width > 4 * 160
        assert 2 * 160 < sheet.height < 3 * 160


def test_image_that_is_gone_is_counted_and_told(
    photos: Path, photos_cache: Path, tmp_path: Path
) -> None:
    (photos / "val/bees/1.jpg").write_bytes(b"other")
    with pytest.warns(FeatxWarning, match=r"1 image cannot .* val/bees/1\.jpg: the image"):
        shown = montage(photos_cache, tmp_path / "m.html", per_class=20)
    assert (shown.n_shown, shown.n_missing) == (12, 1)
    assert len(read_captions(tmp_path / "m.html")) == 11


def test_moved_source_is_passed(photos: Path, photos_cache: Path, tmp_path: Path) -> None:
    photos.rename(tmp_path / "moved")
    shown = montage(photos_cache, tmp_path / "m.png", source=tmp_path / "moved")
    assert shown.n_missing == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": ["val/bees/9.jpg"]}, r"expected all of 1 id, got 1 unknown, such as 'val/bees/9"),
        ({"ids": ["val/bees/1.jpg"], "split": "train"}, "got 1 unknown"),
        ({"ids": []}, "expected at least one id, got none"),
        ({"per_class": 0}, "per_class: expected a number of at least 1"),
        ({"split": "test"}, "test"),
    ],
    ids=["unknown", "other-split", "none", "per-class", "no-split"],
)
def test_what_cannot_be_shown_is_refused(
    options: Any, message: str, photos_cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(FeatxError, match=message):
        montage(photos_cache, tmp_path / "m.png", **options)
    assert not (tmp_path / "m.png").exists()


def test_source_beside_a_source_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(FeatxError, match="source: expected a cache beside it"):
        montage(photos, tmp_path / "m.png", source=photos)
    with pytest.raises(SourceError):
        montage(tmp_path / "nothing.h5", tmp_path / "m.png")


def test_search_shows_each_query_before_its_rows(
    photos: Path, photos_cache: Path, tmp_path: Path
) -> None:
    image, row_id = tmp_path / "ant.jpg", "val/bees/1.jpg"
    shutil.copy(photos / "val/ants/0.jpg", image)
    found = search(photos_cache, [row_id, image], top=2, progress=False)
    with featx.open_cache(photos_cache) as cache:
        write_search(cache, found, tmp_path / "s.html")
        write_search(cache, found, tmp_path / "s.png")
        captions = read_captions(tmp_path / "s.html")
        assert captions == [row_id, *found.ids[0], str(image), *found.ids[1]]
        image.unlink()
        with pytest.warns(FeatxWarning, match=r"ant\.jpg cannot be shown: No such file"):
            write_search(cache, found, tmp_path / "s.html")
