"""Run a backbone with PyTorch, on a CPU, CUDA or Apple's GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from featx.backbones.load import Backbone
from featx.errors import DeviceError

Array = np.ndarray[Any, Any]


def choose_device(text: str) -> str:
    """Decide which device a word stands for.

    Parameters
    ----------
    text : {"auto", "cpu", "cuda", "cuda:N", "mps"}
        ``auto`` takes CUDA, else MPS, else the CPU.

    Raises
    ------
    DeviceError
        If this machine has no such device: there is no silent fallback.
    """
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if text == "auto":
        return "cuda:0" if n_cuda else "mps" if has_mps else "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?|cpu|mps", text)
    if match is None:
        raise DeviceError(f"device: expected auto, cpu, cuda, cuda:N or mps, got {text!r}. Fix it.")
    if text.startswith("cuda"):
        index = int(match.group(1) or 0)
        if index >= n_cuda:
            raise DeviceError(
                f"device {text}: expected a CUDA device of that number, got {n_cuda} of them. "
                "Pass --device cpu, or install a torch built for this machine's driver."
            )
        return f"cuda:{index}"
    if text == "mps" and not has_mps:
        raise DeviceError(
            "device mps: expected Apple's Metal, got a machine without. Pass --device cpu."
        )
    return text


class TorchEngine:
    """A backbone on a device, in float32.

    Every batch is run in one shape, the last one padded: a row's embedding depends on the batch
    shape in its last bits, and must not depend on how many neighbours it happens to have.

    Parameters
    ----------
    backbone : Backbone
        Its network is moved to the device.
    device : str
        As `choose_device` takes it.
    batch_size : int
        Rows run at a time.
    """

    name = "torch"
    precision = "fp32"

    def __init__(self, backbone: Backbone, *, device: str = "auto", batch_size: int = 32) -> None:
        self.device = choose_device(device)
        self.batch_size = batch_size
        self._preprocess = backbone.preprocess
        self._layers = backbone.layers
        self._module = backbone.module.to(self.device).to(memory_format=torch.channels_last)

    def run(self, batch: Array) -> dict[str, Array]:
        """Embed prepared pictures.

        Parameters
        ----------
        batch : ndarray
            ``(n, ...)`` as the backbone's ``preprocess.prepare`` gives each, n ≤ `batch_size`.

        Returns
        -------
        dict of str to ndarray
            Per layer float32 ``(n, dim)``.

        Raises
        ------
        DeviceError
            If the device's memory is too small for the batch.
        """
        n_rows = len(batch)
        if n_rows < self.batch_size:
            padding = np.zeros((self.batch_size - n_rows, *batch.shape[1:]), batch.dtype)
            batch = np.concatenate([batch, padding])
        try:
            with torch.inference_mode(), _full_float32():
                pixels = torch.from_numpy(batch).to(self.device)
                inputs = self._preprocess.normalise(pixels)
                outputs = self._module(inputs.contiguous(memory_format=torch.channels_last))
                arrays = [output[:n_rows].float().cpu().numpy() for output in outputs]
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"device {self.device}: expected memory for {self.batch_size} images at a time, "
                "got too little. Pass a smaller --batch-size."
            ) from error
        return dict(zip(self._layers, arrays, strict=True))


@contextmanager
def _full_float32() -> Iterator[None]:
    """Keep TF32 and bfloat16 out of float32 arithmetic: cuDNN would round to TF32 by default."""
    tf32, matmul = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
        torch.set_float32_matmul_precision(matmul)
