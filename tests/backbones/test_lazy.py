"""A backbone that was loaded before is described without loading it again."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

import featx
from featx.backbones.backbone import Backbone
from featx.backbones.lazy import build_request_key
from featx.backbones.load import build_backbone, load_backbone
from featx.backbones.preprocess import ImageClassification
from featx.backbones.request import build_request
from featx.core.artifacts import find_kept
from featx.core.errors import BackboneError, FeatxWarning, WeightsError

FIELDS = [field.name for field in dataclasses.fields(Backbone) if field.compare]


pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Save a network's tensors in a file, with metadata or without; return its path. A factory."""

    def save(
        name: str = "mine.pth",
        seed: int = 0,
        architecture: str = "squeezenet1_1",
        metadata: dict[str, Any] | None = None,
    ) -> Path:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            state = torchvision.models.get_model(architecture).state_dict()
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".safetensors":
            save_file(state, path, metadata=metadata and {"featx": json.dumps(metadata)})
        else:
            torch.save(state, path)
        return path

    return save


@pytest.fixture
def refuse_loading(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let every network that would be loaded from here on be an error; a function."""

    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("a network was loaded")

    return lambda: monkeypatch.setattr("featx.backbones.build.build_network", refuse)


def build(name: str, **options: Any) -> Backbone:
    """Load a backbone without the store."""
    return build_backbone(build_request(name, **options))


def read_fields(backbone: Backbone) -> dict[str, Any]:
    return {name: getattr(backbone, name) for name in FIELDS}


# --- what is described


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mini", {}),
        ("lenet5", {}),
        ("mini", {"size": 40}),
        ("zfnet", {"weights": "random:1"}),
        ("squeezenet1_1", {"weights": "random:0", "layers": ["penultimate", "features.3"]}),
        ("squeezenet1_1", {"weights": "random:0", "layers": ["features.3", "penultimate"]}),
        ("squeezenet1_1", {"weights": "random:0", "layers": []}),
        ("mobilenet_v2", {"weights": "random:0", "preprocess": "IMAGENET1K_V2"}),
        ("efficientnet_b0", {"weights": "random:0"}),  # bicubic
    ],
    ids=str,
)
def test_load_backbone_again_equals_the_loaded_in_every_field(
    name: str, options: dict[str, Any], refuse_loading: Callable[[], None]
) -> None:
    loaded = build(name, **options)
    first = load_backbone(name, **options)
    refuse_loading()
    again = load_backbone(name, **options)
    assert read_fields(first) == read_fields(again) == read_fields(loaded)
    assert list(again.dims) == list(loaded.dims)
    assert again.layers == loaded.layers
    assert isinstance(again.preprocess, ImageClassification)
    assert isinstance(loaded.preprocess, ImageClassification)
    assert again.preprocess.describe() == loaded.preprocess.describe()
    for field in FIELDS:
        assert type(getattr(again, field)) is type(getattr(loaded, field))


def test_load_backbone_as_a_head_asks_for_it_is_not_loaded_again(
    save: Callable[..., Path], refuse_loading: Callable[[], None]
) -> None:
    path = str(save())
    first = load_backbone("squeezenet1_1", weights=path)
    refuse_loading()
    origin = first.origin
    again = load_backbone(
        "squeezenet1_1",
        weights=origin.weights,
        preprocess=origin.preprocess_from,
        size=origin.size,
    )
    assert origin.preprocess_from == "IMAGENET1K_V1"
    assert read_fields(again) == read_fields(first)


def test_load_backbone_module_is_the_loaded_network() -> None:
    load_backbone("mini")
    recalled, loaded = load_backbone("mini"), build("mini")
    assert "module" not in vars(recalled)
    batch = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    (got,), (expected,) = recalled.module(batch), loaded.module(batch)
    assert torch.equal(got, expected)
    assert recalled.module is recalled.module


@pytest.mark.slow
def test_load_backbone_in_a_new_process_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, json\n"
        "from featx.backbones.load import load_backbone\n"
        "backbone = load_backbone('mini')\n"
        "print(json.dumps(['torch' in sys.modules, backbone.weights_digest]))\n"
    )
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(2)
    ]
    digest = build("mini").weights_digest
    assert found == [[True, digest], [False, digest]]


def test_embed_in_a_new_process_imports_no_torch_the_second_time(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    image = make_image(tmp_path / "a.png")
    first = featx.embed(image, backbone="mini", engine="openvino", progress=False)
    code = (
        "import sys, featx\n"
        f"X = featx.embed({str(image)!r}, backbone='mini', engine='openvino', progress=False)\n"
        "print('torch' in sys.modules, X.tobytes().hex())\n"
    )
    command = [sys.executable, "-c", code]
    second = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert second.split() == ["False", first.tobytes().hex()]


# --- files


def test_load_backbone_file_of_changed_content_is_another_backbone(
    save: Callable[..., Path],
) -> None:
    file = save(seed=0)
    first = load_backbone("squeezenet1_1", weights=str(file))
    save(seed=1)
    second = load_backbone("squeezenet1_1", weights=str(file))
    assert second.weights_digest != first.weights_digest
    assert second.weights_digest == build("squeezenet1_1", weights=str(file)).weights_digest


def test_load_backbone_file_that_was_moved_is_known_at_its_new_place(
    save: Callable[..., Path], refuse_loading: Callable[[], None]
) -> None:
    first = load_backbone("squeezenet1_1", weights=str(save()))
    moved = save("other/mine.pth")
    refuse_loading()
    again = load_backbone("squeezenet1_1", weights=str(moved))
    assert again.origin == dataclasses.replace(first.origin, weights=str(moved.resolve()))
    assert read_fields(again) | {"origin": ""} == read_fields(first) | {"origin": ""}


def test_load_backbone_file_is_named_by_its_absolute_path(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save()
    monkeypatch.chdir(file.parent)
    for _ in range(2):
        found = load_backbone("squeezenet1_1", weights="mine.pth")
        assert found.origin.weights == str(file.resolve())
    monkeypatch.setenv("HOME", str(file.parent))
    found = load_backbone("squeezenet1_1", weights=str(Path("~", "mine.pth")))
    assert found.origin.weights == str(file.resolve())


@pytest.mark.parametrize(
    ("file_name", "member"),
    [
        ("mine.pth", "IMAGENET1K_V1"),
        ("mobilenet_v2-7ebf99e0.pth", "IMAGENET1K_V2"),
        ("mobilenet_v2-b0353104.pth", "IMAGENET1K_V1"),
    ],
)
def test_load_backbone_file_name_chooses_the_preprocessing(
    save: Callable[..., Path], file_name: str, member: Any
) -> None:
    # The same tensors under another name: what is known of them must not be taken for these.
    load_backbone("mobilenet_v2", weights=str(save("x.pth", architecture="mobilenet_v2")))
    file = save(file_name, architecture="mobilenet_v2")
    for _ in range(2):
        recalled = load_backbone("mobilenet_v2", weights=str(file))
        assert recalled.origin.preprocess_from == member
        loaded = build("mobilenet_v2", weights=str(file))
        assert recalled.preprocess == loaded.preprocess


def test_load_backbone_file_with_metadata_is_loaded_as_they_say(
    save: Callable[..., Path], refuse_loading: Callable[[], None]
) -> None:
    metadata = {"backbone": "squeezenet1_1", "preprocess_from": "IMAGENET1K_V1", "size": 48}
    options: dict[str, Any] = {"weights": str(save("mine.safetensors", metadata=metadata))}
    loaded = build("squeezenet1_1", **options)
    first = load_backbone("squeezenet1_1", **options)
    refuse_loading()
    again = load_backbone("squeezenet1_1", **options)
    assert read_fields(first) == read_fields(again) == read_fields(loaded)
    assert again.origin.size == 48


def test_load_backbone_file_of_other_metadata_is_another_backbone(
    save: Callable[..., Path],
) -> None:
    metadata = {"backbone": "squeezenet1_1", "preprocess_from": "IMAGENET1K_V1"}
    found = [
        load_backbone(
            "squeezenet1_1",
            weights=str(save("mine.safetensors", metadata=metadata | {"size": size})),
        )
        for size in (48, 64)
    ]
    assert [backbone.origin.size for backbone in found] == [48, 64]
    assert found[0].weights_digest == found[1].weights_digest


def test_load_backbone_file_called_like_weights_does_not_stand_for_them(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save("DEFAULT")
    monkeypatch.chdir(file.parent)
    assert load_backbone("mini").origin.weights == "DEFAULT"
    assert load_backbone("mini").origin.weights == "DEFAULT"


def test_load_backbone_file_that_is_gone_is_refused(save: Callable[..., Path]) -> None:
    file = save()
    load_backbone("squeezenet1_1", weights=str(file))
    file.unlink()
    with pytest.raises(
        WeightsError, match=r"mine\.pth: expected a file of weights, got no such file"
    ):
        load_backbone("squeezenet1_1", weights=str(file))


def test_load_backbone_weights_changed_before_the_module_is_loaded_are_refused(
    save: Callable[..., Path],
) -> None:
    file = save(seed=0)
    load_backbone("squeezenet1_1", weights=str(file))
    recalled = load_backbone("squeezenet1_1", weights=str(file))
    save(seed=1)
    with pytest.raises(WeightsError, match=r"mine\.pth: expected the tensors .* had before"):
        recalled.module  # noqa: B018


# --- what is kept


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("squeezenet1_1", {"weights": "random:1"}),
        ("squeezenet1_0", {"weights": "random:0"}),
        ("squeezenet1_1", {"weights": "random:0", "layers": ["features.3"]}),
        ("squeezenet1_1", {"weights": "random:0", "layers": ["penultimate", "features.3"]}),
        ("squeezenet1_1", {"weights": "random:0", "size": 64}),
    ],
    ids=str,
)
def test_load_backbone_of_another_request_is_loaded(name: str, options: dict[str, Any]) -> None:
    load_backbone("squeezenet1_1", weights="random:0")
    recalled = load_backbone(name, **options)
    assert read_fields(recalled) == read_fields(build(name, **options))


def test_load_backbone_registered_network_is_never_kept(store: Path, tiny_backbone: str) -> None:
    loaded = build(tiny_backbone)
    for _ in range(2):
        assert load_backbone(tiny_backbone).weights_digest == loaded.weights_digest
        assert os.listdir(store) == []


def test_load_backbone_registered_network_that_was_changed_is_the_changed_one(store: Path) -> None:
    from torch import nn
    from torchvision import transforms

    network = nn.Conv2d(3, 2, 3)
    featx.register_backbone("lazy-changing", network, transform=transforms.ToTensor())
    before = load_backbone("lazy-changing")
    with torch.no_grad():
        network.weight += 1
    assert load_backbone("lazy-changing").weights_digest != before.weights_digest


def test_load_backbone_damaged_description_is_loaded_again(store: Path) -> None:
    expected = read_fields(load_backbone("mini"))
    description = store / build_request_key(build_request("mini")) / "backbone.json"
    description.write_text(description.read_text().replace("bilinear", "bicubic"))
    assert read_fields(load_backbone("mini")) == expected
    assert "bilinear" in description.read_text()
    assert find_kept(description.parent.name) is not None


def test_load_backbone_without_a_store_is_loaded_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file is in the way")
    monkeypatch.setenv("FEATX_STORE", str(blocked))
    with pytest.warns(FeatxWarning, match=r"nothing is kept for later runs"):
        load_backbone("mini")
    for _ in range(2):
        assert read_fields(load_backbone("mini")) == read_fields(build("mini"))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("resnet51", {}, BackboneError, "Nearest: resnet50"),
        ("mini", {"layers": ["conv99"]}, BackboneError, "expected a layer of the graph of mini"),
        ("mini", {"weights": "V9"}, WeightsError, "got 'V9'"),
        ("mobilenet_v2", {"weights": "random:0", "preprocess": "V2"}, WeightsError, "got 'V2'"),
        ("mini", {"size": 0}, BackboneError, "size: expected 1 to 4096 pixels, got 0"),
        ("mini", {"size": 8}, BackboneError, "mini, size 8: expected a size that the network"),
    ],
)
def test_load_backbone_keeps_nothing_of_what_it_refuses(
    store: Path, name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    for _ in range(2):
        with pytest.raises(error, match=message):
            load_backbone(name, **options)
    assert os.listdir(store) == []
