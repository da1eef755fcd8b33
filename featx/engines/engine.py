"""The contract of all engines: batches of one shape go in, vectors come out, several in flight."""

from __future__ import annotations

import ctypes
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol, Self
from weakref import WeakSet

from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError
from featx.core.process import check_process, renew_in_children
from featx.core.typing import Array, Float32Array, Precision

MIN_COMPILED = 10_000
"""Smallest number of images for which compiling is worth its time: on two cores it took 19 s for
MobileNetV2 and saved 1.4 ms per image, and 7 s for ResNet-50 and saved 14 ms per image."""


class Slot(ABC):
    """Memory for one batch on its way through an engine; every slot is reused for later batches.

    Attributes
    ----------
    pixels : ndarray
        Pixels ``(batch_size, *pixel_shape)`` of a batch, to be filled from the front before
        `start`. The engine reads this memory directly; no pixel is copied.
    """

    pixels: Array

    def start(self, n_rows: int) -> None:
        """Run the first rows of `pixels`. Do not change `pixels` until `wait` has returned.

        All batches have the same shape; the last one is padded with zeros. The last bits of an
        embedding depend on the shape of its batch, but must not depend on the number of images.

        Parameters
        ----------
        n_rows : int
            Number of rows of `pixels` that hold images.
        """
        self.pixels[n_rows:] = 0
        self.n_rows = n_rows
        self._start()

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def wait(self) -> dict[str, Float32Array]:
        """Wait for the batch and return its vectors.

        Returns
        -------
        dict of str to ndarray
            Vectors ``(n_rows, dim)`` per layer.

        Raises
        ------
        DeviceError
            If the device failed.
        """


class Engine(ABC):
    """A frozen backbone that runs over batches.

    An engine owns threads, requests or processes; `close` releases them. An engine is a context
    manager. Only one thread at a time may use it.

    Parameters
    ----------
    backbone : Backbone
        The network to run.
    device : str
        Device that runs the network, such as ``"cpu"`` or ``"cuda:0"``.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network; the vectors are float32 in any case.
    batch_size : int
        Number of images per batch.

    Attributes
    ----------
    name : str
        Name of the engine, which the provenance of a cache records.
    packages : tuple of str
        Installed packages whose versions the provenance of a cache records.
    slots : sequence of Slot
        Slots: as many as are needed to keep the device busy.
    busy_s : float or None
        Seconds that the device has computed; None if it has no clock of its own.
    is_kept : bool
        Whether `featx.embed` and `featx.predict` may keep the engine open for the next call.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    is_kept: ClassVar[bool] = False
    slots: Sequence[Slot]
    busy_s: float | None = None

    def __init__(
        self, backbone: Backbone, *, device: str, precision: Precision = "fp32", batch_size: int
    ) -> None:
        self.backbone, self.device, self.precision = backbone, device, precision
        self.batch_size = batch_size
        self._process = os.getpid()
        _engines.add(self)

    @property
    def is_here(self) -> bool:
        """Whether this process built the engine, and not one that this process was forked from."""
        return self._process == os.getpid()

    def check_process(self) -> None:
        """Refuse an engine that a forked process inherits: its threads do not exist there.

        Raises
        ------
        DeviceError
            If another process built the engine.
        """
        check_process(self._process)

    def run(self, batch: Array) -> dict[str, Float32Array]:
        """Embed one batch of prepared images, and wait for it.

        Parameters
        ----------
        batch : ndarray
            Images ``(n, *pixel_shape)`` as ``backbone.preprocess.prepare`` returns each, with
            n ≤ `batch_size`.

        Returns
        -------
        dict of str to ndarray
            Vectors ``(n, dim)`` per layer.

        Raises
        ------
        DeviceError
            If the engine is closed or belongs to another process, or if the device failed.
        """
        self.check_process()
        if not self.slots:
            raise DeviceError(
                subject=f"engine {self.name}",
                expected="an open engine",
                got="a closed one",
                remedy="Build another engine.",
            )
        slot = self.slots[0]
        slot.pixels[: len(batch)] = batch
        slot.start(len(batch))
        return slot.wait()

    def close(self) -> None:
        """Release threads, memory and processes; the engine cannot be used afterwards."""
        self.slots = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_engines: WeakSet[Engine] = WeakSet()


def _keep_for_ever() -> None:
    """Free no engine of the process that this one was forked from.

    Freeing would wait for the threads of the engine, which exist in the other process only.
    """
    for engine in [*_engines]:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))


renew_in_children(_keep_for_ever)


class EngineBuilder(Protocol):
    """An object that builds engines: pass one as ``engine=`` to run backbones with your own engine.

    `featx.testing.FakeEngine` is one.
    """

    def build(
        self, backbone: Backbone, *, precision: Precision, batch_size: int | None, n_images: int
    ) -> Engine:
        """Build an engine for a backbone.

        Parameters
        ----------
        backbone : Backbone
            The network to run.
        precision : {"fp32", "bf16", "fp16"}
            Arithmetic of the network.
        batch_size : int or None
            Number of images per batch; None leaves the choice to the builder.
        n_images : int
            Number of images to expect.
        """
