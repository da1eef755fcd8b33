"""What the user points at is told apart, and a notebook's lists keep their order."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featx.core.errors import SourceError
from featx.images.manifest import Manifest
from featx.images.sources.inputs import list_entries
from featx.images.sources.read import read_manifest
from tests.images.builders import get_content


def list_ids(manifest: Manifest) -> list[str]:
    return [entry.row.id for entry in manifest.entries]


def write_tar(path: Path, *files: Any) -> Path:
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.add(file, arcname=file.name)
    return path


def test_read_manifest_folder_gives_its_rows(photos: Path) -> None:
    manifest = read_manifest(photos)
    assert len(manifest) == 12
    assert manifest.source == str(photos)


def test_read_manifest_path_as_text_equals_path(photos: Path) -> None:
    assert read_manifest(str(photos)) == read_manifest(photos)


def test_read_manifest_csv_gives_its_rows(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text("path,label\na.jpg,ants\n")
    assert [entry.row.label for entry in read_manifest(table).entries] == ["ants"]


def test_read_manifest_tar_gives_its_rows(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    tar = write_tar(tmp_path / "photos.tar", make_image(tmp_path / "1.png"))
    assert list_ids(read_manifest(tar)) == ["1.png"]


def test_read_manifest_several_tars_carry_their_names(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    image = make_image(tmp_path / "1.png")
    tars = [write_tar(tmp_path / name, image) for name in ("b.tar", "a.tar")]
    assert list_ids(read_manifest(tars)) == ["b.tar/1.png", "a.tar/1.png"]


def test_read_manifest_single_image_is_one_row(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    image = make_image(tmp_path / "ants/1.png")
    manifest = read_manifest(image)
    (entry,) = manifest.entries
    assert entry.row.id == entry.row.path == str(image)
    assert entry.row.label is None
    assert get_content(entry).read() == image.read_bytes()


def test_read_manifest_several_files_and_folders_carry_paths_in_ids(
    photos: Path, make_image: Callable[..., Path]
) -> None:
    image = make_image(photos.parent / "one.png")
    ids = list_ids(read_manifest([image, photos / "val", photos / "train"]))
    assert ids[0] == str(image)
    assert len(ids) == len(set(ids)) == 13
    assert {id.rsplit("/", 2)[0] for id in ids[1:5]} == {str(photos / "val")}


@pytest.mark.parametrize("kind", ["image", "folder"])
def test_read_manifest_same_image_twice_is_refused(
    tmp_path: Path, make_image: Callable[..., Path], kind: str
) -> None:
    image = make_image(tmp_path / "ants/1.png")
    first = image if kind == "image" else tmp_path
    with pytest.raises(SourceError, match=r"expected each image once, got '.*ants/1\.png' again"):
        read_manifest([first, image])


def test_read_manifest_several_tables_of_the_same_names_keep_all_rows(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    for name in ("one", "two"):
        make_image(tmp_path / name / "1.png")
        (tmp_path / name / "t.csv").write_text("path\n1.png\n")
    tables = [tmp_path / "one/t.csv", tmp_path / "two/t.csv"]
    assert list_ids(read_manifest(tables)) == [f"{table}/1.png" for table in tables]


def test_read_manifest_several_sources_add_up_what_is_ignored(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    for name in ("one", "two"):
        make_image(tmp_path / name / "1.png")
        (tmp_path / name / "notes.txt").write_text("text")
    assert read_manifest([tmp_path / "one", tmp_path / "two"]).n_ignored == 2


def test_read_manifest_folder_called_like_a_table_is_a_folder(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    make_image(tmp_path / "photos.csv/1.png")
    assert list_ids(read_manifest(tmp_path / "photos.csv")) == ["1.png"]


@pytest.mark.parametrize("name", ["nowhere", "nowhere.csv", "nowhere.tar", "nowhere.jpg"])
def test_read_manifest_missing_source_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        SourceError, match=rf"{name}: expected a folder, table, tar or image, got n"
    ):
        read_manifest(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["nowhere", "nowhere.jpg", "nowhere.csv", "nowhere.parquet", "nowhere.tar"]
)
def test_read_manifest_missing_source_among_several_is_refused(
    tmp_path: Path, photos: Path, name: str
) -> None:
    with pytest.raises(SourceError, match=name):
        read_manifest([photos, tmp_path / name])


def test_read_manifest_missing_tar_among_tars_is_refused(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    tar = write_tar(tmp_path / "photos.tar", make_image(tmp_path / "1.png"))
    with pytest.raises(SourceError, match=r"gone\.tar: expected a folder, table, tar or image"):
        read_manifest([tar, tmp_path / "gone.tar"])


def test_read_manifest_of_nothing_is_refused() -> None:
    with pytest.raises(SourceError, match="expected at least one path, got none"):
        read_manifest([])


@pytest.mark.parametrize(
    "source", [b"photos", None, 3, io.BytesIO(b"x")], ids=lambda source: type(source).__name__
)
def test_read_manifest_of_what_is_no_path_is_refused_by_its_type(source: Any) -> None:
    with pytest.raises(SourceError, match=r"^source: expected a path or .*, got \w+ among the sou"):
        read_manifest([source])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train", "val"], ["train", "val"]),
        (["training_set", "test.csv"], ["train", "test"]),
        (["train", "extra"], [None, None]),
        (["train_1", "train_2"], [None, None]),
        (["cats", "dogs"], [None, None]),
    ],
    ids=str,
)
def test_read_manifest_several_sources_named_like_splits_are_splits(
    tmp_path: Path, make_image: Callable[..., Path], names: list[str], expected: list[str | None]
) -> None:
    for name in names:
        image = make_image(tmp_path / f"{name}.d" / "1.png")
        if name.endswith(".csv"):
            (tmp_path / name).write_text(f"path\n{image}\n")
        else:
            image.parent.rename(tmp_path / name)
    entries = read_manifest([tmp_path / name for name in names]).entries
    assert [entry.row.split for entry in entries] == expected


def test_read_manifest_several_sources_name_the_source_of_a_doubt(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    for name in ("one/test/1.png", "one/trainval/1.png", "two/Bee/1.png", "three/bee/1.png"):
        make_image(tmp_path / name)
    manifest = read_manifest([tmp_path / "one", tmp_path / "two", tmp_path / "three"])
    first, second = manifest.notes
    assert first.startswith(f"{tmp_path / 'one'}: the class 'test' is named like a split")
    assert second.startswith("labels differ only by case: 'Bee' (1 row) and 'bee' (1 row)")


@pytest.mark.parametrize("source", ["", [""], ["photo.jpg", ""]], ids=str)
def test_read_manifest_empty_path_is_not_the_current_folder(source: str | list[str]) -> None:
    for read in (read_manifest, list_entries):
        with pytest.raises(SourceError, match=r"^source: expected a path, got an empty text\."):
            read([*source] if isinstance(source, list) else source)
