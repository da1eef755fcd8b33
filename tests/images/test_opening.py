"""What is decided by the header: formats, previews, limits; and Pillow's settings meanwhile."""

import io
import logging
import re
import struct
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import (
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    PngImagePlugin,
    TiffImagePlugin,
    features,
)

from featx.core.errors import DecodeError
from featx.images.decode import BRIGHTEST_16_BIT, decode_image
from featx.images.opening import MAX_PIXELS, check_name

from .awkward import (
    GRAY,
    JPEG,
    PICTURE,
    PNG,
    RED,
    SIZE,
    TIFF,
    build_gif,
    build_png,
    build_tiff,
    encode,
    encode_fill,
)

PIXELS = PICTURE.tobytes()


def refuse(data: bytes, name: str = "") -> str:
    """Return what a person reads about a file that is not decoded."""
    with pytest.raises(DecodeError) as caught:
        decode_image(data, name)
    return f"{caught.value.reason}. {caught.value.remedy}"


def assert_same(data: bytes, expected: Any = PICTURE, name: str = "") -> None:
    np.testing.assert_array_equal(np.asarray(decode_image(data, name)), expected)


# --- a caller's settings are no input

LONG_PROFILE = encode(PICTURE, "PNG", icc_profile=np.random.default_rng(0).bytes(2 << 20))
TWO_FRAMES = encode_fill(
    "GIF", size=SIZE, save_all=True, append_images=[Image.new("RGB", SIZE, "blue")]
)


def register_own_png(patch: pytest.MonkeyPatch) -> None:
    """Register another plugin for PNG, as pillow-heif and others did for AVIF."""

    def open_red(fp: Any, filename: Any) -> Any:
        return Image.new("RGB", SIZE, RED)

    Image.init()
    patch.setitem(Image.OPEN, "PNG", (open_red, lambda prefix: True))
    patch.setattr(Image, "ID", ["PNG"])


CHANGES: dict[str, Any] = {
    "truncated files are loaded": lambda patch: patch.setattr(
        ImageFile, "LOAD_TRUNCATED_IMAGES", True
    ),
    "few pixels are allowed": lambda patch: patch.setattr(Image, "MAX_IMAGE_PIXELS", 9),
    "any number of pixels is allowed": lambda patch: patch.setattr(Image, "MAX_IMAGE_PIXELS", None),
    "small blocks": lambda patch: patch.setattr(ImageFile, "MAXBLOCK", 16),
    "long texts are allowed": lambda patch: patch.setattr(
        PngImagePlugin, "MAX_TEXT_CHUNK", 1 << 30
    ),
    "GIF as palette": lambda patch: patch.setattr(
        GifImagePlugin, "LOADING_STRATEGY", GifImagePlugin.LoadingStrategy.RGB_ALWAYS
    ),
    "libtiff always": lambda patch: patch.setattr(TiffImagePlugin, "READ_LIBTIFF", True),
    "another plugin": register_own_png,
    "another open": lambda patch: patch.setattr(Image, "open", lambda *_, **__: 1 / 0),
    "warnings are errors": lambda patch: warnings.simplefilter("error"),
}

