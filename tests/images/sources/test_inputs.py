"""A notebook gives paths, open files, bytes, PIL images and arrays, alone or in sequences."""

import io
import operator
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from featx.core.errors import DecodeError, FeatxWarning, SourceError
from featx.core.typing import Array
from featx.images.content import InMemory
from featx.images.decode import decode_image
from featx.images.entries import Entry
from featx.images.sources.inputs import EntryStream, list_entries, list_inputs, read_images
from tests.images.builders import get_content


class Upload:
    """A file of an asynchronous web service."""

    async def read(self) -> bytes:
        raise AssertionError("nobody waits for it")


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
        (
            {"a": 1},
            r"images: expected images, or a sequence of images, got a dict with a\. Pass one",
        ),
        ({}, r"images: .*, got a dict, an empty one\. "),
        ({"a.jpg"}, r"images: .*, got a set\. A set has no order: pass sorted\(paths\), or a list"),
        (SimpleNamespace(columns=["path"]), r"images: .*, got a SimpleNamespace\. Pass its column"),
        (None, r"images: expected an image \(.*\), or several, got None\. cv2\.imread and others"),
        (3, r"images: expected an image \(.*, got int 3\. Pass paths, bytes, "),
        ([b"", None], r"image 1: expected an image \(.*, got None\. cv2"),
        ([[b"", b""]], r"image 0: .*, got a list\. Pass one flat list of images, without labels"),
        ([{"image": b"", "label": 1}], r"image 0: .*, got a dict with image, label\. Pass one of"),
        ([float("nan")], r"image 0: .*, got float nan\. "),
        (
            [np.float64(3)],
            r"image 0: expected uint8 of shape .*, got an array of float64 of shape \(",
        ),
        (np.array([b"x", None, 3], object), r"image 1: .*, got None\. "),
        (io.StringIO("x"), r"image 0: expected a file that is open in binary mode, got one"),
        (Upload(), r"image 0: expected a file .* in binary mode, got one that reads coroutine\. "),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
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


# --- one image in every form that a program has it in


class BytesPath:
    """A path of bytes, as programs have it that walk over a disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> bytes:
        return os.fsencode(self.path)


class Foreign:
    """An array of another library, such as a data set in an HDF5 file."""

    def __init__(self, array: Array) -> None:
        self.array, self.n_read = array, 0
        self.shape, self.dtype = array.shape, array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, number: int) -> Array:
        self.n_read += 1
        row: Array = self.array[number]
        return row

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        assert self.array.ndim < 4, "a data set that may be larger than memory"
        return np.array(self.array, dtype, copy=copy)


class Numbered:
    """A data set that has numbered items only, as those of torch."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        return self.items[number]


def read_array(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def with_alpha(array: Array) -> Array:
    return np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])


FORMS: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "path": lambda path: path,
    "path of bytes": BytesPath,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "file in memory": lambda path: io.BytesIO(path.read_bytes()),
    "Pillow": Image.open,
    "array": read_array,
    "array with alpha": lambda path: with_alpha(read_array(path)),
    "array in another order": lambda path: read_array(path)[..., ::-1][..., ::-1],
    "array of another library": lambda path: Foreign(read_array(path)),
    "tensor": lambda path: torch.from_numpy(read_array(path).transpose(2, 0, 1).copy()),
    "list": lambda path: [read_array(path)],
    "tuple": lambda path: (str(path),),
    "generator": lambda path: (one for one in [read_array(path)]),
    "values of a dict": lambda path: {"a": path}.values(),
    "numbered items": lambda path: Numbered([read_array(path)]),
    "batch": lambda path: read_array(path)[None],
    "list of batches": lambda path: [read_array(path)[None]],
    "generator of batches": lambda path: (one for one in [read_array(path)[None]]),
    "batch of another library": lambda path: Foreign(read_array(path)[None]),
    "batch of tensors": lambda path: torch.from_numpy(
        read_array(path).transpose(2, 0, 1)[None].copy()
    ),
    "array of text": lambda path: np.array([str(path)]),
}
"""One image in every form."""


@pytest.mark.parametrize("form", FORMS)
def test_read_images_reads_every_form_as_the_file(
    tmp_path: Path, make_image: Callable[..., Path], form: str
) -> None:
    path = make_image(tmp_path / "1.png", (7, 5))
    (entry,) = read_images(FORMS[form](path))
    np.testing.assert_array_equal(decode(entry), read_array(path))


def decode(entry: Entry) -> Array:
    """Decode an entry, wherever its image is."""
    content = entry.content
    data = content.image if isinstance(content, InMemory) else content.read()
    return np.asarray(decode_image(data))


