"""The memory of a fit: said and compared with what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from featx.core.errors import HeadError
from featx.fitting.fit import fit_head
from featx.fitting.memory import check_memory, count_fit_bytes
from featx.heads.kinds import list_kinds

GIGABYTE = 1_000_000_000


def test_check_memory_says_much_and_is_silent_of_little(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("featx.fitting.memory.find_free_memory", lambda: 90 * GIGABYTE)
    said: list[str] = []
    monkeypatch.setattr("featx.fitting.memory.announce", said.append)
    check_memory(1000, 64, 3, kind="logreg")
    assert not said
    check_memory(1_000_000, 1280, 10, kind="logreg")
    assert said[0].startswith("fitting on 1,000,000 rows of 1280 numbers takes about 1")


def test_check_memory_refuses_what_there_is_no_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.fitting.memory.find_free_memory", lambda: GIGABYTE)
    with pytest.raises(HeadError, match=r"GB of free memory .* got 1\.0 GB\. Record a split"):
        check_memory(1_000_000, 1280, 10, kind="logreg")


def test_fit_head_checks_the_memory_before_vectors_are_read(
    cache_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.fitting.memory.TOLD_BYTES", 1)
    monkeypatch.setattr("featx.fitting.memory.find_free_memory", lambda: 1)
    monkeypatch.setattr("featx.cache.reader.Cache.read_vectors", None)
    with pytest.raises(HeadError, match=r"^kind logreg: expected .* of free memory"):
        fit_head(cache_path)


@pytest.mark.parametrize("kind", list_kinds())
def test_count_fit_bytes_grows_with_rows(kind: str) -> None:
    assert count_fit_bytes(8000, 64, 5, kind=kind) > count_fit_bytes(4000, 64, 5, kind=kind) > 0


def test_count_fit_bytes_counts_the_components_of_each_part() -> None:
    without, of_64, of_128 = (count_fit_bytes(50_000, 1280, 10, pca=pca) for pca in (None, 64, 128))
    assert of_64 - without > 15 * 4 * 50_000 * 64
    assert of_128 - of_64 == 15 * 4 * 50_000 * 64
    more = [count_fit_bytes(5_000_000, 64, 10, pca=pca) for pca in (32, 64)]
    assert more[0] == more[1]  # too many to be kept


MEASURE = """
import sys
import numpy as np
from featx.heads.classifier import HeadClassifier
from featx.fitting.memory import count_fit_bytes
def read_peak():
    return 1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
rng = np.random.default_rng(0)
y = np.arange(600) % 3
HeadClassifier().fit(rng.normal(size=(600, 8)).astype(np.float32), y)
before = read_peak()
X = rng.random((12_000, 512), np.float32)
y = np.arange(12_000) % 5
HeadClassifier(sys.argv[1]).fit(X, y)
print((read_peak() - before) / count_fit_bytes(12_000, 512, 5, kind=sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("kind", ["logreg", "linear-svm", "lda", "nearest-mean", "knn", "auto"])
def test_count_fit_bytes_is_a_bound_that_is_not_far_off(kind: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, kind], capture_output=True, text=True, check=True
    )
    assert 0.2 < float(found.stdout) < 1.1
