"""Which engine and device words stand for, and what is refused before anything is loaded."""

import pytest
import torch

from featx.backbones.load import load_backbone
from featx.engines.choose import build_engine, choose_device
from featx.errors import DeviceError


@pytest.fixture
def without_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def with_one_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def with_mps(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


# --- choose_device


@pytest.mark.parametrize("text", ["auto", "cpu"])
def test_choose_device_without_others_is_the_cpu(without_devices, text):
    assert choose_device(text) == "cpu"


@pytest.mark.parametrize("text", ["cuda", "cuda:0", "cuda:3"])
def test_choose_device_cuda_where_none_is_refused(without_devices, text):
    with pytest.raises(
        DeviceError, match=rf"^device {text}: expected a CUDA device .* got 0 of them"
    ):
        choose_device(text)


@pytest.mark.parametrize(
    ("text", "device"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cpu", "cpu")],
)
def test_choose_device_with_cuda_is_what_was_asked(with_one_cuda, text, device):
    assert choose_device(text) == device


def test_choose_device_cuda_of_a_number_too_high_is_refused(with_one_cuda):
    with pytest.raises(
        DeviceError, match=r"device cuda:1: expected a CUDA device .* got 1 of them"
    ):
        choose_device("cuda:1")


@pytest.mark.parametrize(("text", "device"), [("auto", "mps"), ("mps", "mps"), ("cpu", "cpu")])
def test_choose_device_with_mps_is_what_was_asked(with_mps, text, device):
    assert choose_device(text) == device


def test_choose_device_mps_where_none_is_refused(without_devices):
    with pytest.raises(
        DeviceError, match="device mps: expected Apple's Metal, got a machine without"
    ):
        choose_device("mps")


@pytest.mark.parametrize("text", ["tpu", "", "CUDA", "cuda:", "cuda:-1", "cpu:0", "gpu"])
def test_choose_device_other_word_is_refused(text):
    with pytest.raises(DeviceError, match=f"expected auto, cpu, cuda, cuda:N or mps, got '{text}'"):
        choose_device(text)


def test_build_engine_cuda_where_none_is_refused(without_devices, tiny_backbone):
    with pytest.raises(DeviceError, match="Pass --device cpu"):
        build_engine(load_backbone(tiny_backbone), device="cuda")
