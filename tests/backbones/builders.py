"""Objects that several tests of backbones need."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from featx.backbones.preprocess import ImageClassification
from featx.backbones.weights import WeightsEntry

RECORD = {"backbone": "mobilenet_v2", "preprocess_from": "IMAGENET1K_V2", "size": None}
"""The least that the metadata of tuned weights hold."""


def build_preset(size: int = 32) -> ImageClassification:
    """Build a preprocessing that is told from others by its size."""
    return ImageClassification(
        resize_size=size, crop_size=size, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
    )


def build_entry(
    name: str = "IMAGENET1K_V1",
    url: str = "http://127.0.0.1/tiny-0123456789ab.pth",
    size: int = 32,
) -> WeightsEntry:
    """Build named weights that no server has."""
    return WeightsEntry(name=name, url=url, preprocess=build_preset(size), top1=1.0, n_parameters=1)


def build_network(seed: int = 0, n_classes: int = 3) -> Any:
    """Build a network of a convolution with BatchNorm and a classifier ``fc``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential()
        network.add_module("conv", nn.Conv2d(3, 4, 3))
        network.add_module("bn", nn.BatchNorm2d(4))
        network.add_module("fc", nn.Linear(4, n_classes))
    return network.eval()


def save_tuned(
    path: Path,
    metadata: dict[str, Any] | str,
    state: dict[str, torch.Tensor] | None = None,
    learnt: str = "",
) -> Path:
    """Save tensors with metadata, or with texts in their place; return the path."""
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    texts = {"featx": text} | ({"featx-learnt": learnt} if learnt else {})
    save_file(state or {"fc.weight": torch.zeros(2)}, path, metadata=texts)
    return path
