"""The code of each process of a fleet: one device's engine, on batches in shared memory."""

from __future__ import annotations

import gc
import pickle
import shutil
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError, FeatxError
from featx.core.typing import Array, Float32Array
from featx.engines.engine import Engine

REMEDY = "pass device='cuda:0', which needs no process of its own"


class SharedBatch:
    """Memory for one batch that two processes share: new, or existing memory with a name."""

    def __init__(self, backbone: Backbone, batch_size: int, name: str | None = None) -> None:
        black, dim = backbone.preprocess.build_example(), sum(backbone.dims.values())
        memory = SharedMemory(name) if name else _create(batch_size * (4 * dim + black.nbytes))
        assert memory.buf is not None
        # The system counts memory as used only after a write; the next batch must see what is left.
        np.frombuffer(memory.buf, np.uint8).fill(0)
        vectors = np.frombuffer(memory.buf, np.float32, batch_size * dim)
        pixels = np.frombuffer(memory.buf, black.dtype, batch_size * black.size, vectors.nbytes)
        self.vectors: Float32Array = vectors.reshape(batch_size, dim)  # layers beside each other
        self.pixels: Array = pixels.reshape(batch_size, *black.shape)
        self.memory = memory

    def free(self) -> None:
        """Release the memory, at once or when the last array that refers to it is freed."""
        self.pixels = self.vectors = np.empty(0, np.float32)
        with suppress(BufferError):
            self.memory.close()
        self.memory.unlink()


def _create(n_bytes: int) -> SharedMemory:
    """Create shared memory if there is enough: writing beyond the free memory kills the process."""
    free = shutil.disk_usage("/dev/shm").free if sys.platform == "linux" else n_bytes
    if free < n_bytes:
        raise DeviceError(
            subject="/dev/shm",
            expected=f"{n_bytes / 1e6:.0f} MB free for batches",
            got=f"{free / 1e6:.0f} MB",
            remedy="Pass a smaller batch_size, start the container with more "
            f"(docker run --shm-size 8g), or {REMEDY}.",
        )
    return SharedMemory(create=True, size=n_bytes)


def build(backbone: Backbone, **options: Any) -> Engine:
    """Build a device's engine, after freeing the memory of an earlier one."""
    import torch

    from featx.engines.torch_engine import TorchEngine

    gc.collect()
    torch.cuda.empty_cache()
    return TorchEngine(backbone, **options)


def serve(connection: Connection, device: str) -> None:
    """Run a device's engine, in a process of its own, until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides
    with suppress(EOFError, OSError), ThreadPoolExecutor(1) as answers:
        try:
            engine, batches = _open(connection, device)
        except Exception as error:
            connection.send(_translate(error, device))
            return

        def answer(number: int, error: Exception | None) -> None:
            try:
                if error is None:
                    vectors = np.hstack([*engine.slots[number].wait().values()])
                    batches[number].vectors[: len(vectors)] = vectors
            except Exception as failure:
                error = failure
            connection.send((number, error and _translate(error, device), engine.busy_s))

        while True:
            number, n_rows = connection.recv()
            slot = engine.slots[number]
            try:
                slot.pixels[:n_rows] = batches[number].pixels[:n_rows]
                slot.start(n_rows)
            except Exception as error:
                answers.submit(answer, number, error)
            else:
                answers.submit(answer, number, None)


def _open(connection: Connection, device: str) -> tuple[Engine, list[SharedBatch]]:
    """Build the engine, and build it again if all devices agree on a smaller batch."""
    build_one, backbone, options = pickle.loads(connection.recv())
    engine = build_one(backbone, device=device, **options)
    connection.send((engine.batch_size, len(engine.slots)))
    size, names = connection.recv()
    if size != engine.batch_size:
        del engine  # its memory is needed
        engine = build_one(backbone, device=device, **options | {"batch_size": size})
    batches = [SharedBatch(backbone, size, name) for name in names]
    connection.send(engine.busy_s)
    return engine, batches


def _translate(error: Exception, device: str) -> FeatxError:
    """Turn an error into one that can be sent, with its traceback as a note."""
    told = error
    if not isinstance(told, FeatxError):
        told = DeviceError(
            subject=f"device {device}",
            expected="its process to run the network",
            got=f"{type(error).__name__}: {error}",
            remedy=f"Read the traceback, or {REMEDY}.",
        )
    told.add_note("".join(traceback.format_exception(error)))
    return told
