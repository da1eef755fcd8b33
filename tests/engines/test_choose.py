"""Which engine and device words stand for, and what is refused before anything is loaded."""

import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from featx.backbones.load import load_backbone
from featx.core.errors import DeviceError, MissingExtraError
from featx.core.typing import Precision
from featx.engines.choose import (
    build_engine,
    check_precision,
    choose_device,
    choose_engine,
    list_precisions,
)

openvino_engine: Any = pytest.importorskip("featx.engines.openvino_engine", reason="needs OpenVINO")


@pytest.fixture
def without_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def with_one_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def with_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)


@pytest.fixture
def with_cpu_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Let the CPU have such flags, as Linux tells them; a function."""

    def describe(flags: str) -> None:
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text(f"processor\t: 0\nflags\t\t: fpu sse2 avx512f {flags} vmx\n\n")
        monkeypatch.setattr("featx.engines.choose.Path", lambda _: cpuinfo)

    return describe


@pytest.fixture
def with_openvino_able(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let OpenVINO be able to do so much on the CPU; a function."""

    def describe(*able: Any) -> None:
        class Core:
            def get_property(self, device: str, name: str) -> Any:
                assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
                return list(able)

        monkeypatch.setattr(openvino_engine, "CORE", Core())

    return describe


# --- choose_device


@pytest.mark.parametrize("text", ["auto", "cpu"])
def test_choose_device_without_others_is_the_cpu(without_devices: Any, text: str) -> None:
    assert choose_device(text) == "cpu"


@pytest.mark.parametrize("text", ["cuda", "cuda:0", "cuda:3"])
def test_choose_device_cuda_where_none_is_refused(without_devices: Any, text: str) -> None:
    with pytest.raises(
        DeviceError,
        match=rf"^device {text}: expected a CUDA device .* got a machine with 0 CUDA devices",
    ):
        choose_device(text)


@pytest.mark.parametrize(
    ("text", "device"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cpu", "cpu")],
)
def test_choose_device_with_cuda_is_what_was_asked(
    with_one_cuda: Any, text: str, device: str
) -> None:
    assert choose_device(text) == device


def test_choose_device_cuda_of_a_number_too_high_is_refused(with_one_cuda: Any) -> None:
    with pytest.raises(
        DeviceError,
        match=r"device cuda:1: expected a CUDA device .* got a machine with 1 CUDA devices",
    ):
        choose_device("cuda:1")


@pytest.mark.parametrize(("text", "device"), [("auto", "mps"), ("mps", "mps"), ("cpu", "cpu")])
def test_choose_device_with_mps_is_what_was_asked(with_mps: Any, text: str, device: str) -> None:
    assert choose_device(text) == device


def test_choose_device_mps_where_none_is_refused(without_devices: Any) -> None:
    with pytest.raises(
        DeviceError,
        match="device mps: expected a machine with Apple's Metal, got a machine without",
    ):
        choose_device("mps")


@pytest.mark.parametrize("text", ["tpu", "", "CUDA", "cuda:", "cuda:-1", "cpu:0", "gpu"])
def test_choose_device_other_word_is_refused(text: str) -> None:
    with pytest.raises(DeviceError, match=f"expected auto, cpu, cuda, cuda:N or mps, got '{text}'"):
        choose_device(text)


def test_choose_device_auto_on_a_machine_without_a_driver_imports_no_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr("featx.engines.choose._has_driver", lambda: False)
    assert choose_device("auto") == "cpu"
    assert "torch" not in sys.modules


# --- choose_engine


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (("auto", "auto"), ("openvino", "cpu")),
        (("auto", "cpu"), ("openvino", "cpu")),
        (("openvino", "auto"), ("openvino", "cpu")),
        (("openvino", "cpu"), ("openvino", "cpu")),
        (("torch", "auto"), ("torch", "cpu")),
        (("torch", "cpu"), ("torch", "cpu")),
    ],
)
def test_choose_engine_on_a_cpu_is_openvino_unless_torch_was_asked_for(
    without_devices: Any, words: Any, chosen: Any
) -> None:
    assert choose_engine(*words) == chosen


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (("auto", "auto"), ("torch", "cuda:0")),
        (("torch", "auto"), ("torch", "cuda:0")),
        (("auto", "cuda"), ("torch", "cuda:0")),
        (("auto", "cpu"), ("openvino", "cpu")),
        (("openvino", "auto"), ("openvino", "cpu")),
        (("torch", "cpu"), ("torch", "cpu")),
    ],
)
def test_choose_engine_with_cuda_is_torch_unless_a_cpu_was_asked_for(
    with_one_cuda: Any, words: Any, chosen: Any
) -> None:
    assert choose_engine(*words) == chosen


def test_choose_engine_with_mps_is_torch(with_mps: Any) -> None:
    assert choose_engine() == ("torch", "mps")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "gpu"])
def test_choose_engine_openvino_on_another_device_is_refused(
    with_one_cuda: Any, device: str
) -> None:
    with pytest.raises(
        DeviceError,
        match=rf"^engine, device: expected device cpu with engine openvino, got '{device}'",
    ):
        choose_engine("openvino", device)


@pytest.mark.parametrize("engine", ["", "onnx", "OpenVINO", "tensorrt"])
def test_choose_engine_other_word_is_refused(engine: Any) -> None:
    with pytest.raises(DeviceError, match=f"expected auto, torch or openvino, got '{engine}'"):
        choose_engine(engine)


