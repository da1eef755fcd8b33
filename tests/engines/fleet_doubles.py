"""What a fleet's processes run in its tests: an engine without torch, steered by its pixels."""

import os
import threading
from typing import Any

import numpy as np

from featx.backbones.backbone import Backbone
from featx.backbones.preprocess import ImageClassification
from featx.core.errors import DeviceError
from featx.core.provenance import Origin
from featx.core.typing import Precision
from featx.engines.engine import Engine, Slot

REFUSE_START, LACK_MEMORY, FAIL, HANG, DIE = 251, 252, 253, 254, 255
"""Values of a batch's first pixel that something happens at."""

N_SLOTS = 2


class DoubleEngine(Engine):
    """Gives the sum of each row's pixels, its process and the batch size it was run in.

    The number of its device is the batch size that it has memory for; one that is ``stubborn``
    cannot be built with another.
    """

    name = "double"

    def __init__(
        self,
        backbone: Backbone,
        *,
        device: str,
        precision: Precision,
        batch_size: Any,
        n_images: Any,
    ) -> None:
        kind, _, most = device.partition(":")
        if kind == "stubborn" and batch_size is not None:
            raise DeviceError(
                subject=f"device {device}",
                expected=f"{most} at a time",
                got=str(batch_size),
                remedy="Ask.",
            )
        super().__init__(
            backbone, device=device, precision=precision, batch_size=batch_size or int(most)
        )
        self.busy_s = 0.0
        self.slots = [DoubleSlot(self) for _ in range(N_SLOTS)]


class DoubleSlot(Slot):
    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.pixels = np.zeros((engine.batch_size, *engine.backbone.pixel_shape), np.uint8)

    def _start(self) -> None:
        if self.pixels.flat[0] == REFUSE_START:
            raise LookupError("not today")

    def wait(self) -> Any:
        code = self.pixels.flat[0]
        if code == LACK_MEMORY:
            raise DeviceError(
                subject="device double", expected="memory", got="too little", remedy="Pass less."
            )
        if code == FAIL:
            raise LookupError("nowhere")
        if code == HANG:
            threading.Event().wait()
        if code == DIE:
            os._exit(3)
        self.engine.busy_s += 1.0
        columns = self.pixels.sum((1, 2, 3)), os.getpid(), self.engine.batch_size
        sums, *others = (np.broadcast_to(column, len(self.pixels)) for column in columns)
        values = {
            "sum": sums[:, None].astype(np.float32),
            "process": np.stack(others, axis=1).astype(np.float32),  # (batch, 2)
        }
        return {layer: array[: self.n_rows] for layer, array in values.items()}


def build(backbone: Backbone, **how: Any) -> Any:
    return DoubleEngine(backbone, **how)


def build_backbone(module: Any = None) -> Any:
    """Build the backbone of it all, whose network may be anything."""
    preprocess = ImageClassification(
        resize_size=2, crop_size=2, interpolation="bilinear", mean=(0.0,) * 3, std=(1.0,) * 3
    )
    dims = {"sum": 1, "process": 2}
    return Backbone(
        name="double",
        dims=dims,
        preprocess=preprocess,
        pixel_shape=(2, 2, 3),
        weights_digest="",
        origin=Origin(weights="none"),
        load_module=lambda: module,
    )
