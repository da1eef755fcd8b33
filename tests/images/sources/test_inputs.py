"""A notebook gives paths, open files, bytes, PIL images and arrays, alone or in sequences."""

import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featx.core.errors import FeatxWarning, SourceError
from featx.images.content import InMemory
from featx.images.decode import decode_image
from featx.images.sources.inputs import list_entries, list_inputs
from tests.images.builders import get_content


def test_list_entries_missing_image_fails_when_read(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    image = make_image(tmp_path / "1.png")
    gone = list_entries([image, tmp_path / "gone.jpg"])[1]
    with pytest.raises(FileNotFoundError, match=r"gone.jpg"):
        get_content(gone).read()


def test_list_entries_keeps_order_and_repeats(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    one, two = make_image(tmp_path / "1.png"), make_image(tmp_path / "2.png", seed=1)
    ids = [entry.row.id for entry in list_entries([two, str(one), two])]
    assert ids == [str(two), str(one), str(two)]


def test_list_entries_folder_stands_for_its_images(photos: Path) -> None:
    assert len(list_entries(photos)) == 12
    assert len(list_entries([photos, photos])) == 24


@pytest.mark.parametrize(
    ("images", "n_entries"),
    [
        (Image.new("RGB", (4, 3)), 1),
        (np.zeros((3, 4, 3), np.uint8), 1),
        (np.zeros((3, 4), np.uint8), 1),
        (np.zeros((5, 3, 4, 3), np.uint8), 5),
        ([Image.new("RGB", (4, 3)), np.zeros((3, 4, 3), np.uint8)], 2),
        ((Image.new("RGB", (4, 3)) for _ in range(3)), 3),
        ([], 0),
    ],
    ids=["Pillow", "array", "gray array", "batch", "mixed list", "generator", "empty list"],
)
def test_list_entries_of_images_in_memory_counts_them(images: Any, n_entries: int) -> None:
    entries = list_entries(images)
    assert len(entries) == n_entries
    assert [entry.row.id for entry in entries] == [str(number) for number in range(n_entries)]


def test_list_entries_batch_gives_each_image() -> None:
    batch = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    for entry, image in zip(list_entries(batch), batch, strict=True):
        assert isinstance(entry.content, InMemory)
        np.testing.assert_array_equal(entry.content.image, image)


def test_list_entries_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone: expected a folder, table, tar or image"):
        list_entries([tmp_path / "gone"])


@pytest.mark.parametrize("dtype", ["U", "O", "S", np.dtypes.StringDType()], ids=str)
def test_list_entries_array_of_paths_is_a_sequence(
    tmp_path: Path, make_image: Callable[..., Path], dtype: Any
) -> None:
    paths = [str(make_image(tmp_path / f"{n} ä.png", seed=n)) for n in range(3)]
    texts = [path.encode() for path in paths] if dtype == "S" else paths
    entries = list_entries(np.array(texts, dtype))
    assert [entry.row.path for entry in entries] == paths


def test_list_entries_array_of_pathlib_paths_is_a_sequence(photos: Path) -> None:
    paths = sorted(photos.rglob("*.png")) or sorted(photos.rglob("*.jpg"))
    entries = list_entries(np.array(paths, object))
    assert [entry.row.path for entry in entries] == [str(path) for path in paths]
    assert len(list_entries(np.array(paths[0], object))) == 1


def test_list_entries_array_of_images_is_a_sequence() -> None:
    images = np.empty(2, object)
    images[:] = [Image.new("RGB", (4, 3)), b"bytes"]
    first, second = list_entries(images)
    assert isinstance(first.content, InMemory)
    assert first.content.image is images[0]
    assert second.content == InMemory(b"bytes")


@pytest.mark.parametrize("n_read", [0, 5, -1], ids=["at the start", "inside", "at the end"])
def test_list_entries_open_file_is_read_from_its_start(
    tmp_path: Path, make_image: Callable[..., Path], n_read: int
) -> None:
    path = make_image(tmp_path / "1.png")
    memory = io.BytesIO(path.read_bytes())
    with path.open("rb") as file, tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(path.read_bytes())
        files: list[Any] = [file, memory, spooled]
        for one in files:
            one.read(n_read)
            (alone,) = list_entries(one)
            assert alone.content == InMemory(path.read_bytes())
        assert [entry.row.path for entry in list_entries(files)][:2] == [str(path), "image 1"]


def test_list_entries_member_of_a_tar_is_an_open_file(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    path = make_image(tmp_path / "1.png")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(path, "1.png")
    with tarfile.open(tmp_path / "x.tar") as archive:
        (entry,) = list_entries(archive.extractfile("1.png"))
    assert entry.content == InMemory(path.read_bytes())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_list_entries_bytes_of_each_kind_are_one_image(
    tmp_path: Path, make_image: Callable[..., Path], kind: Any
) -> None:
    data = make_image(tmp_path / "1.png").read_bytes()
    (entry,) = list_entries(kind(data))
    assert isinstance(entry.content, InMemory)
    assert decode_image(entry.content.image).size == (40, 30)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.array([["a", "b"]]),
            r"images: expected an array of paths with one axis, got one of",
        ),
        ({"a": 1}, r"images: expected images, or a sequence of images, got a dict\. Pass its col"),
        (io.StringIO("x"), r"image 0: expected a file that is open in binary mode, got one"),
    ],
    ids=["table of text", "mapping", "text file"],
)
def test_list_entries_names_what_was_given(images: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list_entries(images)


def test_list_entries_closed_file_is_refused() -> None:
    file = io.BytesIO(b"x")
    file.close()
    with pytest.raises(SourceError, match=r"image 0: expected an open file, got ValueError: I/O"):
        list_entries([file])


def test_list_entries_says_what_a_folder_passes_over(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    make_image(tmp_path / "1.png")
    (tmp_path / "2.txt").write_text("text")
    with pytest.warns(FeatxWarning, match=r"passed over 1 \.txt$"):
        list_entries(tmp_path)


def test_list_inputs_takes_a_generator_once() -> None:
    assert list_inputs(str(number) for number in range(3)) == ["0", "1", "2"]
