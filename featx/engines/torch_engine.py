"""Run a backbone with PyTorch, on a CPU, CUDA or Apple's GPU."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import joblib
import numpy as np
import torch
from torch import nn

from featx.backbones.backbone import Backbone
from featx.backbones.preprocess import Preprocess
from featx.core.errors import DeviceError
from featx.core.process import GLOBAL_STATE, ignore_warnings, mark_process
from featx.core.torch_state import DEFAULT_FLOAT32, FULL_FLOAT32, plain_torch
from featx.core.typing import Array, Float32Array, Precision
from featx.engines.engine import MIN_COMPILED, Engine, Slot
from featx.engines.folding import fold_copy
from featx.engines.limits import explain_failures
from featx.engines.threads import open_pool

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

BATCH_SIZE_CPU, BATCH_SIZE_GPU = 8, 256
"""Default batch sizes; halved while a GPU's memory is too small."""

N_GPU_SLOTS = 3
"""One batch is computed while the next is copied and the one after it is filled."""

NO_MEMORY = ("out of memory", "ALLOC_FAILED")
"""Parts of the messages of CUDA and its libraries, whose own allocations raise no class of error
for that."""


class TorchEngine(Engine):
    """Run a backbone with PyTorch.

    BatchNorm is folded into the convolutions, and weights lie channels last. For many images the
    network is compiled if the machine has a compiler.

    Parameters
    ----------
    backbone : Backbone
        The network to run.
    device : str
        Device ``cpu``, ``cuda:N`` or ``mps``.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    batch_size : int, optional
        Number of images per batch. Default: 8 on a CPU, at most 256 on a GPU.
    n_images : int
        Number of images to expect.

    Raises
    ------
    DeviceError
        If the device has too little memory for the requested batch size, or for one image.
    """

    name = "torch"
    packages = ("torch",)
    is_kept = True

    def __init__(
        self,
        backbone: Backbone,
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
        batch_size: int | None = None,
        n_images: int = 0,
    ) -> None:
        size = batch_size or (BATCH_SIZE_CPU if device == "cpu" else BATCH_SIZE_GPU)
        super().__init__(backbone, device=device, precision=precision, batch_size=size)
        mark_process()
        self._runner = _Runner(backbone, device, precision, size)
        # On a CPU one thread per batch: threads that share one wait for each other at every layer,
        # and wait longer if decoding takes the cores. This is a third to a half faster on two
        # cores.
        self.pool = open_pool(int(joblib.cpu_count()) if device == "cpu" else 1)
        try:
            self.slots = self._fit_slots(can_shrink=batch_size is None)
            if n_images >= MIN_COMPILED and device != "mps":  # for the batch size that has space
                self._compile()
        except BaseException:
            self.close()
            raise

    @property
    def busy_s(self) -> float | None:  # type: ignore[override]
        """Seconds that a GPU has computed; None on a CPU."""
        return self._runner.busy_s

    def _compile(self) -> None:
        """Compile the network in a thread like those that will run it.

        What holds for the thread is compiled in: a thread with another number of threads of its own
        compiles again. Batches for CUDA are started by threads of the loop, not of the pool.
        """
        if self.device == "cpu":
            self.pool.submit(self._runner.compile).result()
            return
        with ThreadPoolExecutor(1, "featx-compile") as plain:
            plain.submit(self._runner.compile).result()

    def _fit_slots(self, *, can_shrink: bool) -> list[_Slot] | list[_CudaSlot]:
        """Open the slots; halve the batch size while the device's memory is too small."""
        if self.device == "cpu":
            return [_Slot(self._runner, self.pool) for _ in range(int(joblib.cpu_count()) + 1)]
        while True:
            try:
                return self._open_slots()
            except DeviceError:
                if not can_shrink or self.batch_size == 1:
                    raise
            gc.collect()  # errors and their frames may hold tensors in cycles
            torch.cuda.empty_cache()
            self.batch_size = self._runner.batch_size = self.batch_size // 2

    def _open_slots(self) -> list[_Slot] | list[_CudaSlot]:
        """Take the device's memory before any file is written, and check that it is enough."""
        slots: list[_Slot] | list[_CudaSlot]
        if self.device.startswith("cuda"):
            slots = [_CudaSlot(self._runner) for _ in range(N_GPU_SLOTS)]
        else:
            slots = [_Slot(self._runner, self.pool) for _ in range(2)]
        for slot in slots:
            slot.start(self.batch_size)
            slot.wait()
        self._runner.busy_s = 0.0 if self.device.startswith("cuda") else None
        return slots

    def close(self) -> None:
        """End the threads and drop the network with its memory."""
        super().close()
        self.pool.shutdown()
        self._runner.network = _run_closed
        if self.device.startswith("cuda"):
            with suppress(RuntimeError):  # after an error of the device it refuses all calls
                torch.cuda.empty_cache()  # other programs need the memory


