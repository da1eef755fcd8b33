"""The epochs behind an embedding, from the metadata of its weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import featx
from featx.cache.joined import open_cache
from featx.core.errors import CacheError
from featx.finetune.history import TuningHistory, find_tuning_history
from featx.finetune.report import TuningReport

from .doubles_scene import Scene


def read_texts(file: Path) -> dict[str, str]:
    with safe_open(file, "np") as opened:
        return opened.metadata()  # type: ignore[no-any-return]


def find(cache: Path, **options: Any) -> tuple[TuningHistory | None, str]:
    with open_cache(cache) as opened:
        return find_tuning_history(opened, **options)


@pytest.fixture
def moved(tuned: TuningReport, tuned_cache: Path, tmp_path: Path) -> Iterator[Path]:
    """Move the weights away from where the cache says they are; return their new path."""
    moved = tmp_path / tuned.path.name
    tuned.path.rename(moved)
    yield moved
    moved.rename(tuned.path)


def test_history_is_that_of_the_weights(tuned: TuningReport, tuned_cache: Path) -> None:
    history, reason = find(tuned_cache, embedding="lenet5")
    assert reason == ""
    assert history is not None
    assert history.path == tuned.path
    assert repr(history.epochs) == repr(tuned.history)
    assert (history.best_epoch, history.stopped) == (tuned.best_epoch, "")
    assert history.describe() == (
        "tuned.safetensors: adamw trained 2 blocks on 34 images, with 8 held out; the weights of "
        "epoch 4 of 4 were kept."
    )


def test_history_of_one_block_that_gained_nothing_says_so(
    tuned: TuningReport, tuned_cache: Path
) -> None:
    history, _ = find(tuned_cache)
    assert history is not None
    none = replace(history, blocks=("f6",), best_epoch=0, stopped="a loss was not a number")
    assert none.describe() == (
        "tuned.safetensors: adamw trained block f6 on 34 images, with 8 held out; none of 4 epochs "
        "was better than the head for certain, so that the network is unchanged. Training ended "
        "early: a loss was not a number."
    )


def test_history_of_weights_that_moved(
    moved: Path, tuned_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, reason = find(tuned_cache)
    assert history is None
    assert "not there any more" in reason
    assert "weights=FILE" in reason
    by_word, _ = find(tuned_cache, weights=str(moved))
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(moved.parent))
    by_folder, _ = find(tuned_cache)
    assert by_word is not None
    assert repr(by_word) == repr(by_folder)
    assert by_word.path == moved


def test_history_of_other_weights_at_that_path_is_refused(
    tuned: TuningReport, tuned_cache: Path, tmp_path: Path
) -> None:
    other, metadata = tmp_path / "other.safetensors", read_texts(tuned.path)
    tensors = load_file(tuned.path)
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, other, metadata)
    history, reason = find(tuned_cache, weights=str(other))
    assert history is None
    assert ": expected weights " in reason


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"report": {}}, "the metadata do not tell the epochs"),
        ({"report": {"history": [1]}}, "the metadata do not tell the epochs"),
        ({"best_epoch": 9}, "the metadata do not tell the epochs"),
        ({"recipe": {}}, "the metadata do not tell the epochs"),
        ({"best_epoch": "4"}, "got metadata with a text in the field 'best_epoch'"),
        (None, "featx did not fine-tune the weights other.safetensors"),
    ],
    ids=["none", "no epochs", "no such epoch", "no recipe", "damaged", "stranger"],
)
def test_history_of_other_metadata_is_none_with_the_reason(
    tuned: TuningReport,
    tuned_cache: Path,
    tmp_path: Path,
    changes: dict[str, Any] | None,
    got: str,
) -> None:
    texts = {"format": "pt"}
    if changes is not None:
        metadata = json.loads(read_texts(tuned.path)["featx"])
        texts["featx"] = json.dumps(metadata | changes)
    save_file(load_file(tuned.path), tmp_path / "other.safetensors", texts)
    history, reason = find(tuned_cache, weights=str(tmp_path / "other.safetensors"))
    assert history is None
    assert got in reason


def test_history_of_named_weights_is_none(scene: Scene) -> None:
    assert find(scene.cache) == (None, "the weights DEFAULT were not fine-tuned")


def test_history_of_imported_embeddings_is_none(tmp_path: Path) -> None:
    path = tmp_path / "imported.h5"
    np.save(tmp_path / "vectors.npy", np.eye(2, dtype=np.float32))
    (tmp_path / "names.csv").write_text("id\na\nb\n")
    featx.import_embeddings(tmp_path / "vectors.npy", output=path, ids=tmp_path / "names.csv")
    assert find(path) == (None, "another program computed the embeddings")


def test_history_of_an_unknown_embedding_is_an_error(tuned_cache: Path) -> None:
    with pytest.raises(CacheError, match="embedding=NAME"):
        find(tuned_cache, embedding="mini")
