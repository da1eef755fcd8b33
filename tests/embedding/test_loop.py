"""The one loop: order, failures, and neighbours that are left as they are."""

import os
import shutil
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch import nn

import featx
from featx.backbones.backbone import Backbone
from featx.core.errors import FeatxError, FeatxWarning
from featx.embedding.loop import iter_embedded
from featx.embedding.options import RunOptions
from featx.embedding.timings import Timings
from featx.images.decode import decode_reduced
from featx.images.sources.inputs import list_entries
from featx.images.sources.read import read_manifest
from featx.testing import FakeEngine


def keep_size(image: Any) -> Any:
    return torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)


@pytest.fixture(scope="module")
def squeezenet() -> Backbone:
    return featx.load_backbone("squeezenet1_1", weights="random:0")


def run(entries: Any, backbone: Backbone, **options: Any) -> Any:
    """Return all rows, vectors and failures of a run on the CPU."""
    how = RunOptions(device="cpu", progress=False, **options)
    engine = how.build_engine(backbone)
    batches = list(iter_embedded(entries, backbone, engine, how))
    rows = [row for batch in batches for row in batch.rows]
    failures = [failure for batch in batches for failure in batch.failures]
    parts = [vectors for batch in batches for vectors in batch.vectors.values()]
    return rows, np.concatenate(parts), failures


@pytest.fixture
def settled(mixed: Path) -> Path:
    """`mixed`, changed long ago: a row carries no time of a file of the last two seconds.

    A slow first run would find files too young for a time, and the second run would not.
    """
    for path in mixed.iterdir():
        if path.exists():  # one is a link that leads nowhere
            os.utime(path, (10**9, 10**9))
    return mixed


@pytest.fixture
def put_many(tmp_path: Path, make_image: Any) -> Any:
    """Write so many small images that differ; return their paths in order. A factory."""

    def put_many(count: Any) -> Any:
        return [make_image(tmp_path / f"many/{i:03}.png", (9, 7), seed=i) for i in range(count)]

    return put_many


# --- rows and failures


def test_iter_embedded_does_not_depend_on_settings_of_pillow(
    tmp_path: Path, make_image: Any, squeezenet: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image(tmp_path / "1.png", size=(300, 260))
    make_image(tmp_path / "2.jpg", size=(300, 260))
    entries = read_manifest(tmp_path).entries
    _, before, _ = run(entries, squeezenet)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    _, after, failures = run(entries, squeezenet)
    assert failures == []
    assert after.tobytes() == before.tobytes()
    assert Image.MAX_IMAGE_PIXELS == 9


def test_iter_embedded_notes_images_of_16_bit_that_are_nearly_black(
    tmp_path: Path, picky: Backbone
) -> None:
    ramp = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16)
    for number, factor in enumerate([1, 16, 21, 22, 300]):  # 21 * 191 = 4011, 22 * 191 = 4202
        Image.fromarray(ramp * factor).save(tmp_path / f"{number}.png")
    entries = read_manifest(tmp_path).entries
    with pytest.warns(
        FeatxWarning, match=r"^3 of 5 images of 16 bit use less than a sixteenth"
    ) as warned:
        rows, _, failures = run(entries, picky)
    assert (len(rows), failures, len(warned)) == (5, [], 1)
    run(entries[3:], picky)  # warnings are errors here


def test_iter_embedded_rows_carry_digest_and_size(
    tmp_path: Path, make_image: Any, picky: Backbone
) -> None:
    image = make_image(tmp_path / "ants/1.png", size=(40, 30))
    rows, _, failures = run(read_manifest(tmp_path).entries, picky)
    assert failures == []
    assert rows[0].label == "ants"
    assert rows[0].digest == sha256(image.read_bytes()).hexdigest()
    assert (rows[0].width, rows[0].height) == (40, 30)


