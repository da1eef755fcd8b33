"""From a name and weights to a backbone: what is loaded, and what is refused."""

import functools
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from featx.backbones.load import load_backbone
from featx.backbones.preprocess import ImageClassification
from featx.backbones.registry import get_backbone_spec
from featx.backbones.state_dict import digest_weights
from featx.backbones.weights import WeightsEntry
from featx.core.errors import BackboneError, WeightsError

from .builders import RECORD, save_tuned

# --- weights


def save_squeezenet(path: Path, **changes: torch.Tensor) -> Path:
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1()
    torch.save(network.state_dict() | changes, path)
    return path


def test_load_backbone_file_and_its_digest_agree_however_it_is_packed(tmp_path: Path) -> None:
    file = save_squeezenet(tmp_path / "mine.pth")
    state = torch.load(file)
    save_file(state, tmp_path / "mine.safetensors")
    torch.save({"state_dict": {f"module.{n}": t for n, t in state.items()}}, tmp_path / "c.pth")
    backbones = [
        load_backbone("squeezenet1_1", weights=str(tmp_path / name))
        for name in ("mine.pth", "mine.safetensors", "c.pth")
    ]
    assert len({backbone.weights_digest for backbone in backbones}) == 1
    assert backbones[0].origin.weights == str(file)


def test_load_backbone_key_chooses_a_network_and_is_recorded(tmp_path: Path) -> None:
    first, second = (load_backbone("lenet5", weights=f"random:{seed}") for seed in (1, 2))
    file = tmp_path / "two.pth"
    states = [backbone.module.network.state_dict() for backbone in (first, second)]
    torch.save({"model": states[0], "model_ema": states[1], "epoch": 3}, file)
    with pytest.raises(
        WeightsError, match=r"two\.pth: expected one network .*, got 2: model, model_"
    ):
        load_backbone("lenet5", weights=str(file))
    for key, backbone in (("model", first), ("model_ema", second)):
        for _ in range(2):  # built, and found in the store
            found = load_backbone("lenet5", weights=f"{file}:{key}")
            assert found.weights_digest == backbone.weights_digest
            assert found.origin.weights == f"{file}:{key}"
            assert digest_weights(found.module.network) == backbone.weights_digest
    with pytest.raises(
        WeightsError, match=r"gone\.pth:model: expected a file of weights, got no such"
    ):
        load_backbone("lenet5", weights=f"{tmp_path}/gone.pth:model")


def test_load_backbone_random_weights_follow_their_seed_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = load_backbone("squeezenet1_1", weights="random:3")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    again = load_backbone("squeezenet1_1", weights="random:3")
    other = load_backbone("squeezenet1_1", weights="random:4")
    assert first.weights_digest == again.weights_digest != other.weights_digest


@pytest.mark.usefixtures("store")
def test_load_backbone_named_weights_from_a_folder_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save_squeezenet(tmp_path / "mine.pth")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    name = f"squeezenet1_1-{digest[:8]}.pth"
    file.rename(tmp_path / name)
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setattr(WeightsEntry, "file_name", name)
    monkeypatch.setattr(WeightsEntry, "digest_prefix", digest[:8])
    named = load_backbone("squeezenet1_1")
    from_file = load_backbone("squeezenet1_1", weights=str(tmp_path / name))
    assert named.origin.weights == "DEFAULT"
    assert named.weights_digest == from_file.weights_digest


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_load_backbone_weights_with_holes_are_refused_by_name(tmp_path: Path, value: Any) -> None:
    bad = torch.zeros(64)
    bad[3] = value
    file = save_squeezenet(tmp_path / "mine.pth", **{"features.0.bias": bad})
    with pytest.raises(WeightsError, match=r"got NaN or infinity in features\.0\.bias"):
        load_backbone("squeezenet1_1", weights=str(file))


def test_load_backbone_file_of_another_architecture_is_refused(tmp_path: Path) -> None:
    file = save_squeezenet(tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"mine\.pth: expected the \d+ tensors .*got missing: "):
        load_backbone("squeezenet1_0", weights=str(file))


# --- metadata of tuned weights


@functools.cache
def build_mobilenet_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = torchvision.models.mobilenet_v2().state_dict()
    return state


def save_mobilenet(path: Path, **changes: Any) -> Path:
    return save_tuned(path, RECORD | changes, build_mobilenet_state())


