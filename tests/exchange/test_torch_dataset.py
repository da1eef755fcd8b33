"""A cache as a data set of PyTorch: the vectors and codes of its labelled rows, in any process."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from featx.cache.joined import open_cache
from featx.core.errors import CacheError
from featx.exchange import torch_dataset
from featx.exchange.torch_dataset import EmbeddingDataset
from featx.fitting.label import label_cache
from tests.builders import build_info, build_rows, write_vectors


@pytest.mark.parametrize("in_memory", [None, True, False])
def test_samples_are_the_labelled_rows_of_a_split(cache_path: Path, in_memory: bool | None) -> None:
    samples = EmbeddingDataset(cache_path, split="val", in_memory=in_memory)
    with open_cache(cache_path) as cache:
        X, y = cache.read_arrays("val")
    assert (len(samples), samples.dim, samples.n_passed_over) == (20, 8, 0)
    assert samples.classes == ("ants", "bees")
    vector, code = samples[0]
    assert (vector.dtype, type(code)) == (torch.float32, int)
    both = [samples[number] for number in range(20)]
    np.testing.assert_array_equal(torch.stack([one for one, _ in both]).numpy(), X)
    assert [samples.classes[code] for _, code in both] == y.tolist()
    assert samples[-1][1] == samples[19][1]
    assert repr(samples) == "<EmbeddingDataset: 20 rows of 2 classes, tiny, dim 8>"
    with pytest.raises(IndexError):
        samples[20]
    with pytest.raises(TypeError):
        samples[0:2]  # type: ignore[index]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    ("n_workers", "context"),
    [
        pytest.param(0, None, id="here"),
        pytest.param(2, "spawn", id="spawn", marks=pytest.mark.slow),
        pytest.param(2, "fork", id="fork"),
    ],
)
def test_loader_gives_each_row_once(
    cache_path: Path, n_workers: int, context: str | None, in_memory: bool
) -> None:
    samples = EmbeddingDataset(cache_path, in_memory=in_memory)
    assert samples[0][0].shape == (8,)  # the file is open here when workers start
    loader: Any = DataLoader(
        samples, batch_size=16, shuffle=True, num_workers=n_workers, multiprocessing_context=context
    )
    batches = [*loader]
    X, y = torch.cat([one for one, _ in batches]), torch.cat([one for _, one in batches])
    assert (X.dtype, y.dtype, X.shape) == (torch.float32, torch.int64, (60, 8))
    with open_cache(cache_path) as cache:
        expected = cache.read_vectors()
    np.testing.assert_array_equal(np.sort(X.numpy(), axis=0), np.sort(expected, axis=0))
    assert y.bincount().tolist() == [30, 30]
    samples.close()
    assert samples[0][0].shape == (8,)


def test_several_caches_and_selections_are_data_sets(
    make_cache: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = make_cache("one.h5")
    rows = build_rows(["cats"] * 4, ["train"] * 4)
    two = write_vectors(tmp_path / "two.h5", [build_info()], rows, {"tiny": np.ones((4, 8))})
    monkeypatch.chdir(tmp_path)
    both = EmbeddingDataset(["one.h5", "two.h5"], in_memory=False)
    monkeypatch.chdir("/")
    assert both.classes == ("ants", "bees", "cats")
    assert both[63][0].tolist() == [1.0] * 8
    with open_cache([one, two]) as cache:
        cats = EmbeddingDataset(cache.select(label="cats"), split="train")
    assert (len(cats), cats[0][1], cats.rows.tolist()) == (4, 2, [60, 61, 62, 63])


def test_rows_without_label_or_vector_are_counted(tmp_path: Path) -> None:
    rows = build_rows(["ants", None, "bees", "ants"], [None] * 4)
    vectors = np.ones((4, 8), np.float32)
    vectors[3] = np.nan
    write_vectors(tmp_path / "c.h5", [build_info()], rows, {"tiny": vectors}, dtype="float16")
    samples = EmbeddingDataset(tmp_path / "c.h5", transform=lambda vector: 2 * vector)
    assert (samples.rows.tolist(), samples.n_passed_over) == ([0, 2], 2)
    assert (samples[0][0].dtype, samples[0][0].tolist()) == (torch.float32, [2.0] * 8)


def test_classes_may_be_given_and_must_hold_all_rows(cache_path: Path) -> None:
    samples = EmbeddingDataset(cache_path, classes=["bees", "ants", "wasps"])
    assert (samples.classes, samples[0][1]) == (("bees", "ants", "wasps"), 0)
    with pytest.raises(CacheError, match=r"rows of the classes bees, got 30 rows of others.*ants"):
        EmbeddingDataset(cache_path, classes=["bees"])


def test_pickle_holds_neither_file_nor_vectors(
    cache_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_dataset, "MAX_KEPT_BYTES", 1)
    samples = EmbeddingDataset(cache_path)
    first = samples[0][0]
    assert torch.equal(pickle.loads(pickle.dumps(samples))[0][0], first)
    kept = EmbeddingDataset(cache_path, in_memory=True)
    n_bytes = len(pickle.dumps(kept))
    assert torch.equal(kept[0][0], first)
    assert len(pickle.dumps(kept)) < n_bytes + 100  # the vectors are 1,920 bytes


def test_another_file_at_the_path_is_refused(cache_path: Path) -> None:
    samples = EmbeddingDataset(cache_path, in_memory=False)
    label_cache(cache_path, {"bees/000.jpg": "ants"}, author="ada")
    with pytest.raises(CacheError, match=r"the cache that the data set was made of, got another"):
        samples[0]
