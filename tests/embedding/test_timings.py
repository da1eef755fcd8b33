"""Where time goes, told from numbers that are made up, on a clock that is."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from featx.embedding.timings import PHASES, SHORT_S, StopWatch, Timings


def build(
    *, wall_s: Any = 10.0, n_cores: Any = 4, cpu: Any = None, waits: Any = None, **fields: Any
) -> Any:
    """Build the timings of a run; `cpu` and `waits` in seconds, 0 where not given."""
    timings = Timings(wall_s=wall_s, n_cores=n_cores, n_workers=n_cores, engine="openvino")
    timings.cpu_s.update(cpu or {})
    timings.waits_s.update(waits or {})
    for name, value in fields.items():
        setattr(timings, name, value)
    return timings


def build_on_gpu(**fields: Any) -> Any:
    return build(**{"device": "cuda:0", "engine": "torch", "busy_s": 4.0} | fields)


# --- find_bottleneck


@pytest.mark.parametrize("stage", PHASES)
def test_find_bottleneck_of_busy_cores_is_what_used_them_most(stage: Any) -> None:
    cpu = dict.fromkeys(PHASES, 5.0) | {stage: 15.0}
    assert build(cpu=cpu).find_bottleneck() == stage


def test_find_bottleneck_of_busy_cores_is_not_what_waited() -> None:
    timings = build(cpu={"network": 36.0, "read": 0.1}, waits={"write": 5.0}, read_s=30.0)
    assert timings.find_bottleneck() == "network"


@pytest.mark.parametrize("cpu", [{"network": 33.9}, {"decode": 20.0, "network": 13.9}, {}])
def test_find_bottleneck_of_cores_that_others_use_is_nothing_of_featx(cpu: Any) -> None:
    assert build(cpu=cpu).find_bottleneck() == ""


def test_find_bottleneck_of_idle_cores_that_wait_for_the_disk_is_read() -> None:
    cpu = {"read": 1.0, "decode": 3.0, "network": 3.0}
    timings = build(cpu=cpu, waits={"images": 8.0}, read_s=35.0)
    assert timings.find_bottleneck() == "read"


@pytest.mark.parametrize("build", [build, build_on_gpu])
def test_find_bottleneck_of_a_network_that_waits_for_the_writer_is_write(build: Any) -> None:
    timings = build(cpu={"network": 8.0, "decode": 4.0}, waits={"write": 6.0, "images": 1.0})
    assert timings.find_bottleneck() == "write"


def test_find_bottleneck_of_a_gpu_that_is_waited_for_is_network() -> None:
    timings = build_on_gpu(
        cpu={"decode": 38.0}, waits={"network": 7.0, "images": 1.0, "write": 0.5}, busy_s=9.8
    )
    assert timings.find_bottleneck() == "network"


@pytest.mark.parametrize("stage", ["decode", "preprocess"])
def test_find_bottleneck_of_a_gpu_that_waits_for_images_is_what_makes_them(stage: Any) -> None:
    cpu = {"decode": 10.0, "preprocess": 10.0, "read": 1.0} | {stage: 20.0}
    timings = build_on_gpu(cpu=cpu, waits={"images": 8.0, "network": 1.0}, read_s=4.0)
    assert timings.find_bottleneck() == stage


def test_find_bottleneck_of_a_gpu_that_waits_for_the_disk_is_read() -> None:
    timings = build_on_gpu(cpu={"read": 1.0, "decode": 5.0}, waits={"images": 8.0}, read_s=30.0)
    assert timings.find_bottleneck() == "read"


def test_find_bottleneck_of_a_gpu_that_is_waited_for_a_moment_is_not_network() -> None:
    timings = build_on_gpu(cpu={"decode": 20.0}, waits={"network": 1.4, "images": 1.6})
    assert timings.find_bottleneck() == "decode"


def test_find_bottleneck_of_a_moments_wait_for_the_writer_is_not_write() -> None:
    timings = build_on_gpu(cpu={"decode": 20.0}, waits={"network": 1.4, "write": 0.1}, busy_s=9.0)
    assert timings.find_bottleneck() == "network"


def test_find_bottleneck_of_a_short_run_is_none() -> None:
    timings = build(wall_s=SHORT_S * 0.99, cpu={"network": 100.0})
    assert timings.find_bottleneck() == ""
    assert timings.advise() == "the run was too short to find its bottleneck"


# --- advise


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        (
            {"cpu": {"network": 30.0, "decode": 6.0}},
            "the network took the time (3.6 of 4 cores busy); faster: a smaller backbone",
        ),
        (
            {"cpu": {"network": 30.0, "decode": 6.0}, "precisions": ("fp32", "bf16")},
            "the network took the time (3.6 of 4 cores busy); faster: precision=bf16, or a smaller "
            "backbone",
        ),
        (
            {"cpu": {"network": 30.0, "decode": 6.0}, "engine": "torch"},
            "the network took the time (3.6 of 4 cores busy); faster: OpenVINO (pip install "
            "openvino), or a smaller backbone",
        ),
        (
            {"cpu": {"network": 36.0}, "precision": "bf16", "precisions": ("fp32", "bf16")},
            "the network took the time (3.6 of 4 cores busy); faster: a smaller backbone",
        ),
        (
            {"cpu": {"network": 6.0, "decode": 30.0}},
            "decoding the images took the time (3.6 of 4 cores busy); faster: decode=fast, or "
            "smaller images",
        ),
        (
            {"cpu": {"decode": 6.0, "preprocess": 30.0}, "n_workers": 1},
            "decoding the images took the time (3.6 of 4 cores busy); faster: decode=fast, or "
            "smaller images",
        ),
        (
            {"cpu": {"decode": 36.0}, "decode": "fast"},
            "decoding the images took the time (3.6 of 4 cores busy); faster: smaller images",
        ),
        (
            {"cpu": {"read": 1.0, "decode": 1.0}, "waits": {"images": 9.0}, "read_s": 35.0},
            "reading the images took the time (0.2 of 4 cores busy); faster: a faster disk for the "
            "source, or more threads (workers=N)",
        ),
        (
            {"cpu": {"write": 4.0}, "waits": {"write": 9.0}},
            "writing took the time (0.4 of 4 cores busy); faster: a faster disk for the output",
        ),
        (
            {"cpu": {"network": 6.0, "decode": 9.0}, "waits": {"images": 8.0}, "n_workers": 1},
            "decoding the images took the time (1.5 of 4 cores busy); faster: more threads "
            "(workers=N), or decode=fast, or smaller images",
        ),
        (
            {"cpu": {"network": 16.0, "decode": 4.0}, "waits": {"images": 8.0}},
            "no step of featx was the bottleneck: it used 2.0 of 4 cores, and 2.0 were idle or "
            "used by other programs",
        ),
        (
            {"cpu": {"network": 16.0, "decode": 4.0}, "others": 0.3},
            "no step of featx was the bottleneck: it used 2.0 of 4 cores, and 1.7 were idle",
        ),
        (
            {"cpu": {"network": 16.0, "decode": 4.0}, "others": 1.8},
            "other programs used 1.8 of 4 cores; featx was not the bottleneck",
        ),
        (  # the disk seems slow to threads that wait for a core
            {"cpu": {"read": 9.0}, "waits": {"images": 9.0}, "read_s": 35.0, "others": 3.0},
            "other programs used 3.0 of 4 cores; featx was not the bottleneck",
        ),
        (
            {"cpu": {"network": 36.0}, "others": 0.4},
            "the network took the time (3.6 of 4 cores busy); faster: a smaller backbone",
        ),
    ],
)
def test_advise_on_a_cpu_says_what_would_help(fields: Any, advice: Any) -> None:
    assert build(**fields).advise() == advice


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        (
            {
                "cpu": {"decode": 4.0},
                "waits": {"network": 8.0},
                "busy_s": 9.7,
                "precisions": ("fp32", "bf16", "fp16"),
            },
            "the network took the time (0.4 of 4 cores busy, GPU idle 3%); faster: precision=bf16, "
            "or a smaller backbone",
        ),
        (
            {"cpu": {"decode": 12.0}, "waits": {"network": 5.0}, "busy_s": 5.2},
            "Python's lock, which lets one thread run at a time, took the time (1.2 of 4 cores "
            "busy, GPU idle 48%)",
        ),
        (
            {"cpu": {"decode": 38.0}, "waits": {"images": 8.0}},
            "decoding the images took the time (3.8 of 4 cores busy, GPU idle 60%); faster: "
            "decode=fast, or smaller images",
        ),
        (
            {"cpu": {"decode": 19.0}, "waits": {"images": 8.0}, "n_workers": 2},
            "decoding the images took the time (1.9 of 4 cores busy, GPU idle 60%); faster: more "
            "threads (workers=N), or decode=fast, or smaller images",
        ),
        (
            {"cpu": {"decode": 1.0}, "waits": {"images": 9.0}, "read_s": 30.0},
            "reading the images took the time (0.1 of 4 cores busy, GPU idle 60%); faster: a "
            "faster disk for the source, or more threads (workers=N)",
        ),
        (
            {
                "cpu": {"decode": 1.0},
                "device": "mps",
                "busy_s": None,
                "precision": "fp16",
                "waits": {"network": 9.0},
            },
            "the network took the time (0.1 of 4 cores busy); faster: a smaller backbone",
        ),
    ],
)
def test_advise_on_a_gpu_says_what_would_help(fields: Any, advice: Any) -> None:
    assert build_on_gpu(**fields).advise() == advice


# --- shares


def test_list_shares_add_up_to_one() -> None:
    shares = build(cpu={"read": 1.0, "decode": 2.0, "network": 5.0}).list_shares()
    assert shares == {
        "read": 0.125,
        "decode": 0.25,
        "preprocess": 0.0,
        "network": 0.625,
        "write": 0.0,
    }
    assert tuple(shares) == PHASES


def test_timings_of_nothing_are_zero() -> None:
    timings = Timings()
    assert set(timings.list_shares().values()) == {0.0}
    assert (timings.usage, timings.idle) == (0.0, 0.0)


@pytest.mark.parametrize(("busy_s", "idle"), [(None, 0.0), (10.0, 0.0), (12.0, 0.0), (2.5, 0.75)])
def test_idle_is_the_share_in_which_a_gpu_did_not_compute(busy_s: Any, idle: Any) -> None:
    assert build_on_gpu(busy_s=busy_s).idle == idle


# --- clocks


@dataclass
class Clock:
    """Tells wall, thread and process time, which pass where a test says so."""

    wall: float = 100.0
    thread: float = 10.0
    process: float = 50.0
    module: SimpleNamespace = field(init=False)

    def __post_init__(self) -> None:
        self.module = SimpleNamespace(
            perf_counter=lambda: self.wall,
            thread_time=lambda: self.thread,
            process_time=lambda: self.process,
        )

    def work(self, seconds: Any) -> None:
        """Let one thread compute for so long."""
        self.wall, self.thread, self.process = (
            time + seconds for time in (self.wall, self.thread, self.process)
        )

    def wait(self, seconds: Any) -> None:
        self.wall += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = Clock()
    monkeypatch.setattr("featx.embedding.timings.time", clock.module)
    return clock


def test_laps_tell_the_seconds_of_each_stage(clock: Any) -> None:
    laps = StopWatch()
    clock.wait(4)
    clock.work(1)
    laps.end("read")
    clock.work(2)
    clock.wait(8)
    laps.end("decode")
    clock.work(0.5)
    laps.end("preprocess")
    assert laps.cpu_s == {"read": 1, "decode": 2, "preprocess": 0.5}
    assert laps.read_s == 5  # waiting for the disk included


def test_laps_of_an_image_that_fails_early_have_the_stages_it_came_to(clock: Any) -> None:
    laps = StopWatch()
    clock.work(1)
    laps.end("read")
    assert laps.cpu_s == {"read": 1}


def test_timings_add_up_what_images_took(clock: Any) -> None:
    timings = Timings()
    for seconds in (1, 2):
        laps = StopWatch()
        clock.work(seconds)
        clock.wait(1)
        laps.end("read")
        clock.work(10 * seconds)
        laps.end("decode")
        timings.add(laps.cpu_s, laps.read_s)
    assert timings.n_images == 2
    assert timings.read_s == 5
    assert timings.cpu_s == dict.fromkeys(PHASES, 0.0) | {"read": 3, "decode": 30}


def test_timings_measure_leaves_to_the_network_what_no_other_stage_used(clock: Any) -> None:
    timings = Timings()
    with timings.measure():
        clock.work(10)
        timings.cpu_s["decode"] = 3.0
        with timings.write():
            clock.work(2)
            clock.wait(1)
        with timings.wait("images"):
            clock.wait(4)
    assert timings.wall_s == 17
    assert timings.cpu_s == dict.fromkeys(PHASES, 0.0) | {"decode": 3, "write": 2, "network": 7}
    assert timings.write_s == 3
    assert timings.waits_s == {"images": 4, "network": 0, "write": 0}


def test_timings_measure_is_never_below_zero(clock: Any) -> None:
    timings = Timings()
    with timings.measure():
        clock.work(1)
        timings.cpu_s["decode"] = 1.5
    assert timings.cpu_s["network"] == 0


@pytest.mark.parametrize("name", ["measure", "write", "wait"])
def test_timings_count_what_ends_in_an_error_too(clock: Any, name: str) -> None:
    timings = Timings()
    watch = timings.wait("network") if name == "wait" else getattr(timings, name)()

    def stop() -> None:
        with watch:
            clock.work(3)
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        stop()
    found = {"measure": timings.wall_s, "write": timings.write_s}
    assert found.get(name, timings.waits_s["network"]) == 3