def test_iter_embedded_failures_carry_their_stage_and_reason(mixed: Path, picky: Backbone) -> None:
    _, _, failures = run(read_manifest(mixed).entries, picky, batch_size=4)
    got = {failure.id: (failure.stage, failure.reason) for failure in failures}
    assert set(got) == {
        "good0_read.jpg",
        "good1_decode.jpg",
        "good2_preprocess.png",
        "good3_embed.png",
    }
    assert got["good0_read.jpg"][0] == "read"
    assert got["good0_read.jpg"][1].startswith("No such file or directory: a symbolic link to ")
    assert got["good1_decode.jpg"][0] == "decode"
    assert "got text that begins with 'not\\nfound" in got["good1_decode.jpg"][1]
    assert got["good2_preprocess.png"] == ("preprocess", "ValueError: too wide")
    assert got["good3_embed.png"] == ("embed", "the network's output is not finite")
    assert all("\n" not in failure.reason for failure in failures)
    assert {failure.id: bool(failure.digest) for failure in failures} == {
        "good0_read.jpg": False,
        "good1_decode.jpg": True,
        "good2_preprocess.png": True,
        "good3_embed.png": True,
    }


def test_iter_embedded_good_rows_keep_their_order_and_values(
    mixed: Path, good: list[Path], picky: Backbone
) -> None:
    rows, vectors, _ = run(read_manifest(mixed).entries, picky, batch_size=4)
    assert [row.id for row in rows] == [path.name for path in good]
    expected = [picky.preprocess.prepare(Image.open(path)).mean((1, 2)) for path in good]
    np.testing.assert_allclose(vectors, expected, rtol=1e-5)


def test_iter_embedded_only_failures_give_no_vectors(tmp_path: Path, picky: Backbone) -> None:
    (tmp_path / "1.jpg").write_text("no image")
    options = RunOptions(device="cpu")
    entries = read_manifest(tmp_path).entries
    (batch,) = iter_embedded(entries, picky, options.build_engine(picky), options)
    assert batch.rows == ()
    assert batch.vectors == {}
    assert [failure.stage for failure in batch.failures] == ["decode"]


def test_iter_embedded_of_nothing_gives_nothing(picky: Backbone) -> None:
    options = RunOptions(device="cpu")
    assert list(iter_embedded([], picky, options.build_engine(picky), options)) == []


def test_iter_embedded_extreme_aspect_fails_before_it_is_resized(
    tmp_path: Path, squeezenet: Backbone
) -> None:
    Image.new("RGB", (3000, 1)).save(tmp_path / "strip.png")
    _, _, failures = run(
        [*read_manifest(tmp_path).entries, *list_entries([np.zeros((9, 9, 3), "u1")])],
        squeezenet,
        batch_size=1,
    )
    assert [failure.stage for failure in failures] == ["preprocess"]
    assert "expected sides within 1:200, got 3000 x 1" in failures[0].reason


def test_iter_embedded_transform_of_changing_shape_is_a_featx_error(
    tmp_path: Path, make_image: Any
) -> None:
    featx.register_backbone("loop-shapes", nn.Conv2d(3, 2, 1), transform=keep_size)
    backbone = featx.load_backbone("loop-shapes")
    paths = [make_image(tmp_path / f"{i}.png", size=(64 + i, 64), seed=i) for i in range(2)]
    try:
        _, _, failures = run(list_entries(paths), backbone)
    except FeatxError:
        return
    assert [failure.stage for failure in failures] == ["preprocess"]


# --- neighbours


def test_iter_embedded_bad_files_leave_their_neighbours_bytes(
    settled: Path, squeezenet: Backbone
) -> None:
    (settled / "good3_embed.png").unlink()
    with_bad = run(read_manifest(settled).entries, squeezenet, batch_size=4)
    assert len(with_bad[2]) == 3
    for path in settled.glob("good?_*"):
        path.unlink()
    alone = run(read_manifest(settled).entries, squeezenet, batch_size=4)
    assert alone[2] == []
    assert with_bad[0] == alone[0]
    assert with_bad[1].tobytes() == alone[1].tobytes()


