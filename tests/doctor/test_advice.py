"""Advice is weighed by the whole extraction: pure numbers, no machine."""

import math
import re
from typing import Any

import pytest

from featx.doctor.advice import WORTH, Speeds, Way, advise, combine

DEFAULT = Way(engine="openvino", workers=2)


def build_speeds(
    *,
    exact: float = 10_000.0,
    fast: float | None = None,
    more: float = 1.0,
    openvino: float = 200.0,
    bf16: float = 0.0,
    torch: float = 0.0,
    disk: float = 1000.0,
    device: str = "cpu",
) -> Speeds:
    """Build speeds: decoding with 2 and 4 threads, and networks; 0 for a way that was not run."""
    fast = exact if fast is None else fast
    network: dict[Any, float] = {
        ("openvino", "fp32"): openvino,
        ("openvino", "bf16"): bf16,
        ("torch", "fp32"): torch,
    }
    decode: dict[Any, float] = {("exact", 2): exact, ("exact", 4): exact * more}
    decode |= {("fast", 2): fast, ("fast", 4): fast * more}
    return Speeds(
        device=device,
        decode=decode,
        network={way: rate for way, rate in network.items() if rate},
        write_mb_per_s=disk,
    )


@pytest.mark.parametrize(("device", "rate"), [("cpu", 75), ("cuda:0", 100), ("mps", 100)])
def test_combine_shares_cores_on_a_cpu_only(device: Any, rate: Any) -> None:
    assert combine(300, 100, device) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        pytest.param(build_speeds(), [], id="the default is best"),
        # Decoding is twice as fast, but the network takes the time: 1.07 times as fast.
        pytest.param(build_speeds(exact=386, more=2, openvino=54), [], id="threads, network-bound"),
        pytest.param(build_speeds(exact=386, fast=1500, openvino=54), [],
                     id="fast decoding, network-bound"),
        pytest.param(build_speeds(exact=50, openvino=1000, bf16=4000), [],
                     id="bf16, decode-bound"),
        pytest.param(build_speeds(exact=50, openvino=1000, torch=3000), [],
                     id="torch, decode-bound"),
        pytest.param(build_speeds(exact=50, more=1.5, openvino=1000),
                     ["workers=4: 1.5 times as fast"], id="threads, decode-bound"),
        pytest.param(build_speeds(openvino=50, torch=55), [], id="torch hardly faster"),
        pytest.param(build_speeds(openvino=50, torch=100),
                     ["engine=torch: 2.0 times as fast"], id="torch"),
        pytest.param(build_speeds(bf16=220), [], id="bf16 hardly faster"),
        pytest.param(build_speeds(bf16=400),
                     ["precision=bf16: 2.0 times as fast, cosines"], id="bf16"),
        pytest.param(build_speeds(exact=100, fast=200, openvino=1000),
                     ["decode=fast: 1.8 times as fast, pixels"], id="fast"),
        # A GPU runs beside the decoding: what is not the slowest gains nothing.
        pytest.param(build_speeds(exact=100, bf16=800, device="cuda:0"), [],
                     id="bf16 on a GPU that waits"),
        pytest.param(build_speeds(exact=100, more=1.9, device="cuda:0"),
                     ["workers=4: 1.9 times as fast"], id="threads for a GPU that waits"),
        # Alone, fast decoding gains 1.1: with bf16 before it, it gains 1.2.
        pytest.param(build_speeds(exact=1000, fast=4000, openvino=150, bf16=400),
                     ["precision=bf16: 2.2 times as fast, cosines",
                      "decode=fast: another 1.3 times as fast, pixels",
                      "together: 2.8 times as fast"], id="one after the other"),
        # Each alone gains 1.4; the second one finds less time to save.
        pytest.param(build_speeds(exact=100, fast=200, more=2, openvino=150),
                     ["workers=4: 1.4 times as fast",
                      "decode=fast: another 1.3 times as fast, pixels",
                      "together: 1.8 times as fast"],
                     id="two that speed up the same part"),
    ],
)  # fmt: skip
def test_advise_weighs_each_option_by_the_whole_extraction(
    speeds: Speeds, expected: list[str]
) -> None:
    advice = advise(speeds, DEFAULT, dim=768)
    assert len(advice) == len(expected), advice
    assert all(line.startswith(start) for line, start in zip(advice, expected, strict=True)), advice


@pytest.mark.parametrize("bf16", [300.0, 500.0])
@pytest.mark.parametrize("fast", [300.0, 900.0])
@pytest.mark.parametrize("more", [1.3, 2.0])
def test_gains_of_the_advised_options_multiply_to_that_of_all(
    bf16: float, fast: float, more: float
) -> None:
    speeds = build_speeds(exact=150, fast=fast, more=more, bf16=bf16)
    advice = advise(speeds, DEFAULT, dim=768)
    gains = [float(re.search(r": (?:another )?([\d.]+) times", line)[1]) for line in advice]  # type: ignore[index]
    *each, together = gains
    assert min(each) >= WORTH - 0.05  # as printed, with one decimal
    assert together == pytest.approx(math.prod(each), rel=0.1)
    values: Any = dict(re.findall(r"^(\w+)=(\w+)", "\n".join(advice), re.MULTILINE))
    way = Way(
        engine="openvino",
        precision=values.get("precision", "fp32"),
        decode=values.get("decode", "exact"),
        workers=int(values.get("workers", 2)),
    )
    assert together == pytest.approx(speeds.estimate(way) / speeds.estimate(DEFAULT), abs=0.05)


@pytest.mark.parametrize(
    ("exact", "torch", "device", "expected"),
    [
        pytest.param(1000, 50, "cpu", ["pip install openvino: about 2.7 times as fast"], id="cpu"),
        pytest.param(50, 1000, "cpu", [], id="decode-bound"),
        pytest.param(1000, 50, "mps", [], id="a GPU"),
    ],
)
def test_advise_openvino_where_it_is_lacking_if_the_network_takes_the_time(
    exact: float, torch: float, device: str, expected: list[str]
) -> None:
    speeds = build_speeds(exact=exact, openvino=0, torch=torch, device=device)
    advice = advise(speeds, Way(engine="torch", workers=2), dim=768)
    assert len(advice) == len(expected), advice
    assert all(line.startswith(start) for line, start in zip(advice, expected, strict=True))


@pytest.mark.parametrize(("disk", "n_lines"), [(1000.0, 0), (12.0, 0), (8.0, 1)])
def test_advise_disk_if_writing_takes_a_share_of_the_run(disk: float, n_lines: int) -> None:
    # 196 images/s of 8,192 bytes are 1.6 MB/s.
    assert len(advise(build_speeds(disk=disk), DEFAULT, dim=2048)) == n_lines
