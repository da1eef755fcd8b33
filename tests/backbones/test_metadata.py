"""What fine-tuning writes into a file of weights is read back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from featx.backbones.metadata import WeightsMetadata, read_metadata
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
