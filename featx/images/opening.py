"""Open the bytes of an image with Pillow: header first, pixels later.

Pillow's registry of plugins is not used, because a notebook may change it: each format has one
plugin, which `featx.images.formats.FORMATS` names.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import logging
import os
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, BinaryIO

from PIL import Image, ImageFile

from featx.core.errors import DecodeError
from featx.core.process import HeldSettings
from featx.images.format_table import PREFIX_SIZE, RAW, Format
from featx.images.formats import HIDING_SUFFIXES, find_by_name, iter_by_content

MAX_PIXELS = 2 * 89_478_485
"""Largest number of pixels of an image, Pillow's own limit: at 4 bytes each, 0.7 GB of memory."""

LEAVE_OUT = "Copy the image again, or leave it out."

NOT_THIS_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)
"""Errors by which a plugin says that the bytes are not, or not quite, in its format."""

PSD_VERSION_INFO = 1057
"""Resource of a Photoshop document that tells whether it holds its layers merged as one image."""


class TiffTag:
    """Numbers of the tags of a TIFF."""

    NEW_SUBFILE_TYPE, SUBFILE_TYPE = 254, 255
    BITS, COMPRESSION, PHOTOMETRIC, N_SAMPLES, SAMPLE_FORMAT = 258, 259, 262, 277, 339
    DNG_VERSION = 50706


RAW_PHOTOMETRIC = (32803, 34892)
"""Pixels of a camera's sensor: a colour filter array, and linear raw."""

SAMPLE_FORMATS = {2: ", signed", 3: ", floating-point", 5: ", complex", 6: ", complex"}
"""Words for what the bits of a sample mean, where they are no plain numbers."""


def refuse(expected: str, got: str, remedy: str = LEAVE_OUT) -> DecodeError:
    """Build the error for an image that cannot be decoded.

    Parameters
    ----------
    expected, got, remedy : str
        Parts of the error, as in `FeatxError`.
    """
    return DecodeError(subject="image", expected=expected, got=got, remedy=remedy)


def check_name(name: str) -> None:
    """Refuse a file in which Pillow would find only a preview, or a stand-in, of the image.

    The bytes of the file are not needed, so that the same bytes under another name are another
    matter.

    Parameters
    ----------
    name : str
        Name or path of the file.

    Raises
    ------
    DecodeError
        If the suffix is that of a camera's raw file, a thumbnail, or the like.
    """
    if not name.lower().endswith(HIDING_SUFFIXES):
        return
    format = find_by_name(name)
    if format is not None and format.hides_image:
        raise _refuse_format(format, f" ({os.path.splitext(name)[1].lower()})")


def open_image(stream: BinaryIO, name: str = "") -> Image.Image:
    """Open one image, and check by its header that it can be decoded.

    Parameters
    ----------
    stream : binary file
        All bytes of the image, open for reading.
    name : str
        Name of the file, if it has one, for the reason.

    Returns
    -------
    PIL.Image.Image
        The image, whose pixels are not read yet. The stream must stay open until they are.

    Raises
    ------
    DecodeError
        If featx does not read the file, or if it has too many pixels.
    """
    prefix = stream.read(PREFIX_SIZE)
    if not prefix:
        raise refuse("an image", "an empty file")
    damage: DecodeError | None = None
    for format in iter_by_content(prefix):
        if format.reading in ("never", "other"):
            raise damage or _refuse_content(format, name, prefix)
        stream.seek(0)
        try:
            image: Image.Image = _load_plugin(format)(stream, "")
        except NOT_THIS_FORMAT as error:
            damage = damage or _refuse_header(format, error, stream)
        except Image.DecompressionBombError:
            raise refuse(f"at most {MAX_PIXELS:,} pixels", "more", "Cut it into tiles.") from None
        else:
            _check_header(image)
            return image
    raise damage or _refuse_content(None, name, prefix)


