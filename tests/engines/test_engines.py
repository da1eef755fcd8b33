"""What every engine promises: PyTorch's vectors, and rows that know nothing of their neighbours."""

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import featx
from featx.backbones.backbone import Backbone
from featx.backbones.custom import register_backbone
from featx.backbones.load import load_backbone
from featx.core.errors import BackboneError, DeviceError, FeatxWarning
from featx.core.similarity import compute_cosines
from featx.core.typing import Array, EngineName, Precision
from featx.engines import torch_engine
from featx.engines.choose import build_engine, list_precisions
from featx.engines.torch_engine import TorchEngine

openvino_engine: Any = pytest.importorskip("featx.engines.openvino_engine", reason="needs OpenVINO")
OpenVinoEngine = openvino_engine.OpenVinoEngine

BATCH_SIZE = 4
NETWORKS = (
    "mini",
    "lenet5",
    "squeezenet1_1",
    "mobilenet_v2",
    "shufflenet_v2_x0_5",
    "tests-tiny",
)
MIN_COSINES = {"fp32": 0.99999, "bf16": 0.999, "fp16": 0.999}

ENGINES: tuple[EngineName, ...] = ("torch", "openvino")
EACH_ENGINE = pytest.mark.parametrize("engine_name", ENGINES)
EACH_PRECISION = pytest.mark.parametrize(
    ("engine_name", "precision"),
    [(engine, precision) for engine in ENGINES for precision in list_precisions(engine, "cpu")],
)
"""What the CPU at hand computes at full speed; fp32 at least."""

pytestmark = pytest.mark.usefixtures("tiny_backbone")


@functools.cache
def load(name: str) -> Any:
    own = name in ("mini", "lenet5", "tests-tiny")
    return load_backbone(name, weights="DEFAULT" if own else "random:0")


@functools.cache
def build(name: str, engine: Any, precision: Precision = "fp32") -> Any:
    return build_engine(
        load(name), engine=engine, device="cpu", precision=precision, batch_size=BATCH_SIZE
    )


