"""A test double for programs that call featx: an engine without a network.

Pass a `FakeEngine` as ``engine=`` to `featx.extract`, `featx.embed`, `featx.predict` or
`featx.open_predictor`. Images are read, decoded and preprocessed as ever; the vectors are computed
from the pixels by plain numpy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import ClassVar

import numpy as np

from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError
from featx.core.typing import Array, Float32Array, Precision
from featx.engines.engine import Engine, Slot

__all__ = ["FakeEngine"]


class FakeEngine:
    """Build engines that compute vectors from pixels, deterministically and without torch.

    The vector of an image depends on its pixels and its layer alone. Batches and rows are counted
    over all engines that one `FakeEngine` has built.

    Parameters
    ----------
    batch_size : int
        Number of images per batch, unless a call asks for another.
    n_slots : int
        Number of batches in flight.
    fail_at : int, optional
        Number, counted from 0, of the batch for which `DeviceError` is raised. Batches before it
        are delivered. Default: no batch fails.
    nan_rows : collection of int
        Numbers, counted from 0, of the rows whose vectors are NaN.
    on_batch : callable, optional
        Function that is called with the number of each batch before the batch is delivered, in the
        thread that feeds the engine. An exception that it raises ends the run.

    Attributes
    ----------
    n_batches, n_rows : int
        Number of batches and of rows that went through the engines.
    n_built, n_open : int
        Number of engines that were built, and of those that are not closed.

    Examples
    --------
    >>> from featx.testing import FakeEngine
    >>> engine = FakeEngine()
    >>> featx.embed(np.zeros((2, 32, 32, 3), np.uint8), backbone="lenet5", engine=engine).shape
    (2, 84)
    >>> engine.n_rows
    2
    """

    def __init__(
        self,
        *,
        batch_size: int = 8,
        n_slots: int = 3,
        fail_at: int | None = None,
        nan_rows: Collection[int] = (),
        on_batch: Callable[[int], object] | None = None,
    ) -> None:
        self.batch_size, self.n_slots = batch_size, n_slots
        self.fail_at, self.nan_rows, self.on_batch = fail_at, frozenset(nan_rows), on_batch
        self.n_batches = self.n_rows = self.n_built = self.n_open = 0
        self._lock = threading.Lock()

    def build(
        self,
        backbone: Backbone,
        *,
        precision: Precision,
        batch_size: int | None,
        n_images: int,  # noqa: ARG002
    ) -> Engine:
        """Build an engine; see `featx.EngineBuilder`."""
        with self._lock:
            self.n_built += 1
            self.n_open += 1
        return _Running(self, backbone, precision, batch_size or self.batch_size)

    def _close(self) -> None:
        with self._lock:
            self.n_open -= 1

    def _take(self, n_rows: int) -> tuple[int, int]:
        """Count a batch; return its number and the number of its first row."""
        with self._lock:
            numbers = self.n_batches, self.n_rows
            self.n_batches, self.n_rows = numbers[0] + 1, numbers[1] + n_rows
            return numbers


class _Running(Engine):
    """An engine that a `FakeEngine` has built."""

    name: ClassVar[str] = "fake"

    def __init__(
        self, fake: FakeEngine, backbone: Backbone, precision: Precision, batch_size: int
    ) -> None:
        super().__init__(backbone, device="cpu", precision=precision, batch_size=batch_size)
        self._fake, self._is_open = fake, True
        self.slots = [_FakeSlot(fake, backbone, batch_size) for _ in range(fake.n_slots)]

    def close(self) -> None:
        super().close()
        if self._is_open:
            self._is_open = False
            self._fake._close()


class _FakeSlot(Slot):
    """A batch in plain memory, computed when it is waited for."""

    def __init__(self, fake: FakeEngine, backbone: Backbone, batch_size: int) -> None:
        black = backbone.preprocess.build_example()
        self._fake, self._dims = fake, dict(backbone.dims)
        self.pixels = np.zeros((batch_size, *black.shape), black.dtype)

    def _start(self) -> None:
        self._numbers = self._fake._take(self.n_rows)

    def wait(self) -> dict[str, Float32Array]:
        fake, (batch, first) = self._fake, self._numbers
        if fake.on_batch is not None:
            fake.on_batch(batch)
        if batch == fake.fail_at:
            raise DeviceError(
                subject="engine fake",
                expected="batches to succeed",
                got=f"fail_at={batch}",
                remedy="Leave fail_at out to let every batch succeed.",
            )
        is_nan = [first + row in fake.nan_rows for row in range(self.n_rows)]
        vectors = {}
        for number, (layer, dim) in enumerate(self._dims.items()):
            vectors[layer] = _compute(self.pixels[: self.n_rows], dim, number)
            vectors[layer][is_nan] = np.nan
        return vectors


def _compute(pixels: Array, dim: int, layer: int) -> Float32Array:
    """Average every ``dim``-th pixel, beginning with each of the first ``dim``, per layer shifted.

    Returns
    -------
    ndarray
        Vectors ``(n, dim)``, each computed from its own row alone.
    """
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    padded = np.pad(flat, ((0, 0), (0, -flat.shape[1] % dim)))
    means = padded.reshape(len(pixels), -1, dim).mean(axis=1)
    return np.roll(means / 255 if pixels.dtype == np.uint8 else means, layer, axis=1)
