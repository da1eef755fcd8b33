"""A table metadata.csv beside images gives them labels, splits and groups."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from featx.core.errors import SourceError
from featx.images.manifest import Manifest
from featx.images.sources.folder import read_folder
from tests.images.builders import get_content


@pytest.fixture
def photos(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    for name in ("train/0.jpg", "train/1.jpg", "test/2.jpg", "test/3.jpg"):
        make_image(tmp_path / "p" / name)
    return tmp_path / "p"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def list_rows(manifest: Manifest) -> list[tuple[str | None, ...]]:
    rows = (entry.row for entry in manifest.entries)
    return [(row.id, row.label, row.split, row.group) for row in rows]


def test_read_folder_with_metadata_in_each_split(photos: Path) -> None:
    write(photos / "train/metadata.csv", "file_name,label\n1.jpg,dog\n0.jpg,cat\n")
    write(photos / "test/metadata.csv", "file_name,label\n2.jpg,cat\n./3.jpg,dog\n")
    manifest = read_folder(photos)
    assert list_rows(manifest) == [
        ("test/2.jpg", "cat", "test", None),
        ("test/3.jpg", "dog", "test", None),
        ("train/0.jpg", "cat", "train", None),
        ("train/1.jpg", "dog", "train", None),
    ]
    assert manifest.notes == ()


def test_read_folder_with_metadata_as_json_lines_above_the_splits(photos: Path) -> None:
    lines = (
        f'{{"file_name": "{name}", "class": {number}, "group": "g"}}\n'
        for number, name in enumerate(["train/0.jpg", "train/1.jpg", "test/2.jpg", "test/3.jpg"])
    )
    write(photos / "metadata.jsonl", "".join(lines))
    assert list_rows(read_folder(photos))[0] == ("test/2.jpg", "2", "test", "g")


def test_read_folder_with_metadata_that_has_a_split(photos: Path) -> None:
    write(photos / "metadata.csv", "path,split\ntrain/0.jpg,val\n")
    rows = {row[0]: row[2] for row in list_rows(read_folder(photos))}
    assert (rows["train/0.jpg"], rows["train/1.jpg"]) == ("val", "train")


def test_read_folder_with_metadata_without_labels_keeps_those_of_folders(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    for name in ("cat/0.jpg", "dog/1.jpg"):
        make_image(tmp_path / name)
    write(tmp_path / "metadata.csv", "file_name,text,group\ncat/0.jpg,a cat,g\ndog/1.jpg,a dog,h\n")
    assert list_rows(read_folder(tmp_path)) == [
        ("cat/0.jpg", "cat", None, "g"),
        ("dog/1.jpg", "dog", None, "h"),
    ]


def test_read_folder_with_metadata_of_other_labels_tells_it(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    for name in ("cat/0.jpg", "dog/1.jpg"):
        make_image(tmp_path / name)
    write(tmp_path / "cat/metadata.csv", "file_name,label\n0.jpg,dog\n")
    manifest = read_folder(tmp_path)
    assert [row[1] for row in list_rows(manifest)] == ["dog", "dog"]
    assert manifest.doubts == (
        "cat/metadata.csv has other labels than the folders: its labels count (1 of 1 rows).",
        "images without a row in a metadata table: 1 of 2.",
    )


def test_read_folder_with_metadata_of_a_missing_image_is_a_row_that_fails(photos: Path) -> None:
    write(photos / "train/metadata.csv", "file_name,label\n0.jpg,cat\n1.jpg,cat\ngone.jpg,dog\n")
    manifest = read_folder(photos)
    gone = manifest.entries[-1]
    assert (gone.row.id, gone.row.label, gone.row.split) == ("train/gone.jpg", "dog", None)
    with pytest.raises(FileNotFoundError):
        get_content(gone).read()


def test_read_folder_with_metadata_of_something_else_tells_it(photos: Path) -> None:
    write(photos / "metadata.csv", "author,title\nme,mine\n")
    manifest = read_folder(photos)
    assert [row[1] for row in list_rows(manifest)] == [None] * 4
    assert manifest.doubts[0].startswith("metadata.csv is not read: expected a column of paths")


def test_read_folder_with_metadata_that_is_wrong_is_refused(photos: Path) -> None:
    write(photos / "train/metadata.csv", "file_name,split\n0.jpg,trian\n")
    with pytest.raises(SourceError, match=r"train/metadata\.csv, line 2, column 'split'"):
        read_folder(photos)


def test_read_folder_with_metadata_of_one_image_twice_is_refused(photos: Path) -> None:
    write(photos / "metadata.csv", "file_name,label\ntrain/0.jpg,cat\n")
    write(photos / "train/metadata.csv", "file_name,label\n0.jpg,dog\n")
    with pytest.raises(SourceError, match=r"one row for each image, got a second one for .*0\.jpg"):
        read_folder(photos)


def test_read_folder_with_metadata_tells_what_it_passes_over(photos: Path) -> None:
    write(photos / "metadata.csv", "file_name,lable\ntrain/0.jpg,cat\n")
    assert "lable (nearest: label)" in read_folder(photos).doubts[0]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_read_folder_with_a_pipe_called_metadata_passes_it_over(photos: Path) -> None:
    os.mkfifo(photos / "metadata.csv")
    assert len(read_folder(photos).entries) == 4