FILES = {
    "jpeg": JPEG,
    "png": PNG,
    "tiff": TIFF,
    "gif": TWO_FRAMES,
    "cut jpeg": JPEG[: len(JPEG) // 2],
    "cut png": PNG[: len(PNG) // 2],
    "long profile": LONG_PROFILE,
    "malformed mpo": JPEG[:2] + b"\xff\xe2\0\x0dMPF\0garbage" + JPEG[2:],
    "bomb": build_png((50_000, 50_000), 8, 0, bytes(1 << 20)),
}


def get_outcome(data: bytes) -> bytes | str:
    try:
        return decode_image(data).tobytes()
    except DecodeError as error:
        return error.reason


PLAIN = {name: get_outcome(data) for name, data in FILES.items()}


def test_files_have_both_outcomes() -> None:
    assert len({type(outcome) for outcome in PLAIN.values()}) == 2


@pytest.mark.parametrize("change", CHANGES)
def test_settings_that_a_notebook_changes_change_no_result(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        CHANGES[change](monkeypatch)
        assert {name: get_outcome(data) for name, data in FILES.items()} == PLAIN


def test_settings_are_given_back_after_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9)
    for data in (JPEG, JPEG[: len(JPEG) // 2], b"text"):
        get_outcome(data)
        assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, 9)
        assert Image.warnings is warnings  # type: ignore[attr-defined]


def test_settings_of_an_image_that_the_caller_opened_are_held_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    opened = Image.open(io.BytesIO(JPEG[: len(JPEG) // 2]))
    with pytest.raises(DecodeError, match="truncated"):
        decode_image(opened)


def test_settings_are_held_in_many_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    cut = JPEG[: len(JPEG) // 2]
    found: list[bytes | str] = []

    def work() -> None:
        found.extend(get_outcome(cut) for _ in range(30))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [PLAIN["cut jpeg"]] * 120
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


# --- nothing is printed

BANDS = build_tiff((4, 4), [16] * 13, 1, bytes(4 * 4 * 26), (338, 3, [0] * 12))


def build_damaged_lzw() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    data = encode(noise, "TIFF", compression="tiff_lzw")
    return data[:8] + bytes(4000) + data[4008:]


def test_loggers_of_pillow_are_silent(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    damaged = build_damaged_lzw() if features.check("libtiff") else PNG[:99]
    with caplog.at_level(logging.INFO):
        refuse(BANDS)
        refuse(damaged)
        decode_image(PNG)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("PIL.TiffImagePlugin").disabled


@pytest.mark.skipif(not features.check("libtiff"), reason="needs libtiff")
def test_libtiff_prints_again_for_others_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    data = build_damaged_lzw()
    refuse(data)
    with pytest.raises(OSError, match="decoder error"), Image.open(io.BytesIO(data)) as image:
        image.load()
    assert "tempfile.tif" in capfd.readouterr().err


# --- a preview is not the image

RAW = {
    "dng": build_tiff(SIZE, [8] * 3, 2, PIXELS, (50706, 4, [0x01040000])),
    "colour filter array": build_tiff(SIZE, [8], 32803, PICTURE[:, :, 0].tobytes()),
    "linear raw": build_tiff(SIZE, [16] * 3, 34892, PIXELS * 2),
}


def insert_first_tag(data: bytes, tag: int, kind: int, value: int) -> bytes:
    """Put a tag before all others of a little-endian TIFF that `build_tiff` wrote."""
    (count,) = struct.unpack_from("<H", data, 8)
    entries = [list(struct.unpack_from("<HHLL", data, 10 + 12 * i)) for i in range(count)]
    for entry in entries:
        sizes = {3: 2, 4: 4}
        if entry[0] == 273 or sizes[entry[1]] * entry[2] > 4:
            entry[3] += 12
    body = struct.pack("<HHLL", tag, kind, 1, value)
    body += b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return data[:8] + struct.pack("<H", count + 1) + body + data[10 + 12 * count :]


def test_first_page_that_is_the_image_is_decoded() -> None:
    plain = build_tiff(SIZE, [8] * 3, 2, PIXELS)
    for value in (0, 2):  # 2: one page of several
        assert_same(insert_first_tag(plain, 254, 4, value))
    assert_same(insert_first_tag(plain, 255, 3, 1))
    pyramid = encode(PICTURE, "TIFF", save_all=True, append_images=[Image.new("RGB", (8, 6))])
    assert_same(pyramid, name="slide.svs")


@pytest.mark.parametrize(
    ("tag", "kind", "value"), [(254, 4, 1), (254, 4, 3), (254, 4, 4), (255, 3, 2)]
)
def test_first_page_that_is_a_preview_or_a_mask_is_refused(tag: int, kind: int, value: int) -> None:
    data = insert_first_tag(build_tiff(SIZE, [8] * 3, 2, PIXELS), tag, kind, value)
    assert "expected a TIFF whose first page is the image, got a preview" in refuse(data)


@pytest.mark.parametrize("name", RAW)
def test_raw_file_is_refused_whatever_it_is_called(name: str) -> None:
    for file in ("a.tif", "a.jpg", ""):
        assert "got a raw file of a camera. Convert" in refuse(RAW[name], file)


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("a/b.NEF", "a raw file of a camera (.nef)"),
        ("b.dng", "a raw file of a camera (.dng)"),
        ("MVI_1.THM", "a thumbnail that a camera keeps beside another file (.thm)"),
        ("slide.mrxs", "a file of a microscope (.mrxs)"),
        ("b.jpg.owncloud", "a placeholder: the file is in the cloud"),
    ],
)
def test_name_of_a_file_that_holds_a_preview_is_refused(file: str, what: str) -> None:
    with pytest.raises(DecodeError, match=re.escape(f"got {what}")):
        check_name(file)


@pytest.mark.parametrize("file", ["a.tif", "a.jpg", "a.heic", "a.svg", "a.txt.icloud", "nef", ""])
def test_name_of_another_file_is_not_refused(file: str) -> None:
    check_name(file)


@pytest.mark.parametrize("file", ["a.heic", "a.svg", "a.psd", "a.dcm", "a.txt", "a"])
def test_name_of_another_format_yields_to_the_content(file: str) -> None:
    assert_same(PNG, name=file)


def build_psd(is_merged: bool) -> bytes:
    """Write a Photoshop document that holds, or lacks, its layers merged as one image."""
    info = struct.pack(">LB", 1, is_merged) + bytes(13)
    resource = b"8BIM" + struct.pack(">H", 1057) + b"\0\0" + struct.pack(">L", len(info)) + info
    planes = PICTURE.transpose(2, 0, 1).tobytes()
    header = struct.pack(">4sH6sHLLHH", b"8BPS", 1, bytes(6), 3, SIZE[1], SIZE[0], 8, 3)
    return header + struct.pack(">LL", 0, len(resource)) + resource + bytes(4) + b"\0\0" + planes


def test_photoshop_document_is_decoded_if_it_holds_one_image() -> None:
    assert_same(build_psd(True))
    assert "layers merged as one image, got PSD without it. Save it" in refuse(build_psd(False))


# --- reasons say what was found

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 130834\n"

REASONS = {
    "a pointer of Git LFS. Run: git lfs pull": LFS,
    "an HTML page. Download": b"<!DOCTYPE html>\n<html>",
    "an MP4 or QuickTime video. Write the frames": b"\0\0\0\x18ftypisom" + bytes(99),
    "a ZIP archive. Unpack it": b"PK\x03\x04" + bytes(99),
    "a NumPy array. Pass the array": b"\x93NUMPY\x01\0" + bytes(99),
    "JPEG XL. Convert": b"\xff\x0a\xfa\x1f" + bytes(99),
    "DICOM. Convert": bytes(128) + b"DICM" + bytes(99),
    "a file that begins with zeros. Copy": bytes(999),
    "text that begins with 'Access denied'": b"Access denied",
    "an empty file. Copy": b"",
    r"bytes that begin with b'\x01\x02\x03\x04": bytes(range(1, 200)),
    "PNG whose header cannot be read": PNG[:20] + b"zzzz" + PNG[24:],
    "JPEG that cannot be decoded (OSError: image file is truncated": JPEG[: len(JPEG) // 2],
    "TIFF of 13 samples of 16 bit": BANDS,
    "TIFF of 3 samples of 32 bit, floating-point": build_tiff(
        (2, 1), [32] * 3, 2, bytes(24), (339, 3, [3] * 3)
    ),
    "TIFF of 1 sample of 64 bit, floating-point": build_tiff(
        (1, 1), [64], 1, bytes(8), (339, 3, [3])
    ),
    "TIFF of 2 samples of 16 bit, complex": build_tiff(
        (1, 1), [16] * 2, 1, bytes(4), (339, 3, [5] * 2)
    ),
    "TIFF of compression 50002. Save it without": build_tiff((1, 1), [8], 1, b"\0").replace(
        struct.pack("<HHLL", 259, 3, 1, 1), struct.pack("<HHLL", 259, 3, 1, 50002)
    ),
    "60,000 x 60,000 = 3,600,000,000. Cut the image into tiles": build_tiff(
        (60_000, 60_000), [8], 1, b"\0"
    ),
    "1,000,000 x 200 = 200,000,000. Cut": build_png((1_000_000, 200), 8, 0, b"\0"),
}


@pytest.mark.parametrize("reason", REASONS)
def test_reason_says_what_was_found_and_what_to_do(reason: str) -> None:
    text = refuse(REASONS[reason], "photo.jpg")
    assert f"got {reason}" in text
    assert "\n" not in text


def test_reason_of_a_document_goes_by_its_name_if_its_content_is_a_container() -> None:
    assert "got a document of a drawing program. Export" in refuse(b"PK\x03\x04", "a.kra")
    assert "got DICOM. Convert" in refuse(bytes(range(1, 99)), "a.dcm")


def test_limit_of_pixels_is_that_of_pillow() -> None:
    assert MAX_PIXELS == 2 * (1024 * 1024 * 1024 // 4 // 3)


# --- formats that are read where somebody promises them

WRITTEN = ("DDS", "DIB", "ICO", "PCX", "QOI", "SGI", "TGA", "XBM")


@pytest.mark.parametrize(
    "format", [name for name in WRITTEN if name in {*Image.SAVE, "QOI", "DIB"}]
)
def test_format_that_is_promised_is_decoded(format: str) -> None:
    Image.init()
    if format not in Image.SAVE:
        pytest.skip("this Pillow does not write it")
    image = Image.fromarray(PICTURE)
    options: dict[str, Any] = {"sizes": [SIZE]} if format == "ICO" else {}
    if format == "XBM":
        image = image.convert("1")
    expected = np.asarray(image.convert("RGB"))
    assert_same(encode(image, format, **options), expected)


@pytest.mark.skipif("ICNS" not in Image.SAVE, reason="this Pillow does not write it")
def test_largest_icon_of_several_is_decoded() -> None:
    for format, size in {"ICNS": (1024, 1024), "ICO": (32, 32)}.items():
        image = Image.new("RGB", (64, 64), RED)
        data = encode(image, format, **({"sizes": [(16, 16), (32, 32)]} if format == "ICO" else {}))
        assert decode_image(data).size == size


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_tga_of_each_mode_is_told_and_decoded(mode: str, rle: bool) -> None:
    image = Image.fromarray(PICTURE).convert(mode)
    data = encode(image, "TGA", compression="tga_rle" if rle else None)
    assert_same(data, np.asarray(image.convert("RGB")))


# --- HEIC


@pytest.fixture
def heif() -> Any:
    heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    if not heif.libheif_info()["HEIF"]:
        pytest.skip("this build of libheif does not write HEIC")
    return heif


def encode_heic(heif: Any, image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    heif.from_pillow(image).save(stream, quality=95, **options)
    return stream.getvalue()


def test_heic_is_decoded(heif: Any) -> None:
    data = encode_heic(heif, Image.fromarray(PICTURE))
    assert data[4:12] == b"ftypheic"
    pixels = np.asarray(decode_image(data, "IMG_1.HEIC")).astype(int)
    assert np.abs(pixels - PICTURE).mean() < 4
    assert "HEIF" not in Image.OPEN


@pytest.fixture
def registered(heif: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's registry as a notebook leaves it that has registered HEIC."""
    Image.init()
    for name in ("OPEN", "SAVE", "SAVE_ALL", "EXTENSION", "MIME"):
        monkeypatch.setattr(Image, name, dict(getattr(Image, name)))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    heif.register_heif_opener()


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
def test_heic_is_turned_upright_once(orientation: int) -> None:
    image = Image.fromarray(PICTURE)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    upright = decode_image(encode(image, "PNG", exif=exif))
    image.info["exif"] = exif.tobytes()
    data = encode(image, "HEIF", quality=95)
    assert (b"irot" in data or b"imir" in data) is (orientation != 1)
    found = decode_image(data)
    assert found.size == upright.size
    assert np.abs(np.asarray(found).astype(int) - np.asarray(upright)).mean() < 4


def test_heic_does_not_depend_on_what_a_notebook_registers(
    heif: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode_heic(heif, Image.fromarray(PICTURE))
    before = decode_image(data).tobytes()
    monkeypatch.setattr(heif.options, "PREFERRED_DECODER", {"HEIF": "none of this name"})
    monkeypatch.setattr(heif.options, "DISABLE_SECURITY_LIMITS", True)
    assert decode_image(data).tobytes() == before
    assert heif.options.DISABLE_SECURITY_LIMITS is True


def test_heic_that_is_cut_is_refused(heif: Any) -> None:
    data = encode_heic(heif, Image.fromarray(PICTURE))
    assert "expected a whole image, got HE" in refuse(data[: len(data) // 2])


def test_heic_without_its_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for brand in (b"heic", b"mif1", b"heix", b"msf1"):
        reason = refuse(b"\0\0\0\x18ftyp" + brand + bytes(99), "IMG_1.jpg")
        assert "got HEIC. Run: pip install pillow-heif (the extra heic" in reason
        assert "Or convert it to JPEG" in reason


# --- 16 bits


def get_brightest(data: bytes) -> int | None:
    value: int | None = decode_image(data).info.get(BRIGHTEST_16_BIT)
    return value


def test_brightest_value_of_16_bit_is_told() -> None:
    values = PICTURE[:, :, 0].astype("<u2")
    for factor in (1, 16, 257):
        data = build_tiff(SIZE, [16], 1, (values * factor).tobytes())
        assert get_brightest(data) == 255 * factor
    for data in (JPEG, PNG, encode(GRAY[:, :, 0], "PNG"), build_gif((2, 1), [0, 1])):
        assert get_brightest(data) is None


def test_brightest_value_of_16_bit_colours_is_that_of_their_upper_bytes() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in (PICTURE.astype(int) * 16).astype(">u2"))
    assert get_brightest(build_png(SIZE, 16, 2, rows)) == 15 * 256 + 255
    alpha = np.dstack([PICTURE.astype("<u2") * 16, np.full((48, 64), 65535, "<u2")])
    data = build_tiff(SIZE, [16] * 4, 2, alpha.astype("<u2").tobytes(), (338, 3, [2]))
    assert get_brightest(data) == 15 * 256 + 255