GRAY = np.arange(35, dtype=np.uint8).reshape(5, 7)


@pytest.mark.parametrize(
    "images",
    [
        GRAY,
        GRAY[..., None],
        np.dstack([GRAY, np.full_like(GRAY, 255)]),
        GRAY.astype(np.uint16) * 257,
        (GRAY.astype(np.uint16) * 257).astype(">u2")[..., None],
        [GRAY],
        GRAY[None, ..., None],
        torch.from_numpy(GRAY),
        torch.from_numpy(GRAY[None]),
    ],
    ids=[
        "2 axes",
        "1 channel",
        "alpha",
        "16 bit",
        "big-endian",
        "list",
        "batch",
        "tensor",
        "1 first",
    ],
)
def test_read_images_reads_gray_arrays_as_gray(images: Any) -> None:
    (entry,) = read_images(images)
    np.testing.assert_array_equal(decode(entry), np.dstack([GRAY] * 3))


def save_odd(folder: Path) -> dict[str, Path]:
    """Save images whose pixels are not what their bytes say at once."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    deep = Image.fromarray(rng.integers(0, 65536, (5, 7), np.uint16))
    saved: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "exif.png": (image, {"exif": exif}),
        "exif.jpg": (image, {"exif": exif}),
        "exif.tiff": (image, {"exif": exif}),
        "palette.png": (image.convert("P"), {"transparency": 3}),
        "alpha.png": (image.convert("LA"), {}),
        "rgba.png": (Image.fromarray(rng.integers(0, 256, (5, 7, 4), np.uint8)), {}),
        "cmyk.jpg": (image.convert("CMYK"), {}),
        "16.png": (deep, {}),
        "16.tiff": (deep, {}),
        "1.png": (image.convert("1"), {}),
    }
    for name, (one, options) in saved.items():
        one.save(folder / name, **options)
    return {name: folder / name for name in saved}


def iter_closed(paths: Iterable[Path]) -> Iterator[Image.Image]:
    """Yield images that are closed before the next one is opened."""
    for path in paths:
        with Image.open(path) as image:
            yield image


def test_read_images_reads_images_of_pillow_as_their_files(tmp_path: Path) -> None:
    paths = save_odd(tmp_path)
    expected = [decode(entry) for entry in read_images([*paths.values()])]
    opened = [decode(entry) for entry in read_images([Image.open(one) for one in paths.values()])]
    closed = [decode(entry) for entry in list_entries(iter_closed(paths.values()))]
    for name, want, first, second in zip(paths, expected, opened, closed, strict=True):
        np.testing.assert_array_equal(first, want, err_msg=name)
        np.testing.assert_array_equal(second, want, err_msg=name)
    assert expected[0].shape == (7, 5, 3)  # turned


def test_read_images_names_images_by_their_files(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened, (tmp_path / "a.png").open("rb") as file:
        images = [opened, np.asarray(opened)[None].repeat(2, 0), file, opened.copy()]
        rows = [entry.row for entry in list_entries(images)]
    own = str(tmp_path / "a.png")
    assert [row.path for row in rows] == [own, "image 1", "image 2", own, "image 4"]
    assert [row.id for row in rows] == ["0", "1", "2", "3", "4"]


PIXELS = np.full((5, 7, 3), 3, np.uint8)


@pytest.mark.parametrize(
    ("images", "got", "remedy"),
    [
        (PIXELS / 255, "an array of float64 of shape (5, 7, 3), values 0.01176 to 0.01176",
         "Pass (array * 255).round().astype(numpy.uint8)."),
        (PIXELS.astype("f4"), "an array of float32 of shape (5, 7, 3), values 3 to 3",
         "Pass array.round().astype(numpy.uint8)."),
        (PIXELS - 9.0, "an array of float64 of shape (5, 7, 3), values -6 to -6",
         "Undo its normalisation, so that its values are 0 to 255, and convert it: "
         "astype(numpy.uint8)."),
        (PIXELS.astype("i8"), "an array of int64 of shape (5, 7, 3), values 3 to 3",
         "Pass array.astype(numpy.uint8)."),
        (PIXELS.astype("u2") << 8, "an array of uint16 of shape (5, 7, 3), values 768 to 768",
         "If its values have 16 bits, pass (array >> 8).astype(numpy.uint8)."),
        (PIXELS > 1, "an array of bool of shape (5, 7, 3)",
         "Pass array.astype(numpy.uint8) * 255."),
        (PIXELS.transpose(2, 0, 1), "an array of uint8 of shape (3, 5, 7), values 3 to 3",
         "Put the channels last: numpy.moveaxis(array, -3, -1)."),
        (PIXELS.transpose(2, 0, 1)[None], "an array of uint8 of shape (1, 3, 5, 7), values 3 to 3",
         "Put the channels last: numpy.moveaxis(array, -3, -1)."),
        (np.zeros((9, 5, 7), "u1"), "an array of uint8 of shape (9, 5, 7), values 0 to 0",
         "Pass gray images one by one: list(array)."),
        (np.zeros(9, "u1"), "an array of uint8 of shape (9,), values 0 to 0",
         "Of the bytes of an image file, pass array.tobytes()."),
        (np.zeros((2, 2, 5, 7, 3), "u1"),
         "an array of uint8 of shape (2, 2, 5, 7, 3), values 0 to 0",
         "Pass images one by one, or as a batch."),
        (np.array(3), "an array of int64 of shape (), values 3 to 3",
         "Pass images one by one, or as a batch."),
        (torch.from_numpy(PIXELS), "a tensor of uint8 of shape (5, 7, 3), values 3 to 3",
         "Put the channels first: tensor.movedim(-1, -3)."),
        (torch.rand(3, 5, 7, dtype=torch.bfloat16) * 0,
         "a tensor of bfloat16 of shape (3, 5, 7), values 0 to 0",
         "Pass (tensor * 255).round().to(torch.uint8)."),
        ([PIXELS[None].astype("c8")], "an array of complex64 of shape (1, 5, 7, 3)",
         "Undo its normalisation, so that its values are 0 to 255, and convert it: "
         "astype(numpy.uint8)."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_read_images_refuses_other_arrays_with_what_to_do(
    images: Any, got: str, remedy: str
) -> None:
    with pytest.raises(SourceError) as caught:
        list_entries(images)
    assert (caught.value.subject, caught.value.got, caught.value.remedy) == ("image 0", got, remedy)
    is_tensor = isinstance(images, torch.Tensor)
    shape = "(channels, height, width)" if is_tensor else "(height, width, channels)"
    assert caught.value.expected.startswith(
        f"uint8 of shape {shape} or (height, width), or a batch"
    )


def test_read_images_takes_what_it_advises() -> None:
    first = PIXELS.transpose(2, 0, 1)
    for images in (torch.from_numpy(PIXELS).movedim(-1, -3), np.moveaxis(first, -3, -1)):
        (entry,) = read_images(images)
        np.testing.assert_array_equal(decode(entry), PIXELS)


def test_read_images_image_without_pixels_fails_alone() -> None:
    empty, whole = list_entries([np.zeros((0, 7, 3), np.uint8), PIXELS])
    with pytest.raises(DecodeError, match=r"got uint8 of shape \(0, 7, 3\)\. Leave the image out"):
        decode(empty)
    np.testing.assert_array_equal(decode(whole), PIXELS)


# --- streams


def test_read_images_takes_from_a_generator_when_needed() -> None:
    taken: list[int] = []

    def generate() -> Iterator[Array]:
        for number in range(5):
            taken.append(number)
            yield PIXELS

    stream = read_images(generate())
    assert isinstance(stream, EntryStream)
    assert (taken, operator.length_hint(stream)) == ([], 0)
    assert next(stream).row.id == "0"
    assert next(stream).row.id == "1"
    assert taken == [0, 1]


def test_read_images_takes_rows_of_a_data_set_one_by_one() -> None:
    data = Foreign(np.zeros((5, 4, 3, 3), np.uint8))
    stream = read_images(data)
    assert isinstance(stream, EntryStream)
    assert operator.length_hint(stream) == 5
    next(stream)
    assert (data.n_read, operator.length_hint(stream)) == (1, 4)


def test_read_images_keeps_what_a_generator_writes_over() -> None:
    def generate() -> Iterator[Any]:
        frame, canvas = np.zeros((3, 4, 3), np.uint8), Image.new("RGB", (4, 3))
        for number in range(3):
            frame[:] = number
            yield frame
            canvas.paste((number,) * 3, (0, 0, 4, 3))
            yield canvas

    entries = list_entries(generate())
    found = [set(decode(entry).ravel().tolist()) for entry in entries]
    assert found == [{0}, {0}, {1}, {1}, {2}, {2}]


def test_read_images_tells_the_frames_of_an_animation_apart(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), (60 * number,) * 3) for number in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.gif") as image:
        entries = list_entries(ImageSequence.Iterator(image))
    assert [int(decode(entry)[0, 0, 0]) for entry in entries] == [0, 60, 120, 180]


def test_list_inputs_takes_nothing_from_a_generator() -> None:
    images = iter([b"a", b"b"])
    assert list_inputs(images) == [images]
    assert list(images) == [b"a", b"b"]
