"""Run options: they change the speed of a run, not its result."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypedDict

import joblib
import numpy as np

from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError, FeatxError
from featx.core.typing import Count, EngineName, Precision, check_choice
from featx.engines.choose import build_engine, check_precision, choose_engine
from featx.engines.engine import MIN_COMPILED, Engine, EngineBuilder
from featx.engines.kept import lend_engine


class SharedRunKeywords(TypedDict, total=False):
    """The run options of calls that choose the batch size themselves."""

    engine: EngineName | EngineBuilder
    device: str
    workers: Count
    progress: bool | None


class RunKeywords(SharedRunKeywords, total=False):
    """The run options as keywords of a call; see `RunOptions`."""

    batch_size: Count


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options that change the speed of a run, not its result.

    Every call that runs a network takes these options as keywords.

    Attributes
    ----------
    engine : {"auto", "torch", "openvino"} or EngineBuilder
        Library that runs the network. ``auto`` is OpenVINO on a CPU if it is installed, else
        PyTorch. An object with a method ``build`` can supply another engine; tests pass a
        `featx.testing.FakeEngine`.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}
        Device that runs the network. ``auto`` is the first CUDA GPU, else MPS, else the CPU.
        ``cuda`` is all GPUs of the machine; several GPUs are experimental.
    batch_size : int or "auto"
        Number of images that go through the network at a time. ``auto`` is the size at which the
        engine is fastest, or fewer if the device has too little memory.
    workers : int or "auto"
        Number of threads that read and decode images. ``auto`` is one thread per core that this
        process may use, and at least two threads.
    progress : bool, optional
        True to show progress on standard error, False to hide it. Default: bars on a terminal and
        in a notebook; elsewhere a line now and then, if the work takes longer than a second.

    Raises
    ------
    FeatxError
        If a number is smaller than 1.
    DeviceError
        If this machine lacks the device, or the engine does not run on it.
    MissingExtraError
        If the engine is not installed.

    Examples
    --------
    >>> featx.RunOptions(device="cpu", workers=4)
    RunOptions(engine='auto', device='cpu', batch_size='auto', workers=4, progress=None)
    """

    engine: EngineName | EngineBuilder = "auto"
    device: str = "auto"
    batch_size: Count = "auto"
    workers: Count = "auto"
    progress: bool | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "workers"):
            value = getattr(self, name)
            if value != "auto" and not (isinstance(value, int | np.integer) and value >= 1):
                raise FeatxError(
                    subject=name,
                    expected="'auto' or a number of at least 1",
                    got=repr(value),
                    remedy="Pass 'auto' to let featx decide.",
                )
        # Refuse an engine or a device before any weights are downloaded.
        if not hasattr(self.engine, "build"):
            choose_engine(self.engine, self.device)

    @property
    def n_workers(self) -> int:
        """Number of threads that read and decode images."""
        return count_workers() if self.workers == "auto" else self.workers

    def check_precision(self, precision: Precision) -> None:
        """Refuse a precision that the device lacks.

        Parameters
        ----------
        precision : {"fp32", "bf16", "fp16"}
            Arithmetic of the network.

        Raises
        ------
        DeviceError
            If the device lacks the precision, or only imitates it.
        """
        check_choice("precision", precision, Precision, error=DeviceError)
        if isinstance(self.engine, str):
            check_precision(precision, *choose_engine(self.engine, self.device))

    def build_engine(
        self, backbone: Backbone, precision: Precision = "fp32", *, n_images: int = 0
    ) -> Engine:
        """Build an engine that runs a backbone.

        Parameters
        ----------
        backbone : Backbone
            The network to run.
        precision : {"fp32", "bf16", "fp16"}
            Arithmetic of the network.
        n_images : int
            Number of images to expect; for many images the network is compiled.

        Raises
        ------
        DeviceError
            If the device lacks the precision, or has too little memory.
        BackboneError
            If OpenVINO was requested and cannot run the network as PyTorch does.
        """
        batch_size = None if self.batch_size == "auto" else self.batch_size
        if not isinstance(self.engine, str):
            return self.engine.build(
                backbone, precision=precision, batch_size=batch_size, n_images=n_images
            )
        return build_engine(
            backbone,
            engine=self.engine,
            device=self.device,
            precision=precision,
            batch_size=batch_size,
            n_images=n_images,
        )

    def open_engine(
        self, backbone: Backbone, precision: Precision, *, n_images: int, is_kept: bool
    ) -> AbstractContextManager[Engine]:
        """Open an engine for one call, in a ``with`` block.

        Parameters
        ----------
        backbone : Backbone
            The network to run.
        precision : {"fp32", "bf16", "fp16"}
            Arithmetic of the network.
        n_images : int
            Number of images to expect.
        is_kept : bool
            Whether the backbone keeps the engine for its next call. An engine of the caller's own,
            and one for many images, is never kept.

        Returns
        -------
        context manager
            The block.
        """
        build = functools.partial(self.build_engine, precision=precision, n_images=n_images)
        if not is_kept or not isinstance(self.engine, str) or n_images >= MIN_COMPILED:
            return build(backbone)
        how = (self.engine, self.device, self.batch_size, precision, int(joblib.cpu_count()))
        return lend_engine(backbone, how, build)


def count_workers() -> int:
    """Count the threads that read and decode images: one per core that this process may use."""
    # On a cluster, a process may use fewer cores than the machine has.
    return max(2, int(joblib.cpu_count()))
