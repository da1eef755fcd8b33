"""A backbone recalled is the one that was loaded, and is not loaded for it."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

import featx
from featx.backbones.backbone import Backbone
from featx.backbones.lazy import recall_backbone
from featx.backbones.load import load_backbone
from featx.core.artifacts import find_kept
from featx.core.errors import BackboneError, WeightsError

FIELDS = [field.name for field in dataclasses.fields(Backbone) if field.compare]


pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def save(tmp_path):
    """Save a network's tensors in a file, with a record or without; return its path. A factory."""

    def save(name="mine.pth", seed=0, architecture="squeezenet1_1", record=None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            state = torchvision.models.get_model(architecture).state_dict()
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".safetensors":
            save_file(state, path, metadata=record and {"featx": json.dumps(record)})
        else:
            torch.save(state, path)
        return path

    return save


@pytest.fixture
def refuse_loading(monkeypatch):
    """Let every network that would be loaded from here on be an error; a function."""

    def refuse(*args, **options):
        raise AssertionError("a network was loaded")

    return lambda: monkeypatch.setattr("featx.backbones.load.load_backbone", refuse)


def read_fields(backbone):
    return {name: getattr(backbone, name) for name in FIELDS}


# --- what is recalled


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
def test_recall_backbone_again_equals_the_loaded_in_every_field(name, options, refuse_loading):
    loaded = load_backbone(name, **options)
    first = recall_backbone(name, **options)
    refuse_loading()
    again = recall_backbone(name, **options)
    assert read_fields(first) == read_fields(again) == read_fields(loaded)
    assert list(again.dims) == list(loaded.dims)
    assert again.layers == loaded.layers
    assert again.preprocess.describe() == loaded.preprocess.describe()
    for field in FIELDS:
        assert type(getattr(again, field)) is type(getattr(loaded, field))


def test_recall_backbone_module_is_the_loaded_network():
    recall_backbone("mini")
    recalled, loaded = recall_backbone("mini"), load_backbone("mini")
    assert "module" not in vars(recalled)
    batch = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    (got,), (expected,) = recalled.module(batch), loaded.module(batch)
    assert torch.equal(got, expected)
    assert recalled.module is recalled.module


@pytest.mark.slow
def test_recall_backbone_in_a_new_process_imports_no_torch(tmp_path):
    code = (
        "import sys, json\n"
        "from featx.backbones.lazy import recall_backbone\n"
        "backbone = recall_backbone('mini')\n"
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
    digest = load_backbone("mini").weights_digest
    assert found == [[True, digest], [False, digest]]


def test_embed_in_a_new_process_imports_no_torch_the_second_time(tmp_path, make_image):
    code = (
        "import sys, featx\n"
        f"X = featx.embed({str(make_image(tmp_path / 'a.png'))!r}, backbone='mini',"
        " engine='openvino', progress=False)\n"
        "print('torch' in sys.modules, X.tobytes().hex())\n"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert [words[0] for words in found] == ["True", "False"]
    assert found[0][1] == found[1][1]


# --- files


def test_recall_backbone_file_of_changed_content_is_another_backbone(save):
    file = save(seed=0)
    first = recall_backbone("squeezenet1_1", weights=str(file))
    save(seed=1)
    second = recall_backbone("squeezenet1_1", weights=str(file))
    assert second.weights_digest != first.weights_digest
    assert second.weights_digest == load_backbone("squeezenet1_1", weights=str(file)).weights_digest


def test_recall_backbone_file_that_was_moved_is_known_at_its_new_place(save, refuse_loading):
    first = recall_backbone("squeezenet1_1", weights=str(save()))
    moved = save("other/mine.pth")
    refuse_loading()
    again = recall_backbone("squeezenet1_1", weights=str(moved))
    assert again.weights == str(moved.resolve())
    assert read_fields(again) | {"weights": ""} == read_fields(first) | {"weights": ""}


def test_recall_backbone_file_is_named_by_its_absolute_path(save, monkeypatch):
    file = save()
    monkeypatch.chdir(file.parent)
    for _ in range(2):
        assert recall_backbone("squeezenet1_1", weights="mine.pth").weights == str(file.resolve())
    monkeypatch.setenv("HOME", str(file.parent))
    found = recall_backbone("squeezenet1_1", weights=str(Path("~", "mine.pth")))
    assert found.weights == str(file.resolve())


@pytest.mark.parametrize(
    ("file_name", "member"),
    [
        ("mine.pth", "IMAGENET1K_V1"),
        ("mobilenet_v2-7ebf99e0.pth", "IMAGENET1K_V2"),
        ("mobilenet_v2-b0353104.pth", "IMAGENET1K_V1"),
    ],
)
def test_recall_backbone_file_name_chooses_the_preprocessing(save, file_name, member):
    # The same tensors under another name: what is known of them must not be taken for these.
    recall_backbone("mobilenet_v2", weights=str(save("x.pth", architecture="mobilenet_v2")))
    file = save(file_name, architecture="mobilenet_v2")
    for _ in range(2):
        recalled = recall_backbone("mobilenet_v2", weights=str(file))
        assert recalled.preprocess_from == member
        loaded = load_backbone("mobilenet_v2", weights=str(file))
        assert recalled.preprocess == loaded.preprocess


def test_recall_backbone_file_with_a_record_is_as_recorded(save, refuse_loading):
    record = {"backbone": "squeezenet1_1", "preprocess_from": "IMAGENET1K_V1", "size": 48}
    options = {"weights": str(save("mine.safetensors", record=record))}
    loaded = load_backbone("squeezenet1_1", **options)
    first = recall_backbone("squeezenet1_1", **options)
    refuse_loading()
    again = recall_backbone("squeezenet1_1", **options)
    assert read_fields(first) == read_fields(again) == read_fields(loaded)
    assert again.size == 48


def test_recall_backbone_file_of_another_record_is_another_backbone(save):
    record = {"backbone": "squeezenet1_1", "preprocess_from": "IMAGENET1K_V1"}
    found = [
        recall_backbone(
            "squeezenet1_1",
            weights=str(save("mine.safetensors", record=record | {"size": size})),
        )
        for size in (48, 64)
    ]
    assert [backbone.size for backbone in found] == [48, 64]
    assert found[0].weights_digest == found[1].weights_digest


def test_recall_backbone_file_called_like_weights_does_not_stand_for_them(save, monkeypatch):
    file = save("DEFAULT")
    monkeypatch.chdir(file.parent)
    assert recall_backbone("mini").weights == "DEFAULT"
    assert recall_backbone("mini").weights == "DEFAULT"


def test_recall_backbone_file_that_is_gone_is_refused(save):
    file = save()
    recall_backbone("squeezenet1_1", weights=str(file))
    file.unlink()
    with pytest.raises(WeightsError, match=r"mine\.pth: expected a weights file, got nothing"):
        recall_backbone("squeezenet1_1", weights=str(file))


def test_recall_backbone_weights_changed_before_the_module_is_loaded_are_refused(save):
    file = save(seed=0)
    recall_backbone("squeezenet1_1", weights=str(file))
    recalled = recall_backbone("squeezenet1_1", weights=str(file))
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
def test_recall_backbone_of_another_request_is_loaded(name, options):
    recall_backbone("squeezenet1_1", weights="random:0")
    recalled = recall_backbone(name, **options)
    assert read_fields(recalled) == read_fields(load_backbone(name, **options))


def test_recall_backbone_registered_network_is_never_kept(store, tiny_backbone):
    loaded = load_backbone(tiny_backbone)
    for _ in range(2):
        assert recall_backbone(tiny_backbone).weights_digest == loaded.weights_digest
        assert os.listdir(store) == []


def test_recall_backbone_registered_network_that_was_changed_is_the_changed_one(store):
    from torch import nn
    from torchvision import transforms

    network = nn.Conv2d(3, 2, 3)
    featx.register_backbone("records-changing", network, transform=transforms.ToTensor())
    before = recall_backbone("records-changing")
    with torch.no_grad():
        network.weight += 1
    assert recall_backbone("records-changing").weights_digest != before.weights_digest


def test_recall_backbone_damaged_record_is_loaded_again(store):
    expected = read_fields(recall_backbone("mini"))
    (record,) = store.glob("*/backbone.json")
    record.write_text(record.read_text().replace("bilinear", "bicubic"))
    assert read_fields(recall_backbone("mini")) == expected
    assert "bilinear" in record.read_text()
    assert find_kept(record.parent.name) is not None


def test_recall_backbone_without_a_store_is_loaded_each_time(tmp_path, monkeypatch):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file is in the way")
    monkeypatch.setenv("FEATX_STORE", str(blocked))
    for _ in range(2):
        assert read_fields(recall_backbone("mini")) == read_fields(load_backbone("mini"))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("resnet51", {}, BackboneError, "Nearest: resnet50"),
        ("mini", {"layers": ["conv99"]}, BackboneError, "expected a layer of its graph"),
        ("mini", {"weights": "V9"}, WeightsError, "got 'V9'"),
        ("mobilenet_v2", {"weights": "random:0", "preprocess": "V2"}, WeightsError, "got 'V2'"),
        ("mini", {"size": 0}, BackboneError, "size: expected 1 to 4096 pixels, got 0"),
        ("mini", {"size": 8}, BackboneError, "mini, size 8: expected a size that the network"),
    ],
)
def test_recall_backbone_refuses_what_load_backbone_refuses(store, name, options, error, message):
    for _ in range(2):
        with pytest.raises(error, match=message):
            recall_backbone(name, **options)
    assert os.listdir(store) == []
