"""Several devices, one process each: the same vectors, and no process or memory left behind."""

import gc
import importlib
import os
import signal
import sys
import types
from collections import namedtuple
from collections.abc import Iterator
from multiprocessing import active_children
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import featx
from featx.backbones.backbone import Backbone
from featx.core.errors import DeviceError
from featx.embedding.loop import iter_embedded
from featx.embedding.options import RunOptions
from featx.engines import choose, fleet, fleet_process
from featx.engines.choose import build_engine, choose_device, list_precisions
from featx.engines.fleet import Fleet
from featx.engines.torch_engine import TorchEngine
from featx.images.sources.read import read_manifest

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")

LONG_S = 60
"""No process is waited for any longer."""


@pytest.fixture(scope="module")
def doubles() -> Iterator[Any]:
    """Have fleets run engines without torch: their processes start in a fraction of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)  # where processes look too
        module = importlib.import_module("fleet_doubles")
        patch.setattr(fleet, "build", module.build)
        yield module


@pytest.fixture(scope="module")
def backbone(doubles: ModuleType) -> Backbone:
    built: Backbone = doubles.build_backbone()
    return built


@pytest.fixture(scope="module")
def pair(backbone: Backbone) -> Iterator[Any]:
    """A fleet of two doubles, of which one has memory for 4 images and the other for 8."""
    engine = Fleet(backbone, devices=["double:4", "double:8"])
    yield engine
    engine.close()


@pytest.fixture
def one(backbone: Backbone) -> Iterator[Any]:
    engine = Fleet(backbone, devices=["double:4"])
    yield engine
    engine.close()


@pytest.fixture
def memories(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names of the shared memory that is created."""
    names, create = [], fleet_process._create

    def create_and_tell(n_bytes: Any) -> Any:
        memory = create(n_bytes)
        names.append(memory.name)
        return memory

    monkeypatch.setattr(fleet_process, "_create", create_and_tell)
    return names


def list_processes(device: str) -> Any:
    return [process for process in active_children() if process.name == f"featx-{device}"]


def is_there(name: str) -> Any:
    try:
        SharedMemory(name).close()
    except FileNotFoundError:
        return False
    return True


def run(slot: Any, first: Any, n_rows: int = 1) -> Any:
    slot.pixels[:n_rows] = 0
    slot.pixels.flat[0] = first
    slot.start(n_rows)
    return slot.wait()


# --- with PyTorch


@pytest.fixture(scope="module")
def squeezenet() -> Backbone:
    layers = ["features.3", "penultimate"]
    return featx.load_backbone("squeezenet1_1", weights="random:0", layers=layers)


@pytest.fixture(scope="module")
def on_two(squeezenet: Backbone) -> Iterator[Any]:
    engine = Fleet(squeezenet, devices=["cpu", "cpu"], batch_size=2)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def on_one(squeezenet: Backbone) -> Any:
    return TorchEngine(squeezenet, device="cpu", batch_size=2)


def test_fleet_gives_the_vectors_of_one_engine(on_two: Any, on_one: Any) -> None:
    rng = np.random.default_rng(0)
    batches = [
        rng.integers(0, 256, (1 + number % 2, 224, 224, 3), dtype=np.uint8)
        for number in range(len(on_two.slots))
    ]
    for slot, batch in zip(on_two.slots, batches, strict=True):
        slot.pixels[: len(batch)] = batch
        slot.start(len(batch))
    # In whichever order they are waited for.
    got = [slot.wait() for slot in reversed(on_two.slots)][::-1]
    for found, batch in zip(got, batches, strict=True):
        expected = on_one.run(batch)
        assert list(found) == list(expected) == ["features.3", "penultimate"]
        for layer, vectors in expected.items():
            assert found[layer].dtype == np.float32
            assert found[layer].tobytes() == vectors.tobytes()
    assert (on_two.name, on_two.device, on_two.busy_s) == ("torch", "cpu", None)


def test_iter_embedded_over_a_fleet_keeps_order_and_values(
    on_two: Any, on_one: Any, squeezenet: Backbone, tmp_path: Path, make_image: Any
) -> None:
    n_images = 2 * 2 * len(on_two.slots) + 1
    for number in range(n_images):
        make_image(tmp_path / f"{number:04}.png", seed=number)
    entries = read_manifest(tmp_path).entries
    options = RunOptions(device="cpu", progress=False)
    results = []
    for engine in (on_two, on_one):
        batches = list(iter_embedded(entries, squeezenet, engine, options))
        rows = [row.id for batch in batches for row in batch.rows]
        vectors = [values for batch in batches for values in batch.vectors["penultimate"]]
        results.append((rows, np.array(vectors).tobytes()))
    assert results[0] == results[1]
    assert results[0][0] == [f"{number:04}.png" for number in range(n_images)]


