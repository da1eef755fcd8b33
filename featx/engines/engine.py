"""What all engines have in common: batches of one shape go in, vectors come out, some in flight."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from featx.backbones.backbone import Backbone

Array = np.ndarray[Any, Any]


class Slot(ABC):
    """A place for one batch on its way through an engine, used again and again.

    Attributes
    ----------
    pixels : ndarray
        ``(batch_size, *pixel_shape)``, to be filled from the front before `start`. It is the very
        memory that the engine reads: nothing is copied on the way.
    """

    pixels: Array

    def start(self, n_rows: int) -> None:
        """Run the first rows; they and `pixels` must be left alone until `wait` was called.

        Every batch is run in one shape, the last one padded: a row's embedding depends on the
        batch shape in its last bits, and must not depend on how many neighbours it happens to have.
        """
        self.pixels[n_rows:] = 0
        self.n_rows = n_rows
        self._start()

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def wait(self) -> dict[str, Array]:
        """Return what came of the batch: per layer float32 ``(n_rows, dim)``.

        Raises
        ------
        DeviceError
            If the device failed.
        """


class Engine(ABC):
    """Runs a frozen backbone over batches.

    Parameters
    ----------
    backbone : Backbone
    device : str
        As `featx.engines.choose.choose_engine` gives it.
    precision : {"fp32", "bf16", "fp16"}
        Of the network's arithmetic; vectors are float32 in any case.
    batch_size : int
        Rows run at a time.

    Attributes
    ----------
    slots : sequence of Slot
        As many as keep the device busy.
    busy_s : float or None
        For how long the device has computed, where it has a clock of its own.
    """

    name: ClassVar[str]
    slots: Sequence[Slot]
    busy_s: float | None = None

    def __init__(
        self, backbone: Backbone, *, device: str, precision: str = "fp32", batch_size: int
    ) -> None:
        self.backbone, self.device, self.precision = backbone, device, precision
        self.batch_size = batch_size

    def run(self, batch: Array) -> dict[str, Array]:
        """Embed one batch of prepared pictures, and wait for it.

        Parameters
        ----------
        batch : ndarray
            ``(n, ...)`` as the backbone's ``preprocess.prepare`` gives each, n ≤ `batch_size`.

        Returns
        -------
        dict of str to ndarray
            Per layer float32 ``(n, dim)``.
        """
        slot = self.slots[0]
        slot.pixels[: len(batch)] = batch
        slot.start(len(batch))
        return slot.wait()
