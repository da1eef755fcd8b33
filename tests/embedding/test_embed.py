"""Embeddings for a notebook: every kind of image, in order, or an error that names one."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featx
from featx.backbones.backbone import Backbone
from featx.core.errors import BackboneError, DecodeError, SourceError


@pytest.fixture(scope="module")
def squeezenet() -> Backbone:
    return featx.load_backbone("squeezenet1_1", weights="random:0")


def test_embed_keeps_order_and_repeats(good: list[Path], picky: Backbone) -> None:
    order = [3, 0, 3, 5]
    once = featx.embed(good, backbone=picky, device="cpu", batch_size=2)
    again = featx.embed([good[i] for i in order], backbone=picky, device="cpu", batch_size=2)
    assert (again.dtype, again.shape) == (np.dtype(np.float32), (4, 3))
    assert again.tobytes() == once[order].tobytes()


@pytest.mark.parametrize(
    "convert",
    [
        lambda paths: [str(path) for path in paths],
        lambda paths: paths[0].parent,
        lambda paths: [Image.open(path) for path in paths],
        lambda paths: [np.asarray(Image.open(path)) for path in paths],
        lambda paths: np.stack([np.asarray(Image.open(path)) for path in paths]),
        lambda paths: (Image.open(path) for path in paths),
        lambda paths: [paths[0], Image.open(paths[1]), *paths[2:]],
        lambda paths: np.array([str(path) for path in paths]),
        lambda paths: np.array(paths, object),
        lambda paths: [path.read_bytes() for path in paths],
        lambda paths: [io.BytesIO(path.read_bytes()) for path in paths],
    ],
    ids=[
        "text",
        "folder",
        "Pillow",
        "arrays",
        "batch",
        "generator",
        "mixed",
        "str-array",
        "path-array",
        "bytes",
        "files",
    ],
)
def test_embed_takes_what_a_notebook_holds(good: list[Path], picky: Backbone, convert: Any) -> None:
    expected = featx.embed(good, backbone=picky, device="cpu")
    assert featx.embed(convert(good), backbone=picky, device="cpu").tobytes() == expected.tobytes()


def test_embed_single_image_gives_one_row(good: list[Path], picky: Backbone) -> None:
    for image in (good[0], Image.open(good[0]), np.asarray(Image.open(good[0]))):
        assert featx.embed(image, backbone=picky, device="cpu").shape == (1, 3)


def test_embed_gray_array_equals_its_three_channels(picky: Backbone) -> None:
    gray = np.random.default_rng(0).integers(1, 256, (9, 9), dtype=np.uint8)
    colour = np.repeat(gray[:, :, None], 3, axis=2)
    got = featx.embed([gray, colour], backbone=picky, device="cpu")
    assert got[0].tobytes() == got[1].tobytes()


def test_embed_of_nothing_is_empty(picky: Backbone) -> None:
    got = featx.embed([], backbone=picky, device="cpu")
    assert (got.dtype, got.shape) == (np.dtype(np.float32), (0, 3))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("good0_read.jpg", "No such file"),
        ("good1_decode.jpg", "expected an image in a format that featx reads"),
        ("good2_preprocess.png", "too wide"),
        ("good3_embed.png", "not finite"),
    ],
)
def test_embed_bad_image_is_named(
    mixed: Path, good: list[Path], picky: Backbone, name: str, reason: str
) -> None:
    for path in mixed.glob("good?_*"):
        if path.name != name:
            path.unlink()
    with pytest.raises(
        DecodeError,
        match=rf"{name}: expected an image that can be embedded, got .*{reason}.*Leave the",
    ):
        featx.embed(mixed, backbone=picky, device="cpu")


def test_embed_bad_array_is_named_by_its_number(picky: Backbone) -> None:
    images = [np.ones((9, 9, 3), np.uint8), np.ones((9, 9, 3), np.float32)]
    with pytest.raises(SourceError, match=r"^image 1: expected uint8 of .* values 1 to 1\. Pass"):
        featx.embed(images, backbone=picky, device="cpu")


def test_embed_by_name_equals_the_loaded_backbone(good: list[Path], squeezenet: Backbone) -> None:
    by_name = featx.embed(good[:2], backbone="squeezenet1_1", weights="random:0", device="cpu")
    loaded = featx.embed(good[:2], backbone=squeezenet, device="cpu")
    assert by_name.tobytes() == loaded.tobytes()


def test_embed_size_is_what_the_network_sees(good: list[Path]) -> None:
    at_40 = featx.embed(good[:2], backbone="mini", size=40, device="cpu")
    loaded = featx.embed(good[:2], backbone=featx.load_backbone("mini", size=40), device="cpu")
    own = featx.embed(good[:2], backbone="mini", device="cpu")
    assert at_40.tobytes() == loaded.tobytes()
    assert at_40.shape == own.shape
    assert not np.allclose(at_40, own, atol=1e-2)


@pytest.mark.parametrize(
    "option", [{"weights": "random:1"}, {"layer": "features.3"}, {"size": 64}], ids=str
)
def test_embed_loaded_backbone_with_options_is_refused(
    good: list[Path], squeezenet: Backbone, option: Any
) -> None:
    with pytest.raises(BackboneError, match=r"beside a loaded backbone, got some"):
        featx.embed(good, backbone=squeezenet, **option)


def test_embed_several_layers_is_refused(good: list[Path]) -> None:
    backbone = featx.load_backbone(
        "squeezenet1_1", weights="random:0", layers=["penultimate", "features.3"]
    )
    with pytest.raises(BackboneError, match=r"expected one layer to embed"):
        featx.embed(good, backbone=backbone)
