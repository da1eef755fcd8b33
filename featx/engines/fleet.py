"""Run a backbone on several devices of one machine, with a process for each."""

from __future__ import annotations

import multiprocessing
import pickle
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError
from featx.engines.engine import Engine, Slot
from featx.engines.fleet_process import REMEDY, Room, build, serve

Array = np.ndarray[Any, Any]


class Fleet(Engine):
    """A `TorchEngine` per device, each in a process of its own, that take batches in turn.

    One process would not do: its threads share one interpreter, and launching kernels holds it.
    Pixels and vectors lie in shared memory. The processes end with the fleet, or with this process.

    Parameters
    ----------
    backbone : Backbone
        Whose network can be pickled.
    devices : sequence of str
        Such as ``cuda:0``, all of one kind.
    precision, batch_size, n_images
        As in `TorchEngine`; no batch size: the smallest that one of the devices takes by itself.

    Raises
    ------
    DeviceError
        If a device or the shared memory is too small, a process ends, or the network cannot be
        pickled.
    """

    name = "torch"

    def __init__(
        self,
        backbone: Backbone,
        *,
        devices: Sequence[str],
        precision: str = "fp32",
        batch_size: int | None = None,
        n_images: int = 0,
    ) -> None:
        packed = _pack(backbone, precision=precision, batch_size=batch_size, n_images=n_images)
        self._members: list[_Member] = []
        self.slots: list[_Slot] = []
        # Neither of them knows the fleet, which would never be dropped otherwise.
        self._end = weakref.finalize(self, _end, self._members, self.slots)
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
        """For how long the devices have computed, on average."""
        clocks = [member.busy_s for member in self._members if member.busy_s is not None]
        return sum(clocks) / len(clocks) if clocks else None

    def close(self) -> None:
        """End the processes and give their memory back, as dropping the fleet does."""
        self._end()


def _end(members: list[_Member], slots: list[_Slot]) -> None:
    """End processes, then free memory: one that opens it later would have it tracked as leaked."""
    for member in members:
        member.connection.close()
        member.process.kill()  # it may be compiling, for minutes
        member.process.join()
    for slot in slots:
        slot.free()


class _Member:
    """A device's process, as its parent sees it."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.busy_s: float | None = None
        self._errors: dict[int, Exception | None] = {}
        context = multiprocessing.get_context("spawn")  # CUDA does not live through a fork
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, device), name=f"featx-{device}", daemon=True
        )
        self.process.start()
        theirs.close()  # or its end would never be noticed

    def send(self, message: object) -> None:
        """Send a message; that the process has ended is for `receive` to tell."""
        with suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Any:
        """Take the next message; an error is raised."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join(1)  # the pipe closes a moment before
            raise DeviceError(
                f"device {self.device}: expected its process to answer, got its end with exit code "
                f"{self.process.exitcode}. Read what it printed, start a script's work under "
                f"if __name__ == '__main__', or {REMEDY}."
            ) from error
        if isinstance(message, Exception):
            raise message
        return message

    def wait(self, number: int) -> None:
        """Wait for what runs in the slot of that number; what went wrong with it is raised."""
        while number not in self._errors:
            answered, error, self.busy_s = self.receive()
            self._errors[answered] = error
        if (error := self._errors.pop(number)) is not None:
            raise error


class _Slot(Room, Slot):
    """One of a device's places, filled here and run there."""

    def __init__(self, backbone: Backbone, batch_size: int, member: _Member, number: int) -> None:
        super().__init__(backbone, batch_size)
        self._dims, self._member, self._number = backbone.dims, member, number

    def _start(self) -> None:
        self._member.send((self._number, self.n_rows))

    def wait(self) -> dict[str, Array]:
        self._member.wait(self._number)
        ends = np.cumsum([*self._dims.values()])[:-1]
        parts = np.split(self.vectors[: self.n_rows], ends, axis=1)  # (n_rows, dim) each
        return {layer: part.copy() for layer, part in zip(self._dims, parts, strict=True)}


def _pack(backbone: Backbone, **how: Any) -> bytes:
    """Pickle what a process needs, weights and all: a pipe would leave tensors where they are."""
    loaded = backbone.with_module(backbone.module)
    try:
        return pickle.dumps((build, loaded, how))
    except Exception as error:  # whatever a class raises that was not made for it
        raise DeviceError(
            f"{backbone.name} on several devices: expected a network and transform that can be "
            f"pickled, got {type(error).__name__}: {error}. Name their parts in a module, or "
            f"{REMEDY}."
        ) from error
