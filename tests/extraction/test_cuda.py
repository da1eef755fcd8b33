"""Extractions on a CUDA GPU: near the CPU's, and equal however often they were ended."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.cache.joined import open_cache
from featx.core.similarity import compute_cosines
from tests.extraction.caches import list_shards, read_all, read_by_id

pytestmark = pytest.mark.gpu

DEVICE = "cuda:0"


def read_vectors(path: Path) -> Any:
    with open_cache(path) as cache:
        return cache.read_vectors()[np.argsort(cache.ids)]


def test_extract_on_cuda_ended_by_an_error_ends_in_the_same_bytes(
    run: Any, stop: Any, folder: Path
) -> None:
    whole = run(folder, "whole.h5", device=DEVICE)
    assert (whole.timings.device, whole.timings.engine) == (DEVICE, "torch")
    stop(KeyboardInterrupt(), after=2)
    with pytest.raises(KeyboardInterrupt):
        run(folder, device=DEVICE)
    resumed = run(folder, device=DEVICE)
    assert read_all(resumed.path)["vectors"] == read_all(whole.path)["vectors"]


def test_extract_on_cuda_adds_images_to_a_cache_of_the_cpu(
    run: Any, folder: Path, put: Any
) -> None:
    run(folder, device="cpu")
    before = read_by_id(run(folder, device=DEVICE).path)  # nothing to do
    put(folder / "ants" / "9.png", 9)
    after = read_by_id(run(folder, device=DEVICE).path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"ants/9.png"}


def draw_folder(folder: Path, n_images: int, make_image: Any) -> Path:
    for number in range(n_images):
        make_image(folder / f"{number:04}.jpg", (260, 240), number)
    return folder


def test_extract_on_cuda_killed_ends_in_the_same_bytes(tmp_path: Path, make_image: Any) -> None:
    photos = draw_folder(tmp_path / "photos", 400, make_image)
    options: dict[str, Any] = {"backbone": "squeezenet1_1", "weights": "random:0"}
    options |= {"device": DEVICE, "batch_size": 16, "progress": False}
    featx.extract(photos, tmp_path / "whole.h5", **options)
    output = tmp_path / "killed.h5"
    words = [sys.executable, "-m", "featx", "extract", str(photos), "-o", str(output)]
    words += ["--backbone", "squeezenet1_1", "--weights", "random:0", "--device", DEVICE]
    words += ["--batch-size", "16", "--shard-seconds", "0"]
    n_shards = []
    for _ in range(2):
        before = set(list_shards(output))
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not set(list_shards(output)) - before:
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        n_shards.append(len(list_shards(output)))
    assert 0 < n_shards[0] < n_shards[1] < 25
    with pytest.warns(featx.FeatxWarning, match="dead, was taken over"):
        report = featx.extract(photos, output, **options)
    assert 0 < report.n_embedded < 400 - 16
    assert read_vectors(output).tobytes() == read_vectors(tmp_path / "whole.h5").tobytes()


@pytest.mark.parametrize("decode", ["exact", "fast"])
@pytest.mark.parametrize("batch_size", ["auto", 7])
def test_extract_on_cuda_is_near_the_cpu(
    tmp_path: Path, make_image: Any, batch_size: Any, decode: Any
) -> None:
    photos = draw_folder(tmp_path / "photos", 40, make_image)
    found: list[Any] = []
    for device in ("cpu", DEVICE, DEVICE):
        path = tmp_path / f"{len(found)}.h5"
        featx.extract(
            photos, path, backbone="squeezenet1_1", weights="random:0", engine="torch",
            device=device, batch_size=batch_size, decode=decode, progress=False,
        )  # fmt: skip
        found.append(read_vectors(path))
    on_cpu, first, second = found
    assert first.tobytes() == second.tobytes()
    assert compute_cosines(on_cpu, first).min() >= 0.99999
    with open_cache(tmp_path / "0.h5") as cpu, open_cache(tmp_path / "1.h5") as cuda:
        assert cpu.get_info().fingerprint == cuda.get_info().fingerprint
        assert cuda.get_info().provenance.device == DEVICE
