"""A checkpoint serves the same training alone, and is written whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from featx.core.errors import TuningError
from featx.finetune.checkpoint import Checkpoint, TrainingIdentity, digest_arrays

from .doubles_train import build_identity, build_recipe

STATE = {"epoch": 3, "loss": math.nan, "weights": {"a": torch.arange(3.0)}}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    Checkpoint(path, build_identity()).write(STATE)
    return path


def test_checkpoint_gives_back_what_was_written(written: Path) -> None:
    state = Checkpoint(written, build_identity()).read()
    assert state is not None
    assert state["epoch"] == 3
    assert math.isnan(state["loss"])
    assert torch.equal(state["weights"]["a"], torch.arange(3.0))
    assert [path.name for path in written.parent.iterdir()] == ["checkpoint.pt"]


def test_checkpoint_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path / "checkpoint.pt", build_identity()).read() is None


@pytest.mark.parametrize(
    ("changes", "numbers", "named"),
    [
        ({"images": "others"}, {}, "images"),
        ({"backbone": "mini"}, {}, "backbone"),
        ({"weights": "x"}, {}, "weights"),
        ({"preprocessing": {"kind": "other/1"}}, {}, "preprocessing"),
        ({"blocks": ("high",)}, {}, "blocks"),
        ({"classes": ("a", "b")}, {}, "classes"),
        ({"labels": "x", "holdout": "y", "head": "z"}, {}, "labels, holdout, head"),
        ({}, {"lr": 0.02}, "lr"),
        ({}, {"seed": 1}, "seed"),
        ({"images": "others"}, {"epochs": 4}, "images, epochs"),
    ],
)
def test_checkpoint_of_another_training_is_refused_and_names_the_difference(
    written: Path, changes: dict[str, Any], numbers: dict[str, Any], named: str
) -> None:
    before = written.read_bytes()
    identity = build_identity(build_recipe(**numbers), **changes)
    with pytest.raises(
        TuningError,
        match=rf"checkpoint\.pt: .*, got one with another {named}\. .*overwrite=True without",
    ):
        Checkpoint(written, identity).read()
    assert written.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda whole: b"", id="empty"),
        pytest.param(lambda whole: whole[: len(whole) // 2], id="half"),
        pytest.param(lambda whole: b"\0" * len(whole), id="zeros"),
        pytest.param(lambda whole: b"not a checkpoint", id="text"),
    ],
)
def test_checkpoint_that_is_damaged_is_refused(
    written: Path, damage: Callable[[bytes], bytes]
) -> None:
    written.write_bytes(damage(written.read_bytes()))
    with pytest.raises(
        TuningError, match=r"checkpoint\.pt: expected a whole checkpoint, .*overwrite=True"
    ):
        Checkpoint(written, build_identity()).read()


def test_checkpoint_with_another_content_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(TuningError, match=r"expected a whole checkpoint, got KeyError"):
        Checkpoint(tmp_path / "checkpoint.pt", build_identity()).read()


def test_checkpoint_that_cannot_be_written_leaves_the_one_before(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = written.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(TuningError, match=r"expected a file that can be written, got No space"):
        Checkpoint(written, build_identity()).write({"epoch": 4})
    assert written.read_bytes() == before


@pytest.mark.parametrize(
    "numbers", [{}, {"clip_norm": math.inf, "precision": "bf16", "optimizer": "sgd"}]
)
def test_identity_is_equal_to_what_was_read_back(numbers: dict[str, Any]) -> None:
    identity = build_identity(build_recipe(**numbers))
    again = TrainingIdentity.from_json(identity.to_json())
    assert again == identity
    assert identity.list_differences(again) == []


def test_identity_with_tuples_in_its_preprocessing_equals_that_of_a_file() -> None:
    identity = build_identity(preprocessing={"mean": (0.5, 0.4, 0.3)})
    assert identity.list_differences(TrainingIdentity.from_json(identity.to_json())) == []


def test_digest_arrays_depends_on_values_and_their_order() -> None:
    one, two = np.arange(4), np.arange(4, 8)
    digests = [digest_arrays(one, two), digest_arrays(two, one), digest_arrays(one)]
    assert len(set(digests)) == 3
    assert digest_arrays(np.arange(8)[::2]) == digest_arrays(np.arange(8)[::2].copy())