@pytest.mark.gpu
def test_fleet_of_all_gpus_gives_the_vectors_of_one() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip(f"needs several GPUs, got {torch.cuda.device_count()}")
    backbone = featx.load_backbone("resnet18", weights="random:0")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)
    one = build_engine(backbone, device="cuda:0", batch_size=8)
    every = build_engine(backbone, device="cuda", batch_size=8)
    assert isinstance(every, Fleet)
    (expected,) = one.run(pixels).values()
    for slot in every.slots:
        slot.pixels[:] = pixels
        slot.start(8)
    for slot in every.slots:
        (found,) = slot.wait().values()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert (every.busy_s or 0) > 0
    every.close()


# --- batches


def test_fleet_without_a_batch_size_takes_what_all_have_memory_for(pair: Any) -> None:
    assert pair.batch_size == 4
    for slot in pair.slots:
        assert slot.pixels.shape == (4, 2, 2, 3)
        assert run(slot, 7, 3)["process"][:, 1].tolist() == [4, 4, 4]


def test_fleet_slots_are_those_of_the_devices_in_turn(pair: Any, doubles: ModuleType) -> None:
    assert len(pair.slots) == 2 * doubles.N_SLOTS
    pids = [int(run(slot, 1)["process"][0, 0]) for slot in pair.slots]
    assert pids[:2] == [member.process.pid for member in pair._members]
    assert pids == pids[:2] * doubles.N_SLOTS


def test_fleet_busy_time_is_the_mean_of_the_devices(pair: Any) -> None:
    before = pair.busy_s
    for _ in range(3):
        run(pair.slots[0], 1)
    assert pair.busy_s - before == 1.5


def test_fleet_ctrl_c_is_left_to_whoever_started_it(pair: Any) -> None:
    for member in pair._members:
        os.kill(member.process.pid, signal.SIGINT)
    assert [run(slot, 5)["sum"].item() for slot in pair.slots] == [5] * len(pair.slots)


# --- errors


def test_fleet_error_of_a_device_comes_back_as_it_is(pair: Any, doubles: ModuleType) -> None:
    with pytest.raises(DeviceError, match=r"^device double: expected memory, .* Pass less\."):
        run(pair.slots[1], doubles.LACK_MEMORY)
    assert run(pair.slots[1], 9)["sum"].item() == 9


@pytest.mark.parametrize(
    ("what", "reason"), [("REFUSE_START", "not today"), ("FAIL", "nowhere")], ids=["start", "wait"]
)
def test_fleet_other_error_says_where_and_what_to_do(
    pair: Any, doubles: ModuleType, what: Any, reason: str
) -> None:
    expected = rf"^device double:8: .* got LookupError: '?{reason}'?\. Read .*device='cuda:0'"
    with pytest.raises(DeviceError, match=expected) as caught:
        run(pair.slots[1], getattr(doubles, what))
    assert "fleet_doubles.py" in caught.value.__notes__[0]
    assert run(pair.slots[1], 9)["sum"].item() == 9


def test_fleet_error_of_one_batch_leaves_the_others(pair: Any, doubles: ModuleType) -> None:
    for slot, first in zip(pair.slots, [1, doubles.FAIL, 3, 4], strict=True):
        slot.pixels[:] = 0
        slot.pixels.flat[0] = first
        slot.start(1)
    with pytest.raises(DeviceError, match="nowhere"):
        pair.slots[1].wait()
    sums = [pair.slots[number].wait()["sum"].item() for number in (0, 2, 3)]
    assert sums == [1, 3, 4]


def test_fleet_process_that_is_killed_is_an_error(one: Any, doubles: ModuleType) -> None:
    one.slots[0].pixels.flat[0] = doubles.HANG
    one.slots[0].start(1)
    os.kill(one._members[0].process.pid, signal.SIGKILL)
    with pytest.raises(
        DeviceError, match=r"an answer from its process, got its end with exit code -9"
    ):
        one.slots[0].wait()
    one.slots[1].start(1)
    with pytest.raises(DeviceError, match=r"pass device='cuda:0'"):
        one.slots[1].wait()


def test_fleet_process_that_ends_by_itself_is_an_error(one: Any, doubles: ModuleType) -> None:
    with pytest.raises(DeviceError, match=r"^device double:4: .* exit code 3\."):
        run(one.slots[0], doubles.DIE)


