"""The one loop: order, failures, and neighbours that are left as they are."""

from hashlib import sha256

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import featx
from featx.errors import FeatxError
from featx.images.sources import list_entries, read_manifest
from featx.loop import RunOptions, iter_embedded


def keep_size(image):
    return torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)


@pytest.fixture(scope="module")
def squeezenet():
    return featx.load_backbone("squeezenet1_1", weights="random:0")


def run(entries, backbone, **options):
    """Return all rows, vectors and failures of a run on the CPU."""
    options = RunOptions(device="cpu", progress=False, **options)
    engine = options.build_engine(backbone)
    batches = list(iter_embedded(entries, backbone, engine, options))
    rows = [row for batch in batches for row in batch.rows]
    failures = [failure for batch in batches for failure in batch.failures]
    parts = [vectors for batch in batches for vectors in batch.vectors.values()]
    return rows, np.concatenate(parts), failures


# --- rows and failures


def test_iter_embedded_rows_carry_digest_and_size(tmp_path, make_image, picky):
    image = make_image(tmp_path / "ants/1.png", size=(40, 30))
    rows, _, failures = run(read_manifest(tmp_path).entries, picky)
    assert failures == []
    assert rows[0].label == "ants"
    assert rows[0].digest == sha256(image.read_bytes()).hexdigest()
    assert (rows[0].width, rows[0].height) == (40, 30)


def test_iter_embedded_failures_carry_their_stage_and_reason(mixed, picky):
    _, _, failures = run(read_manifest(mixed).entries, picky, batch_size=4)
    got = {failure.id: (failure.stage, failure.reason) for failure in failures}
    assert set(got) == {
        "good0_read.jpg",
        "good1_decode.jpg",
        "good2_preprocess.png",
        "good3_embed.png",
    }
    assert got["good0_read.jpg"] == ("read", "No such file or directory")
    assert got["good1_decode.jpg"][0] == "decode"
    assert "begins with b'not\\nfoun'" in got["good1_decode.jpg"][1]
    assert got["good2_preprocess.png"] == ("preprocess", "ValueError: too wide")
    assert got["good3_embed.png"] == ("embed", "the network's output is not finite")
    assert all("\n" not in failure.reason for failure in failures)
    assert {failure.id: bool(failure.digest) for failure in failures} == {
        "good0_read.jpg": False,
        "good1_decode.jpg": True,
        "good2_preprocess.png": True,
        "good3_embed.png": True,
    }


def test_iter_embedded_good_rows_keep_their_order_and_values(mixed, good, picky):
    rows, vectors, _ = run(read_manifest(mixed).entries, picky, batch_size=4)
    assert [row.id for row in rows] == [path.name for path in good]
    expected = [picky.preprocess.prepare(Image.open(path)).mean((1, 2)) for path in good]
    np.testing.assert_allclose(vectors, expected, rtol=1e-5)


def test_iter_embedded_only_failures_give_no_vectors(tmp_path, picky):
    (tmp_path / "1.jpg").write_text("no image")
    options = RunOptions(device="cpu")
    entries = read_manifest(tmp_path).entries
    (batch,) = iter_embedded(entries, picky, options.build_engine(picky), options)
    assert batch.rows == ()
    assert batch.vectors == {}
    assert [failure.stage for failure in batch.failures] == ["decode"]


def test_iter_embedded_of_nothing_gives_nothing(picky):
    options = RunOptions(device="cpu")
    assert list(iter_embedded([], picky, options.build_engine(picky), options)) == []


def test_iter_embedded_extreme_aspect_fails_before_it_is_resized(tmp_path, squeezenet):
    Image.new("RGB", (3000, 1)).save(tmp_path / "strip.png")
    _, _, failures = run(
        [*read_manifest(tmp_path).entries, *list_entries([np.zeros((9, 9, 3), "u1")])],
        squeezenet,
        batch_size=1,
    )
    assert [failure.stage for failure in failures] == ["preprocess"]
    assert "expected sides within 1:200, got 3000 x 1" in failures[0].reason


def test_iter_embedded_transform_of_changing_shape_is_a_featx_error(tmp_path, make_image):
    featx.register_backbone("loop-shapes", nn.Conv2d(3, 2, 1), transform=keep_size)
    backbone = featx.load_backbone("loop-shapes")
    paths = [make_image(tmp_path / f"{i}.png", size=(64 + i, 64), seed=i) for i in range(2)]
    try:
        _, _, failures = run(list_entries(paths), backbone)
    except FeatxError:
        return
    assert [failure.stage for failure in failures] == ["preprocess"]


# --- neighbours


def test_iter_embedded_bad_files_leave_their_neighbours_bytes(mixed, good, squeezenet):
    (mixed / "good3_embed.png").unlink()
    with_bad = run(read_manifest(mixed).entries, squeezenet, batch_size=4)
    assert len(with_bad[2]) == 3
    for path in mixed.glob("good?_*"):
        path.unlink()
    alone = run(read_manifest(mixed).entries, squeezenet, batch_size=4)
    assert alone[2] == []
    assert with_bad[0] == alone[0]
    assert with_bad[1].tobytes() == alone[1].tobytes()


def test_iter_embedded_row_that_is_not_finite_leaves_its_neighbours_bytes(mixed, good, picky):
    _, with_bad, failures = run(read_manifest(mixed).entries, picky, batch_size=4)
    assert "embed" in [failure.stage for failure in failures]
    _, alone, _ = run(list_entries(good), picky, batch_size=4)
    assert with_bad.tobytes() == alone.tobytes()


def test_iter_embedded_row_does_not_depend_on_how_many_follow(good, squeezenet):
    entries = list_entries(good)
    _, many, _ = run(entries, squeezenet, batch_size=4)
    _, few, _ = run(entries[:5], squeezenet, batch_size=4)
    assert many[:5].tobytes() == few.tobytes()


def test_iter_embedded_workers_do_not_change_the_bytes(mixed, squeezenet):
    entries = read_manifest(mixed).entries
    one = run(entries, squeezenet, batch_size=4, workers=1)
    four = run(entries, squeezenet, batch_size=4, workers=4)
    assert one[0] == four[0]
    assert one[1].tobytes() == four[1].tobytes()
    assert one[2] == four[2]


# --- options


@pytest.mark.parametrize("name", ["batch_size", "workers"])
@pytest.mark.parametrize("value", [0, -1])
def test_run_options_below_one_is_refused(name, value):
    with pytest.raises(FeatxError, match=f"^{name}: expected at least 1, got {value}"):
        RunOptions(**{name: value})