def _load_plugin(format: Format) -> Any:
    """Import the function that opens a format."""
    if format.plugin:
        return _import_function(format.plugin)
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise _refuse_format(format) from None

    def open_heif(stream: BinaryIO, name: str) -> Image.Image:
        with HEIF_SETTINGS:
            image: Image.Image = HeifImageFile(stream, name)
        return image

    return open_heif


@functools.cache
def _import_function(name: str) -> Any:
    module, function = name.split(".")
    return getattr(importlib.import_module(f"PIL.{module}"), function)


def _refuse_format(format: Format, detail: str = "") -> DecodeError:
    got = f"{format.name}{detail}"
    return refuse("an image in a format that featx reads", got, format.remedy)


def _refuse_content(format: Format | None, name: str, prefix: bytes) -> DecodeError:
    """Say what a file is that no plugin opens, by its name if that says more."""
    promised = find_by_name(name)
    if promised is not None and promised.reading == "never":
        return _refuse_format(promised)
    if format is None:
        got = f"bytes that begin with {prefix[:8]!r}"
        return refuse("an image in a format that featx reads", got)
    if format.name == "text":
        return _refuse_format(format, f" that begins with {prefix[:32].decode(errors='replace')!r}")
    return _refuse_format(format)


def _refuse_header(format: Format, error: Exception, stream: BinaryIO) -> DecodeError:
    """Say why the plugin of a format did not open a file that begins like this format."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error.__cause__ or error, (IndexError, struct.error, EOFError)):
        text = "it ends too early"
    if format.name == "TIFF":
        try:
            return _refuse_tiff(_read_tiff_tags(stream), text)
        except DecodeError as found:
            return found
        except Exception:  # the header itself is damaged
            pass
    return refuse("a whole image", f"{format.name} whose header cannot be read ({text})")


def _check_header(image: Image.Image) -> None:
    """Check what is known before pixels are read: their number, and whether they are a preview.

    Raises
    ------
    DecodeError
        If there are too many pixels, or if they are not those of the image itself.
    """
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise refuse(
            f"at most {MAX_PIXELS:,} pixels",
            f"{width:,} x {height:,} = {width * height:,}",
            "Cut the image into tiles, or save it smaller.",
        )
    if image.format == "TIFF":
        _check_tiff(image.tag_v2)  # type: ignore[attr-defined]
    if image.format == "PSD":
        for number, _, data in image.resources:  # type: ignore[attr-defined]
            if number == PSD_VERSION_INFO and data[4:5] == b"\0":
                raise refuse(
                    "a document with its layers merged as one image",
                    "PSD without it",
                    "Save it with maximized compatibility, or export it as PNG.",
                )


def _check_tiff(tags: Any) -> None:
    """Refuse a TIFF whose first page is not the image: a camera's raw file, or a pyramid."""
    if TiffTag.DNG_VERSION in tags or tags.get(TiffTag.PHOTOMETRIC) in RAW_PHOTOMETRIC:
        raise refuse(
            "an image in a format that featx reads",
            "a raw file of a camera",
            RAW,
        )
    kind = tags.get(TiffTag.NEW_SUBFILE_TYPE, 0)
    # Bit 0: an image of reduced size; bit 2: a mask. The older tag has 2 for reduced size.
    if (isinstance(kind, int) and kind & 0b101) or tags.get(TiffTag.SUBFILE_TYPE) == 2:
        raise refuse(
            "a TIFF whose first page is the image",
            "a preview or a mask of it",
            "Convert it to a TIFF of one page; a raw file of a camera needs a raw converter.",
        )


