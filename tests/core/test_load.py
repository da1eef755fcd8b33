"""How busy other programs are, from counters that are made up."""

from pathlib import Path
from typing import Any

import pytest

from featx.core import load
from featx.core.load import LoadMeter, count_allowed, read_busy_s


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a file stand for the system's counters of two cores, and a number for each clock."""
    stat, clocks = tmp_path / "stat", {"wall": 0.0, "own": 0.0}
    monkeypatch.setattr(load, "STAT", stat)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr("os.sysconf", lambda _: 100)
    monkeypatch.setattr("time.monotonic", lambda: clocks["wall"])
    monkeypatch.setattr("time.process_time", lambda: clocks["own"])

    def set_counters(wall: float, own: float, busy: tuple[float, float]) -> None:
        clocks.update(wall=wall, own=own)
        cores = (f"cpu{n} {int(100 * s)} 0 0 7 7 0 0 0" for n, s in enumerate((*busy, 99.0)))
        stat.write_text("cpu 1 2 3\n" + "\n".join(cores) + "\nintr 5\n")

    return set_counters


def test_count_others_leaves_out_featx_itself_and_cores_that_it_may_not_use(counters: Any) -> None:
    counters(0.0, 1.0, (10.0, 20.0))
    meter = LoadMeter()
    counters(10.0, 6.0, (19.0, 25.0))
    assert meter.count_others(2) == pytest.approx((14 - 5) / 10)


@pytest.mark.parametrize(
    ("n_cores", "wall", "own", "busy"),
    [
        pytest.param(1, 10.0, 5.0, (9.0, 9.0), id="quota-below-the-cores"),
        pytest.param(2, 0.0, 5.0, (9.0, 9.0), id="no-time-has-passed"),
        pytest.param(2, 10.0, 5.0, (0.0, 0.0), id="counters-stand-still"),
    ],
)
def test_count_others_is_none_where_the_counters_say_nothing(
    counters: Any, n_cores: int, wall: float, own: float, busy: tuple[float, float]
) -> None:
    counters(0.0, 0.0, (0.0, 0.0))
    meter = LoadMeter()
    counters(wall, own, busy)
    assert meter.count_others(n_cores) is None


def test_count_others_without_counters_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "STAT", tmp_path / "none")
    assert read_busy_s() is None
    assert LoadMeter().count_others(count_allowed()) is None
