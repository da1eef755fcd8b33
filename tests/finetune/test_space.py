"""Whether there is room to keep what the trunk puts out."""

import os
from collections import namedtuple

import pytest

from featx.finetune.space import _list_group_limits, describe_excess, find_free_memory
from featx.finetune.trunk import KeptFeatures


def test_describe_excess_with_a_limit_of_nothing_is_told(build_run, tmp_path):
    text = describe_excess(build_run(), tmp_path / "t.h5", 2, 0)
    assert text == "it would be 0.00 GB, it may be 0.00 GB"


def test_describe_excess_at_the_limit_is_none(build_run, tmp_path):
    run = build_run()
    n_bytes = 3 * 11 * 4 * 400  # 3 views, and maps of 16 x 5 x 5 before c5
    assert run.count_bytes(3) == n_bytes
    assert describe_excess(run, tmp_path / "t.h5", 2, n_bytes) == ""
    assert describe_excess(run, tmp_path / "t.h5", 2, n_bytes - 1) != ""


def test_describe_excess_without_a_limit_looks_at_memory_for_one_view(
    build_run, tmp_path, monkeypatch
):
    run = build_run()
    path = tmp_path / "t.h5"
    free = 2 * run.count_bytes(1)
    monkeypatch.setattr("featx.finetune.space.find_free_memory", lambda: free)
    assert describe_excess(run, path, 2, None) == ""
    monkeypatch.setattr("featx.finetune.space.find_free_memory", lambda: free - 2)
    assert "half of the free memory is" in describe_excess(run, path, 2, None)


def test_describe_excess_without_a_limit_looks_at_the_disk_for_all_views(
    build_run, tmp_path, monkeypatch
):
    run = build_run()
    path = tmp_path / "t.h5"
    monkeypatch.setattr("featx.finetune.space.find_free_memory", lambda: 1 << 40)
    usage = namedtuple("usage", "total used free")

    def ask(run, free):
        monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(0, 0, free))
        return describe_excess(run, path, 2, None)

    needed = 2 * run.count_bytes(3)
    assert ask(run, needed) == ""
    assert "half of the free disk is" in ask(run, needed - 2)
    KeptFeatures(run, path, 0).fill()  # what is there already needs no room
    needed -= run.count_bytes(1)
    assert ask(run, needed) == ""
    assert "half of the free disk is" in ask(run, needed - 2)
    # That of another cut stays beside it.
    other = build_run(n_top=1)
    assert "half of the free disk is" in ask(other, 2 * other.count_bytes(3) - 2)


def test_find_free_memory_is_less_than_there_is():
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < find_free_memory() <= total


@pytest.mark.parametrize(
    ("limit", "expected"), [("1000000", 500_000), ("950000", 450_000), ("max", None)]
)
def test_find_free_memory_is_what_a_container_leaves(tmp_path, monkeypatch, limit, expected):
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("900000\n")
    # Photos that were read lately are no reason to have no memory.
    (tmp_path / "memory.stat").write_text("anon 100000\ninactive_file 400000\nslab 7\n")
    left = _list_group_limits(tmp_path)
    assert left == ([] if expected is None else [expected])
    monkeypatch.setattr("featx.finetune.space._list_group_limits", lambda: left)
    assert (find_free_memory() == expected) is (expected is not None)
