"""What the doctor measures, and what it advises."""

import numpy as np
import pytest

import featx
from featx.doctor.diagnose import _advise, combine, draw_photo, measure_decoding, measure_forward
from featx.embedding.embed import resolve_backbone
from featx.embedding.options import RunOptions, count_workers
from featx.engines.choose import list_precisions
from featx.images.decode import decode_image, encode_image
from featx.images.sources.read import list_entries


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor")
    found = featx.diagnose(backbone="lenet5", device="cpu", folder=folder, seconds=0.01)
    return found, list(folder.iterdir())


def test_diagnose_measures_every_engine_and_precision(diagnosis):
    found, _ = diagnosis
    ways = {("openvino", name) for name in list_precisions("openvino", "cpu")}
    ways |= {("torch", name) for name in list_precisions("torch", "cpu")}
    assert set(found.forward) == ways
    assert set(found.expected) == {(*way, name) for way in ways for name in ("exact", "fast")}
    assert set(found.decode) == {"exact", "fast"}
    assert min([*found.forward.values(), *found.decode.values(), found.write_mb_per_s]) > 0
    assert found.device == "cpu"
    assert found.advice


def test_diagnose_expects_less_than_each_part_alone(diagnosis):
    found, _ = diagnosis
    for (engine, precision, decode), rate in found.expected.items():
        assert rate < min(found.forward[engine, precision], found.decode[decode])


def test_diagnose_leaves_nothing_behind(diagnosis):
    assert diagnosis[1] == []


def test_diagnose_reads_the_source_that_it_is_given(photos, tmp_path, monkeypatch):
    read = []
    original = featx.doctor.diagnose.decode_reduced

    def note(data, min_side=None):
        read.append(data)
        return original(data, min_side)

    monkeypatch.setattr("featx.doctor.diagnose.decode_reduced", note)
    featx.diagnose(photos, backbone="lenet5", device="cpu", folder=tmp_path, seconds=0.01)
    assert set(read) == {path.read_bytes() for path in photos.rglob("*.jpg")}


def test_diagnose_unknown_backbone_is_refused(tmp_path):
    with pytest.raises(featx.BackboneError, match=r"got 'resnet51'\. Nearest: .*resnet50"):
        featx.diagnose(backbone="resnet51", device="cpu", folder=tmp_path)


def test_measure_decoding_passes_over_what_is_no_image(photos):
    (photos / "train" / "ants" / "0.jpg").write_bytes(b"none")
    entries = list_entries(photos)
    assert measure_decoding(entries, resolve_backbone("lenet5"), workers=2, n_tries=1) > 0


def test_measure_forward_waits_for_every_batch():
    engine = RunOptions(device="cpu", batch_size=3).build_engine(resolve_backbone("lenet5"))
    started, waited = [], []

    def count(slot):
        start, wait = slot.start, slot.wait
        slot.start = lambda n_rows: (started.append(n_rows), start(n_rows))
        slot.wait = lambda: (waited.append(1), wait())[1]

    for slot in engine.slots:
        count(slot)
    assert measure_forward(engine, 0.01, 1) > 0
    assert len(started) == len(waited) > 0
    assert set(started) == {3}


@pytest.mark.parametrize(("device", "rate"), [("cpu", 75), ("cuda:0", 100), ("mps", 100)])
def test_combine_shares_cores_on_a_cpu_only(device, rate):
    assert combine(300, 100, device) == pytest.approx(rate)


def test_draw_photo_is_about_as_large_as_a_photo():
    data = encode_image(draw_photo(np.random.default_rng(0)), "JPEG")
    assert decode_image(data).size == (500, 375)
    assert 20_000 < len(data) < 200_000


def build_rates(openvino=None, bf16=None, fast=1.0, torch=50.0):
    """Rates of an extraction: fp32 on PyTorch, and what else is given."""
    rates = {("openvino", "fp32"): openvino, ("openvino", "bf16"): bf16, ("torch", "fp32"): torch}
    return {
        (*way, decode): rate * (fast if decode == "fast" else 1)
        for way, rate in rates.items()
        if rate
        for decode in ("exact", "fast")
    }


@pytest.mark.parametrize(
    ("rates", "extra", "expected"),
    [
        pytest.param(build_rates(), {}, "pip install featx[cpu]", id="no openvino"),
        pytest.param(build_rates(200), {}, "nothing: the defaults", id="defaults"),
        pytest.param(build_rates(200, 220), {}, "nothing: the defaults", id="bf16 hardly faster"),
        pytest.param(build_rates(200, 400), {}, "--precision bf16: 2.0 times", id="bf16"),
        pytest.param(build_rates(200, fast=1.5), {}, "--decode fast: up to 1.5", id="fast"),
        pytest.param(build_rates(50, torch=100), {}, "--engine torch: 2.0 times", id="torch"),
        pytest.param(build_rates(200), {"workers": 64}, "--workers 64", id="workers"),
        pytest.param(build_rates(200), {"write_mb_per_s": 1.0}, "another disk", id="disk"),
    ],
)
def test_advise_says_what_pays(rates, extra, expected):
    given = {"workers": count_workers(), "write_mb_per_s": 1000.0, "dim": 2048, "device": "cpu"}
    advice = _advise(rates, **(given | extra))
    assert len(advice) == 1
    assert advice[0].startswith(expected)
