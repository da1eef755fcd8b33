"""What is no source is told what it is, and what to do; an image is one whatever it is called."""

from collections.abc import Callable
from pathlib import Path

import pytest

from featx.core.errors import SourceError
from featx.images.sources.inputs import list_entries
from featx.images.sources.read import read_manifest

ZIP = b"PK\3\4" + bytes(99)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("p.tar.gz", b"\x1f\x8b", r"a compressed archive\. Unpack it"),
        ("p.tgz", b"\x1f\x8b", r"a compressed archive\. Unpack it"),
        ("p.tar.bz2", b"BZh9", r"a compressed archive\. Unpack it"),
        ("p.tbz2", b"BZh9", r"a compressed archive\. Unpack it"),
        ("p.tar.xz", b"\xfd7zXZ\0", r"a compressed archive\. Unpack it"),
        ("p.tar.zst", b"\x28\xb5\x2f\xfd", r"a compressed archive\. Unpack it"),
        ("p.ZIP", ZIP, r"a compressed archive\. Unpack it"),
        ("p.7z", b"7z\xbc\xaf\x27\x1c", r"a compressed archive\. Unpack it"),
        ("p.rar", b"Rar!\x1a\x07", r"a compressed archive\. Unpack it"),
        ("t.xlsx", ZIP, r"a spreadsheet\. Save the sheet as \.csv\."),
        ("t.ods", ZIP, r"a spreadsheet\. Save the sheet as \.csv\."),
        ("t.rds", b"\x1f\x8b", r"a table of a statistics program\. Save it as \.csv\."),
        ("coco.json", b"{}", r"a JSON document\. Write one object per line"),
        ("voc.xml", b"<annotation/>", r"a file of annotations\. Write a table"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0", r"a database\. Write a table"),
        ("a.tfrecord", bytes(12), r"a file of records\. Write its images as files"),
        ("a.npy", b"\x93NUMPY", r"arrays of Python\. Write its images as files"),
        ("a.mp4", b"\0\0\0\x18ftypmp42", r"a video\. Write the frames"),
        ("a.pdf", b"%PDF-1.7", r"a document\. Write its images as files"),
        ("empty", b"", r"an empty file\. "),
        (
            "photos.lst",
            b"0.jpg 0\n1.jpg 1\n",
            r"text\. Write a table with the columns path and label",
        ),
        (
            "all.manifest",
            b'{"path": "s3://b/1.jpg"}',
            r"a JSON document\. Write one object per line",
        ),
        ("table", b"PAR1", r"a Parquet file\. Name it \.parquet\."),
        ("archive", ZIP, r"a ZIP archive\. Unpack it\."),
        (
            "noise.bin",
            b"\xfe\xdc\xba\x98" * 9,
            r"a file of another kind, which begins with b'\\xfe",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "\\" not in value else "",
)
@pytest.mark.parametrize("read", [read_manifest, list_entries])
def test_read_what_is_no_source_says_what_it_is(
    tmp_path: Path, name: str, data: bytes, message: str, read: Callable[[Path], object]
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=f"expected a folder, table, tar or image, got {message}"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["photo", "photo.dat", "photo.zip", "photo.db", "photo.JSON"])
def test_read_image_by_its_content(
    tmp_path: Path, make_image: Callable[..., Path], name: str
) -> None:
    image = make_image(tmp_path / name, format="PNG")
    assert len(read_manifest(image)) == 1


def test_read_broken_image_by_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"PK\3\4")
    assert len(read_manifest(tmp_path / "photo.jpg")) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gopher://host/photos", r"^gopher:/+host/photos: expected .*Download the "),
        ("C:\\photos", r"got a path of a drive of Windows\. "),
        ("\\\\server\\photos", r"got a path of a network of Windows\. "),
        ("photos\\train", r"got a path with backslashes, as on Windows\. "),
        ("~/photos-that-are-nowhere", r"got a path with ~ for a home folder\. "),
        ("$HOME/photos-that-are-nowhere", r"got a path with a variable\. "),
        ("photos/*.nothing", r"got a pattern\. "),
        ("photos-that-are-nowhere", r"got no file or folder\. Check the path\."),
    ],
)
def test_read_path_of_elsewhere_says_what_it_looks_like(source: str, message: str) -> None:
    for path in (source, Path(source)):
        with pytest.raises(SourceError, match=message):
            read_manifest(path)


def test_read_address_of_a_file_is_the_file(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    make_image(tmp_path / "my photos/1.png")
    address = (tmp_path / "my photos").as_uri()
    assert "%20" in address
    for path in (address, Path(address)):
        assert [entry.row.id for entry in read_manifest(path).entries] == ["1.png"]
    (entry,) = list_entries(f"{address}/1.png")
    assert entry.row.path == str(tmp_path / "my photos/1.png")


def test_list_entries_image_of_elsewhere_fails_with_what_it_is() -> None:
    (entry,) = list_entries("gopher://example.org/a.jpg")
    with pytest.raises(OSError, match=r"^expected an address of a scheme that fsspec knows, g"):
        entry.content.read()  # type: ignore[union-attr]