def test_iter_embedded_row_that_is_not_finite_leaves_its_neighbours_bytes(
    mixed: Path, good: list[Path], picky: Backbone
) -> None:
    _, with_bad, failures = run(read_manifest(mixed).entries, picky, batch_size=4)
    assert "embed" in [failure.stage for failure in failures]
    _, alone, _ = run(list_entries(good), picky, batch_size=4)
    assert with_bad.tobytes() == alone.tobytes()


def test_iter_embedded_row_does_not_depend_on_how_many_follow(
    good: list[Path], squeezenet: Backbone
) -> None:
    entries = list_entries(good)
    _, many, _ = run(entries, squeezenet, batch_size=4)
    _, few, _ = run(entries[:5], squeezenet, batch_size=4)
    assert many[:5].tobytes() == few.tobytes()


def test_iter_embedded_workers_do_not_change_the_bytes(settled: Path, squeezenet: Backbone) -> None:
    entries = read_manifest(settled).entries
    one = run(entries, squeezenet, batch_size=4, workers=1)
    four = run(entries, squeezenet, batch_size=4, workers=4)
    assert one[0] == four[0]
    assert one[1].tobytes() == four[1].tobytes()
    assert one[2] == four[2]


# --- several batches in flight


def iter_on_cpu(
    entries: Any,
    backbone: Backbone,
    *,
    known: Any = None,
    dtype: Any = "float32",
    timings: Any = None,
    **options: Any,
) -> Any:
    how = RunOptions(device="cpu", progress=False, **options)
    engine = how.build_engine(backbone)
    return iter_embedded(
        entries, backbone, engine, how, skip_digests=known, dtype=dtype, timings=timings
    )


def list_threads() -> Any:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("featx-")]


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_iter_embedded_many_batches_come_in_order(
    put_many: Any, picky: Backbone, engine: Any
) -> None:
    paths = put_many(61)
    batches = list(iter_on_cpu(list_entries(paths), picky, engine=engine, batch_size=2, workers=3))
    assert [len(batch.rows) for batch in batches] == [2] * 30 + [1]
    rows = [row for batch in batches for row in batch.rows]
    assert [row.path for row in rows] == [str(path) for path in paths]
    vectors = np.concatenate([batch.vectors["penultimate"] for batch in batches])
    expected = [picky.preprocess.prepare(Image.open(path)).mean((1, 2)) for path in paths]
    np.testing.assert_allclose(vectors, expected, rtol=1e-5)


@pytest.mark.parametrize("n_done", [0, 1, 7])
def test_iter_embedded_error_of_the_network_comes_after_what_was_done(
    put_many: Any, picky: Backbone, n_done: int
) -> None:
    class StopError(Exception):
        pass

    def act(number: int) -> None:
        if number == n_done:
            raise StopError("stopped")

    engine, found = FakeEngine(on_batch=act), []

    def take() -> None:
        entries = list_entries(put_many(40))
        for batch in iter_on_cpu(entries, picky, engine=engine, batch_size=2):
            found.append(batch)  # noqa: PERF402

    with pytest.raises(StopError, match="stopped"):
        take()
    assert [len(batch.rows) for batch in found] == [2] * n_done
    assert "featx-network" not in list_threads()