class _Runner:
    """The network on its device. It knows nothing of the engine, which is freed without a cycle."""

    def __init__(
        self, backbone: Backbone, device: str, precision: Precision, batch_size: int
    ) -> None:
        self.device, self.batch_size = device, batch_size
        self.busy_s: float | None = None
        self.layers, self.dims = backbone.layers, tuple(backbone.dims.values())
        self.black = backbone.preprocess.build_example()
        with self.guard():
            network = _Network(backbone, DTYPES[precision]).to(device)
        self.network: Callable[..., Any] = network
        # The code of a user's network may ask for the default dtype while it runs.
        self._default_dtype = nullcontext() if backbone.is_builtin else DEFAULT_FLOAT32

    def compile(self) -> None:
        """Compile the network; keep it uncompiled if there is no compiler or an operation fails."""
        plain = self.network
        pixels = torch.from_numpy(np.stack([self.black] * self.batch_size)).to(self.device)
        with (
            GLOBAL_STATE,
            torch.random.fork_rng(devices=[]),
            # The compiler advises TF32, which would change the result, and tells that it computes
            # the constants of the normalisation anew, which does not.
            ignore_warnings(UserWarning, "TensorFloat32 tensor cores|Dynamo detected a call to"),
        ):
            try:
                # Freezing puts the weights into the order in which the kernels read them.
                self.network = torch.compile(plain, options={"freezing": True})
                self.compute(pixels)
            except Exception:  # dynamo and its compilers raise many kinds of errors
                torch.compiler.reset()
                self.network = plain

    def compute(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Run the network over a batch that is on the device: one ``(n, dim)`` per layer."""
        with self.guard(), torch.inference_mode(), FULL_FLOAT32, self._default_dtype:
            outputs: list[torch.Tensor] = self.network(pixels)
        return outputs

    def embed(self, pixels: Array) -> list[Float32Array]:
        """Run the network over a batch in memory: one ``(n, dim)`` per layer."""
        with self.guard():
            batch = torch.from_numpy(pixels).to(self.device)
            return [output.cpu().numpy() for output in self.compute(batch)]

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Translate the errors of the device."""
        subject = f"device {self.device}"
        with explain_failures(subject, "Look for the cause with featx.doctor."):
            try:
                yield
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                raise DeviceError(
                    subject=subject,
                    expected=f"memory for {self.batch_size} images at a time",
                    got="too little",
                    remedy="Pass a smaller batch_size.",
                ) from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether the memory of a device is too small, or the page-locked memory beside it."""
    is_named = any(part in str(error) for part in NO_MEMORY)
    return isinstance(error, torch.OutOfMemoryError) or is_named


def _run_closed(_pixels: torch.Tensor) -> list[torch.Tensor]:
    raise DeviceError(
        subject="engine torch",
        expected="an open engine",
        got="a closed one",
        remedy="Build another engine.",
    )


class _Network(nn.Module):
    """Turn stacked pixels into embeddings; normalisation runs on the device, in float32."""

    def __init__(self, backbone: Backbone, dtype: torch.dtype) -> None:
        super().__init__()
        module = backbone.module
        with plain_torch():
            embedder = fold_copy(module)
        self.embedder = embedder.to(dtype).to(memory_format=torch.channels_last)
        self.preprocess: Preprocess = backbone.preprocess
        self.dtype = dtype
        self.eval()

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        inputs = self.preprocess.normalise(pixels).to(self.dtype)
        outputs = self.embedder(inputs.contiguous(memory_format=torch.channels_last))
        return [output.float() for output in outputs]


class _Slot(Slot):
    """Runs in a thread of the engine's pool."""

    def __init__(self, runner: _Runner, pool: ThreadPoolExecutor) -> None:
        self._runner, self._pool = runner, pool
        self.pixels = np.zeros((runner.batch_size, *runner.black.shape), runner.black.dtype)
        self._future: Future[list[Float32Array]]

    def _start(self) -> None:
        self._future = self._pool.submit(self._runner.embed, self.pixels)

    def wait(self) -> dict[str, Float32Array]:
        arrays = [array[: self.n_rows] for array in self._future.result()]
        return dict(zip(self._runner.layers, arrays, strict=True))


class _CudaSlot(Slot):
    """Pinned memory on both sides and a stream of its own: copies overlap with computing."""

    def __init__(self, runner: _Runner) -> None:
        self._runner = runner
        shape = (runner.batch_size, *runner.black.shape)
        with runner.guard():
            self._stream = torch.cuda.Stream(runner.device)  # type: ignore[no-untyped-call]
            self._host = torch.zeros(
                shape, dtype=torch.from_numpy(runner.black).dtype, device="cpu", pin_memory=True
            )
            self._results = [
                torch.empty(
                    (runner.batch_size, dim), dtype=torch.float32, device="cpu", pin_memory=True
                )
                for dim in runner.dims
            ]
        self.pixels = self._host.numpy()
        self._began = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._done = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def _start(self) -> None:
        runner = self._runner
        with (
            runner.guard(),
            torch.autocast("cuda", enabled=False),
            torch.cuda.device(runner.device),
            torch.cuda.stream(self._stream),
        ):
            pixels = self._host.to(runner.device, non_blocking=True)
            # The network's own stream, so that batches are computed one after the other.
            compute = torch.cuda.default_stream(runner.device)
            compute.wait_stream(self._stream)
            with torch.cuda.stream(compute):
                pixels.record_stream(compute)
                self._began.record()
                outputs = runner.compute(pixels)
                self._done.record()
            self._stream.wait_event(self._done)
            for result, output in zip(self._results, outputs, strict=True):
                output.record_stream(self._stream)
                result.copy_(output, non_blocking=True)

    def wait(self) -> dict[str, Float32Array]:
        runner = self._runner
        with runner.guard():
            self._stream.synchronize()
        runner.busy_s = (runner.busy_s or 0) + self._began.elapsed_time(self._done) / 1e3
        arrays = [result[: self.n_rows].numpy().copy() for result in self._results]
        return dict(zip(runner.layers, arrays, strict=True))
