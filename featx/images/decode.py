"""Decoding: bytes become RGB pixels. Only this module and `opening` import an image library."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from featx.core.errors import DecodeError
from featx.core.process import renew_in_children
from featx.core.typing import Array, Decode, UInt8Array
from featx.images.large import BoundedReader, LargeContent
from featx.images.opening import LIBTIFF_HANDLERS, PILLOW_SETTINGS, open_image, refuse

DECODERS: dict[Decode, str] = {"exact": "pillow-exact/1", "fast": "pillow-fast/1"}
"""Versioned name of each way to decode, for the fingerprint.

Rules of version 1, for both: Pillow decodes; the EXIF orientation is applied; transparent pixels
are drawn over white; 16-bit values are divided by 257; the first frame is taken. ``fast`` also
decodes a JPEG that is much larger than the input of the network at a half, a quarter or an eighth
of its size, and resizes and crops in one step.
"""

BRIGHTEST_16_BIT = "featx_brightest_16_bit"
"""Key in ``image.info`` of the largest value that an image of 16 bit had, in 0..65535."""

CHANNELS = (1, 2, 3, 4)
"""Numbers of channels of an array: gray, gray with alpha, RGB, RGB with alpha, as in Pillow."""

UPRIGHT_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Turn that makes an image upright, by its EXIF orientation."""

SWAPPING_TURNS = tuple(UPRIGHT_TURNS[orientation] for orientation in (5, 6, 7, 8))
"""Turns that exchange width and height."""


_PILLOW_LOCKS = tuple(threading.Lock() for _ in range(64))
"""Locks for images of the caller, by their identity: a program may give the same image to several
threads, and Pillow loads an image in one thread only."""


