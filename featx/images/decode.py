"""Bytes to RGB pixels. The only file that touches an image library."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from featx.core.errors import DecodeError
from featx.core.typing import Decode

DECODERS: dict[Decode, str] = {"exact": "pillow-exact/1", "fast": "pillow-fast/1"}
"""The two ways to decode, as the fingerprint names them.

Version 1 of both: Pillow; EXIF orientation applied; transparency over white; 16-bit values divided
by 257; first frame. ``fast`` also reads a JPEG that is much larger than the network's input at a
half, a quarter or an eighth of its size, and resizes and crops it in one step.
"""

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are read, by Pillow's names. Closed on purpose: some of Pillow's other plugins
start programs (EPS) or cannot be told by content (TGA)."""

SUFFIXES = frozenset(
    [
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
"""Suffixes that promise an image: such a file is always a row, and a failure where it is none."""

PREFIX_SIZE = 32
"""Bytes of a file that `is_image` wants to see."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by EXIF orientation."""

TURNS_OF_SIDES = (TURNS[5], TURNS[6], TURNS[7], TURNS[8])
"""Those after which width is height."""


def check_decode(text: str) -> None:
    """Refuse what is none of `DECODERS`.

    Raises
    ------
    DecodeError
    """
    if text not in DECODERS:
        raise DecodeError(f"decode: expected {' or '.join(DECODERS)}, got {text!r}. Fix it.")


def is_image(prefix: bytes) -> bool:
    """Tell by a file's first bytes whether it is an image that featx reads."""
    Image.init()
    for name in FORMATS:
        accept = Image.OPEN[name][1] if name in Image.OPEN else None
        # Plugins answer a bool, or a string where the format is known but not built in.
        if accept is not None and accept(prefix.ljust(PREFIX_SIZE, b"\0")):
            return True
    return False


def decode_image(data: Any) -> Image.Image:
    """Decode one image.

    Parameters
    ----------
    data : bytes, PIL.Image.Image or ndarray
        A whole file, its format told by content; or an image already open, or an array of uint8
        of shape ``(height, width, 3)``, or ``(height, width)`` for gray.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, upright. Several frames: the first. Embedded colour profiles are ignored.

    Raises
    ------
    DecodeError
        With a reason of one line. No other error leaves this function for any bytes.
    """
    return decode_reduced(data)[0]


def decode_reduced(data: Any, min_side: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """Decode one image, a large JPEG at a half, a quarter or an eighth of its size.

    Parameters
    ----------
    data
        As in `decode_image`.
    min_side : int, optional
        Pixels that the shorter side must keep. Default: nothing is reduced.

    Returns
    -------
    image : PIL.Image.Image
        As in `decode_image`.
    size : (int, int)
        Width and height of the whole picture, upright.

    Raises
    ------
    DecodeError
        As in `decode_image`.
    """
    if isinstance(data, np.ndarray):
        image = _convert_array(data)
        return image, image.size
    try:
        if isinstance(data, Image.Image):
            image = _convert_to_rgb(data)
            return image, image.size
        if not isinstance(data, bytes):
            raise DecodeError(f"expected an image, got {type(data).__name__}")
        if not data:
            raise DecodeError("empty file")
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:  # first frame
            width, height = opened.size
            if min_side is not None and opened.format == "JPEG":
                opened.draft(None, (min_side, min_side))
            is_reduced = opened.size != (width, height)
            image = _convert_to_rgb(opened)
            if not is_reduced:
                return image, image.size
            is_turned = _find_turn(opened) in TURNS_OF_SIDES
            return image, (height, width) if is_turned else (width, height)
    except UnidentifiedImageError:
        # Pillow's own message holds the address of a buffer.
        raise DecodeError(f"not an image that featx reads: begins with {data[:8]!r}") from None
    except DecodeError:
        raise
    except Exception as error:  # Pillow's plugins raise a dozen kinds over damaged bytes
        text = " ".join(str(error).split()) or "no reason given"
        raise DecodeError(f"{type(error).__name__}: {text}") from error


def encode_image(pixels: np.ndarray[Any, Any], format: str = "PNG") -> bytes:
    """Write uint8 pixels, ``(height, width, 3)`` or ``(height, width)``, as a file's bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format)
    return stream.getvalue()


def _convert_array(array: np.ndarray[Any, Any]) -> Image.Image:
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not shaped or array.size == 0:
        raise DecodeError(
            "expected an array of uint8 of shape (height, width, 3) or (height, width), "
            f"got {array.dtype} of shape {array.shape}"
        )
    return Image.fromarray(array).convert("RGB")


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    """Bring an open image to upright RGB by the rules in `DECODERS`."""
    image = _turn_upright(image)
    if image.mode == "F":
        raise DecodeError("floating-point pixels have no stated range: convert them to 8 or 16 bit")
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _scale_16_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _turn_upright(image: Image.Image) -> Image.Image:
    """Undo how the camera was held.

    Not by ImageOps.exif_transpose: it writes the EXIF anew, and fails where a tag cannot be.
    """
    image.load()  # turns a TIFF already
    turn = _find_turn(image)
    return image if turn is None else image.transpose(turn)


def _find_turn(image: Image.Image) -> Image.Transpose | None:
    """Find what makes a picture upright by its EXIF."""
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF, of which the pixels know nothing
        return None


def _scale_16_bit(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255, rounding, where Pillow's own conversion would clip."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise DecodeError("32-bit pixels outside 0..65535 have no stated range: convert them first")
    scaled = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if "transparency" in image.info:  # one gray that stands for nothing
        scaled[values == image.info["transparency"]] = 255
    return Image.fromarray(scaled)
