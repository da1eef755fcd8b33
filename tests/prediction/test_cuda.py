"""Predictions on a CUDA GPU are those of a CPU."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx

pytestmark = pytest.mark.gpu

DEVICE = "cuda:0"


@pytest.fixture
def head(photos: Path, tmp_path: Path) -> featx.Head:
    featx.extract(photos, tmp_path / "c.h5", backbone="mini", device="cpu", progress=False)
    return featx.fit_head(tmp_path / "c.h5", C=1.0)


def test_predict_on_cuda_equals_the_cpu(head: featx.Head, photos: Path) -> None:
    options: dict[str, Any] = {"engine": "torch", "progress": False}
    on_cpu = featx.predict(head, photos, device="cpu", **options)
    on_cuda = featx.predict(head, photos, device=DEVICE, **options)
    assert [one.label for one in on_cuda] == [one.label for one in on_cpu]
    assert [one.score for one in on_cuda] == pytest.approx([one.score for one in on_cpu], abs=1e-4)


def test_predictor_on_cuda_is_shared_by_threads(head: featx.Head, photos: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    with featx.open_predictor(head, device=DEVICE, progress=False) as predictor:
        alone = [predictor.predict(path) for path in paths]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(predictor.predict, paths * 5)) == alone * 5


def test_embed_on_cuda_keeps_its_engine_until_it_is_closed(photos: Path) -> None:
    import torch

    paths = sorted(photos.rglob("*.jpg"))
    backbone = featx.load_backbone("resnet18", weights="random:0")
    options: dict[str, Any] = {"backbone": backbone, "device": DEVICE, "progress": False}
    torch.zeros(1, device=DEVICE)
    before = torch.cuda.memory_allocated()
    first = featx.embed(paths, **options)
    assert torch.cuda.memory_allocated() > before + (30 << 20)
    assert featx.embed(paths, **options).tobytes() == first.tobytes()
    featx.close_engines()
    assert torch.cuda.memory_allocated() <= before + (40 << 20)
    on_cpu = featx.embed(paths, **options | {"device": "cpu"})
    np.testing.assert_allclose(first, on_cpu, rtol=1e-3, atol=1e-4 * np.abs(on_cpu).max())
