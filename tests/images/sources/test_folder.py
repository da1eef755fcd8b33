"""A folder becomes rows: what its folders mean, and what is passed over."""

import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from featx.core.errors import SourceError
from featx.images.manifest import Manifest
from featx.images.sources.folder import read_folder
from tests.images.builders import get_content

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX file names and links")


def touch(folder: Path, *names: str) -> None:
    """Write empty files: by their suffix they are rows already."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def list_places(manifest: Manifest) -> dict[str, tuple[str | None, str | None]]:
    return {e.row.id: (e.row.split, e.row.label) for e in manifest.entries}


def list_ids(manifest: Manifest) -> list[str]:
    return [entry.row.id for entry in manifest.entries]


# --- what folders mean


def test_read_folder_split_folders_give_splits_and_labels(photos: Path) -> None:
    manifest = read_folder(photos)
    places = [(e.row.split, e.row.label) for e in manifest.entries]
    assert places.count(("train", "ants")) == 4
    assert places.count(("val", "bees")) == 2
    assert len(places) == 12


def test_read_folder_folder_without_images_decides_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "train/ants/1.jpg", "docs/readme.txt")
    assert list_places(read_folder(tmp_path)) == {"train/ants/1.jpg": ("train", "ants")}


# --- what is a row


@pytest.mark.parametrize("name", ["._x.jpg", ".x.jpg", ".hidden/x.jpg", "ants/.thumbs/x.jpg"])
def test_read_folder_hidden_is_passed_over(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "ants/1.jpg", name)
    assert list_ids(read_folder(tmp_path)) == ["ants/1.jpg"]


def test_read_folder_image_under_a_lying_suffix_is_a_row(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    make_image(tmp_path / "photo.dat", format="PNG")
    make_image(tmp_path / "no_suffix", format="JPEG")
    assert list_ids(read_folder(tmp_path)) == ["no_suffix", "photo.dat"]


def test_read_folder_text_under_an_image_suffix_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "photo.JPG").write_text("not found")
    assert list_ids(read_folder(tmp_path)) == ["photo.JPG"]


def test_read_folder_notes_are_ignored_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg")
    (tmp_path / "notes.txt").write_text("taken in June")
    (tmp_path / "empty").touch()
    manifest = read_folder(tmp_path)
    assert list_ids(manifest) == ["1.jpg"]
    assert manifest.n_ignored == 2
    assert manifest.notes == ("passed over 1 file without a suffix, 1 .txt",)


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir",
        "#recycle",
        "@Recycle",
        "@__thumb",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "__MACOSX",
        "#snapshot",
        "LOST.DIR",
        "FOUND.007",
        "trashbox",
    ],
)
def test_read_folder_folder_of_the_system_is_passed_over_and_counted(
    tmp_path: Path, name: str
) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg", f"{name}/cat/3.jpg", f"dog/{name}/2.jpg/T.jpg")
    manifest = read_folder(tmp_path)
    assert list_ids(manifest) == ["cat/1.jpg", "dog/2.jpg"]
    assert manifest.n_ignored == 0
    assert manifest.notes == (f"passed over 2 folders {name}",)


@pytest.mark.parametrize("name", ["recycled", "trash", "snapshot", "thumb", "lost", "System"])
def test_read_folder_class_with_such_a_name_is_a_class(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/1.jpg", "dog/2.jpg")
    assert {label for _, label in list_places(read_folder(tmp_path)).values()} == {name, "dog"}


def test_read_folder_counts_ignored_files_by_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "a.txt", "b.TXT", "c/d.json", *(f"{n}.kind{n}" for n in range(9)))
    (note,) = read_folder(tmp_path).notes
    assert note.startswith("passed over 2 .txt, 1 .json, 1 .kind0, ")
    assert note.endswith(", 3 of other kinds")


def test_read_folder_tables_among_images_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg", "train/labels.csv", "test/2.jpg", "test/labels.csv")
    _, note = read_folder(tmp_path).notes
    assert note.startswith("tables lie among the images (test/labels.csv, train/labels.csv)")


def test_read_folder_photo_and_mask_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "cat/1.png", "cat/2.jpg", "cat/2.png", "cat/3.jpg")
    (note,) = read_folder(tmp_path).notes
    assert note.startswith("2 keys have 2 images (jpg, png): each of them is a row")


def test_read_folder_labels_of_one_look_are_one_label(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    touch(tmp_path, f"train/{composed}/1.jpg", f"val/{decomposed}/2.jpg", "val/the /3.jpg")
    manifest = read_folder(tmp_path)
    assert [entry.row.label for entry in manifest.entries] == [composed, composed, "the"]
    assert [entry.row.id for entry in manifest.entries][1] == f"val/{decomposed}/2.jpg"
    assert get_content(manifest.entries[1]).read() == b""


def test_read_folder_labels_that_differ_by_case_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.jpg", "val/Cat_/2.jpg", "val/Cat/2.jpg")
    (note,) = read_folder(tmp_path).notes
    assert note.startswith("labels differ only by case: 'Cat' (1 row) and 'cat' (1 row).")


@pytest.mark.parametrize(
    "name", [".2.jpg.icloud", "2.jpg.nextcloud", "2.jpg.owncloud"], ids=lambda name: name[-9:]
)
def test_read_folder_placeholder_of_a_cloud_is_a_row_that_fails(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "cat/1.jpg", f"cat/{name}", f"cat/{name.replace('jpg', 'txt')}")
    manifest = read_folder(tmp_path)
    assert sorted(list_ids(manifest)) == ["cat/1.jpg", "cat/2.jpg"]
    (entry,) = (entry for entry in manifest.entries if entry.row.id == "cat/2.jpg")
    assert entry.row.path == str(tmp_path / "cat/2.jpg")
    assert manifest.n_ignored == (not name.startswith("."))
    for act in (get_content(entry).read, get_content(entry).read_whole, get_content(entry).stat):
        with pytest.raises(OSError, match="the image is in the cloud, not on this disk"):
            act()


def test_read_folder_placeholder_beside_its_image_is_no_second_row(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", ".1.jpg.icloud")
    (entry,) = read_folder(tmp_path).entries
    assert get_content(entry).read() == b""


@posix
def test_read_folder_is_deeper_than_the_stack_of_python(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    folder = f"{tmp_path}/dog"
    try:
        for _ in range(sys.getrecursionlimit() + 200):
            folder += "/d"
            os.mkdir(folder)
        os.rename(tmp_path / "dog/2.jpg", f"{folder}/2.jpg")
        assert list(list_places(read_folder(tmp_path)).values()) == [(None, "cat"), (None, "dog")]
    finally:  # pytest itself cannot remove so deep a folder
        subprocess.run(["rm", "-rf", str(tmp_path / "dog")], check=True)


@posix
def test_read_folder_deeper_than_the_system_allows_is_one_line(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(2100):
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
    finally:
        os.close(here)
    try:
        with pytest.raises(SourceError, match="expected a folder that can be listed, got File na"):
            read_folder(tmp_path)
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_read_folder_two_files_of_one_basename_are_two_rows(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    make_image(tmp_path / "ants/1.png", seed=1)
    make_image(tmp_path / "bees/1.png", seed=2)
    ants, bees = read_folder(tmp_path).entries
    assert (ants.row.id, bees.row.id) == ("ants/1.png", "bees/1.png")
    assert get_content(ants).read() == (tmp_path / "ants/1.png").read_bytes()
    assert get_content(bees).read() == (tmp_path / "bees/1.png").read_bytes()
    assert get_content(ants).read() != get_content(bees).read()


def test_read_folder_row_path_opens_the_image(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    make_image(tmp_path / "ants/1.png")
    (entry,) = read_folder(tmp_path).entries
    with Image.open(entry.row.path) as image:
        assert image.size == (40, 30)


def test_read_folder_order_is_sorted_however_files_were_made(tmp_path: Path) -> None:
    names = ["b/2.jpg", "a/10.jpg", "a/9.jpg", "B/1.jpg", "c.jpg", "a/z/1.jpg"]
    touch(tmp_path / "one", *names)
    touch(tmp_path / "two", *reversed(names))
    expected = ["B/1.jpg", "a/10.jpg", "a/9.jpg", "a/z/1.jpg", "b/2.jpg", "c.jpg"]
    assert list_ids(read_folder(tmp_path / "one")) == expected
    assert list_ids(read_folder(tmp_path / "two")) == expected


# --- links and things that are no files


@posix
@pytest.mark.parametrize("target", [".", "..", "../ants"])
def test_read_folder_link_loop_ends(tmp_path: Path, target: str) -> None:
    touch(tmp_path, "photos/ants/1.jpg")
    (tmp_path / "photos/ants/again").symlink_to(target)
    ids = list_ids(read_folder(tmp_path / "photos"))
    assert "ants/1.jpg" in ids
    assert len(ids) == len(set(ids)) <= 2


@posix
def test_read_folder_linked_folder_is_followed(tmp_path: Path) -> None:
    touch(tmp_path, "store/1.jpg", "photos/bees/2.jpg")
    (tmp_path / "photos/ants").symlink_to(tmp_path / "store")
    assert list_places(read_folder(tmp_path / "photos")) == {
        "ants/1.jpg": (None, "ants"),
        "bees/2.jpg": (None, "bees"),
    }


@posix
def test_read_folder_dangling_link_with_image_suffix_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (entry,) = read_folder(tmp_path).entries
    assert entry.row.id == "gone.jpg"
    with pytest.raises(FileNotFoundError, match=r"gone.jpg"):
        get_content(entry).read()


@posix
def test_read_folder_link_to_itself_ends_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    assert "1.jpg" in list_ids(read_folder(tmp_path))


@posix
def test_read_folder_pipe_is_a_row_only_if_its_suffix_promises_an_image(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg")
    for name in ("pipe", "pipe.jpg"):
        os.mkfifo(tmp_path / name)
    manifest = read_folder(tmp_path)
    assert list_ids(manifest) == ["1.jpg", "pipe.jpg"]
    assert manifest.ignored == {"pipe, socket or device": 1}
    with pytest.raises(OSError, match="not a regular file"):
        get_content(manifest.entries[1]).read()


@posix
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may list any folder")
def test_read_folder_unreadable_folder_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "closed/2.jpg")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(SourceError, match="closed: expected a folder that can be listed"):
            read_folder(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_read_folder_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere: expected a folder that can be listed"):
        read_folder(tmp_path / "nowhere")


# --- nothing there


def test_read_folder_empty_says_where_and_what_next(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"expected at least one image, got none among 0 files\. Name a fol"
    ) as caught:
        read_folder(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))


def test_read_folder_without_images_counts_the_others(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt", "b.md")
    with pytest.raises(SourceError, match=r"none among 2 files \(passed over 1 \.md, 1 \.txt\)"):
        read_folder(tmp_path)


def test_read_folder_of_tars_says_to_pass_them(tmp_path: Path) -> None:
    touch(tmp_path, "a.tar")
    with pytest.raises(SourceError, match=rf"Name the tars themselves: {tmp_path}/\*\.tar"):
        read_folder(tmp_path)


# --- names


@posix
@pytest.mark.parametrize(
    ("name", "id"),
    [
        (b"a\nb.jpg", "a\\u000ab.jpg"),
        (b"a\\u000ab.jpg", "a\\\\u000ab.jpg"),
        (b"a\xffb.jpg", "a\\xffb.jpg"),
        (b"a\\xffb.jpg", "a\\\\xffb.jpg"),
        ("a\u202eb.jpg".encode(), "a\\u202eb.jpg"),
        ("Ameise ß 蟻.jpg".encode(), "Ameise ß 蟻.jpg"),
    ],
)
def test_read_folder_odd_name_is_escaped_and_can_be_read(
    tmp_path: Path, name: bytes, id: str
) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    try:
        with open(path, "wb") as stream:
            stream.write(b"bytes")
    except OSError as error:
        pytest.skip(f"this file system refuses the name: {error}")
    (entry,) = read_folder(tmp_path).entries
    assert entry.row.id == id
    assert entry.row.path.endswith("/" + id)
    assert entry.row.path.isprintable()
    assert get_content(entry).read() == b"bytes"


@posix
def test_read_folder_odd_class_name_is_escaped(tmp_path: Path) -> None:
    touch(tmp_path, "red\nants/1.jpg")
    (entry,) = read_folder(tmp_path).entries
    assert entry.row.label == "red\\u000aants"


def test_read_folder_of_tables_says_where_they_are(tmp_path: Path) -> None:
    touch(tmp_path, "README.md", "data/train-00000-of-00001.parquet")
    with pytest.raises(SourceError, match=rf"Name the tables themselves: {tmp_path}/data/\*\.parq"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["Photos Library.photoslibrary", "cat.lrdata"])
def test_read_folder_passes_over_previews_of_photo_programs(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg", f"{name}/derivatives/1.jpg")
    manifest = read_folder(tmp_path)
    assert [entry.row.id for entry in manifest.entries] == ["cat/1.jpg", "dog/2.jpg"]
    assert manifest.notes == (f"passed over 1 folder {name}",)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("cat.zip", r"Unpack it: featx reads"),
        ("a/train.tar.gz", r"Unpack it: featx reads"),
        ("data.tfrecord", r"Write its images as files"),
        ("notes.txt", r"Name a folder of images\."),
    ],
)
def test_read_folder_without_images_says_what_to_do(tmp_path: Path, name: str, remedy: str) -> None:
    touch(tmp_path, name, "README.md")
    with pytest.raises(SourceError, match=remedy):
        read_folder(tmp_path)