def test_choose_engine_openvino_that_is_missing_names_its_extra(without_openvino: Any) -> None:
    with pytest.raises(
        MissingExtraError, match=r"^openvino: .*pip install openvino.*the extra cpu"
    ):
        choose_engine("openvino")


def test_choose_engine_auto_without_openvino_is_torch(
    without_devices: Any, without_openvino: Any
) -> None:
    assert choose_engine() == ("torch", "cpu")
    assert choose_engine("auto", "cpu") == ("torch", "cpu")


# --- check_precision


@pytest.mark.parametrize("precision", ["", "fp64", "FP32", "int8"])
def test_check_precision_other_word_is_refused(precision: Precision) -> None:
    with pytest.raises(DeviceError, match=f"expected fp32, bf16 or fp16, got '{precision}'"):
        check_precision(precision, "torch", "cpu")


@pytest.mark.parametrize(
    ("engine", "device"),
    [("torch", "cpu"), ("openvino", "cpu"), ("torch", "cuda:0"), ("torch", "mps")],
)
def test_check_precision_fp32_is_had_everywhere(
    monkeypatch: pytest.MonkeyPatch, engine: Any, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (5, 0))
    check_precision("fp32", engine, device)


@pytest.mark.parametrize("flags", ["", "avx512_fp16", "avx512_bf16_not", "not_amx_bf16"])
def test_check_precision_bf16_of_torch_without_its_instructions_is_refused(
    with_cpu_flags: Any, flags: str
) -> None:
    with_cpu_flags(flags)
    with pytest.raises(
        DeviceError,
        match=r"^precision bf16 on cpu: expected hardware that computes in this precision "
        r"\(avx512_bf16 or amx_bf16\), "
        r"got .*slowly\. Pass precision='fp32'\.$",
    ):
        check_precision("bf16", "torch", "cpu")


@pytest.mark.parametrize("flags", ["avx512_bf16", "amx_bf16 amx_tile"])
def test_check_precision_bf16_of_torch_with_its_instructions_is_taken(
    with_cpu_flags: Any, flags: str
) -> None:
    with_cpu_flags(flags)
    check_precision("bf16", "torch", "cpu")


def test_check_precision_fp16_of_torch_on_a_cpu_is_refused(with_cpu_flags: Any) -> None:
    with_cpu_flags("avx512_fp16 avx512_bf16")
    with pytest.raises(
        DeviceError, match=r"precision fp16 on cpu.* Pass precision='fp32' or precision='bf16'"
    ):
        check_precision("fp16", "torch", "cpu")


def test_list_precisions_of_a_system_that_tells_no_flags_is_fp32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("featx.engines.choose.Path", lambda _: tmp_path / "nowhere")
    assert list_precisions("torch", "cpu") == ["fp32"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_check_precision_that_openvino_lacks_is_refused(
    with_openvino_able: Any, precision: Precision
) -> None:
    with_openvino_able("FP32", "INT8", "WINOGRAD")
    with pytest.raises(
        DeviceError, match=rf"^precision {precision} on cpu: .* \(avx512_{precision} or amx_"
    ):
        check_precision(precision, "openvino", "cpu")


@pytest.mark.parametrize("precision", get_args(Precision))
def test_check_precision_that_openvino_has_is_taken(
    with_openvino_able: Any, precision: Precision
) -> None:
    with_openvino_able("FP32", "BF16", "FP16")
    check_precision(precision, "openvino", "cpu")


@pytest.mark.parametrize(("capability", "has_bf16"), [((7, 5), False), ((8, 0), True)])
def test_list_precisions_of_cuda_follow_its_capability(
    monkeypatch: pytest.MonkeyPatch, capability: Any, has_bf16: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    expected = ["fp32", "bf16", "fp16"] if has_bf16 else ["fp32", "fp16"]
    assert list_precisions("torch", "cuda:0") == expected


def test_check_precision_bf16_of_an_old_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(
        DeviceError, match=r"bf16 on cuda:0: .* \(sm_80\), .*precision='fp32' or precision='fp16'"
    ):
        check_precision("bf16", "torch", "cuda:0")


def test_check_precision_bf16_of_mps_is_refused() -> None:
    with pytest.raises(
        DeviceError, match=r"bf16 on mps: .* Pass precision='fp32' or precision='fp16'"
    ):
        check_precision("bf16", "torch", "mps")


# --- build_engine


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_build_engine_is_the_one_that_was_asked_for(tiny_backbone: str, engine: Any) -> None:
    built = build_engine(load_backbone(tiny_backbone), engine=engine, device="cpu", batch_size=3)
    assert (built.name, built.device, built.precision, built.batch_size) == (
        engine,
        "cpu",
        "fp32",
        3,
    )


def test_build_engine_auto_without_openvino_is_torch(
    tiny_backbone: str, without_openvino: Any
) -> None:
    assert build_engine(load_backbone(tiny_backbone), device="cpu").name == "torch"


def test_build_engine_precision_that_the_device_lacks_is_refused(
    tiny_backbone: str, with_cpu_flags: Any
) -> None:
    backbone = load_backbone(tiny_backbone)
    with_cpu_flags("")
    with pytest.raises(DeviceError, match=r"precision bf16 on cpu"):
        build_engine(backbone, engine="torch", device="cpu", precision="bf16")


def test_build_engine_cuda_where_none_is_refused(without_devices: Any, tiny_backbone: str) -> None:
    with pytest.raises(DeviceError, match="Pass device='cpu'"):
        build_engine(load_backbone(tiny_backbone), device="cuda")
