"""Run options: "auto" or numbers, refused at once if nothing can follow them."""

from typing import Any

import joblib
import numpy as np
import pytest

import featx
from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError, FeatxError
from featx.core.typing import Count
from featx.embedding.options import RunOptions
from featx.engines.engine import Engine
from featx.testing import FakeEngine
from tests.builders import NEEDS_OPENVINO


class RecordingBuilder:
    """Build fake engines and keep the words that they were ordered with."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []

    def build(self, backbone: Backbone, **order: Any) -> Engine:
        self.orders.append(order)
        return FakeEngine().build(backbone, **order)


@pytest.mark.parametrize("name", ["batch_size", "workers"])
@pytest.mark.parametrize("value", [0, -1, None, 2.0, "8", "Auto"])
def test_run_options_number_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(FeatxError) as caught:
        RunOptions(**{name: value})
    assert (caught.value.subject, caught.value.got) == (name, repr(value))
    assert caught.value.expected == "'auto' or a number of at least 1"
    assert caught.value.remedy == "Pass 'auto' to let featx decide."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onnx"}, "engine: expected auto, torch or openvino, got 'onnx'"),
        ({"engine": None}, "engine: expected auto, torch or openvino, got None"),
        ({"device": "gpu"}, "device: expected auto, cpu, .* got 'gpu'"),
        pytest.param(
            {"engine": "openvino", "device": "cuda"},
            "engine, device: expected device cpu with",
            marks=NEEDS_OPENVINO,
        ),
    ],
)
def test_run_options_that_no_engine_can_follow_are_refused_at_once(
    options: Any, message: str
) -> None:
    with pytest.raises(DeviceError, match=message):
        RunOptions(**options)


def test_run_options_auto_workers_are_one_per_core_and_two_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for n_cores, expected in ((1, 2), (2, 2), (7, 7)):
        monkeypatch.setattr(joblib, "cpu_count", lambda n_cores=n_cores: n_cores)
        assert RunOptions(device="cpu").n_workers == expected


def test_run_options_workers_of_a_number_are_that_many() -> None:
    assert RunOptions(device="cpu", workers=1).n_workers == 1
    assert RunOptions(device="cpu", workers=9).n_workers == 9
    from_numpy: Any = np.int64(9)
    assert RunOptions(device="cpu", workers=from_numpy).n_workers == 9


@pytest.mark.parametrize(("batch_size", "ordered"), [("auto", None), (1, 1), (5, 5)])
def test_run_options_order_an_engine_from_the_builder(
    batch_size: Count, ordered: int | None
) -> None:
    builder = RecordingBuilder()
    options = RunOptions(engine=builder, batch_size=batch_size)
    engine = options.build_engine(featx.load_backbone("lenet5"), "bf16", n_images=7)
    assert builder.orders == [{"precision": "bf16", "batch_size": ordered, "n_images": 7}]
    assert (engine.batch_size, engine.precision) == (ordered or 8, "bf16")


@pytest.mark.parametrize("batch_size", ["auto", 3])
def test_run_options_batch_size_reaches_the_engine_of_a_name(batch_size: Count) -> None:
    options = RunOptions(engine="torch", device="cpu", batch_size=batch_size)
    with options.build_engine(featx.load_backbone("lenet5")) as engine:
        assert (engine.name, engine.device) == ("torch", "cpu")
        assert engine.batch_size == (8 if batch_size == "auto" else batch_size)


def test_check_precision_refuses_a_word_that_is_none() -> None:
    word: Any = "fp8"
    for options in (RunOptions(device="cpu"), RunOptions(engine=FakeEngine())):
        with pytest.raises(DeviceError, match=r"^precision: expected fp32, bf16 or fp16, got .fp8"):
            options.check_precision(word)


def test_check_precision_asks_the_device_but_not_a_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.engines.choose.list_precisions", lambda *_: ["fp32"])
    RunOptions(engine=FakeEngine()).check_precision("bf16")
    RunOptions(device="cpu").check_precision("fp32")
    with pytest.raises(DeviceError, match="bf16"):
        RunOptions(device="cpu").check_precision("bf16")
