"""What the doctor measures, and what it advises."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import featx
from featx.doctor.diagnose import Diagnosis, advise_on
from featx.doctor.measure import (
    N_SAMPLE,
    N_TRIES,
    generate_image,
    measure_decoding,
    measure_network,
)
from featx.embedding.identity import resolve_backbone
from featx.embedding.options import RunOptions
from featx.engines.choose import list_precisions
from featx.images.decode import decode_image, decode_reduced, encode_image
from featx.images.sources.inputs import list_entries
from tests.builders import NEEDS_OPENVINO


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("doctor")
    found = featx.diagnose(
        backbone="lenet5", device="cpu", folder=folder, thorough=True, seconds=0.01
    )
    return found, list(folder.iterdir())


@NEEDS_OPENVINO
def test_diagnose_measures_every_engine_and_precision(diagnosis: Any) -> None:
    found, _ = diagnosis
    ways = {("openvino", name) for name in list_precisions("openvino", "cpu")}
    ways |= {("torch", name) for name in list_precisions("torch", "cpu")}
    assert set(found.network) == ways
    assert set(found.expected) == {(*way, name) for way in ways for name in ("exact", "fast")}
    n = found.workers
    assert set(found.decode) == {(way, k) for way in ("exact", "fast") for k in (n, 2 * n)}
    assert min([*found.network.values(), *found.decode.values(), found.write_mb_per_s]) > 0
    assert found.device == "cpu"
    assert found.advice


def test_diagnose_expects_less_than_each_part_alone(diagnosis: Any) -> None:
    found, _ = diagnosis
    for (engine, precision, decode), rate in found.expected.items():
        assert rate < min(found.network[engine, precision], found.decode[decode, found.workers])


def test_diagnose_leaves_nothing_behind(diagnosis: Any) -> None:
    assert diagnosis[1] == []


def test_diagnose_reads_the_source_that_it_is_given(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    original = decode_reduced

    def note(data: Any, *options: Any) -> Any:
        read.append(data)
        return original(data, *options)

    monkeypatch.setattr("featx.embedding.decoding.decode_reduced", note)
    featx.diagnose(photos, backbone="lenet5", device="cpu", folder=tmp_path, seconds=0.01)
    assert set(read) == {path.read_bytes() for path in photos.rglob("*.jpg")}


@NEEDS_OPENVINO
def test_diagnose_in_short_measures_the_engine_that_extract_would_take(photos: Path) -> None:
    found = featx.diagnose(photos, backbone="lenet5", device="cpu", folder=photos, seconds=0)
    assert set(found.network) == {("openvino", name) for name in list_precisions("openvino", "cpu")}


def test_diagnose_unknown_backbone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(featx.BackboneError, match=r"got 'resnet51'\. Nearest: .*resnet50"):
        featx.diagnose(backbone="resnet51", device="cpu", folder=tmp_path)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 12345\n"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def spoil(photos: Path, n: int, content: bytes) -> int:
    """Put bytes that are no image into some photos; return the number of all photos."""
    files = sorted(photos.rglob("*.jpg"))
    for number, file in enumerate(files[:n]):
        file.write_bytes(content + str(number).encode())
    return len(files)


@pytest.mark.parametrize("content", [b"not an image", LFS, HEIC], ids=["text", "lfs", "heic"])
def test_diagnose_of_a_source_without_a_sound_image_is_an_error(
    photos: Path, content: bytes, run_cli: Any
) -> None:
    n = spoil(photos, 100, content)
    words = ["doctor", photos, "--backbone", "lenet5", "--device", "cpu"]
    run_cli(*words).check_error(
        f"expected at least one image that can be decoded, got {n} of {n} images that cannot"
    )


def test_diagnose_counts_and_tells_what_cannot_be_decoded(photos: Path, tmp_path: Path) -> None:
    n = spoil(photos, 6, b"not an image")
    with pytest.warns(
        featx.FeatxWarning, match=f"6 of {n} images cannot be decoded, such as .*jpg"
    ):
        found = featx.diagnose(
            photos, backbone="lenet5", device="cpu", folder=tmp_path, seconds=0.01
        )
    assert (found.n_images, len(found.failures)) == (n, 6)
    assert {failure.stage for failure in found.failures} == {"decode"}


def build_clock(monkeypatch: pytest.MonkeyPatch, *, n_seconds: float) -> None:
    """Let each measurement take so many seconds."""
    ticks = iter(np.arange(0, 1000 * n_seconds, n_seconds))
    clock = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr("featx.doctor.measure.time", clock)


def test_measure_decoding_counts_no_image_that_failed(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = spoil(photos, 3, b"none")
    entries = list_entries(photos)
    build_clock(monkeypatch, n_seconds=2.0)
    found = measure_decoding(entries, resolve_backbone("lenet5"), workers=2, seconds=0)
    repeated = [number % n for number in range(N_SAMPLE)]
    n_decoded = sum(number >= 3 for number in repeated)
    assert found.rate == n_decoded / 2.0
    assert sorted(failure.id for failure in found.failures) == [
        entry.row.id for entry in entries[:3]
    ]


def test_measure_decoding_of_one_image_keeps_all_threads_busy(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_clock(monkeypatch, n_seconds=1.0)
    entries = list_entries(photos / "train" / "ants" / "0.jpg")
    found = measure_decoding(entries, resolve_backbone("lenet5"), workers=4, seconds=0)
    assert found.rate == N_SAMPLE


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
    original = decode_reduced

    def note(data: Any, *options: Any) -> Any:
        read.append(data)
        return original(data, *options)

    monkeypatch.setattr("featx.embedding.decoding.decode_reduced", note)
    measure_decoding(list_entries(photos), resolve_backbone("lenet5"), workers=2, seconds=seconds)
    assert len(read) == n_measured * N_SAMPLE


def test_generate_image_is_about_as_large_as_a_photo() -> None:
    data = encode_image(generate_image(np.random.default_rng(0)), "JPEG")
    assert decode_image(data).size == (500, 375)
    assert 20_000 < len(data) < 200_000


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
        n_images=12,
        decode={("exact", 2): 10_000.0, ("fast", 2): 10_000.0},
        workers=2,
        network={("openvino", "fp32"): 200.0, ("openvino", "bf16"): 265.0},
        write_mb_per_s=1000.0,
        others=others,
    )
    advice = advise_on(found, 768)
    assert len(advice) == len(expected)
    assert all(line.startswith(start) for line, start in zip(advice, expected, strict=True))
