"""Tensors by name: read them from a file, put them into a network, and digest them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from featx.backbones.weights_file import NoWeightsError, find_format
from featx.backbones.wrapped import COUNTER, flatten, list_missing, show_names
from featx.core.errors import WeightsError
from featx.core.process import GLOBAL_STATE

if TYPE_CHECKING:
    import torch
    from torch import nn


_PLAIN = (
    "argparse.Namespace",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "types.SimpleNamespace",
)
"""Types that checkpoints hold beside tensors: options of the training, scores and paths. They are
not built: a `_Placeholder` stands in their place."""


class _Placeholder:
    """A value of another type in a checkpoint, about which featx keeps nothing."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def _build_placeholders() -> list[Any]:
    """Build a type for each of `_PLAIN` that has its name alone."""
    names = (name.rpartition(".") for name in _PLAIN)
    return [type(name, (_Placeholder,), {"__module__": module}) for module, _, name in names]


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a ``.pth`` or ``.safetensors`` file. No code in the file is run.

    Parameters
    ----------
    file : Path
        The file: a state dict, or a training checkpoint that holds some.

    Returns
    -------
    dict of str to Tensor
        The tensors by name. Names in a mapping of a checkpoint have its key before them, such as
        ``model_ema.fc.bias``.

    Raises
    ------
    WeightsError
        If the file cannot be read or holds no tensors by name.
    """
    import torch

    try:
        loaded = _read_file(file)
    except NoWeightsError as error:
        raise _refuse(file, str(error)) from error
    except UnpicklingError as error:  # torch's text has 30 lines, and advises to run the pickle
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        words = f" ({named[1]})" if named else ""
        raise _refuse(file, f"a pickle that holds more than tensors{words}") from error
    except Exception as error:  # zip, pickle and safetensors raise errors without a common base
        raise _refuse(file, f"a damaged file ({type(error).__name__})") from error
    if not isinstance(loaded, Mapping) or not loaded:
        raise _refuse(file, f"an object of type {type(loaded).__name__}, or an empty one")
    try:
        flat = flatten(loaded)
    except ValueError as error:
        raise _refuse(file, str(error)) from error
    tensors = {name: value for name, value in flat.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        keys = show_names(map(str, loaded))
        raise _refuse(file, f"a {type(loaded).__name__} without tensors, with the keys {keys}")
    return tensors


def _read_file(file: Path) -> Any:
    import torch

    if find_format(file) == "safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    with GLOBAL_STATE, torch.serialization.safe_globals(_build_placeholders()):
        return torch.load(file, map_location="cpu", weights_only=True)


def _refuse(file: Path, got: str) -> WeightsError:
    return WeightsError(
        subject=str(file),
        expected="a state dict (tensors by name)",
        got=got,
        remedy="Save it with torch.save(model.state_dict(), path), or download it again.",
    )


def _is_plain(tensor: torch.Tensor, expected: torch.Tensor) -> bool:
    """Return True if a tensor has values, and as exact ones as its place in a network needs."""
    import torch

    has_values = tensor.layout == torch.strided and tensor.device.type != "meta"
    return (
        has_values
        and not tensor.is_quantized
        and tensor.is_floating_point() == expected.is_floating_point()
        and tensor.is_complex() == expected.is_complex()
    )


def load_into(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    ignored: Collection[str],
    subject: str,
) -> None:
    """Put tensors into a network; refuse tensors that are missing, unknown, or do not fit.

    Parameters
    ----------
    module : nn.Module
        The network, without its classifier.
    state : mapping of str to Tensor
        Tensors by name.
    ignored : collection of str
        First parts of the names of tensors that the network does not need, such as those of the
        classifier (``fc``).
    subject : str
        Path of the file that the tensors come from, for the error.

    Raises
    ------
    WeightsError
        If the tensors do not fit the network; the error names them.
    """
    expected = module.state_dict()
    missing = list_missing(state, expected)
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    other = [
        f"{name} of {state[name].dtype} instead of {tensor.dtype}"
        for name, tensor in expected.items()
        if name in state and not _is_plain(state[name], tensor)
    ]
    unknown = [name for name in state if name not in expected and name.split(".")[0] not in ignored]
    problems = {
        "missing": missing,
        "misshapen": misshapen,
        "of another type": other,
        "unknown": unknown,
    }
    told = [f"{problem}: {show_names(names)}" for problem, names in problems.items() if names]
    if told:
        raise WeightsError(
            subject=subject,
            expected=f"the {len(expected)} tensors of the backbone",
            got="; ".join(told),
            remedy="Check that the file belongs to this backbone.",
        )
    # Without the version in its metadata, MNASNet would convert or refuse the tensors as old ones.
    versioned = type(expected)((name, state.get(name, expected[name])) for name in expected)
    versioned._metadata = expected._metadata  # type: ignore[attr-defined]
    module.load_state_dict(versioned)


def digest_weights(module: nn.Module) -> str:
    """Digest all tensors of a network.

    Parameters
    ----------
    module : nn.Module
        The network.

    Returns
    -------
    str
        SHA-256 over names, dtypes, shapes and bytes in the order of names, hexadecimal.
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not name.endswith(COUNTER):
            tensor, kind = tensor.detach().cpu().contiguous(), ""
            if tensor.dtype == torch.bfloat16:  # numpy has no such dtype
                tensor, kind = tensor.view(torch.int16), "bfloat16"
            array = tensor.numpy()
            digest.update(f"{name} {kind or array.dtype.str} {array.shape}\n".encode())
            digest.update(array.reshape(-1).view("u1"))
    return digest.hexdigest()