def test_load_backbone_tuned_file_has_the_preprocessing_that_it_names(tmp_path: Path) -> None:
    file = save_mobilenet(tmp_path / "mine.safetensors")
    backbone = load_backbone("mobilenet_v2", weights=str(file))
    assert (backbone.origin.preprocess_from, backbone.origin.size) == ("IMAGENET1K_V2", None)
    assert isinstance(backbone.preprocess, ImageClassification)
    assert backbone.preprocess.resize_size == 232


def test_load_backbone_safetensors_file_without_metadata_has_the_first_preprocessing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.safetensors"
    save_file(build_mobilenet_state(), file)
    backbone = load_backbone("mobilenet_v2", weights=str(file))
    assert (backbone.origin.preprocess_from, backbone.origin.size) == ("IMAGENET1K_V1", None)


def test_load_backbone_tuned_file_has_the_size_that_it_names(tmp_path: Path) -> None:
    file = save_mobilenet(tmp_path / "mine.safetensors", size=64)
    backbone = load_backbone("mobilenet_v2", weights=str(file))
    assert (backbone.origin.size, backbone.pixel_shape) == (64, (64, 64, 3))
    assert backbone.origin.preprocess_from == "IMAGENET1K_V2"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"size": 96}, ("IMAGENET1K_V2", 96)),
        ({"preprocess": "IMAGENET1K_V1"}, ("IMAGENET1K_V1", 64)),
        ({"preprocess": "IMAGENET1K_V1", "size": 96}, ("IMAGENET1K_V1", 96)),
    ],
    ids=str,
)
def test_load_backbone_tuned_file_yields_to_what_is_asked_for(
    tmp_path: Path, asked: dict[str, Any], found: Any
) -> None:
    file = save_mobilenet(tmp_path / "mine.safetensors", size=64)
    backbone = load_backbone("mobilenet_v2", weights=str(file), **asked)
    assert (backbone.origin.preprocess_from, backbone.origin.size) == found
    assert backbone.pixel_shape == (found[1], found[1], 3)


def test_load_backbone_tuned_file_without_named_preprocessing_has_the_networks_own(
    tmp_path: Path,
) -> None:
    own = load_backbone("mini")
    metadata = {"backbone": "mini", "preprocess_from": None, "size": 40}
    state = {name: tensor.clone() for name, tensor in own.module.network.state_dict().items()}
    file = save_tuned(tmp_path / "mine.safetensors", metadata, state)
    backbone = load_backbone("mini", weights=str(file))
    assert backbone.weights_digest == own.weights_digest
    assert isinstance(own.preprocess, ImageClassification)
    assert backbone.preprocess == own.preprocess.resized(40)


def test_load_backbone_file_tuned_of_another_backbone_is_refused_with_its_name(
    tmp_path: Path,
) -> None:
    file = save_mobilenet(tmp_path / "mine.safetensors")
    with pytest.raises(
        WeightsError,
        match=r"mine\.safetensors: expected weights of squeezenet1_1, "
        r"got weights of mobilenet_v2\. "
        r"Pass backbone='mobilenet_v2'\.$",
    ):
        load_backbone("squeezenet1_1", weights=str(file))


@pytest.mark.parametrize("size", [-1, 5000])
def test_load_backbone_file_tuned_of_no_size_is_refused(tmp_path: Path, size: Any) -> None:
    file = save_mobilenet(tmp_path / "mine.safetensors", size=size)
    with pytest.raises(BackboneError, match=rf"size: expected 1 to 4096 pixels, got {size}"):
        load_backbone("mobilenet_v2", weights=str(file))


def test_load_backbone_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    file = save_mobilenet(tmp_path / "mine.safetensors")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"mine\.safetensors: expected a whole \.safetensors"):
        load_backbone("mobilenet_v2", weights=str(file))


# --- which preprocessing belongs to the weights


def test_load_backbone_random_weights_take_the_first_preset() -> None:
    default, first = (
        ImageClassification.from_torchvision(member.transforms())
        for member in (
            torchvision.models.MobileNet_V2_Weights.DEFAULT,
            torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1,
        )
    )
    assert default != first
    assert load_backbone("mobilenet_v2", weights="random:0").preprocess == first


@pytest.mark.parametrize(
    ("file_name", "member"),
    [
        ("mine.pth", "IMAGENET1K_V1"),
        ("mobilenet_v2-7ebf99e0.pth", "IMAGENET1K_V2"),
        ("mobilenet_v2-b0353104.pth", "IMAGENET1K_V1"),
    ],
)
def test_load_backbone_file_takes_the_preset_of_its_name(
    tmp_path: Path, file_name: str, member: Any
) -> None:
    network = torchvision.models.mobilenet_v2()
    torch.save(network.state_dict(), tmp_path / file_name)
    expected = torchvision.models.MobileNet_V2_Weights[member].transforms()
    backbone = load_backbone("mobilenet_v2", weights=str(tmp_path / file_name))
    assert backbone.preprocess == ImageClassification.from_torchvision(expected)
    assert backbone.origin.preprocess_from == member


