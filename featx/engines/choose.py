"""Which engine runs on which device, and in which precision: decided before anything is loaded."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from featx.backbones.backbone import Backbone
from featx.core.errors import BackboneError, DeviceError, require

if TYPE_CHECKING:
    from featx.engines.engine import Engine

ENGINES = ("auto", "torch", "openvino")
PRECISIONS = ("fp32", "bf16", "fp16")

CPU_FLAGS = {"bf16": ("avx512_bf16", "amx_bf16"), "fp16": ("avx512_fp16", "amx_fp16")}
"""What Linux calls the instructions that make a precision worth having on a CPU."""


def choose_engine(engine: str = "auto", device: str = "auto") -> tuple[str, str]:
    """Decide which engine and which device words stand for.

    Parameters
    ----------
    engine : {"auto", "torch", "openvino"}
        ``auto`` takes OpenVINO on a CPU where it is installed, else PyTorch.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}
        ``cuda`` is all GPUs of the machine, and ``cuda:N`` one of them. ``auto`` takes the first
        of them, else MPS, else the CPU.

    Returns
    -------
    engine, device : str
        ``cuda`` only where there are several.

    Raises
    ------
    DeviceError
        If this machine has no such device, or the engine does not run on it: there is no silent
        fallback.
    MissingExtraError
        If the engine is not installed.
    """
    if engine not in ENGINES:
        raise DeviceError(f"engine: expected {', '.join(ENGINES)}, got {engine!r}. Fix it.")
    if engine == "openvino":
        require("openvino", "cpu")
        if device not in ("auto", "cpu"):
            raise DeviceError(
                f"engine openvino: expected device cpu, got {device}. Pass --engine torch."
            )
        return engine, "cpu"
    device = choose_device(device)
    if engine == "auto" and device == "cpu" and importlib.util.find_spec("openvino"):
        return "openvino", device
    return "torch", device


def choose_device(text: str) -> str:
    """Decide which device a word stands for; see `choose_engine`."""
    match = re.fullmatch(r"auto|cuda(?::(\d+))?|cpu|mps", text)
    if match is None:
        raise DeviceError(f"device: expected auto, cpu, cuda, cuda:N or mps, got {text!r}. Fix it.")
    # Importing torch takes seconds, which a run that needs none of it must not pay.
    if text == "cpu" or (text == "auto" and "torch" not in sys.modules and not _has_driver()):
        return "cpu"
    import torch

    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if text == "auto" and not n_cuda:
        return "mps" if has_mps else "cpu"
    if text != "mps":
        index = int(match.group(1) or 0)
        if index >= n_cuda:
            raise DeviceError(
                f"device {text}: expected a CUDA device of that number, got {n_cuda} of them. "
                "Pass --device cpu, or install a torch built for this machine's driver."
            )
        # All of them only by their own word: few images are not worth a process for each.
        return "cuda" if text == "cuda" and n_cuda > 1 else f"cuda:{index}"
    if not has_mps:
        raise DeviceError(
            "device mps: expected Apple's Metal, got a machine without. Pass --device cpu."
        )
    return text


def list_devices(device: str) -> list[str]:
    """List the devices that a chosen one stands for: ``cuda`` is every GPU of the machine."""
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def _has_driver() -> bool:
    """Tell whether this machine may have a GPU that torch could use."""
    if sys.platform == "darwin" or Path("/dev/kfd").exists():  # Apple's, AMD's
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def check_precision(precision: str, engine: str, device: str) -> None:
    """Refuse a precision that the device lacks, or only imitates at a fraction of its speed.

    Raises
    ------
    DeviceError
        With the reason.
    """
    if precision not in PRECISIONS:
        raise DeviceError(
            f"precision: expected {', '.join(PRECISIONS)}, got {precision!r}. Fix it."
        )
    able = list_precisions(engine, device)
    if precision not in able:
        needs = {"cpu": " or ".join(CPU_FLAGS.get(precision, ())), "mps": "none"}.get(
            device, "sm_80"
        )
        raise DeviceError(
            f"precision {precision} on {device}: expected hardware for it ({needs}), got a device "
            f"that would only imitate it, slowly. Pass --precision {' or '.join(able)}."
        )


def list_precisions(engine: str, device: str) -> list[str]:
    """List the precisions that an engine computes at full speed on a device."""
    if device == "mps":
        return ["fp32", "fp16"]
    if device.startswith("cuda"):
        import torch

        has_bf16 = all(
            torch.cuda.get_device_capability(one) >= (8, 0) for one in list_devices(device)
        )
        return [name for name in PRECISIONS if name != "bf16" or has_bf16]
    if engine == "openvino":
        from featx.engines.openvino_engine import CORE

        able = CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return [name for name in PRECISIONS if name.upper() in able]
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    except OSError:
        flags = set()
    # PyTorch convolves in fp16 on a CPU without its fast kernels.
    return ["fp32", *(["bf16"] if flags.intersection(CPU_FLAGS["bf16"]) else [])]


def build_engine(
    backbone: Backbone,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int | None = None,
    n_images: int = 0,
) -> Engine:
    """Build what runs a backbone.

    Parameters
    ----------
    backbone : Backbone
    engine, device
        As in `choose_engine`.
    precision : {"fp32", "bf16", "fp16"}
    batch_size : int, optional
        Default: what the engine runs best with, less where the device's memory is too small.
    n_images : int
        How many it will run: compiling pays for many.

    Raises
    ------
    DeviceError
        If the device is not there, lacks the precision, or has too little memory.
    BackboneError
        If OpenVINO was asked for and cannot run the network as PyTorch does.
    """
    chosen, place = choose_engine(engine, device)
    check_precision(precision, chosen, place)
    if chosen == "openvino":
        from featx.engines.openvino_engine import OpenVinoEngine

        try:
            return OpenVinoEngine(backbone, precision=precision, batch_size=batch_size)
        except BackboneError:
            # A network of the user's own may do what OpenVINO does not know.
            if engine == "openvino" or precision not in list_precisions("torch", place):
                raise
    devices = list_devices(place)
    if len(devices) > 1:
        from featx.engines.fleet import Fleet

        return Fleet(
            backbone,
            devices=devices,
            precision=precision,
            batch_size=batch_size,
            n_images=n_images,
        )
    from featx.engines.torch_engine import TorchEngine

    return TorchEngine(
        backbone, device=place, precision=precision, batch_size=batch_size, n_images=n_images
    )
