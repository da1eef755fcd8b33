"""Free memory and disk space, and whether they hold the output of the trunk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from featx.finetune.space import (
    FreeSpace,
    describe_excess,
    measure_space,
)
from featx.finetune.trunk import KeptFeatures, TrunkRun

BuildRun = Callable[..., TrunkRun]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(FreeSpace(200, 600), "", id="half of both"),
        pytest.param(FreeSpace(198, 600), "half of the free memory is 0.00 GB", id="memory"),
        pytest.param(FreeSpace(200, 598), "half of the free disk is 0.00 GB", id="disk"),
        pytest.param(FreeSpace(0, 0), "half of the free memory is 0.00 GB", id="memory first"),
        pytest.param(300, "", id="at the limit"),
        pytest.param(299, "max_trunk_gb is 0.00 GB", id="above the limit"),
        pytest.param(0, "max_trunk_gb is 0.00 GB", id="nothing may be kept"),
    ],
)
def test_describe_excess_of_one_view_in_memory_and_all_on_the_disk(
    limit: int | FreeSpace, expected: str
) -> None:
    text = describe_excess(100, 300, limit=limit)
    assert text == (f"it would be 0.00 GB, {expected}" if expected else "")


def test_describe_excess_is_in_gigabytes() -> None:
    text = describe_excess(10**9, 3 * 10**9, limit=2_500_000_000)
    assert text == "it would be 3.00 GB, max_trunk_gb is 2.50 GB"


def test_measure_space_counts_what_is_kept_of_this_cut(
    build_run: BuildRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path = build_run(), tmp_path / "t.h5"
    monkeypatch.setattr("featx.finetune.space.find_free_memory", lambda: 7)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    assert run.count_bytes(3) == 3 * 11 * 4 * 400  # 3 views, and maps of 16 x 5 x 5 before c5
    assert measure_space(run, path, 2) == FreeSpace(7, 1000)
    KeptFeatures(run, path, 1).fill()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    assert measure_space(run, path, 2) == FreeSpace(7, 1000 + run.count_bytes(2))
    assert measure_space(run, path, 0) == FreeSpace(7, 1000 + run.count_bytes(1))
    # The output of another cut stays beside it.
    assert measure_space(build_run(n_top=1), path, 2) == FreeSpace(7, 1000)
