"""Choose engine, device and precision before any network is loaded."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from featx.backbones.backbone import Backbone
from featx.core.errors import BackboneError, DeviceError, require
from featx.core.process import mark_process
from featx.core.typing import EngineName, Precision, check_choice
from featx.engines.telemetry import without_telemetry

if TYPE_CHECKING:
    from featx.engines.engine import Engine

CPU_FLAGS = {"bf16": ("avx512_bf16", "amx_bf16"), "fp16": ("avx512_fp16", "amx_fp16")}
"""Names on Linux of the CPU instructions that make a precision fast."""


def choose_engine(engine: EngineName = "auto", device: str = "auto") -> tuple[EngineName, str]:
    """Choose the engine and the device that the user's words name.

    Parameters
    ----------
    engine : {"auto", "torch", "openvino"}
        Name of the engine. ``auto`` is OpenVINO on a CPU if it is installed, else PyTorch.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}
        Name of the device. ``cuda:N`` is one GPU, ``cuda`` is all GPUs of the machine. ``auto`` is
        the first GPU, else MPS, else the CPU.

    Returns
    -------
    engine : {"torch", "openvino"}
        Name of the chosen engine.
    device : str
        Name of the chosen device; ``cuda`` only if the machine has several GPUs.

    Raises
    ------
    DeviceError
        If this machine lacks the device, or the engine does not run on it: featx never falls back
        to another device silently.
    MissingExtraError
        If the engine is not installed.
    """
    check_choice("engine", engine, EngineName, error=DeviceError)
    if engine == "openvino":
        with without_telemetry():
            require("openvino", "cpu")
        if device not in ("auto", "cpu"):
            raise DeviceError(
                subject="engine, device",
                expected="device cpu with engine openvino",
                got=repr(device),
                remedy="Pass engine='torch'.",
            )
        return engine, "cpu"
    device = choose_device(device)
    if engine == "auto" and device == "cpu" and importlib.util.find_spec("openvino"):
        return "openvino", device
    return "torch", device


def choose_device(device: str) -> str:
    """Choose the device that the user's word names; see `choose_engine`."""
    match = re.fullmatch(r"auto|cuda(?::(\d+))?|cpu|mps", device)
    if match is None:
        raise DeviceError(
            subject="device",
            expected="auto, cpu, cuda, cuda:N or mps",
            got=repr(device),
            remedy="Pass one of these devices.",
        )
    # Importing torch takes seconds, and a run without torch should not wait for it.
    if device == "cpu" or (device == "auto" and "torch" not in sys.modules and not _has_driver()):
        return "cpu"
    import torch

    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if device == "auto" and not n_cuda:
        return "mps" if has_mps else "cpu"
    if device != "mps":
        index = int(match.group(1) or 0)
        if index >= n_cuda:
            raise DeviceError(
                subject=f"device {device}",
                expected="a CUDA device with that number",
                got=f"a machine with {n_cuda} CUDA devices",
                remedy="Pass device='cpu', or install a torch built for this machine's driver.",
            )
        # Use all GPUs only on request: one process per GPU does not pay for few images.
        return "cuda" if device == "cuda" and n_cuda > 1 else f"cuda:{index}"
    if not has_mps:
        raise DeviceError(
            subject="device mps",
            expected="a machine with Apple's Metal",
            got="a machine without Metal",
            remedy="Pass device='cpu'.",
        )
    return device


def list_devices(device: str) -> list[str]:
    """List the devices that a chosen device stands for: ``cuda`` is every GPU of the machine."""
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def _has_driver() -> bool:
    """Tell whether this machine may have a GPU that torch can use."""
    if sys.platform == "darwin" or Path("/dev/kfd").exists():  # Apple's, AMD's
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def check_precision(precision: Precision, engine: EngineName, device: str) -> None:
    """Refuse a precision that the device lacks, or only imitates at a fraction of its speed.

    Raises
    ------
    DeviceError
        If the precision is unknown, or the device does not compute in it at full speed.
    """
    check_choice("precision", precision, Precision, error=DeviceError)
    able = list_precisions(engine, device)
    if precision not in able:
        needs = {"cpu": " or ".join(CPU_FLAGS.get(precision, ())), "mps": "none"}.get(
            device, "sm_80"
        )
        raise DeviceError(
            subject=f"precision {precision} on {device}",
            expected=f"hardware that computes in this precision ({needs})",
            got="a device that only imitates the precision, slowly",
            remedy=f"Pass precision={' or precision='.join(map(repr, able))}.",
        )


def list_precisions(engine: EngineName, device: str) -> list[Precision]:
    """List the precisions in which an engine computes at full speed on a device."""
    every: tuple[Precision, ...] = get_args(Precision)
    if device == "mps":
        return ["fp32", "fp16"]
    if device.startswith("cuda"):
        import torch

        has_bf16 = all(
            torch.cuda.get_device_capability(one) >= (8, 0) for one in list_devices(device)
        )
        return [name for name in every if name != "bf16" or has_bf16]
    if engine == "openvino":
        from featx.engines.openvino_engine import CORE

        able = CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return [name for name in every if name.upper() in able]
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    except OSError:
        flags = set()
    # PyTorch convolves in fp16 on a CPU without its fast kernels.
    return ["fp32", "bf16"] if flags.intersection(CPU_FLAGS["bf16"]) else ["fp32"]


def build_engine(
    backbone: Backbone,
    *,
    engine: EngineName = "auto",
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: int | None = None,
    n_images: int = 0,
) -> Engine:
    """Build an engine that runs a backbone.

    Parameters
    ----------
    backbone : Backbone
        The network to run.
    engine, device : str
        Names as `choose_engine` takes them.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    batch_size : int, optional
        Number of images per batch. Default: the size at which the engine is fastest, or fewer if
        the device has too little memory.
    n_images : int
        Number of images to expect; the network is compiled if there are many.

    Raises
    ------
    DeviceError
        If the device is missing, lacks the precision, or has too little memory, or if this process
        was forked after featx had run a network.
    BackboneError
        If OpenVINO was requested and cannot run the network as PyTorch does.
    """
    mark_process()
    chosen, target = choose_engine(engine, device)
    check_precision(precision, chosen, target)
    if chosen == "openvino":
        from featx.engines.openvino_engine import OpenVinoEngine

        try:
            return OpenVinoEngine(backbone, precision=precision, batch_size=batch_size)
        except BackboneError:
            # A user's network may use operations that OpenVINO lacks.
            if engine == "openvino" or precision not in list_precisions("torch", target):
                raise
    devices = list_devices(target)
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
        backbone, device=target, precision=precision, batch_size=batch_size, n_images=n_images
    )