def _find_lock(image: Image.Image) -> threading.Lock:
    return _PILLOW_LOCKS[id(image) // 64 % len(_PILLOW_LOCKS)]


def _renew_locks() -> None:
    for lock in _PILLOW_LOCKS:
        lock._at_fork_reinit()  # type: ignore[attr-defined]


renew_in_children(_renew_locks)


def decode_image(data: Any, name: str = "") -> Image.Image:
    """Decode one image.

    Parameters
    ----------
    data : bytes, LargeContent, PIL.Image.Image or ndarray
        A whole file, whose format is recognised by its content; or an open image; or an array for
        which `is_pixels` is true.
    name : str
        Name of the file, if it has one.

    Returns
    -------
    PIL.Image.Image
        Upright image of mode RGB: the first frame. Embedded colour profiles are ignored.

    Raises
    ------
    DecodeError
        If the image cannot be decoded. No other error is raised, whatever the bytes are.

    See Also
    --------
    decode_reduced : Decode a large JPEG at a fraction of its size.
    """
    return decode_reduced(data, name=name)[0]


def decode_reduced(
    data: Any, min_side: int | None = None, name: str = ""
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode one image; a large JPEG at a half, a quarter or an eighth of its size.

    Parameters
    ----------
    data : bytes, LargeContent, PIL.Image.Image or ndarray
        An image, as `decode_image` takes it.
    min_side : int, optional
        Smallest length of the shorter side, in pixels. Default: decode at full size.
    name : str
        Name of the file, if it has one.

    Returns
    -------
    image : PIL.Image.Image
        Upright image of mode RGB. If its pixels had 16 bit, its ``info`` holds the largest value
        under `BRIGHTEST_16_BIT`.
    size : (int, int)
        Width and height of the upright image at full size.

    Raises
    ------
    DecodeError
        If the image cannot be decoded.
    """
    try:
        with PILLOW_SETTINGS:
            if isinstance(data, np.ndarray):
                image = _convert_to_rgb(_open_array(data))
                return image, image.size
            if isinstance(data, Image.Image):
                with _find_lock(data):
                    image = _convert_to_rgb(data)
                return image, image.size
            if isinstance(data, bytes):
                return _decode_file(io.BytesIO(data), min_side, name)
            if isinstance(data, LargeContent):
                with data.open() as stream:
                    return _decode_file(stream, min_side, name)
    except DecodeError:
        raise
    except Exception as error:
        raise _refuse_damage("image", error) from error
    raise refuse("an image", type(data).__name__, "Pass bytes, a PIL image or an array.")


def is_pixels(array: Array) -> bool:
    """Tell an array that is one image from others; an image without pixels is one too.

    Parameters
    ----------
    array : ndarray
        Any array. uint8 of shape ``(height, width)`` or ``(height, width, channels)`` is an image,
        with one of `CHANNELS`; so is uint16 of one channel, as Pillow reads gray of 16 bit.
    """
    n_channels = array.shape[2] if array.ndim == 3 else 1 if array.ndim == 2 else 0
    n_bytes = array.dtype.itemsize if array.dtype.kind == "u" else 0
    return n_channels in CHANNELS and (n_bytes == 1 or (n_bytes, n_channels) == (2, 1))


def is_pillow(image: object) -> bool:
    """Tell an image of Pillow from other objects.

    Parameters
    ----------
    image : object
        Anything.
    """
    return isinstance(image, Image.Image)


def copy_pillow(image: Any) -> Any:
    """Load an image of Pillow and copy it: the caller may close it, or show another frame in it.

    Parameters
    ----------
    image : PIL.Image.Image
        The image. One that cannot be loaded is returned as it is, and fails when it is decoded.

    Returns
    -------
    PIL.Image.Image
        The copy.
    """
    try:
        with PILLOW_SETTINGS, _find_lock(image):
            return image.copy()
    except Exception:  # plugins of Pillow raise a dozen kinds
        return image


def encode_image(pixels: UInt8Array, format: str = "PNG") -> bytes:
    """Encode pixels as the bytes of a file.

    Parameters
    ----------
    pixels : ndarray of uint8
        Pixels of shape ``(height, width, 3)``, or ``(height, width)`` for gray.
    format : str
        Name of the format, as Pillow calls it.

    Returns
    -------
    bytes
        All bytes of the file.
    """
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format)
    return stream.getvalue()


def _decode_file(
    stream: BinaryIO, min_side: int | None, name: str
) -> tuple[Image.Image, tuple[int, int]]:
    with open_image(stream, name) as opened:
        if isinstance(stream, BoundedReader):
            stream.end_header()
        width, height = opened.size
        if min_side is not None and opened.format == "JPEG":
            opened.draft(None, (min_side, min_side))
        is_reduced = opened.size != (width, height)
        silence = LIBTIFF_HANDLERS if opened.format == "TIFF" else nullcontext()
        try:
            with silence:
                image = _convert_to_rgb(opened)
        except DecodeError:
            raise
        except Exception as error:
            raise _refuse_damage(opened.format or "image", error) from error
        if not is_reduced:
            return image, image.size
        is_swapped = _find_turn(opened) in SWAPPING_TURNS
        return image, (height, width) if is_swapped else (width, height)


def _refuse_damage(what: str, error: Exception) -> DecodeError:
    """Describe an error of a plugin of Pillow: there are a dozen kinds on damaged bytes."""
    text = " ".join(str(error).split()) or "no reason given"
    got = f"{what} that cannot be decoded ({type(error).__name__}: {text})"
    return refuse("a whole image", got)


def _open_array(array: Array) -> Image.Image:
    """Make an image of an array, with the mode that Pillow gives to such an array."""
    if not is_pixels(array) or array.size == 0:
        raise refuse(
            "an array of uint8 of shape (height, width, channels) or (height, width)",
            f"{array.dtype} of shape {array.shape}",
            "Convert the array." if array.size else "Leave the image out: it has no pixels.",
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype.itemsize == 2:
        array = array.astype(np.uint16)  # in the byte order of this machine
    return Image.fromarray(array)


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    """Convert an open image to upright RGB by the rules of `DECODERS`."""
    brightest = None
    loses_low_bytes = _loses_low_bytes(image)
    image = _turn_upright(image)
    if image.mode == "F":
        raise refuse(
            "8-bit or 16-bit pixels",
            "floating-point pixels, whose range is not stated",
            "Convert the image to 8 or 16 bit.",
        )
    if image.mode == "I" or image.mode.startswith("I;16"):
        image, brightest = _scale_16_bit(image)
    elif loses_low_bytes:
        extrema: Any = image.getextrema()
        brightest = max(high for _, high in extrema[:3]) * 256 + 255
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB")
    if brightest is not None:
        image.info[BRIGHTEST_16_BIT] = brightest
    return image


def _loses_low_bytes(image: Image.Image) -> bool:
    """Decide whether Pillow will read 16 bits per channel, of which it keeps the upper 8."""
    tiles = getattr(image, "tile", None)
    if not tiles or image.format not in ("PNG", "TIFF") or image.mode not in ("RGB", "RGBA"):
        return False
    return ";16" in str(tiles[0][3])


def _turn_upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says.

    ``PIL.ImageOps.exif_transpose`` is not used: it also rewrites the EXIF data, and fails on a tag
    that it cannot write.
    """
    image.load()  # Pillow has already turned a TIFF
    turn = _find_turn(image)
    return image if turn is None else image.transpose(turn)


def _find_turn(image: Image.Image) -> Image.Transpose | None:
    """Find the turn that makes an image upright; None if it is upright already."""
    try:
        return UPRIGHT_TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data does not harm the pixels
        return None


def _scale_16_bit(image: Image.Image) -> tuple[Image.Image, int]:
    """Scale 0..65535 to 0..255 and round; the conversion of Pillow would clip.

    Returns
    -------
    image : PIL.Image.Image
        Gray image of 8 bit.
    brightest : int
        Largest value before scaling.
    """
    values = np.asarray(image)
    darkest, brightest = int(values.min()), int(values.max())
    if darkest < 0 or brightest > 65535:
        raise refuse(
            "pixels in 0..65535",
            f"32-bit pixels in {darkest}..{brightest}",
            "Convert the image to 8 or 16 bit.",
        )
    scaled = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if "transparency" in image.info:  # the gray value that means transparent
        scaled[values == image.info["transparency"]] = 255
    return Image.fromarray(scaled), brightest
