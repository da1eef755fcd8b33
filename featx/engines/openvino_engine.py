"""Run a backbone with OpenVINO, on a CPU."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import openvino

from featx.backbones.backbone import Backbone
from featx.backbones.lazy import PACKAGES
from featx.core.artifacts import build_key, find_kept, keep
from featx.core.errors import BackboneError
from featx.core.similarity import compute_cosines
from featx.engines.engine import Engine, Slot

if TYPE_CHECKING:
    from torch import nn

Array = np.ndarray[Any, Any]

CORE = openvino.Core()
"""The one of this process.

Each sets a stack for signals and puts the one before it back when it goes; of two that go in the
order they came, the first one's is put back after it was freed, and Ctrl-C ends in a crash.
"""

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}

BATCH_SIZE = 8
"""Where none was asked for; with 16 or 32 feature maps leave the caches, a tenth slower."""

MIN_COSINE = 0.99999
"""Between what PyTorch and the converted network make of one picture, both in float32."""

_FILES = "network.xml", "network.bin"


class OpenVinoEngine(Engine):
    """A backbone converted in memory, normalisation inside its graph.

    The converted network is kept on disk where its code is featx's and torchvision's: the next run
    needs no PyTorch. Its first answer is compared with PyTorch's.

    Parameters
    ----------
    backbone, precision, batch_size
        As in `Engine`; no batch size: a good one.

    Raises
    ------
    BackboneError
        If the network cannot be converted, or comes out another.
    """

    name = "openvino"

    def __init__(
        self, backbone: Backbone, *, precision: str = "fp32", batch_size: int | None = None
    ) -> None:
        super().__init__(
            backbone, device="cpu", precision=precision, batch_size=batch_size or BATCH_SIZE
        )
        network = _load_network(backbone)
        network.reshape([self.batch_size, *backbone.pixel_shape])
        compiled = CORE.compile_model(
            network,
            "CPU",
            {
                # Its own choice would be bf16 wherever the CPU has that.
                "INFERENCE_PRECISION_HINT": HINTS[precision],
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_NUM_THREADS": joblib.cpu_count(),
            },
        )
        n_requests = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
        self.slots = [_Slot(compiled, backbone.layers) for _ in range(n_requests)]


class _Slot(Slot):
    """One asynchronous request, whose input is filled in place."""

    def __init__(self, compiled: openvino.CompiledModel, layers: tuple[str, ...]) -> None:
        self._request = compiled.create_infer_request()
        self._layers = layers
        self.pixels = self._request.get_input_tensor().data

    def _start(self) -> None:
        self._request.start_async()

    def wait(self) -> dict[str, Array]:
        self._request.wait()
        return {
            layer: self._request.get_output_tensor(index).data[: self.n_rows].copy()
            for index, layer in enumerate(self._layers)
        }


def _load_network(backbone: Backbone) -> openvino.Model:
    """Take the converted network that was kept, or convert, check and keep it."""
    if not backbone.is_builtin:
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
        network = _convert(backbone)
        keep(key, lambda folder: _save(network, folder))
        # Read back at once: computed from memory, its last bits would be others than ever after.
        found = find_kept(key)
        if found is None:
            return network
    return CORE.read_model(found / _FILES[0], found / _FILES[1])


def _save(network: openvino.Model, folder: Path) -> None:
    try:
        # By default weights would be rounded to half precision.
        openvino.save_model(network, folder / _FILES[0], compress_to_fp16=False)
    except RuntimeError as error:  # its word for a full disk
        raise OSError(str(error)) from error


def _convert(backbone: Backbone) -> openvino.Model:
    """Convert a network and see that it is the same.

    Not by ``openvino.convert_model``: it reports each use to its makers over the network.
    """
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    picture = _build_picture(backbone)
    module = _build_module(backbone)
    with _quiet(), torch.inference_mode():
        expected = [output.numpy() for output in module(torch.from_numpy(picture))]
        try:
            # Traced with another picture: what a network decides by its input is seen to differ.
            black = torch.zeros_like(torch.from_numpy(picture))
            decoder = TorchScriptPythonDecoder(module, example_input=black)
            frontend = FrontEndManager().load_by_framework("pytorch")
            network = frontend.convert(frontend.load(decoder))
            network.reshape(picture.shape)
            compiled = CORE.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            got = list(compiled(picture).values())
        except Exception as error:  # OpenVINO and tracing raise many kinds
            text = " ".join(str(error).split())[:200]
            raise BackboneError(
                f"{backbone.name}: expected a network that OpenVINO can run, got "
                f"{type(error).__name__}: {text}. Pass --engine torch."
            ) from error
    worst = min(compute_cosines(*pair).min() for pair in zip(expected, got, strict=True))
    if not worst >= MIN_COSINE:
        raise BackboneError(
            f"{backbone.name}: expected OpenVINO to give what PyTorch gives, got a cosine of "
            f"{worst:.6f}. Pass --engine torch."
        )
    return network


def _build_module(backbone: Backbone) -> nn.Module:
    from torch import nn

    class Network(nn.Module):
        """From stacked pixels to embeddings."""

        def __init__(self) -> None:
            super().__init__()
            self.embedder = backbone.module

        def forward(self, pixels: Any) -> Any:
            return self.embedder(backbone.preprocess.normalise(pixels))

    return Network().eval()


def _build_picture(backbone: Backbone) -> Array:
    """Make two pictures of noise, as the backbone's `prepare` gives them."""
    black = backbone.preprocess.build_example()
    rng = np.random.default_rng(0)
    shape = (2, *black.shape)
    if black.dtype == np.uint8:
        return rng.integers(0, 256, shape, np.uint8)
    return rng.normal(size=shape).astype(black.dtype)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what tracing logs and warns off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)
