"""Free memory and disk space, and whether they hold the output of the trunk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from featx.finetune.space import (
    FreeSpace,
    _list_group_limits,
    describe_excess,
    find_free_memory,
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


def test_find_free_memory_is_less_than_there_is() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < find_free_memory() <= total


@pytest.mark.parametrize(
    ("limit", "expected"), [("1000000", 500_000), ("950000", 450_000), ("max", None)]
)
def test_find_free_memory_is_what_a_container_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int | None
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("900000\n")
    # Images that were read lately are no reason to have no memory.
    (tmp_path / "memory.stat").write_text("anon 100000\ninactive_file 400000\nslab 7\n")
    left = _list_group_limits(tmp_path)
    assert left == ([] if expected is None else [expected])
    monkeypatch.setattr("featx.finetune.space._list_group_limits", lambda: left)
    assert (find_free_memory() == expected) is (expected is not None)
