"""Bytes to RGB: every mode and orientation, and what damaged bytes become."""

import io
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from featx.core.errors import DecodeError
from featx.core.typing import Array, Decode, UInt8Array, list_choices
from featx.images.decode import (
    DECODERS,
    decode_image,
    decode_reduced,
)

from .awkward import STORED

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that featx reads by default, as Pillow calls them."""


def draw(size: tuple[int, int] = (5, 4), seed: int = 0) -> UInt8Array:
    """Make an array in which no two pixels agree."""
    rng = np.random.default_rng(seed)
    n_pixels = size[0] * size[1]
    values = rng.permutation(256)[: 3 * n_pixels].astype(np.uint8)
    return values.reshape(size[1], size[0], 3)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=format, **options)
    return stream.getvalue()


def encode_smooth(format: str, size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    ramp = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3)
    return encode(Image.fromarray(ramp.astype(np.uint8)), format, **options)


def make_palette(transparent: int | bytes | None = None) -> Image.Image:
    """Make a 2 x 1 image of red and blue with a palette."""
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    if transparent is not None:
        image.info["transparency"] = transparent
    return image


# --- modes


def test_decode_rgb_png_gives_its_own_pixels() -> None:
    array = draw()
    image = decode_image(encode(Image.fromarray(array), "PNG"))
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), array)


CASES = {
    "L": (Image.new("L", (2, 1), 77), [[77, 77, 77], [77, 77, 77]]),
    "1": (Image.frombytes("1", (2, 1), b"\x40"), [[0, 0, 0], [255, 255, 255]]),
    "P": (make_palette(), [[255, 0, 0], [0, 0, 255]]),
    "P with transparent index": (make_palette(1), [[255, 0, 0], [255, 255, 255]]),
    "P with alpha per index": (make_palette(bytes([255, 0])), [[255, 0, 0], [255, 255, 255]]),
    "RGBA": (
        Image.fromarray(np.array([[[255, 0, 0, 0], [255, 0, 0, 255]]], np.uint8)),
        [[255, 255, 255], [255, 0, 0]],
    ),
    "LA": (
        Image.fromarray(np.array([[[9, 0], [9, 255]]], np.uint8), "LA"),
        [[255, 255, 255], [9, 9, 9]],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_decode_mode_becomes_rgb(name: str) -> None:
    image, expected = CASES[name]
    decoded = decode_image(encode(image, "PNG"))
    assert decoded.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(decoded)[0], expected)


def test_decode_half_transparent_mixes_with_white() -> None:
    image = Image.fromarray(np.array([[[200, 0, 100, 128]]], np.uint8))
    mixed = np.asarray(decode_image(encode(image, "PNG")))[0, 0].astype(int)
    share = 128 / 255
    expected = np.array([200, 0, 100]) * share + 255 * (1 - share)
    assert np.abs(mixed - expected).max() <= 1


def test_decode_rgb_with_transparent_colour_is_white_there() -> None:
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    data = encode(image, "PNG", transparency=(1, 2, 3))
    np.testing.assert_array_equal(np.asarray(decode_image(data))[0], [[255] * 3, [4, 5, 6]])


@pytest.mark.parametrize(
    ("ink", "colour"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
    ],
)
def test_decode_cmyk_becomes_rgb(ink: Any, colour: Any) -> None:
    image = decode_image(encode(Image.new("CMYK", (2, 2), ink), "TIFF"))
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == colour


def test_decode_cmyk_jpeg_becomes_rgb() -> None:
    image = decode_image(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    red, green, blue = np.asarray(image)[8, 8]
    assert red > 245
    assert max(green, blue) < 10


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_decode_16_bit_is_scaled_and_not_clipped(format: str) -> None:
    values = np.array([[0, 128, 129, 257, 1000, 32896, 65535]], dtype=np.uint16)
    decoded = np.asarray(decode_image(encode(Image.fromarray(values), format)))
    np.testing.assert_array_equal(decoded[0, :, 0], [0, 0, 1, 1, 4, 128, 255])
    assert (decoded == decoded[:, :, :1]).all()


def test_decode_16_bit_big_endian_is_scaled() -> None:
    values = np.array([[0, 32896, 65535]], dtype=">u2")
    decoded = decode_image(encode(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(np.asarray(decoded)[0, :, 0], [0, 128, 255])


def test_decode_32_bit_within_16_bit_range_is_scaled() -> None:
    image = Image.fromarray(np.array([[0, 65535]], dtype=np.int32))
    assert image.mode == "I"
    decoded = decode_image(encode(image, "TIFF"))
    np.testing.assert_array_equal(np.asarray(decoded)[0, :, 0], [0, 255])


@pytest.mark.parametrize("value", [-1, 65536])
def test_decode_32_bit_out_of_range_is_refused(value: Any) -> None:
    data = encode(Image.fromarray(np.array([[0, value]], dtype=np.int32)), "TIFF")
    with pytest.raises(DecodeError, match=r"expected pixels in 0\.\.65535, got 32-bit pixels in "):
        decode_image(data)


def test_decode_floating_point_is_refused() -> None:
    data = encode(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")
    with pytest.raises(DecodeError, match="expected 8-bit or 16-bit pixels, got floating-point"):
        decode_image(data)


# --- orientation and frames


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_decode_exif_orientation_gives_upright_pixels(orientation: int, format: str) -> None:
    upright = draw((6, 4))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    decoded = decode_image(encode(stored, format, exif=exif, **options))
    np.testing.assert_array_equal(np.asarray(decoded), upright)


def test_decode_exif_orientation_of_jpeg_swaps_its_sides() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    assert decode_image(encode_smooth("JPEG", (64, 48), exif=exif)).size == (48, 64)


def test_decode_orientation_and_transparency_are_both_applied() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    image = Image.fromarray(np.array([[[1, 2, 3, 0], [4, 5, 6, 255]]], np.uint8))
    decoded = decode_image(encode(image, "PNG", exif=exif))
    np.testing.assert_array_equal(np.asarray(decoded)[0], [[4, 5, 6], [255, 255, 255]])


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_decode_several_frames_gives_the_first(format: str) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(first, format, save_all=True, append_images=[second], **options)
    assert decode_image(data).getpixel((4, 4)) == (255, 0, 0)


def test_decode_jpeg_of_several_images_gives_the_first() -> None:
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    data = encode(first, "MPO", save_all=True, append_images=[second])
    red, _, blue = np.asarray(decode_image(data))[8, 8]
    assert red > 240
    assert blue < 15


def test_decode_one_pixel_image_is_decoded() -> None:
    assert decode_image(encode(Image.new("RGB", (1, 1), "lime"), "PNG")).getpixel((0, 0)) == (
        0,
        255,
        0,
    )


# --- damage


def test_decode_empty_bytes_are_refused() -> None:
    with pytest.raises(
        DecodeError, match=r"^image: expected an image, got an empty file\. Copy the"
    ):
        decode_image(b"")


@pytest.mark.parametrize(
    "data",
    [b"these are\nnotes", b"\x00" * 100, b"%!PS-Adobe-3.0 EPSF-3.0\n", b"%PDF-1.7\n", b"\xff\xd8"],
    ids=["text", "zeros", "eps", "pdf", "two bytes of a jpeg"],
)
def test_decode_other_bytes_are_refused_in_one_line(data: Any) -> None:
    with pytest.raises(DecodeError, match=r"^[^\n]+$") as caught:
        decode_image(data)
    assert " at 0x" not in str(caught.value)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_decode_truncated_file_is_refused_in_one_line(format: str) -> None:
    data = encode_smooth(format)
    with pytest.raises(DecodeError, match=r"\A[^\n]+\Z"):
        decode_image(data[: len(data) // 2])


def test_decode_truncated_jpeg_says_so() -> None:
    data = encode_smooth("JPEG")
    with pytest.raises(DecodeError, match="truncated"):
        decode_image(data[: len(data) * 3 // 4])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format", FORMATS)
def test_decode_damaged_bytes_raise_nothing_but_decode_error(format: str) -> None:
    rng = np.random.default_rng(0)
    whole = np.frombuffer(encode_smooth(format, (24, 16)), np.uint8)
    others: list[Exception] = []
    for _ in range(60):
        data = whole.copy()
        places = rng.integers(0, min(len(data), 400), 6)
        data[places] = rng.integers(0, 256, 6)
        try:
            image = decode_image(data.tobytes())
            assert image.mode == "RGB"
        except DecodeError as error:
            if "\n" in str(error) or not str(error):
                others.append(error)
        except Exception as error:
            others.append(error)
    assert others == []


# --- what a notebook holds


def test_decode_array_of_three_channels_is_taken_as_it_is() -> None:
    array = draw()
    np.testing.assert_array_equal(np.asarray(decode_image(array)), array)


def test_decode_array_that_is_a_strided_view_is_taken() -> None:
    array = draw((6, 4))[::-1, ::2]
    np.testing.assert_array_equal(np.asarray(decode_image(array)), array)


def test_decode_gray_array_is_repeated_in_three_channels() -> None:
    gray = draw()[:, :, 0]
    decoded = np.asarray(decode_image(gray))
    np.testing.assert_array_equal(decoded, np.repeat(gray[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((4, 4, 0), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_decode_wrong_array_is_refused_with_its_dtype_and_shape(array: Array) -> None:
    with pytest.raises(DecodeError, match="expected an array of uint8") as caught:
        decode_image(array)
    assert caught.value.reason.endswith(f"got {array.dtype} of shape {array.shape}")


def test_decode_pillow_image_is_converted_and_left_unchanged() -> None:
    image = Image.fromarray(np.array([[[1, 2, 3, 0], [4, 5, 6, 255]]], np.uint8))
    decoded = decode_image(image)
    np.testing.assert_array_equal(np.asarray(decoded)[0], [[255, 255, 255], [4, 5, 6]])
    assert image.mode == "RGBA"
    assert image.getpixel((0, 0)) == (1, 2, 3, 0)


def test_decode_opened_pillow_file_equals_its_bytes() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encode(Image.fromarray(draw((6, 4))), "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        decoded = decode_image(image)
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(decode_image(data)))


@pytest.mark.parametrize("thing", [None, 3, "photo.jpg", [1, 2]], ids=str)
def test_decode_other_object_is_refused_with_its_type(thing: Any) -> None:
    with pytest.raises(DecodeError, match=f"expected an image, got {type(thing).__name__}"):
        decode_image(thing)


# --- decode_reduced


def draw_smooth(size: tuple[int, int]) -> UInt8Array:
    """Draw an image that looks alike at any size, and in no two of its corners."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    pixels = np.stack([x, y, (x + 2 * y) / 3], axis=2)
    return (40 + 180 * pixels).astype(np.uint8)


