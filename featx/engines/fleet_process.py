"""What each process of a fleet runs: one device's engine, on batches in shared memory."""

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
from featx.engines.engine import Engine

Array = np.ndarray[Any, Any]

REMEDY = "pass --device cuda:0, which needs no process of its own"


class Room:
    """One batch's place in memory that two processes share: a new one, or that of a name."""

    def __init__(self, backbone: Backbone, batch_size: int, name: str | None = None) -> None:
        black, dim = backbone.preprocess.build_example(), sum(backbone.dims.values())
        memory = SharedMemory(name) if name else _create(batch_size * (4 * dim + black.nbytes))
        assert memory.buf is not None
        # Only what is written to is taken, and the next one must see what is left.
        np.frombuffer(memory.buf, np.uint8).fill(0)
        vectors = np.frombuffer(memory.buf, np.float32, batch_size * dim)
        pixels = np.frombuffer(memory.buf, black.dtype, batch_size * black.size, vectors.nbytes)
        self.vectors: Array = vectors.reshape(batch_size, dim)  # layers beside each other
        self.pixels: Array = pixels.reshape(batch_size, *black.shape)
        self.memory = memory

    def free(self) -> None:
        """Give the memory back: at once, or with the last array that someone else holds of it."""
        self.pixels = self.vectors = np.empty(0)
        with suppress(BufferError):
            self.memory.close()
        self.memory.unlink()


def _create(n_bytes: int) -> SharedMemory:
    """Create shared memory, if there is enough: who writes to what is only promised is killed."""
    free = shutil.disk_usage("/dev/shm").free if sys.platform == "linux" else n_bytes
    if free < n_bytes:
        raise DeviceError(
            f"/dev/shm: expected {n_bytes / 1e6:.0f} MB more for batches, got {free / 1e6:.0f}. "
            "Pass a smaller --batch-size, start a container with more (docker run --shm-size 8g), "
            f"or {REMEDY}."
        )
    return SharedMemory(create=True, size=n_bytes)


def build(backbone: Backbone, **how: Any) -> Engine:
    """Build a device's engine, in the memory that an earlier one has left."""
    import torch

    from featx.engines.torch_engine import TorchEngine

    gc.collect()
    torch.cuda.empty_cache()
    return TorchEngine(backbone, **how)


def serve(connection: Connection, device: str) -> None:
    """Run a device's engine, in a process of its own, until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it decides
    with suppress(EOFError, OSError), ThreadPoolExecutor(1) as answers:
        try:
            engine, rooms = _open(connection, device)
        except Exception as error:
            connection.send(_translate(error, device))
            return

        def answer(number: int, error: Exception | None) -> None:
            try:
                if error is None:
                    vectors = np.hstack([*engine.slots[number].wait().values()])
                    rooms[number].vectors[: len(vectors)] = vectors
            except Exception as failure:
                error = failure
            connection.send((number, error and _translate(error, device), engine.busy_s))

        while True:
            number, n_rows = connection.recv()
            slot = engine.slots[number]
            try:
                slot.pixels[:n_rows] = rooms[number].pixels[:n_rows]
                slot.start(n_rows)
            except Exception as error:
                answers.submit(answer, number, error)
            else:
                answers.submit(answer, number, None)


def _open(connection: Connection, device: str) -> tuple[Engine, list[Room]]:
    """Build the engine, and once more where all have agreed on a smaller batch."""
    build_one, backbone, how = pickle.loads(connection.recv())
    engine = build_one(backbone, device=device, **how)
    connection.send((engine.batch_size, len(engine.slots)))
    size, names = connection.recv()
    if size != engine.batch_size:
        del engine  # its memory is needed
        engine = build_one(backbone, device=device, **how | {"batch_size": size})
    rooms = [Room(backbone, size, name) for name in names]
    connection.send(engine.busy_s)
    return engine, rooms


def _translate(error: Exception, device: str) -> FeatxError:
    """Make an error one that can be sent, with its traceback for ``--debug``."""
    told = error
    if not isinstance(told, FeatxError):
        what = f"{type(error).__name__}: {error}"
        told = DeviceError(
            f"device {device}: expected its process to run the network, got {what}. Else {REMEDY}."
        )
    told.add_note("".join(traceback.format_exception(error)))
    return told
