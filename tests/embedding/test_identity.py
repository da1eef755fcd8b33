"""What makes embeddings comparable, and how the backbone that made them is loaded again."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import featx
from featx.core.errors import BackboneError, FingerprintError
from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Origin
from featx.core.typing import Decode
from featx.embedding.identity import (
    build_fingerprint,
    find_decode,
    resolve_backbone,
    restore_backbone,
)

# --- build_fingerprint, find_decode


def test_build_fingerprint_names_backbone_layer_and_rules() -> None:
    squeezenet = featx.load_backbone("squeezenet1_1", weights="random:0")
    fingerprint = build_fingerprint(squeezenet, "penultimate", precision="fp32")
    assert fingerprint.backbone == "squeezenet1_1"
    assert fingerprint.weights_digest == squeezenet.weights_digest
    assert (fingerprint.layer, fingerprint.dim) == ("penultimate", 512)
    assert fingerprint.preprocess == squeezenet.preprocess.identify()
    assert fingerprint.decoder == "pillow-exact/1"


@pytest.mark.parametrize("decode", get_args(Decode))
def test_find_decode_is_the_one_of_the_fingerprint(decode: Decode) -> None:
    backbone = featx.load_backbone("lenet5")
    fingerprint = build_fingerprint(backbone, "penultimate", precision="fp32", decode=decode)
    assert find_decode(fingerprint) == decode


@pytest.mark.parametrize("decoder", ["pillow-exact/2", "pillow-exact", "exact", ""])
def test_find_decode_of_an_unknown_decoder_is_refused(decoder: str) -> None:
    backbone = featx.load_backbone("lenet5")
    fingerprint = build_fingerprint(backbone, "penultimate", precision="fp32")
    with pytest.raises(FingerprintError, match=r"^decoder: ") as caught:
        find_decode(replace(fingerprint, decoder=decoder))
    assert caught.value.got == decoder
    assert "pillow-exact/1 or " in caught.value.expected


# --- resolve_backbone, restore_backbone


def test_resolve_backbone_by_name_has_the_size_asked_for() -> None:
    assert resolve_backbone("mini", size=40).pixel_shape == (40, 40, 3)


def test_resolve_backbone_loaded_one_keeps_its_size() -> None:
    backbone = featx.load_backbone("mini", size=40)
    assert resolve_backbone(backbone) is backbone


@pytest.mark.parametrize(
    "option",
    [
        {"weights": "random:1"},
        {"layers": ["features.3"]},
        {"layers": ["penultimate", "features.3"]},
        {"preprocess": "DEFAULT"},
        {"size": 64},
    ],
    ids=str,
)
def test_resolve_backbone_loaded_one_with_an_option_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(BackboneError, match="beside a loaded backbone, got some"):
        resolve_backbone(featx.load_backbone("lenet5"), **option)


@pytest.mark.parametrize("size", [None, 40])
def test_restore_backbone_has_the_size_of_the_embeddings(size: Any) -> None:
    backbone = featx.load_backbone("mini", size=size)
    fingerprint = build_fingerprint(backbone, "penultimate", precision="fp32")
    origin = Origin(weights="DEFAULT", preprocess_from=backbone.origin.preprocess_from, size=size)
    restored = restore_backbone(fingerprint, origin, subject="the head")
    assert (restored.origin.size, restored.preprocess) == (size, backbone.preprocess)


def test_restore_backbone_of_another_size_is_refused() -> None:
    backbone = featx.load_backbone("mini", size=40)
    fingerprint = build_fingerprint(backbone, "penultimate", precision="fp32")
    origin = Origin(weights="DEFAULT", preprocess_from=backbone.origin.preprocess_from, size=48)
    with pytest.raises(FingerprintError, match=r"expected .*resize 40.*got .*resize 48"):
        restore_backbone(fingerprint, origin, subject="the head")


def test_restore_backbone_of_an_unknown_decoder_is_refused_before_weights_are_loaded() -> None:
    fingerprint = build_fingerprint(featx.load_backbone("lenet5"), "penultimate", precision="fp32")
    with pytest.raises(FingerprintError, match=r"^decoder: "):
        restore_backbone(
            replace(fingerprint, decoder="pillow-exact/2"),
            Origin(weights="missing.pth", preprocess_from=None, size=None),
            subject="the head",
        )


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Fingerprint, Origin, Path]:
    """Embeddings whose weights lie in FEATX_WEIGHTS_DIR now, and the path of these weights."""
    network = featx.get_backbone_spec("lenet5").build()
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    backbone = featx.load_backbone("lenet5", weights=str(tmp_path / "mine.pth"))
    folder = tmp_path / "weights"
    folder.mkdir()
    (tmp_path / "mine.pth").rename(folder / "mine.pth")
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(folder))
    fingerprint = build_fingerprint(backbone, "penultimate", precision="fp32")
    return fingerprint, backbone.origin, folder / "mine.pth"


def test_restore_backbone_finds_weights_that_moved(moved: Any) -> None:
    fingerprint, origin, file = moved
    restored = restore_backbone(fingerprint, origin, subject="the head")
    assert restored.weights_digest == fingerprint.weights_digest
    assert restored.origin.weights == str(file.resolve())


def test_restore_backbone_with_other_weights_of_the_same_name_is_refused(moved: Any) -> None:
    fingerprint, origin, file = moved
    torch.save(featx.get_backbone_spec("lenet5").build().state_dict(), file)
    with pytest.raises(FingerprintError, match=rf"for the head, weights {re.escape(str(file))}: "):
        restore_backbone(fingerprint, origin, subject="the head")
