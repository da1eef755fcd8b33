"""What a file of weights is, told from its first bytes before any tensor is read."""

from __future__ import annotations

import json
import math
import re
import struct
import zipfile
from pathlib import Path
from typing import Literal

from featx.core.recognise import TORCH_PICKLE

WeightsFormat = Literal["safetensors", "torch"]

MAX_HEADER = 100 << 20
"""Largest header of a ``.safetensors`` file in bytes, as in the format's own definition."""

DTYPE_BITS = {
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
    **{"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8},
    **{"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32},
    **{"U64": 64, "I64": 64, "F64": 64, "C64": 64},
}
"""Bits per value of each dtype that a ``.safetensors`` file may name."""

_FOREIGN = (
    (rb"\s*<(!doctype|html|\?xml|head)", "a web page, in place of a download"),
    (rb"version https://git-lfs", "a pointer of Git LFS, in place of the file itself"),
    (rb"\x89HDF\r\n", "an HDF5 file, as Keras writes it"),
    (rb"GGUF", "a GGUF file"),
    (rb"\x1f\x8b", "a file compressed by gzip"),
    (rb"Rar!|7z\xbc\xaf", "an archive"),
    (rb"\x08[\x01-\x0c]\x12", "an ONNX model"),
    (rb"\s*\{", "a JSON text"),
)
"""Beginnings of files that people take for weights, and what they are."""


class NoWeightsError(ValueError):
    """A file is no file of weights; the text says what it is instead, as a noun phrase."""


def find_format(file: Path) -> WeightsFormat:
    """Find out how to read a file of weights.

    Parameters
    ----------
    file : Path
        The file.

    Returns
    -------
    {"safetensors", "torch"}
        The format.

    Raises
    ------
    NoWeightsError
        If the file is of neither format, or damaged so that it can be told without its tensors.
    """
    if not file.is_file():
        raise NoWeightsError("no file" if not file.exists() else "a folder, a pipe or a device")
    with file.open("rb") as stream:
        start = stream.read(512)
    if not start:
        raise NoWeightsError("an empty file")
    if start[8:9] == b"{":
        _check_safetensors(file)
        return "safetensors"
    for pattern, words in _FOREIGN:
        if re.match(pattern, start, re.IGNORECASE):
            raise NoWeightsError(words)
    if start.startswith(b"PK\x03\x04"):
        _check_zip(file)
    elif start.startswith(b"\x80") and TORCH_PICKLE not in start:
        raise NoWeightsError("a pickle that torch.save did not write")
    elif not start.startswith(b"\x80"):
        raise NoWeightsError("a file of another kind, or a damaged one")
    if file.suffix == ".safetensors":
        raise NoWeightsError("a file of torch.save: name it .pth")
    return "torch"


def _check_zip(file: Path) -> None:
    """Refuse an archive that torch did not write, and one that claims more than it holds."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, struct.error, RuntimeError) as error:
        raise NoWeightsError("an archive that is cut off or damaged") from error
    if not any(member.filename.endswith("/data.pkl") for member in members):
        raise NoWeightsError("an archive that torch.save did not write")
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise NoWeightsError("a TorchScript program, in place of its tensors")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise NoWeightsError("a compressed archive, which torch.save does not write")
    if sum(member.file_size for member in members) > file.stat().st_size:
        raise NoWeightsError("an archive that claims more bytes than it has")


def _check_safetensors(file: Path) -> None:
    """Refuse a header that contradicts itself or the length of the file."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        n_header = int.from_bytes(stream.read(8), "little")
        if n_header > min(MAX_HEADER, size - 8):
            raise NoWeightsError(f"a header of {n_header} bytes in a file of {size}: cut off")
        text = stream.read(n_header)
    try:
        tensors = json.loads(text)
        tensors.pop("__metadata__", None)
        end = 0
        for name, tensor in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
            first, last = tensor["data_offsets"]
            shape = tensor["shape"]
            is_sound = all(type(length) is int and length >= 0 for length in shape)
            n_bits = DTYPE_BITS[tensor["dtype"]] * math.prod(shape) if is_sound else -1
            if first != end or n_bits != 8 * (last - first):
                raise NoWeightsError(f"a header that contradicts itself at the tensor {name!r}")
            end = last
    except NoWeightsError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NoWeightsError("a damaged header") from error
    if end != size - 8 - n_header:
        raise NoWeightsError(f"tensors of {end} bytes in {size - 8 - n_header}: cut off or longer")
