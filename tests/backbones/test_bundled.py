"""The bundled backbones."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import featx
from featx.backbones.bundled.lenet5 import LeNet5
from featx.backbones.bundled.mini import Mini
from featx.backbones.bundled.specs import LENET5, MINI
from featx.backbones.fetch import fetch_weights
from featx.backbones.load import load_backbone
from featx.core.errors import WeightsError
from featx.core.typing import UInt8Array

BUNDLED = {"mini": (MINI, Mini, 4_000_000), "lenet5": (LENET5, LeNet5, 400_000)}

KNOWN = {
    "mini": ([0, 100, 400, 767], [0.0, 0.56686, 0.33438, 0.94241], 13.3858),
    "lenet5": ([0, 5, 40, 83], [0.49926, -0.06413, 0.75739, 0.50705], 4.9281),
}
"""Positions and values of the embedding of `draw_image`, and its norm."""


def draw_image() -> UInt8Array:
    """Draw a fixed image of three ramps that cross."""
    y, x = np.mgrid[0:96, 0:128]
    return np.stack([2 * x, 2 * y, 255 - x - y], axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_file_is_small_and_has_its_digest(name: str) -> None:
    entry, _, limit = BUNDLED[name]
    assert entry.file is not None
    data = entry.file.read_bytes()
    assert len(data) <= limit
    assert hashlib.sha256(data).hexdigest() == entry.sha256


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_entry_tells_the_networks_parameters(name: str) -> None:
    entry, build, _ = BUNDLED[name]
    assert entry.n_parameters == sum(tensor.numel() for tensor in build().parameters())


def test_bundled_damaged_file_is_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "mini.safetensors"
    assert MINI.file is not None
    data = bytearray(MINI.file.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(WeightsError, match="expected a SHA-256 that begins with"):
        fetch_weights(replace(MINI, file=damaged))


@pytest.mark.parametrize("name", KNOWN)
def test_bundled_network_gives_the_known_embedding_of_a_fixed_image(name: str) -> None:
    (vector,) = featx.embed(draw_image(), backbone=name)
    places, values, norm = KNOWN[name]
    np.testing.assert_allclose(vector[places], values, rtol=1e-3, atol=1e-4)
    assert np.linalg.norm(vector) == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_bundled_random_weights_are_not_the_trained_ones(seed: int) -> None:
    trained = featx.embed(draw_image(), backbone="mini")
    other = featx.embed(draw_image(), backbone="mini", weights=f"random:{seed}")
    assert not np.allclose(trained, other)


def test_zfnet_without_weights_is_refused_and_says_what_it_takes() -> None:
    with pytest.raises(WeightsError, match=r"expected weights of zfnet \(random:SEED, a \.pth"):
        load_backbone("zfnet")


@pytest.mark.slow
def test_zfnet_random_weights_have_the_papers_dimension() -> None:
    assert featx.embed(draw_image(), backbone="zfnet", weights="random:0").shape == (1, 4096)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "floor"), [("mini", 0.86), ("lenet5", 0.6)])
def test_bundled_network_classifies_cifar10_test_images(
    shared: Path, name: str, floor: float
) -> None:
    entry, build, _ = BUNDLED[name]
    assert entry.file is not None
    network = build().eval()
    network.load_state_dict({k: v.float() for k, v in load_file(entry.file).items()})
    images, labels = [], []
    with tarfile.open(shared / "data" / "cifar10-test.tar") as archive:
        for info in archive.getmembers()[::20]:
            member = archive.extractfile(info)
            assert member is not None
            image = Image.open(io.BytesIO(member.read())).convert("RGB")
            images.append(entry.preprocess.prepare(image))
            labels.append(info.name.split("/")[0])
    with torch.inference_mode():
        codes = network(entry.preprocess.normalise(torch.from_numpy(np.stack(images)))).argmax(1)
    classes = np.unique(labels)
    assert np.mean(classes[codes.numpy()] == labels) >= floor


@pytest.mark.slow
def test_mini_with_a_head_reads_handwritten_digits() -> None:
    digits = load_digits()
    images = list(np.round(digits.images * (255 / 16)).astype(np.uint8))
    X = featx.embed(images, backbone="mini")
    parts = train_test_split(
        X, digits.target, test_size=0.2, stratify=digits.target, random_state=0
    )
    classifier = featx.HeadClassifier().fit(parts[0], parts[2])
    assert classifier.score(parts[1], parts[3]) >= 0.985