def test_fleet_network_that_cannot_be_pickled_is_refused(doubles: ModuleType) -> None:
    with pytest.raises(DeviceError, match=r"^double on several .* can be pickled, .*cuda:0"):
        Fleet(doubles.build_backbone(lambda: 0), devices=["double:4"])


def test_fleet_network_that_only_this_process_knows_is_refused(
    doubles: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = types.ModuleType("own")
    exec("class Net: pass", own.__dict__)
    monkeypatch.setitem(sys.modules, "own", own)
    with pytest.raises(DeviceError, match=r"got ModuleNotFoundError: No module named 'own'\. Read"):
        Fleet(doubles.build_backbone(own.Net()), devices=["double:5"])
    assert list_processes("double:5") == []


def test_room_without_enough_shared_memory_is_refused(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ["free"])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("featx.engines.fleet_process.shutil.disk_usage", lambda _: usage(10**6))
    with pytest.raises(
        DeviceError, match=r"/dev/shm: expected 24 MB free .* got 1 MB\. .*shm-size"
    ):
        fleet_process.SharedBatch(backbone, 1_000_000)


# --- the end


def test_fleet_half_built_leaves_nothing(backbone: Backbone, memories: Any) -> None:
    with pytest.raises(DeviceError, match="device stubborn:8: expected 8 at a time, got 2"):
        Fleet(backbone, devices=["double:2", "stubborn:8"])
    assert list_processes("double:2") == list_processes("stubborn:8") == []
    assert memories
    assert not any(is_there(name) for name in memories)


def test_fleet_dropped_ends_its_processes_and_frees_its_memory(
    backbone: Backbone, memories: Any
) -> None:
    engine = Fleet(backbone, devices=["double:3", "double:3"])
    processes = list_processes("double:3")
    assert len(processes) == 2
    assert all(is_there(name) for name in memories)
    assert run(engine.slots[0], 1)["sum"].item() == 1
    del engine
    gc.collect()
    for process in processes:
        process.join(LONG_S)
        assert process.exitcode is not None
    assert not any(is_there(name) for name in memories)


def test_fleet_process_whose_pipe_closes_ends_quietly(one: Any, capfd: Any) -> None:
    one._members[0].connection.close()
    process = one._members[0].process
    process.join(LONG_S)
    assert process.exitcode == 0
    assert capfd.readouterr().err == ""


def test_fleet_closed_says_so(backbone: Backbone, memories: Any) -> None:
    engine = Fleet(backbone, devices=["double:4"])
    slot = engine.slots[0]
    engine.close()
    engine.close()
    assert not any(is_there(name) for name in memories)
    with pytest.raises(DeviceError, match="expected an open engine, got a closed one"):
        engine.run(np.zeros((1, 2, 2, 3), np.uint8))
    slot.start(1)
    with pytest.raises(DeviceError, match="expected an answer from its process"):
        slot.wait()


# --- which device


@pytest.fixture
def with_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of three GPUs, the last of them old."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    able = {"cuda:0": (9, 0), "cuda:1": (8, 0), "cuda:2": (7, 5)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", able.__getitem__)


@pytest.mark.parametrize(
    ("text", "device"),
    [("auto", "cuda:0"), ("cuda", "cuda"), ("cuda:0", "cuda:0"), ("cuda:2", "cuda:2")],
)
def test_choose_device_with_several_gpus_is_all_of_them_only_by_name(
    with_three: Any, text: str, device: str
) -> None:
    assert choose_device(text) == device


def test_choose_device_beyond_several_gpus_is_refused(with_three: Any) -> None:
    with pytest.raises(DeviceError, match=r"device cuda:3: .* got a machine with 3 CUDA devices"):
        choose_device("cuda:3")


@pytest.mark.parametrize("text", ["auto", "cuda"])
def test_choose_device_with_one_gpu_is_that(
    with_three: Any, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device(text) == "cuda:0"


def test_list_precisions_of_all_gpus_are_those_that_each_has(with_three: Any) -> None:
    assert list_precisions("torch", "cuda:0") == ["fp32", "bf16", "fp16"]
    assert list_precisions("torch", "cuda") == ["fp32", "fp16"]


def test_build_engine_with_several_gpus_builds_a_fleet_of_all(
    with_three: Any, monkeypatch: pytest.MonkeyPatch, backbone: Backbone
) -> None:
    monkeypatch.setattr(fleet, "Fleet", lambda backbone, **how: how)
    how: dict[str, Any] = {"precision": "fp16", "batch_size": 4, "n_images": 9}
    built: Any = choose.build_engine(backbone, device="cuda", **how)
    assert built == {"devices": ["cuda:0", "cuda:1", "cuda:2"], **how}