def _read_tiff_tags(stream: BinaryIO) -> Any:
    """Read the tags of the first page."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    stream.seek(0)
    start = stream.read(8)
    if 43 in (start[2], start[3]):  # a BigTIFF
        start += stream.read(8)
    tags = ImageFileDirectory_v2(start)
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _refuse_tiff(tags: Any, text: str) -> DecodeError:
    """Say of what kind the pixels are that Pillow does not read."""
    from PIL.TiffImagePlugin import COMPRESSION_INFO

    _check_tiff(tags)
    n_samples, compression = tags.get(TiffTag.N_SAMPLES, 1), tags.get(TiffTag.COMPRESSION, 1)
    if compression not in COMPRESSION_INFO:
        got = f"TIFF of compression {compression}"
        return refuse("a compression that Pillow reads", got, "Save it without compression.")
    kind = SAMPLE_FORMATS.get(tags.get(TiffTag.SAMPLE_FORMAT, (1,))[0], "")
    plural = "s" if n_samples > 1 else ""
    got = f"TIFF of {n_samples} sample{plural} of {tags[TiffTag.BITS][0]} bit{kind} ({text})"
    remedy = "Convert the image to 8 or 16 bit."
    if n_samples > 4:
        remedy = "Choose three of its bands, and write them as an RGB image."
    return refuse("1 to 4 samples of 8 bit, or 1 of 16 bit", got, remedy)


def _list_settings() -> Iterator[tuple[Any, str, Any]]:
    """List the settings of Pillow and pillow-heif that change what is read, with their defaults."""
    plugins = {
        name: importlib.import_module(f"PIL.{name}ImagePlugin")
        for name in ("Avif", "Gif", "Ico", "Jpeg", "Png", "Tiff")
    }
    yield ImageFile, "LOAD_TRUNCATED_IMAGES", False
    yield ImageFile, "MAXBLOCK", 1 << 16
    yield ImageFile, "SAFEBLOCK", 1 << 20
    yield Image, "MAX_IMAGE_PIXELS", MAX_PIXELS // 2
    yield plugins["Avif"], "DECODE_CODEC_CHOICE", "auto"
    yield plugins["Gif"], "LOADING_STRATEGY", plugins["Gif"].LoadingStrategy.RGB_AFTER_FIRST
    yield plugins["Png"], "MAX_TEXT_CHUNK", 1 << 20
    yield plugins["Png"], "MAX_TEXT_MEMORY", 1 << 26
    yield plugins["Tiff"], "READ_LIBTIFF", False
    # The ledger says what is wrong with an image. A warning that a filter of the caller makes an
    # error would refuse images; Pillow's one logger of errors prints without a name of an image.
    yield logging.getLogger(plugins["Tiff"].__name__), "disabled", True
    mute = SimpleNamespace(warn=lambda *_, **__: None)
    for module in (Image, *plugins.values()):
        if hasattr(module, "warnings"):
            yield module, "warnings", mute


PILLOW_SETTINGS = HeldSettings(_list_settings)
"""Hold Pillow's settings while images are decoded."""


def _list_heif_settings() -> Iterator[tuple[Any, str, Any]]:
    from pillow_heif import options

    yield options, "PREFERRED_DECODER", {"AVIF": "", "HEIF": ""}
    yield options, "DISABLE_SECURITY_LIMITS", False


HEIF_SETTINGS = HeldSettings(_list_heif_settings)
"""Hold the settings of pillow-heif while a HEIC is opened."""


class _Handler:
    """One of libtiff's two functions that print to stderr: 0 for none."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        exchange.argtypes, exchange.restype = [ctypes.c_void_p], ctypes.c_void_p

    @property
    def address(self) -> int | None:
        address: int | None = self._exchange(None)
        self._exchange(address)
        return address

    @address.setter
    def address(self, address: int | None) -> None:
        self._exchange(address)


def _list_handlers() -> Iterator[tuple[Any, str, Any]]:
    """List libtiff's handlers of errors and warnings, if this build of Pillow shows them."""
    try:
        library = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__)
        functions = [library.TIFFSetErrorHandler, library.TIFFSetWarningHandler]
    except (AttributeError, OSError):
        return
    for function in functions:
        yield _Handler(function), "address", None


LIBTIFF_HANDLERS = HeldSettings(_list_handlers)
"""Keep libtiff silent while a TIFF is decoded."""
