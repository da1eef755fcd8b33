"""Run a backbone on several GPUs of one machine, one process per GPU (experimental)."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError
from featx.core.typing import Float32Array, Precision
from featx.engines.engine import Engine, Slot
from featx.engines.fleet_process import REMEDY, SharedBatch, build, serve


class Fleet(Engine):
    """Run one `TorchEngine` per device, each in its own process; they take batches in turn.

    Experimental: the fleet is tested with several processes on a CPU, and was never run on a
    machine with two GPUs.

    One process is not enough: launching kernels holds the interpreter, which its threads share.
    Pixels and vectors lie in shared memory. The processes end with the fleet, or with this process.

    Parameters
    ----------
    backbone : Backbone
        The network to run; it must be picklable.
    devices : sequence of str
        Names of the devices, such as ``cuda:0``, all of one kind.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    batch_size : int, optional
        Number of images per batch. Default: the smallest default of the devices.
    n_images : int
        Number of images to expect.

    Raises
    ------
    DeviceError
        If a device or the shared memory is too small, a process ends, or the network cannot be
        pickled.
    """

    name = "torch"
    packages = ("torch",)

    def __init__(
        self,
        backbone: Backbone,
        *,
        devices: Sequence[str],
        precision: Precision = "fp32",
        batch_size: int | None = None,
        n_images: int = 0,
    ) -> None:
        packed = _pack(backbone, precision=precision, batch_size=batch_size, n_images=n_images)
        self._members: list[_Member] = []
        self.slots: list[_Slot] = []
        # Neither list refers to the fleet; otherwise, the fleet could never be freed.
        self._end = weakref.finalize(self, _end, os.getpid(), self._members, self.slots)
        try:
            for device in devices:
                self._members.append(_Member(device))
            for member in self._members:
                member.send(packed)
            opened = [member.receive() for member in self._members]
            size, n_slots = (min(values) for values in zip(*opened, strict=True))
            kind = devices[0].split(":")[0]
            super().__init__(backbone, device=kind, precision=precision, batch_size=size)
            for number in range(n_slots):
                for member in self._members:  # in turn: batches fill slots from the first on
                    self.slots.append(_Slot(backbone, size, member, number))
            names = [slot.memory.name for slot in self.slots]
            for index, member in enumerate(self._members):
                member.send((size, names[index :: len(devices)]))
            for member in self._members:
                member.busy_s = member.receive()
        except BaseException:
            self.close()
            raise

    @property
    def busy_s(self) -> float | None:  # type: ignore[override]
        """Seconds that the devices have computed, on average."""
        clocks = [member.busy_s for member in self._members if member.busy_s is not None]
        return sum(clocks) / len(clocks) if clocks else None

    def close(self) -> None:
        """End the processes and release their memory."""
        self._end()
        super().close()


def _end(process: int, members: list[_Member], slots: list[_Slot]) -> None:
    """End the processes, then free the memory: a process that opens it later would leak it."""
    if process != os.getpid():  # a forked process, which inherits the fleet but does not own it
        return
    for member in members:
        member.connection.close()
        member.process.kill()  # it may be compiling, for minutes
        member.process.join()
    for slot in slots:
        slot.free()


class _Member:
    """The parent's side of a device's process."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.busy_s: float | None = None
        self._errors: dict[int, Exception | None] = {}
        context = multiprocessing.get_context("spawn")  # CUDA does not work after a fork
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, device), name=f"featx-{device}", daemon=True
        )
        self.process.start()
        theirs.close()  # otherwise the end of the process would not be noticed

    def send(self, message: object) -> None:
        """Send a message; `receive` reports a process that has ended."""
        with suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Any:
        """Return the next message, or raise it if it is an error."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join(1)  # the pipe closes a moment before
            raise DeviceError(
                subject=f"device {self.device}",
                expected="an answer from its process",
                got=f"its end with exit code {self.process.exitcode}",
                remedy="Read what the process printed, start the work of a script under "
                f"if __name__ == '__main__', or {REMEDY}.",
            ) from error
        if isinstance(message, Exception):
            raise message
        return message

    def wait(self, number: int) -> None:
        """Wait for the batch in the slot with a number; raise the error that ended the batch."""
        while number not in self._errors:
            answered, error, self.busy_s = self.receive()
            self._errors[answered] = error
        if (error := self._errors.pop(number)) is not None:
            raise error


class _Slot(SharedBatch, Slot):
    """A batch that is filled in this process and run in a device's process."""

    def __init__(self, backbone: Backbone, batch_size: int, member: _Member, number: int) -> None:
        super().__init__(backbone, batch_size)
        self._dims, self._member, self._number = backbone.dims, member, number

    def _start(self) -> None:
        self._member.send((self._number, self.n_rows))

    def wait(self) -> dict[str, Float32Array]:
        self._member.wait(self._number)
        ends = np.cumsum([*self._dims.values()])[:-1]
        parts = np.split(self.vectors[: self.n_rows], ends, axis=1)  # (n_rows, dim) each
        return {layer: part.copy() for layer, part in zip(self._dims, parts, strict=True)}


def _pack(backbone: Backbone, **options: Any) -> bytes:
    """Pickle what a process needs, weights included: a pipe would share tensors, not copy them."""
    loaded = backbone.with_module(backbone.module)
    try:
        return pickle.dumps((build, loaded, options))
    except Exception as error:  # classes that cannot be pickled raise any kind of error
        raise DeviceError(
            subject=f"{backbone.name} on several devices",
            expected="a network and a transform that can be pickled",
            got=f"{type(error).__name__}: {error}",
            remedy=f"Define their parts in a module, or {REMEDY}.",
        ) from error
