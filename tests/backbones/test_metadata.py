"""What fine-tuning writes into a file of weights is read back."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from featx.backbones.metadata import (
    LEARNT_KEY,
    WeightsMetadata,
    build_texts,
    read_learnt,
    read_metadata,
)
from featx.core.errors import WeightsError

from .builders import RECORD, save_tuned


def test_read_metadata_gives_all_that_was_written(tmp_path: Path) -> None:
    metadata = WeightsMetadata(
        backbone="mobilenet_v2",
        preprocess_from="IMAGENET1K_V2",
        size=None,
        classes=("ants", "bees"),
        recipe={"epochs": 3},
        n_train=34,
    )
    file = save_tuned(tmp_path / "mine.safetensors", metadata.to_json())
    assert read_metadata(file) == metadata


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
def test_read_metadata_file_of_another_program_has_none(tmp_path: Path, metadata: Any) -> None:
    save_file({"fc.weight": torch.zeros(2)}, tmp_path / "mine.safetensors", metadata=metadata)
    assert read_metadata(tmp_path / "mine.safetensors") is None


def test_read_metadata_torch_file_has_none(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2), "featx": json.dumps(RECORD)}, tmp_path / "mine.pth")
    assert read_metadata(tmp_path / "mine.pth") is None


@pytest.mark.parametrize("n_bytes", [0, 7, 50, -1])
def test_read_metadata_file_cut_short_is_refused(tmp_path: Path, n_bytes: int) -> None:
    file = save_tuned(tmp_path / "mine.safetensors", RECORD)
    file.write_bytes(file.read_bytes()[:n_bytes])
    with pytest.raises(
        WeightsError, match=r"mine\.safetensors: expected a whole \.safetensors file, got "
    ):
        read_metadata(file)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"mini"',
        "{}",
        '{"backbone": "mini", "size": 64}',
        json.dumps(RECORD | {"size": "64"}),
        json.dumps(RECORD | {"epochs": 3}),
    ],
)
def test_read_metadata_that_is_not_whole_is_refused(tmp_path: Path, text: str) -> None:
    file = save_tuned(tmp_path / "mine.safetensors", text)
    with pytest.raises(WeightsError, match=r"expected a whole \.safetensors file, got "):
        read_metadata(file)


METADATA = WeightsMetadata(backbone="mobilenet_v2", preprocess_from=None, size=None)


def draw_digests(n_images: int) -> Any:
    return np.unique(np.random.default_rng(0).integers(0, 2**64, n_images, np.uint64))


@pytest.mark.parametrize("n_images", [1, 50_000, pytest.param(5_000_000, marks=pytest.mark.slow)])
def test_read_learnt_gives_all_that_was_written(tmp_path: Path, n_images: int) -> None:
    learnt, file = draw_digests(n_images), tmp_path / "mine.safetensors"
    save_file({"fc.weight": torch.zeros(2)}, file, metadata=build_texts(METADATA, learnt))
    np.testing.assert_array_equal(read_learnt(file), learnt)
    assert read_metadata(file) == METADATA
    assert file.stat().st_size < 11 * n_images + 2000


def test_read_learnt_of_weights_that_were_not_tuned_is_none(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "mine.pth")
    save_file({"fc.weight": torch.zeros(2)}, tmp_path / "mine.safetensors")
    assert len(read_learnt(tmp_path / "mine.pth")) == 0
    assert len(read_learnt(tmp_path / "mine.safetensors")) == 0
    assert LEARNT_KEY not in build_texts(METADATA, np.empty(0, np.uint64))


@pytest.mark.parametrize("name", ["other.safetensors", "other.pth", "other"])
def test_read_metadata_and_learnt_of_a_copy_under_another_name(tmp_path: Path, name: str) -> None:
    learnt, file = draw_digests(3), tmp_path / name
    save_file({"fc.weight": torch.zeros(2)}, file, metadata=build_texts(METADATA, learnt))
    assert read_metadata(file) == METADATA
    assert read_learnt(file).tolist() == learnt.tolist()


def test_read_learnt_of_tensors_that_were_saved_anew_is_none(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    save_file({"fc.weight": torch.zeros(2)}, file, metadata=build_texts(METADATA, draw_digests(3)))
    save_file(load_file(file), file)  # as any program does that knows nothing of featx
    assert len(read_learnt(file)) == 0


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("AAA", "padding"),
        ("AAAA?AAA", "base64"),
        ("AAAA", "buffer size must be a multiple of element size"),
        (base64.b64encode(bytes(16)).decode(), "digests in featx-learnt that are not ascending"),
    ],
)
def test_read_learnt_that_is_not_whole_is_refused(tmp_path: Path, text: str, got: str) -> None:
    file = save_tuned(tmp_path / "mine.safetensors", RECORD, learnt=text)
    assert read_metadata(file) is not None
    with pytest.raises(WeightsError, match=rf"a whole \.safetensors file, got .*{got}"):
        read_learnt(file)
