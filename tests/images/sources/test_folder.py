"""A folder becomes rows: what its folders mean, and what is passed over."""

import os
import sys
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
    assert manifest.ignored == {}
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
    with pytest.raises(SourceError, match="got none among 2 files"):
        read_folder(tmp_path)


def test_read_folder_of_tars_says_to_pass_them(tmp_path: Path) -> None:
    touch(tmp_path, "a.tar")
    with pytest.raises(SourceError, match=r"Name the tars themselves: .*/\*\.tar"):
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
