"""What the doctor measures, and what it advises."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.core.typing import Decode, EngineName, Precision
from featx.doctor.diagnose import (
    Diagnosis,
    advise,
    advise_disk,
    advise_engine,
    advise_options,
    advise_workers,
    choose_workers,
    combine,
)
from featx.doctor.measure import N_TRIES, generate_image, measure_decoding, measure_network
from featx.embedding.identity import resolve_backbone
from featx.embedding.options import RunOptions, count_workers
from featx.engines.choose import list_precisions
from featx.images.decode import decode_image, decode_reduced, encode_image
from featx.images.sources.inputs import list_entries


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("doctor")
    found = featx.diagnose(
        backbone="lenet5", device="cpu", folder=folder, thorough=True, seconds=0.01
    )
    return found, list(folder.iterdir())


def test_diagnose_measures_every_engine_and_precision(diagnosis: Any) -> None:
    found, _ = diagnosis
    ways = {("openvino", name) for name in list_precisions("openvino", "cpu")}
    ways |= {("torch", name) for name in list_precisions("torch", "cpu")}
    assert set(found.network) == ways
    assert set(found.expected) == {(*way, name) for way in ways for name in ("exact", "fast")}
    assert set(found.decode) == {"exact", "fast"}
    assert min([*found.network.values(), *found.decode.values(), found.write_mb_per_s]) > 0
    assert found.device == "cpu"
    assert found.advice


def test_diagnose_expects_less_than_each_part_alone(diagnosis: Any) -> None:
    found, _ = diagnosis
    for (engine, precision, decode), rate in found.expected.items():
        assert rate < min(found.network[engine, precision], found.decode[decode])


def test_diagnose_leaves_nothing_behind(diagnosis: Any) -> None:
    assert diagnosis[1] == []


def test_diagnose_reads_the_source_that_it_is_given(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    original = decode_reduced

    def note(data: Any, min_side: Any = None) -> Any:
        read.append(data)
        return original(data, min_side)

    monkeypatch.setattr("featx.doctor.measure.decode_reduced", note)
    featx.diagnose(photos, backbone="lenet5", device="cpu", folder=tmp_path, seconds=0.01)
    assert set(read) == {path.read_bytes() for path in photos.rglob("*.jpg")}


def test_diagnose_in_short_measures_the_engine_that_extract_would_take(photos: Path) -> None:
    found = featx.diagnose(photos, backbone="lenet5", device="cpu", folder=photos, seconds=0)
    assert set(found.network) == {("openvino", name) for name in list_precisions("openvino", "cpu")}


def test_diagnose_unknown_backbone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(featx.BackboneError, match=r"got 'resnet51'\. Nearest: .*resnet50"):
        featx.diagnose(backbone="resnet51", device="cpu", folder=tmp_path)


def test_measure_decoding_passes_over_what_is_no_image(photos: Path) -> None:
    (photos / "train" / "ants" / "0.jpg").write_bytes(b"none")
    entries = list_entries(photos)
    assert measure_decoding(entries, resolve_backbone("lenet5"), workers=2, seconds=0) > 0


def test_measure_network_waits_for_every_batch() -> None:
    engine = RunOptions(device="cpu", batch_size=3).build_engine(resolve_backbone("lenet5"))
    started: list[int] = []
    waited: list[int] = []

    def count(slot: Any) -> None:
        start, wait = slot.start, slot.wait

        def count_start(n_rows: int) -> None:
            started.append(n_rows)
            start(n_rows)

        def count_wait() -> Any:
            waited.append(1)
            return wait()

        slot.start, slot.wait = count_start, count_wait

    for slot in engine.slots:
        count(slot)
    assert measure_network(engine, 0.01) > 0
    assert len(started) == len(waited) > 0
    assert set(started) == {3}


@pytest.mark.parametrize(("seconds", "n_measured"), [(0, 1), (100, N_TRIES)])
def test_measure_decoding_repeats_as_long_as_there_is_time(
    photos: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, n_measured: int
) -> None:
    read: list[bytes] = []
    monkeypatch.setattr("featx.doctor.measure.decode_reduced", lambda data, _: read.append(data))
    entries = list_entries(photos)
    measure_decoding(entries, resolve_backbone("lenet5"), workers=2, seconds=seconds)
    assert len(read) == n_measured * len(entries)


@pytest.mark.parametrize(("device", "rate"), [("cpu", 75), ("cuda:0", 100), ("mps", 100)])
def test_combine_shares_cores_on_a_cpu_only(device: Any, rate: Any) -> None:
    assert combine(300, 100, device) == pytest.approx(rate)


def test_generate_image_is_about_as_large_as_a_photo() -> None:
    data = encode_image(generate_image(np.random.default_rng(0)), "JPEG")
    assert decode_image(data).size == (500, 375)
    assert 20_000 < len(data) < 200_000


def build_rates(
    *,
    openvino: float = 0,
    bf16: float = 0,
    fast: float = 1.0,
    torch: float = 50.0,
) -> dict[tuple[EngineName, Precision, Decode], float]:
    """Build the speeds of an extraction: fp32 on PyTorch, and what else is given."""
    ways: dict[tuple[EngineName, Precision], float] = {
        ("openvino", "fp32"): openvino,
        ("openvino", "bf16"): bf16,
        ("torch", "fp32"): torch,
    }
    return {
        (*way, decode): rate * (fast if decode == "fast" else 1)
        for way, rate in ways.items()
        if rate
        for decode in ("exact", "fast")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rates", "device", "expected"),
    [
        pytest.param(build_rates(), "cpu", "pip install openvino", id="no openvino"),
        pytest.param(build_rates(), "mps", "", id="no openvino on a GPU"),
        pytest.param(build_rates(openvino=200), "cpu", "", id="the default is best"),
        pytest.param(build_rates(openvino=50, torch=57), "cpu", "", id="torch hardly faster"),
        pytest.param(build_rates(openvino=50, torch=100), "cpu", "engine=torch: 2.0", id="torch"),
    ],
)  # fmt: skip
def test_advise_engine_if_another_pays(rates: Any, device: str, expected: str) -> None:
    advice = advise_engine(rates, device=device)
    assert len(advice) == bool(expected)
    assert "".join(advice).startswith(expected)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        pytest.param(build_rates(openvino=200), [], id="defaults"),
        pytest.param(build_rates(openvino=200, bf16=220), [], id="bf16 hardly faster"),
        pytest.param(build_rates(openvino=200, bf16=400), ["precision=bf16: 2.0"], id="bf16"),
        pytest.param(build_rates(openvino=200, fast=1.1), [], id="fast hardly faster"),
        pytest.param(build_rates(openvino=200, fast=1.5), ["decode=fast: up to 1.5"], id="fast"),
        pytest.param(build_rates(openvino=200, bf16=400, fast=1.5),
                     ["precision=bf16: 2.0", "decode=fast: up to 1.5"], id="both"),
    ],
)  # fmt: skip
def test_advise_options_if_they_pay(rates: Any, expected: list[str]) -> None:
    advice = advise_options(rates)
    assert len(advice) == len(expected)
    assert all(line.startswith(start) for line, start in zip(advice, expected, strict=True))


def test_advise_workers_if_more_than_the_default_decode_faster() -> None:
    assert advise_workers(count_workers()) == []
    (line,) = advise_workers(count_workers() + 1)
    assert line.startswith(f"workers={count_workers() + 1}: ")


@pytest.mark.parametrize(("by_workers", "expected"), [({2: 100, 4: 110}, 2), ({2: 100, 4: 120}, 4)])
def test_choose_workers_takes_more_than_cores_only_if_they_pay(
    by_workers: dict[int, float], expected: int
) -> None:
    assert choose_workers(by_workers, 2) == expected


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        pytest.param(None, ["precision=bf16: 1.3"], id="the system does not tell"),
        pytest.param(0.3, ["precision=bf16: 1.3"], id="an idle machine"),
        pytest.param(1.1, ["nothing: ", "other programs used 1.1 of 2 cores: "], id="a busy one"),
    ],
)
def test_advise_on_a_busy_machine_says_so_and_wants_a_larger_difference(
    others: float | None, expected: list[str]
) -> None:
    found = Diagnosis(
        n_cores=2,
        device="cpu",
        decode={"exact": 1000.0, "fast": 1000.0},
        workers=count_workers(),
        network={},
        write_mb_per_s=1000.0,
        expected=build_rates(openvino=200, bf16=260),
        others=others,
        advice=(),
    )
    advice = advise(found, 768)
    assert len(advice) == len(expected)
    assert all(line.startswith(start) for line, start in zip(advice, expected, strict=True))


@pytest.mark.parametrize(("write_mb_per_s", "n_lines"), [(1000.0, 0), (1.0, 1)])
def test_advise_disk_if_it_is_hardly_faster_than_the_embeddings(
    write_mb_per_s: float, n_lines: int
) -> None:
    assert len(advise_disk(build_rates(openvino=200), write_mb_per_s, 2048)) == n_lines
