"""Images of rows are found again in every kind of source, and only if they are the same."""

import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featx.analytics.row_images import CHUNK, NOT_IN_SOURCE, RowImages
from featx.cache.joined import open_cache
from featx.core.errors import CacheError, SourceError
from featx.extraction.extract import extract


def decode(cache: Path, rows: Any = None, source: Any = None, side: int | None = None) -> Any:
    """Decode rows, all by default: pairs of row and pixels or None, and what is missing."""
    with open_cache(cache) as opened:
        images = RowImages(opened, source)
        chosen = np.arange(len(opened)) if rows is None else rows
        found = [
            (row, image and np.asarray(image)) for row, image in images.decode(chosen, side=side)
        ]
        return found, images.missing


def read_pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_rows_come_in_the_order_asked_for_with_their_own_pixels(
    photos: Path, photos_cache: Path
) -> None:
    with open_cache(photos_cache) as cache:
        ids = cache.ids
    rows = [7, 0, 7, 11, *range(12)] * (CHUNK // 4)
    found, missing = decode(photos_cache, rows)
    assert [row for row, _ in found] == rows
    assert all(np.array_equal(image, read_pixels(photos / ids[row])) for row, image in found)
    assert missing == {}


def test_no_rows_give_nothing(photos_cache: Path) -> None:
    assert decode(photos_cache, []) == ([], {})


def test_larger_images_are_shrunk_to_the_side_and_smaller_ones_are_not_enlarged(
    photos_cache: Path,
) -> None:
    assert {image.shape for _, image in decode(photos_cache, side=20)[0]} == {(15, 20, 3)}
    whole = {image.shape for _, image in decode(photos_cache)[0]}
    assert {image.shape for _, image in decode(photos_cache, side=500)[0]} == whole


def test_what_is_gone_changed_or_damaged_is_none_with_the_reason(
    photos: Path, photos_cache: Path, make_image: Any
) -> None:
    with open_cache(photos_cache) as cache:
        ids = cache.ids
    make_image(photos / ids[0], seed=99)
    (photos / ids[1]).unlink()
    (photos / ids[2]).write_bytes(b"")
    found, missing = decode(photos_cache, source=photos)
    assert [row for row, image in found if image is None] == [0, 1, 2]
    assert missing == {
        0: "the image was changed after it was embedded",
        1: NOT_IN_SOURCE,
        2: "the image was changed after it was embedded",
    }


def test_file_that_goes_between_listing_and_reading_says_so(
    photos: Path, photos_cache: Path
) -> None:
    with open_cache(photos_cache) as cache:
        images = RowImages(cache, photos)
        (photos / cache.ids[5]).unlink()
        assert [image is None for _, image in images.decode([4, 5])] == [False, True]
    assert images.missing == {5: "No such file or directory"}


def test_cache_without_its_source_names_the_reason(photos: Path, photos_cache: Path) -> None:
    shutil.rmtree(photos)
    found, missing = decode(photos_cache)
    assert [image for _, image in found] == [None] * 12
    assert str(photos) in missing[0]


def test_named_source_must_exist_and_have_some_row(
    photos_cache: Path, tmp_path: Path, make_image: Any
) -> None:
    make_image(tmp_path / "other" / "a.jpg")
    with pytest.raises(CacheError, match=r"got \S+/other, which has none of its 12 rows"):
        decode(photos_cache, source=tmp_path / "other")
    with pytest.raises(SourceError):
        decode(photos_cache, source=tmp_path / "nothing")


def test_moved_source_is_found_by_ids(photos: Path, photos_cache: Path, tmp_path: Path) -> None:
    photos.rename(tmp_path / "moved")
    found, missing = decode(photos_cache, source=tmp_path / "moved")
    assert all(image is not None for _, image in found)
    assert missing == {}


def test_relative_source_is_found_beside_the_cache(
    photos: Path, tiny_backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    extract(photos.name, "here.h5", backbone=tiny_backbone, progress=False)
    monkeypatch.chdir("/")
    _, missing = decode(photos.parent / "here.h5")
    assert missing == {}


def test_sources_of_one_name_lie_each_beside_its_cache(
    photos: Path, tiny_backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches = []
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        (photos / name).rename(tmp_path / name / "source")
        monkeypatch.chdir(tmp_path / name)
        for file in list(Path("source").rglob("*.jpg")):  # no id is in both folders
            file.rename(file.with_name(f"{name}-{file.name}"))
        extract("source", "c.h5", backbone=tiny_backbone, progress=False)
        caches.append(tmp_path / name / "c.h5")
    monkeypatch.chdir(photos)
    with open_cache(caches) as cache:
        images = RowImages(cache)
        found = list(images.decode(np.arange(len(cache))))
    assert images.missing == {}
    assert len(found) == 12


def test_members_of_tars_are_read_in_place(
    photos: Path, tiny_backbone: str, tmp_path: Path
) -> None:
    tars = [tmp_path / "one.tar", tmp_path / "two.tar"]
    for number, path in enumerate(tars):
        with tarfile.open(path, "w") as tar:
            for name in ("a.png", "b.png"):
                file = io.BytesIO()
                Image.new("RGB", (8, 6), (100 * number, ord(name[0]), 7)).save(file, "PNG")
                info = tarfile.TarInfo(f"{number}/{name}")
                info.size = file.tell()
                file.seek(0)
                tar.addfile(info, file)
    extract(tars, tmp_path / "tars.h5", backbone=tiny_backbone, progress=False)
    found, missing = decode(tmp_path / "tars.h5")
    assert [image[0, 0].tolist() for _, image in found] == [
        [0, 97, 7], [0, 98, 7], [100, 97, 7], [100, 98, 7]
    ]  # fmt: skip
    assert missing == {}


def test_joined_caches_find_each_their_own_source_or_both_by_path(
    photos: Path, tiny_backbone: str, tmp_path: Path
) -> None:
    caches = [tmp_path / "train.h5", tmp_path / "val.h5"]
    for path in caches:
        folder = tmp_path / path.stem
        (photos / path.stem).rename(folder)
        for file in list(folder.rglob("*.jpg")):  # no id is in both folders
            file.rename(file.with_name(f"{path.stem}-{file.name}"))
        extract(folder, path, backbone=tiny_backbone, progress=False)
    both = [str(path.with_suffix("")) for path in caches]
    for source in (None, both):
        with open_cache(caches) as cache:
            images = RowImages(cache, source)
            found = list(images.decode(np.arange(len(cache))))
            assert images.missing == {}
            for row, image in found:
                assert image is not None
                assert np.array_equal(np.asarray(image), read_pixels(Path(cache.paths[row])))
    shutil.rmtree(both[1])
    with open_cache(caches) as cache:
        images = RowImages(cache)
        found = list(images.decode(np.arange(len(cache))))
    n_train = sum(image is not None for _, image in found)
    assert list(images.missing) == list(range(n_train, len(found)))
    assert os.path.basename(both[1]) in images.missing[n_train]


def test_exif_orientation_is_applied(tiny_backbone: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30), (200, 10, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    (tmp_path / "turned").mkdir()
    image.save(tmp_path / "turned" / "a.jpg", exif=exif)
    extract(tmp_path / "turned", tmp_path / "t.h5", backbone=tiny_backbone, progress=False)
    assert decode(tmp_path / "t.h5", side=20)[0][0][1].shape == (20, 15, 3)


def test_taking_only_some_images_ends_the_threads(photos_cache: Path) -> None:
    with open_cache(photos_cache) as cache:
        images = RowImages(cache)
        decoded: Any = images.decode(np.arange(12))
        assert next(decoded)[0] == 0
        decoded.close()