def encode_turned(size: tuple[int, int], orientation: int, **options: Any) -> bytes:
    """Encode a JPEG that is of this size once it is upright."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](draw_smooth(size))))
    return encode(stored, "JPEG", exif=exif, quality=95, **options)


@pytest.mark.parametrize("size", [(640, 480), (480, 641)], ids=str)
@pytest.mark.parametrize("orientation", STORED)
def test_decode_reduced_tells_the_size_of_the_whole_upright_image(
    orientation: int, size: Any
) -> None:
    image, told = decode_reduced(encode_turned(size, orientation), 100)
    assert told == size
    assert image.size == (-(-size[0] // 4), -(-size[1] // 4))


@pytest.mark.parametrize("orientation", STORED)
def test_decode_reduced_is_the_same_image_smaller(orientation: int) -> None:
    data = encode_turned((640, 480), orientation)
    image, _ = decode_reduced(data, 100)
    whole = decode_image(data).resize(image.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(image).astype(int) - np.asarray(whole))
    assert difference.max() <= 8


@pytest.mark.parametrize("size", [(640, 480), (480, 641), (1001, 97), (60, 60)], ids=str)
@pytest.mark.parametrize("min_side", [1, 7, 12, 13, 60, 61, 120, 121, 240, 241, 480, 481, 10**6])
def test_decode_reduced_keeps_the_side_it_must_and_little_more(size: Any, min_side: int) -> None:
    data = encode(Image.fromarray(draw_smooth(size)), "JPEG")
    image, told = decode_reduced(data, min_side)
    assert told == size
    scale = round(max(size) / max(image.size))
    assert scale in (1, 2, 4, 8)
    if scale > 1:
        assert min(image.size) >= min_side
    if scale < 8:
        assert min(size) // (2 * scale) < min_side


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_decode_reduced_jpeg_of_another_mode_becomes_rgb(mode: str) -> None:
    whole = Image.fromarray(draw_smooth((640, 480))).convert(mode)
    image, size = decode_reduced(encode(whole, "JPEG"), 100)
    assert (image.mode, image.size, size) == ("RGB", (160, 120), (640, 480))


@pytest.mark.parametrize("format", sorted({*FORMATS} - {"JPEG"}))
def test_decode_reduced_other_format_comes_in_full_size(format: str) -> None:
    data = encode_smooth(format, (640, 480))
    image, size = decode_reduced(data, 10)
    assert image.size == size == (640, 480)
    assert image.tobytes() == decode_image(data).tobytes()


def test_decode_reduced_array_and_opened_image_come_in_full_size() -> None:
    pixels = draw_smooth((640, 480))
    opened = Image.open(io.BytesIO(encode(Image.fromarray(pixels), "JPEG")))
    for data in (pixels, Image.fromarray(pixels), opened):
        image, size = decode_reduced(data, 10)
        assert image.size == size == (640, 480)


@pytest.mark.parametrize("orientation", STORED)
def test_decode_reduced_without_a_side_reduces_nothing(orientation: int) -> None:
    data = encode_turned((640, 480), orientation)
    image, size = decode_reduced(data)
    assert image.size == size == (640, 480)
    assert image.tobytes() == decode_image(data).tobytes()


@pytest.mark.parametrize("n_bytes", [0, 2, 300, 3000])
def test_decode_reduced_truncated_jpeg_is_refused(n_bytes: int) -> None:
    data = encode(Image.fromarray(draw_smooth((640, 480))), "JPEG", quality=95)
    assert len(data) > 4000
    with pytest.raises(DecodeError):
        decode_reduced(data[:n_bytes], 100)


def test_decoders_name_each_way_with_a_version() -> None:
    assert list(DECODERS) == list(list_choices(Decode))
    assert all(re.fullmatch(r"[a-z-]+/\d+", name) for name in DECODERS.values())
    assert len({*DECODERS.values()}) == len(DECODERS)


# --- formats


@pytest.mark.parametrize("format", FORMATS)
def test_decode_format_is_decoded(format: str) -> None:
    assert decode_image(encode_smooth(format)).size == (64, 48)


def test_decode_image_of_pillow_may_be_given_to_many_threads() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads meet in Pillow, which loads an image in one thread only
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(60):
                image = Image.open(io.BytesIO(stream.getvalue()))
                for found in pool.map(decode_image, [image] * 8):
                    np.testing.assert_array_equal(np.asarray(found), np.rot90(pixels, -1))
    finally:
        sys.setswitchinterval(before)