def test_iter_embedded_worker_that_dies_leaves_all_before_it(
    put_many: Any, picky: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = put_many(40)
    spoilt = paths[30].read_bytes()

    def decode(data: Any, min_side: Any, name: str = "") -> Any:
        if data == spoilt:
            raise SystemExit("dies")
        return decode_reduced(data, min_side, name)

    monkeypatch.setattr("featx.embedding.decoding.decode_reduced", decode)
    found = []

    def take() -> None:
        for batch in iter_on_cpu(list_entries(paths), picky, batch_size=2):
            found.append(batch)  # noqa: PERF402

    with pytest.raises(SystemExit, match="dies"):
        take()
    # A worker takes four at a time, and image 30 is in the eighth four.
    assert [row.path for batch in found for row in batch.rows] == [str(p) for p in paths[:28]]


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_iter_embedded_closed_early_ends_its_threads(
    put_many: Any, picky: Backbone, engine: Any
) -> None:
    batches = iter_on_cpu(list_entries(put_many(80)), picky, engine=engine, batch_size=2)
    next(batches)
    assert "featx-network" in list_threads()
    batches.close()
    assert not {"featx-network", "featx-decode"} & {name.split("_")[0] for name in list_threads()}


def test_iter_embedded_does_not_wait_for_a_full_batch_of_what_is_known(
    put_many: Any, picky: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.embedding.batching.MAX_UNREPORTED", 8)
    paths = put_many(30)
    known = {sha256(path.read_bytes()).hexdigest() for path in paths}
    batches = list(iter_on_cpu(list_entries(paths), picky, known=known, batch_size=16))
    assert [len(batch.repeats) for batch in batches] == [8, 8, 8, 6]
    assert all(batch.rows == () and batch.vectors == {} for batch in batches)


def test_iter_embedded_batch_of_more_than_may_be_unreported_is_filled(
    put_many: Any, picky: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.embedding.batching.MAX_UNREPORTED", 4)
    batches = list(iter_on_cpu(list_entries(put_many(20)), picky, batch_size=16))
    assert [len(batch.rows) for batch in batches] == [16, 4]


def test_iter_embedded_content_that_comes_again_is_a_repeat(
    put_many: Any, picky: Backbone, tmp_path: Path
) -> None:
    paths = put_many(3)
    shutil.copyfile(paths[0], tmp_path / "again.png")
    known: set[str] = set()
    entries = list_entries([*paths, tmp_path / "again.png"])
    batches = list(iter_on_cpu(entries, picky, known=known, batch_size=2))
    assert [row.path for batch in batches for row in batch.rows] == [str(path) for path in paths]
    (repeat,) = [row for batch in batches for row in batch.repeats]
    assert (repeat.path, repeat.digest) == (
        str(tmp_path / "again.png"),
        sha256(paths[0].read_bytes()).hexdigest(),
    )
    assert len(known) == 3


def test_iter_embedded_float16_rounds_the_same_vectors(put_many: Any, picky: Backbone) -> None:
    entries = list_entries(put_many(5))
    full, half = (
        np.concatenate(
            [batch.vectors["penultimate"] for batch in iter_on_cpu(entries, picky, dtype=dtype)]
        )
        for dtype in ("float32", "float16")
    )
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, full.astype(np.float16))


def test_iter_embedded_decode_fast_is_close_and_tells_the_whole_size(
    tmp_path: Path, squeezenet: Backbone
) -> None:
    pixels = np.add.outer(np.arange(900), np.arange(1200)) // 9
    Image.fromarray(np.stack([pixels] * 3, 2).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    options = RunOptions(device="cpu", batch_size=1)
    engine = options.build_engine(squeezenet)
    vectors = {}
    for decode in ("exact", "fast"):
        (batch,) = iter_embedded(list_entries(tmp_path), squeezenet, engine, options, decode=decode)
        assert (batch.rows[0].width, batch.rows[0].height) == (1200, 900)
        vectors[decode] = batch.vectors["penultimate"][0].astype(np.float64)
    norms = [np.linalg.norm(vector) for vector in vectors.values()]
    assert vectors["exact"] @ vectors["fast"] / np.prod(norms) >= 0.999
    assert (vectors["exact"] != vectors["fast"]).any()


def test_iter_embedded_fills_in_the_timings(mixed: Path, picky: Backbone) -> None:
    timings = Timings()
    entries = read_manifest(mixed).entries
    batches = list(iter_on_cpu(entries, picky, timings=timings, engine="torch", workers=2))
    assert sum(len(batch) for batch in batches) == timings.n_images == len(entries) == 10
    assert (timings.engine, timings.device, timings.n_workers) == ("torch", "cpu", 2)
    assert (timings.precision, timings.decode, timings.busy_s) == ("fp32", "exact", None)
    assert timings.wall_s > 0
    assert all(timings.cpu_s[stage] > 0 for stage in ("read", "decode", "preprocess"))
