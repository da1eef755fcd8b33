"""Memory that a process may still take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from featx.core.memory import _list_group_limits, find_free_memory


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
    monkeypatch.setattr("featx.core.memory._list_group_limits", lambda: left)
    assert (find_free_memory() == expected) is (expected is not None)