def draw(backbone: Backbone, n_rows: int = BATCH_SIZE, seed: Any = 0) -> Any:
    """Draw images as the backbone's `prepare` returns them: coarse noise, so that rows differ."""
    black = backbone.preprocess.build_example()
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n_rows, *(max(1, side // 8) for side in black.shape)))
    pixels = np.stack([np.resize(one, black.shape) for one in coarse])
    return pixels.astype(np.uint8) if black.dtype == np.uint8 else (pixels / 255).astype("f4")


def run_eager(backbone: Backbone, pixels: Array) -> Any:
    with torch.inference_mode():
        outputs = backbone.module(backbone.preprocess.normalise(torch.from_numpy(pixels)))
    return [output.numpy() for output in outputs]


# --- the contract


@EACH_PRECISION
@pytest.mark.parametrize("name", NETWORKS)
def test_engine_vectors_are_close_to_eager_pytorch(
    name: str, engine_name: EngineName, precision: Precision
) -> None:
    backbone, engine = load(name), build(name, engine_name, precision)
    pixels = draw(backbone)
    (got,), (expected,) = engine.run(pixels).values(), run_eager(backbone, pixels)
    assert (got.dtype, got.shape) == (np.float32, expected.shape)
    assert compute_cosines(got, expected).min() >= MIN_COSINES[precision]
    if precision == "fp32":  # a cosine sees no scale
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@EACH_PRECISION
@pytest.mark.parametrize("n_rows", [1, BATCH_SIZE - 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_engine_rows_do_not_depend_on_their_neighbours(
    name: str, n_rows: int, engine_name: EngineName, precision: Precision
) -> None:
    engine = build(name, engine_name, precision)
    pixels, others = draw(load(name)), draw(load(name), seed=1)
    (full,) = engine.run(pixels).values()
    (part,) = engine.run(pixels[:n_rows]).values()
    (mixed,) = engine.run(np.concatenate([pixels[:n_rows], others[n_rows:]])).values()
    assert part.shape == (n_rows, full.shape[1])
    assert part.tobytes() == full[:n_rows].tobytes() == mixed[:n_rows].tobytes()
    assert mixed[n_rows:].tobytes() != full[n_rows:].tobytes()


@EACH_ENGINE
@pytest.mark.parametrize("layers", [["features.3", "penultimate"], ["penultimate", "features.3"]])
def test_engine_gives_each_layer_by_its_name(layers: Any, engine_name: EngineName) -> None:
    backbone = load_backbone("squeezenet1_1", weights="random:0", layers=layers)
    engine = build_engine(backbone, engine=engine_name, device="cpu", batch_size=2)
    pixels = draw(backbone, 2)
    got = engine.run(pixels)
    assert list(got) == layers
    assert {name: part.shape for name, part in got.items()} == {
        "features.3": (2, 128),
        "penultimate": (2, 512),
    }
    for part, expected in zip(got.values(), run_eager(backbone, pixels), strict=True):
        assert compute_cosines(part, expected).min() >= MIN_COSINES["fp32"]


@EACH_ENGINE
def test_engine_of_another_size_gives_what_pytorch_gives(engine_name: EngineName) -> None:
    backbone = load_backbone("mini", size=40)
    engine = build_engine(backbone, engine=engine_name, device="cpu", batch_size=2)
    pixels = draw(backbone, 2)
    assert engine.slots[0].pixels.shape == pixels.shape == (2, 40, 40, 3)
    (got,), (expected,) = engine.run(pixels).values(), run_eager(backbone, pixels)
    assert compute_cosines(got, expected).min() >= MIN_COSINES["fp32"]


@EACH_PRECISION
@pytest.mark.parametrize("name", ["mini", "tests-tiny"])
def test_engine_slots_in_flight_together_and_again_give_the_same(
    name: str, engine_name: EngineName, precision: Precision
) -> None:
    backbone, engine = load(name), build(name, engine_name, precision)
    batches = [draw(backbone, seed=seed) for seed in range(len(engine.slots))]
    expected = [engine.run(pixels)[backbone.layers[0]].tobytes() for pixels in batches]
    assert len(set(expected)) == len(batches) >= 2
    found = []
    for turn in range(10):
        # Each batch is in another slot every time.
        slots = [engine.slots[(turn + number) % len(batches)] for number in range(len(batches))]
        for slot, pixels in zip(slots, batches, strict=True):
            slot.pixels[:] = pixels
            slot.start(len(pixels))
        found.append([slot.wait()[backbone.layers[0]] for slot in slots])
    # What was returned long ago must not have been written over since.
    assert [[part.tobytes() for part in turn] for turn in found] == [expected] * 10


@EACH_ENGINE
def test_engine_slot_that_held_more_rows_forgets_them(engine_name: EngineName) -> None:
    backbone, engine = load("mini"), build("mini", engine_name)
    slot = engine.slots[0]
    slot.pixels[:] = draw(backbone)
    slot.start(BATCH_SIZE)
    slot.wait()
    slot.start(1)
    slot.wait()
    assert not slot.pixels[1:].any()


@EACH_ENGINE
def test_engine_takes_pixels_of_one_shape_and_kind(engine_name: EngineName) -> None:
    for name in ("mini", "tests-tiny"):
        engine, black = build(name, engine_name), load(name).preprocess.build_example()
        for slot in engine.slots:
            assert (slot.pixels.shape, slot.pixels.dtype) == (
                (BATCH_SIZE, *black.shape),
                black.dtype,
            )


@EACH_PRECISION
def test_engine_says_what_it_is(engine_name: EngineName, precision: Precision) -> None:
    engine = build("mini", engine_name, precision)
    assert (engine.name, engine.device, engine.precision) == (engine_name, "cpu", precision)
    assert engine.batch_size == BATCH_SIZE
    assert engine.busy_s is None  # a CPU has no clock of its own


@EACH_ENGINE
def test_engine_without_a_batch_size_has_its_own(engine_name: EngineName) -> None:
    engine = build_engine(load("mini"), engine=engine_name, device="cpu")
    assert engine.batch_size == len(engine.slots[0].pixels) > 1


@EACH_PRECISION
@pytest.mark.shared
def test_engine_on_real_photos_is_close_to_eager_pytorch(
    shared: Path, engine_name: EngineName, precision: Precision
) -> None:
    from featx.images.decode import decode_image

    file = shared / "weights" / "mobilenet_v2-imagenet-backbone.pth"
    backbone = load_backbone("mobilenet_v2", weights=str(file))
    paths = sorted((shared / "data/hymenoptera_data").glob("val/*/*.jpg"))[::10]
    pixels = np.stack(
        [backbone.preprocess.prepare(decode_image(path.read_bytes())) for path in paths]
    )
    engine = build_engine(
        backbone, engine=engine_name, device="cpu", precision=precision, batch_size=len(pixels)
    )
    (got,), (expected,) = engine.run(pixels).values(), run_eager(backbone, pixels)
    assert len(paths) >= 15
    cosines = compute_cosines(got, expected)
    assert np.median(cosines) >= MIN_COSINES[precision]
    # In bf16 3 of all 153 are below 0.999, with either engine.
    assert cosines.min() >= (MIN_COSINES[precision] if precision == "fp32" else 0.998)


# --- layers, and parts of an output


@pytest.mark.parametrize("engine_name", ["torch", "openvino"])
def test_engine_layer_that_is_written_into_is_the_output_of_its_module(
    engine_name: EngineName,
) -> None:
    layer = "features.0.1"  # a BatchNorm, before a ReLU in place
    backbone = load_backbone("mini", layers=[layer, "penultimate"])
    whole = load_backbone("mini").module.network
    outputs: list[torch.Tensor] = []
    hook = whole.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: outputs.append(output.clone())
    )
    pixels = draw(backbone)
    with torch.inference_mode():
        whole(backbone.preprocess.normalise(torch.from_numpy(pixels)))
    hook.remove()
    expected = outputs[0].mean((2, 3)).numpy()
    assert (expected < 0).any()  # which no ReLU would let through
    with build_engine(backbone, engine=engine_name, device="cpu", batch_size=BATCH_SIZE) as engine:
        np.testing.assert_allclose(engine.run(pixels)[layer], expected, rtol=1e-3, atol=1e-4)


class Parts(nn.Module):
    """Puts out a dict, as networks of Hugging Face do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, batch: Any) -> Any:
        maps = self.norm(self.conv(batch))
        return {"last_hidden_state": maps, "pooler_output": maps.mean((2, 3), keepdim=True)}


@pytest.mark.parametrize("engine_name", ["torch", "openvino"])
def test_engine_reads_a_part_of_an_output_by_its_name(engine_name: EngineName) -> None:
    if "engines-parts" not in featx.list_backbones():
        register_backbone("engines-parts", Parts().eval(), transform=scale)
    backbone = load_backbone("engines-parts", layers=["pooler_output"])
    assert dict(backbone.dims) == {"pooler_output": 4}
    pixels = draw(backbone)
    with build_engine(backbone, engine=engine_name, device="cpu", batch_size=BATCH_SIZE) as engine:
        np.testing.assert_allclose(
            engine.run(pixels)["pooler_output"],
            run_eager(backbone, pixels)[0],
            rtol=1e-4,
            atol=1e-5,
        )


# --- networks that OpenVINO does not know, or makes another


class Bessel(nn.Module):
    """Computes what OpenVINO has no operation for."""

    def forward(self, batch: Any) -> Any:
        return torch.special.bessel_j0(batch.mean((2, 3)))


class Branches(nn.Module):
    """Decides in Python, which a trace sees but once."""

    def forward(self, batch: Any) -> Any:
        mean = batch.mean((2, 3))
        return mean * (1.0 if batch.max() > 0.5 else -1.0)


def scale(image: Any) -> Any:
    return torch.from_numpy(np.asarray(image.resize((8, 8)), "f4").transpose(2, 0, 1) / 255)


def load_own(name: str, network: Any) -> Any:
    if name not in featx.list_backbones():
        register_backbone(name, network(), transform=scale)
    return load_backbone(name)


def test_build_engine_network_that_openvino_cannot_run_is_refused() -> None:
    with pytest.raises(
        BackboneError,
        match=r"^engines-bessel: expected a network that OpenVINO can run, got .*engine='torch'",
    ):
        build_engine(load_own("engines-bessel", Bessel), engine="openvino")


def test_build_engine_auto_of_a_network_that_openvino_cannot_run_is_torch() -> None:
    backbone = load_own("engines-bessel", Bessel)
    engine = build_engine(backbone, device="cpu", batch_size=BATCH_SIZE)
    assert engine.name == "torch"
    pixels = draw(backbone)
    np.testing.assert_allclose(
        engine.run(pixels)["penultimate"], run_eager(backbone, pixels)[0], rtol=1e-6
    )


def test_build_engine_network_that_decides_in_python_is_refused_by_openvino() -> None:
    backbone = load_own("engines-branches", Branches)
    with pytest.raises(
        BackboneError, match=r"expected the same embeddings from OpenVINO as from PyTorch"
    ):
        build_engine(backbone, engine="openvino")
    assert build_engine(backbone, device="cpu").name == "torch"


@pytest.mark.parametrize("cosine", [0.9999, -1.0, float("nan")])
def test_build_engine_network_that_comes_out_another_is_refused(
    monkeypatch: pytest.MonkeyPatch, cosine: Any
) -> None:
    monkeypatch.setattr(openvino_engine, "compute_cosines", lambda *_: np.array([1.0, cosine]))
    backbone = load("tests-tiny")
    with pytest.raises(
        BackboneError,
        match=rf"^tests-tiny: expected the same embeddings .* {cosine:.6f}.*engine='torch'",
    ):
        build_engine(backbone, engine="openvino")
    assert build_engine(backbone, device="cpu").name == "torch"


def test_build_engine_network_with_one_layer_of_nan_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cosines = iter([np.array([1.0]), np.array([np.nan])])
    monkeypatch.setattr(openvino_engine, "compute_cosines", lambda *_: next(cosines))
    monkeypatch.setattr(openvino_engine, "find_kept", lambda _: None)
    layers = ["features.3", "penultimate"]
    backbone = load_backbone("squeezenet1_1", weights="random:0", layers=layers, size=64)
    with pytest.raises(BackboneError, match=r"expected the same embeddings .* a cosine of nan"):
        build_engine(backbone, engine="openvino")


def test_build_engine_auto_in_a_precision_that_torch_lacks_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "featx.engines.choose.list_precisions",
        lambda engine, device: ["fp32", "bf16"] if engine == "openvino" else ["fp32"],
    )
    with pytest.raises(BackboneError, match=r"expected a network that OpenVINO can run"):
        build_engine(load_own("engines-bessel", Bessel), device="cpu", precision="bf16")


# --- the converted network is kept


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names of the networks that are converted from here on."""
    names, convert = [], openvino_engine._convert

    def convert_and_note(backbone: Backbone) -> Any:
        names.append(backbone.name)
        return convert(backbone)

    monkeypatch.setattr(openvino_engine, "_convert", convert_and_note)
    return names


@pytest.mark.parametrize("name", ["mini", "squeezenet1_1"])
def test_openvino_engine_from_the_store_gives_identical_bytes(
    store: Path, converted: Any, name: str
) -> None:
    backbone = load(name)
    pixels = draw(backbone)
    found = [
        OpenVinoEngine(backbone, batch_size=BATCH_SIZE).run(pixels)["penultimate"].tobytes()
        for _ in range(3)
    ]
    assert converted == [name]
    assert found == [found[0]] * 3


def test_openvino_engine_from_the_store_serves_any_batch_size_and_precision(
    store: Path, converted: Any
) -> None:
    for precision in list_precisions("openvino", "cpu"):
        for batch_size in (1, 5):
            engine = OpenVinoEngine(load("mini"), precision=precision, batch_size=batch_size)
            engine.run(draw(load("mini"), batch_size))
    assert converted == ["mini"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("squeezenet1_1", {"weights": "random:1"}),
        ("squeezenet1_1", {"weights": "random:0", "layers": ["features.3"]}),
        ("squeezenet1_1", {"weights": "random:0", "layers": ["features.3", "penultimate"]}),
        pytest.param(
            "mobilenet_v2",
            {"weights": "random:0", "preprocess": "IMAGENET1K_V2"},
            marks=pytest.mark.slow,
        ),
        ("squeezenet1_1", {"weights": "random:0", "size": 64}),
    ],
    ids=str,
)
def test_openvino_engine_of_another_network_is_converted_anew(
    store: Path, converted: Any, name: str, options: Any
) -> None:
    OpenVinoEngine(load(name))
    engine = OpenVinoEngine(load_backbone(name, **options), batch_size=BATCH_SIZE)
    assert converted == [name, name]
    backbone = engine.backbone
    pixels = draw(backbone)
    for got, expected in zip(engine.run(pixels).values(), run_eager(backbone, pixels), strict=True):
        assert compute_cosines(got, expected).min() >= MIN_COSINES["fp32"]


@pytest.mark.parametrize("file", ["network.xml", "network.bin"])
def test_openvino_engine_damaged_in_the_store_is_converted_anew(
    store: Path, converted: Any, file: Any
) -> None:
    pixels = draw(load("mini"))
    before = OpenVinoEngine(load("mini"), batch_size=BATCH_SIZE).run(pixels)["penultimate"]
    (path,) = store.glob(f"*/{file}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    after = OpenVinoEngine(load("mini"), batch_size=BATCH_SIZE).run(pixels)["penultimate"]
    assert converted == ["mini", "mini"]
    assert after.tobytes() == before.tobytes()


def test_openvino_engine_registered_network_is_never_kept(store: Path, converted: Any) -> None:
    for _ in range(2):
        OpenVinoEngine(load("tests-tiny"))
    assert converted == ["tests-tiny"] * 2
    assert os.listdir(store) == []


def test_openvino_engine_where_nothing_can_be_kept_runs_all_the_same(
    store: Path, converted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")  # its word for a full disk

    monkeypatch.setattr(openvino_engine.openvino, "save_model", fail)
    pixels = draw(load("mini"))
    with pytest.warns(FeatxWarning, match=r"nothing is kept .*iostream error"):
        OpenVinoEngine(load("mini"), batch_size=BATCH_SIZE)
    converted.clear()
    for _ in range(2):
        engine = OpenVinoEngine(load("mini"), batch_size=BATCH_SIZE)
        (got,), (expected,) = engine.run(pixels).values(), run_eager(load("mini"), pixels)
        assert compute_cosines(got, expected).min() >= MIN_COSINES["fp32"]
    assert converted == ["mini", "mini"]
    assert list(store.rglob("*.xml")) == []  # facts of the backbone may be kept


# --- memory that is too small


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A device, not called cpu, whose memory takes so many images at a time; a function.

    Returns the batch sizes that were tried.
    """
    tried = []

    def limit(n_images: Any) -> Any:
        forward = torch_engine._Network.forward

        def run_out(self: Any, pixels: torch.Tensor) -> Any:
            tried.append(len(pixels))
            if len(pixels) > n_images:
                raise torch.OutOfMemoryError("out of memory")
            return forward(self, pixels)

        monkeypatch.setattr(torch_engine._Network, "forward", run_out)
        return tried

    return limit


def test_torch_engine_halves_its_batch_until_it_fits(small_device: Any) -> None:
    tried = small_device(64)
    engine = TorchEngine(load("tests-tiny"), device="cpu:0")
    assert tried[:3] == [256, 128, 64]
    assert engine.batch_size == 64
    assert [len(slot.pixels) for slot in engine.slots] == [64] * len(engine.slots)
    pixels = draw(load("tests-tiny"), 64)
    np.testing.assert_allclose(
        engine.run(pixels)["penultimate"], run_eager(load("tests-tiny"), pixels)[0], atol=1e-5
    )


def test_torch_engine_batch_that_was_asked_for_is_not_halved(small_device: Any) -> None:
    tried = small_device(64)
    with pytest.raises(
        DeviceError, match=r"^device cpu:0: expected memory for 128 .* a smaller batch_size"
    ):
        TorchEngine(load("tests-tiny"), device="cpu:0", batch_size=128)
    assert tried == [128]


def test_torch_engine_memory_too_small_for_one_image_is_refused(small_device: Any) -> None:
    tried = small_device(0)
    with pytest.raises(DeviceError, match=r"expected memory for 1 images at a time"):
        TorchEngine(load("tests-tiny"), device="cpu:0")
    assert tried == [256, 128, 64, 32, 16, 8, 4, 2, 1]


@pytest.mark.slow
def test_torch_engine_that_cannot_be_built_ends_its_threads(small_device: Any) -> None:
    small_device(0)
    before = set(threading.enumerate())
    with pytest.raises(DeviceError) as caught:
        TorchEngine(load("tests-tiny"), device="cpu:0")
    assert caught.tb  # holds the frames of the engine, so that nothing is freed by chance
    assert set(threading.enumerate()) <= before


SIGNAL = """
import gc, signal
from featx.backbones.load import load_backbone
from featx.engines.openvino_engine import OpenVinoEngine

signal.signal(signal.SIGINT, signal.default_int_handler)
backbone = load_backbone("lenet5", weights="random:0")
engines = [OpenVinoEngine(backbone), OpenVinoEngine(backbone)]
while engines:
    engines.pop(0)  # in the order they came
    gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_openvino_engines_that_went_leave_ctrl_c_an_exception() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNAL], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
