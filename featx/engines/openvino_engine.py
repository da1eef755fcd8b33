"""Run a backbone with OpenVINO, on a CPU."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from featx.backbones.backbone import Backbone
from featx.backbones.lazy import PACKAGES
from featx.core.artifacts import build_key, find_kept, keep
from featx.core.errors import BackboneError, DeviceError
from featx.core.process import GLOBAL_STATE, ignore_warnings
from featx.core.progress import stage
from featx.core.similarity import compute_cosines
from featx.core.torch_state import keep_denormals, plain_torch
from featx.core.typing import Array, Float32Array, Precision
from featx.engines.engine import Engine, Slot
from featx.engines.limits import check_threads, explain_failures, find_limit
from featx.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino

if TYPE_CHECKING:
    from torch import nn

CORE = openvino.Core()
"""The only core of this process.

Each core installs a stack for signals and restores the previous one when it is freed. If two cores
are freed in the order of their creation, the second one restores a stack that no longer exists, and
Ctrl-C crashes.
"""

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}

BATCH_SIZE = 8
"""Default batch size: at 16 or 32, feature maps no longer fit the caches, which costs a tenth."""

MIN_COSINE = 0.99999
"""Smallest accepted cosine between PyTorch's and OpenVINO's embedding of one image in float32."""

_FILES = "network.xml", "network.bin"


class OpenVinoEngine(Engine):
    """Run a backbone with OpenVINO, normalisation included.

    Converted networks of featx's own backbones are kept on disk, so that the next run needs no
    PyTorch. After conversion, OpenVINO's embeddings are compared with PyTorch's.

    Parameters
    ----------
    backbone : Backbone
        The network to run.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the network.
    batch_size : int, optional
        Number of images per batch. Default: 8.

    Raises
    ------
    BackboneError
        If the network cannot be converted, or gives other embeddings than PyTorch.
    DeviceError
        If the machine refuses threads or memory.
    """

    name = "openvino"
    packages = ("openvino",)
    is_kept = True

    def __init__(
        self, backbone: Backbone, *, precision: Precision = "fp32", batch_size: int | None = None
    ) -> None:
        super().__init__(
            backbone, device="cpu", precision=precision, batch_size=batch_size or BATCH_SIZE
        )
        network = _load_network(backbone)
        with (
            _explain_failures(),
            stage(f"compiling {backbone.name} for this processor"),
            keep_denormals(),
        ):
            self.slots = self._open_slots(network)

    def _open_slots(self, network: openvino.Model) -> list[_Slot]:
        network.reshape([self.batch_size, *self.backbone.pixel_shape])
        compiled = _compile(
            network,
            {
                # OpenVINO itself would choose bf16 on every CPU that supports it.
                "INFERENCE_PRECISION_HINT": HINTS[self.precision],
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_NUM_THREADS": joblib.cpu_count(),
            },
        )
        n_requests = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
        return [_Slot(compiled, self.backbone.layers) for _ in range(n_requests)]


def _compile(network: openvino.Model, options: dict[str, Any]) -> openvino.CompiledModel:
    """Compile a network for the CPU, if the system starts the threads that this takes."""
    # One thread per core and two more. If the system refuses one of them, OpenVINO may hang.
    check_threads(int(joblib.cpu_count()) + 2, "engine openvino")
    return CORE.compile_model(network, "CPU", options)


class _Slot(Slot):
    """One asynchronous request, whose input is filled in place."""

    def __init__(self, compiled: openvino.CompiledModel, layers: tuple[str, ...]) -> None:
        self._request = compiled.create_infer_request()
        self._layers = layers
        self.pixels = self._request.get_input_tensor().data

    def _start(self) -> None:
        self._request.start_async()

    def wait(self) -> dict[str, Float32Array]:
        with _explain_failures():
            self._request.wait()
        return {
            layer: self._request.get_output_tensor(index).data[: self.n_rows].copy()
            for index, layer in enumerate(self._layers)
        }


def _explain_failures() -> AbstractContextManager[None]:
    return explain_failures("engine openvino", "Pass engine='torch'.")


def _load_network(backbone: Backbone) -> openvino.Model:
    """Read the converted network from the store, or convert, check and keep it."""
    if not backbone.is_builtin:
        with stage(f"converting {backbone.name} for OpenVINO"):
            return _convert(backbone)
    own = Path(__file__).parent
    key = build_key(
        {
            "network": backbone.name,
            "weights": backbone.weights_digest,
            "layers": backbone.layers,
            "preprocess": backbone.preprocess.identify(),
        },
        packages=(*PACKAGES, "openvino"),
        sources=[own, own.parent / "backbones"],
    )
    found = find_kept(key)
    if found is None:
        with stage(f"converting {backbone.name} for OpenVINO, once, kept for later runs"):
            network = _convert(backbone)
            keep(key, lambda folder: _save(network, folder))
        # Read the stored network at once: its last bits differ from those of the network in memory.
        found = find_kept(key)
        if found is None:
            return network
    return CORE.read_model(found / _FILES[0], found / _FILES[1])


def _save(network: openvino.Model, folder: Path) -> None:
    try:
        # By default weights would be rounded to half precision.
        openvino.save_model(network, folder / _FILES[0], compress_to_fp16=False)
    except RuntimeError as error:  # OpenVINO's error for a full disk
        raise OSError(str(error)) from error


def _convert(backbone: Backbone) -> openvino.Model:
    """Convert a network and compare its embeddings with PyTorch's.

    ``openvino.convert_model`` is not used: it reports each use over the internet.
    """
    import torch

    with without_telemetry():
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    images = _build_images(backbone)
    module = _build_module(backbone)
    with plain_torch(), _trace_quietly(), torch.inference_mode():
        expected = [output.numpy() for output in module(torch.from_numpy(images))]
        try:
            # Trace with other images: a network that branches on its input then gives others.
            black = torch.zeros_like(torch.from_numpy(images))
            decoder = TorchScriptPythonDecoder(module, example_input=black)
            frontend = FrontEndManager().load_by_framework("pytorch")
            network = frontend.convert(frontend.load(decoder))
            network.reshape(images.shape)
            compiled = _compile(network, {"INFERENCE_PRECISION_HINT": "f32"})
            got = list(compiled(images).values())
        except DeviceError:
            raise
        except Exception as error:  # OpenVINO and tracing raise many kinds of errors
            limit = find_limit(error, "engine openvino")
            if limit is not None:
                raise limit from error
            text = " ".join(str(error).split())[:200]
            raise BackboneError(
                subject=backbone.name,
                expected="a network that OpenVINO can run",
                got=f"{type(error).__name__}: {text}",
                remedy="Pass engine='torch'.",
            ) from error
    pairs = zip(expected, got, strict=True)
    worst = np.min([compute_cosines(*pair) for pair in pairs])  # NaN if one is: min() may skip it
    if not worst >= MIN_COSINE:
        raise BackboneError(
            subject=backbone.name,
            expected="the same embeddings from OpenVINO as from PyTorch",
            got=f"a cosine of {worst:.6f} between them",
            remedy="Pass engine='torch'.",
        )
    return network


def _build_module(backbone: Backbone) -> nn.Module:
    from torch import nn

    class Network(nn.Module):
        """Turn stacked pixels into embeddings."""

        def __init__(self) -> None:
            super().__init__()
            self.embedder = backbone.module

        def forward(self, pixels: Any) -> Any:
            return self.embedder(backbone.preprocess.normalise(pixels))

    return Network().eval()


def _build_images(backbone: Backbone) -> Array:
    """Draw two images of noise, in the form that the backbone's `prepare` returns."""
    black = backbone.preprocess.build_example()
    rng = np.random.default_rng(0)
    shape = (2, *black.shape)
    if black.dtype == np.uint8:
        return rng.integers(0, 256, shape, np.uint8)
    return rng.normal(size=shape).astype(black.dtype)


@contextmanager
def _trace_quietly() -> Iterator[None]:
    """Keep the warnings of tracing off the terminal: OpenVINO needs the deprecated torch.jit.

    Warning filters and the level of OpenVINO's logger belong to the process.
    """
    from torch.jit._trace import TracerWarning

    logger = logging.getLogger("openvino")
    # A FutureWarning in some versions of torch, a DeprecationWarning in others.
    with GLOBAL_STATE, ignore_warnings(TracerWarning), ignore_warnings(message="`torch.jit"):
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
