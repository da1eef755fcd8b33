"""The end of an engine: its threads and memory are given back, once."""

import gc
import threading
import weakref
from typing import Literal

import numpy as np
import pytest

from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.core.errors import DeviceError
from featx.core.typing import Array, EngineName
from featx.engines.choose import build_engine
from featx.engines.engine import Engine
from featx.testing import FakeEngine

EACH_ENGINE = pytest.mark.parametrize("engine_name", ["torch", "openvino", "fake"])


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("lenet5")


@pytest.fixture(scope="module")
def pixels(backbone: Backbone) -> Array:
    return np.stack([backbone.preprocess.build_example()] * 2)


def build(backbone: Backbone, engine_name: EngineName | Literal["fake"]) -> Engine:
    if engine_name == "fake":
        return FakeEngine().build(backbone, precision="fp32", batch_size=2, n_images=0)
    return build_engine(backbone, engine=engine_name, device="cpu", batch_size=2)


def list_threads() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith("featx-")}


@EACH_ENGINE
def test_close_gives_threads_and_memory_back(
    backbone: Backbone, pixels: Array, engine_name: EngineName | Literal["fake"]
) -> None:
    before = list_threads()
    engine = build(backbone, engine_name)
    engine.run(pixels)
    slots = [weakref.ref(slot) for slot in engine.slots]
    assert slots
    engine.close()
    gc.collect()
    assert [slot() for slot in slots] == [None] * len(slots)
    assert list_threads() <= before


def test_close_ends_the_threads_that_torch_computes_in(backbone: Backbone) -> None:
    before = list_threads()
    engine = build(backbone, "torch")
    own = list_threads() - before
    assert own
    engine.close()
    assert not any(one.is_alive() for one in own)


@EACH_ENGINE
def test_close_again_does_no_harm_and_the_engine_says_that_it_is_closed(
    backbone: Backbone, pixels: Array, engine_name: EngineName | Literal["fake"]
) -> None:
    engine = build(backbone, engine_name)
    engine.close()
    engine.close()
    with pytest.raises(DeviceError, match=rf"^engine {engine_name}: expected an open engine, got"):
        engine.run(pixels)


@EACH_ENGINE
def test_engine_is_closed_at_the_end_of_its_block(
    backbone: Backbone, pixels: Array, engine_name: EngineName | Literal["fake"]
) -> None:
    with build(backbone, engine_name) as engine:
        assert engine.run(pixels)["penultimate"].shape == (2, 84)
    assert engine.slots == ()


@EACH_ENGINE
def test_close_leaves_other_engines_and_earlier_vectors_alone(
    backbone: Backbone, pixels: Array, engine_name: EngineName | Literal["fake"]
) -> None:
    one, other = build(backbone, engine_name), build(backbone, engine_name)
    vectors = one.run(pixels)["penultimate"]
    expected = vectors.tobytes()
    one.close()
    gc.collect()
    assert other.run(pixels)["penultimate"].tobytes() == expected == vectors.tobytes()
    other.close()