def test_load_backbone_preprocess_asked_for_is_taken() -> None:
    backbone = load_backbone("mobilenet_v2", weights="random:0", preprocess="IMAGENET1K_V2")
    assert backbone.preprocess == get_backbone_spec("mobilenet_v2").list_weights()[-1].preprocess
    assert backbone.origin.preprocess_from == "IMAGENET1K_V2"


def test_load_backbone_unknown_preprocess_is_refused() -> None:
    with pytest.raises(
        WeightsError,
        match=r"^preprocess: expected weights of mobilenet_v2: IMAGENET1K_V1, .*, got 'V2'",
    ):
        load_backbone("mobilenet_v2", weights="random:0", preprocess="V2")


# --- a size of one's own


def test_load_backbone_size_replaces_the_two_sizes_alone() -> None:
    own, resized = load_backbone("mini"), load_backbone("mini", size=96)
    sizes = {"resize_size": 96, "crop_size": 96}
    assert vars(resized.preprocess) == vars(own.preprocess) | sizes != vars(own.preprocess)
    assert resized.preprocess.min_side == 96
    assert resized.pixel_shape == (96, 96, 3)
    assert (own.origin.size, resized.origin.size) == (None, 96)
    assert resized.origin == replace(own.origin, size=96)
    assert (resized.weights_digest, resized.dims) == (own.weights_digest, own.dims)


def test_load_backbone_size_and_preprocess_are_both_taken() -> None:
    backbone = load_backbone(
        "efficientnet_b0", weights="random:0", preprocess="IMAGENET1K_V1", size=64
    )
    assert (backbone.origin.preprocess_from, backbone.origin.size) == ("IMAGENET1K_V1", 64)
    assert isinstance(backbone.preprocess, ImageClassification)
    assert backbone.preprocess.describe().startswith("resize 64 bicubic antialiased, crop 64, ")


def test_load_backbone_size_serves_every_layer() -> None:
    layers = ["penultimate", "features.3"]
    backbone = load_backbone("squeezenet1_1", weights="random:0", layers=layers, size=64)
    assert dict(backbone.dims) == {"penultimate": 512, "features.3": 128}
    assert backbone.pixel_shape == (64, 64, 3)


@pytest.mark.parametrize("size", [-224, 0, 4097, 5000])
def test_load_backbone_size_out_of_bounds_is_refused(size: Any) -> None:
    with pytest.raises(BackboneError, match=rf"^size: expected 1 to 4096 pixels, got {size}\. "):
        load_backbone("mini", size=size)


@pytest.mark.parametrize(
    ("name", "size"), [("mini", 8), ("lenet5", 16), ("lenet5", 64), ("squeezenet1_1", 16)]
)
def test_load_backbone_size_that_the_network_cannot_take_is_refused(name: str, size: Any) -> None:
    with pytest.raises(
        BackboneError,
        match=rf"^{name}, size {size}: expected a size that the network can take, got .*"
        r"\. Pass a size nearer to that of its weights\.$",
    ):
        load_backbone(name, weights="random:0", size=size)


def test_load_backbone_size_beside_a_transform_of_ones_own_is_refused(tiny_backbone: str) -> None:
    with pytest.raises(
        BackboneError,
        match=rf"^{tiny_backbone}: expected no size, since the transform .*, got 64\. ",
    ):
        load_backbone(tiny_backbone, size=64)


def test_load_backbone_weights_moved_with_preprocess_from_are_the_same(tmp_path: Path) -> None:
    network = torchvision.models.mobilenet_v2()
    torch.save(network.state_dict(), tmp_path / "mobilenet_v2-7ebf99e0.pth")
    torch.save(network.state_dict(), tmp_path / "moved.pth")
    first = load_backbone("mobilenet_v2", weights=str(tmp_path / "mobilenet_v2-7ebf99e0.pth"))
    moved = load_backbone(
        "mobilenet_v2", weights=str(tmp_path / "moved.pth"), preprocess=first.origin.preprocess_from
    )
    assert moved.preprocess == first.preprocess
    assert moved.weights_digest == first.weights_digest
