"""The one loop: order, failures, and neighbours that are left as they are."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import featx
from featx.embedding import RunOptions, build_fingerprint, iter_embedded
from featx.errors import BackboneError, DecodeError, FeatxError
from featx.images.sources import list_entries, read_manifest


class MeanOrNan(nn.Module):
    """Gives each channel's mean; NaN for a black picture, as 0 / 0."""

    def forward(self, batch):
        mean = batch.mean((2, 3))
        return mean * (mean / mean)


def shrink(image):
    return torch.from_numpy(np.asarray(image.resize((8, 8)), np.float32).transpose(2, 0, 1) / 255)


def refuse_wide(image):
    if image.width > 4 * image.height:
        raise ValueError("too\nwide")
    return shrink(image)


def keep_size(image):
    return torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)


def load_own(name, transform):
    if name not in featx.list_backbones():
        featx.register_backbone(name, MeanOrNan(), transform=transform)
    return featx.load_backbone(name)


@pytest.fixture(scope="module")
def tiny():
    # Its build_example is a black picture, whose NaN is no matter: only the shape counts.
    return load_own("embedding-tiny", refuse_wide)


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


@pytest.fixture
def good(tmp_path, make_image):
    return [make_image(tmp_path / f"photos/good{i}.png", seed=i) for i in range(6)]


@pytest.fixture
def mixed(tmp_path, good, make_image):
    """A folder of six good images and one that fails at each stage, between them."""
    folder = tmp_path / "photos"
    (folder / "good0_read.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "good1_decode.jpg").write_text("not\nfound")
    make_image(folder / "good2_preprocess.png", size=(300, 1))
    Image.new("RGB", (40, 30)).save(folder / "good3_embed.png")
    return folder


# --- rows and failures


def test_iter_embedded_rows_carry_digest_and_size(tmp_path, make_image, tiny):
    from hashlib import sha256

    image = make_image(tmp_path / "ants/1.png", size=(40, 30))
    rows, _, failures = run(read_manifest(tmp_path).entries, tiny)
    assert failures == []
    assert rows[0].label == "ants"
    assert rows[0].digest == sha256(image.read_bytes()).hexdigest()
    assert (rows[0].width, rows[0].height) == (40, 30)


def test_iter_embedded_failures_carry_their_stage_and_reason(mixed, tiny):
    _, _, failures = run(read_manifest(mixed).entries, tiny, batch_size=4)
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


def test_iter_embedded_good_rows_keep_their_order_and_values(mixed, good, tiny):
    rows, vectors, _ = run(read_manifest(mixed).entries, tiny, batch_size=4)
    assert [row.id for row in rows] == [path.name for path in good]
    expected = [shrink(Image.open(path)).mean((1, 2)).numpy() for path in good]
    np.testing.assert_allclose(vectors, expected, rtol=1e-5)


def test_iter_embedded_only_failures_give_no_vectors(tmp_path, tiny):
    (tmp_path / "1.jpg").write_text("no image")
    options = RunOptions(device="cpu")
    entries = read_manifest(tmp_path).entries
    (batch,) = iter_embedded(entries, tiny, options.build_engine(tiny), options)
    assert batch.rows == ()
    assert batch.vectors == {}
    assert [failure.stage for failure in batch.failures] == ["decode"]


def test_iter_embedded_of_nothing_gives_nothing(tiny):
    options = RunOptions(device="cpu")
    assert list(iter_embedded([], tiny, options.build_engine(tiny), options)) == []


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
    backbone = load_own("embedding-shapes", keep_size)
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


def test_iter_embedded_row_that_is_not_finite_leaves_its_neighbours_bytes(mixed, good, tiny):
    _, with_bad, failures = run(read_manifest(mixed).entries, tiny, batch_size=4)
    assert "embed" in [failure.stage for failure in failures]
    _, alone, _ = run(list_entries(good), tiny, batch_size=4)
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


# --- embed


def test_embed_keeps_order_and_repeats(good, tiny):
    order = [3, 0, 3, 5]
    once = featx.embed(good, backbone=tiny, device="cpu", batch_size=2)
    again = featx.embed([good[i] for i in order], backbone=tiny, device="cpu", batch_size=2)
    assert (again.dtype, again.shape) == (np.float32, (4, 3))
    assert again.tobytes() == once[order].tobytes()


@pytest.mark.parametrize(
    "convert",
    [
        lambda paths: [str(path) for path in paths],
        lambda paths: paths[0].parent,
        lambda paths: [Image.open(path) for path in paths],
        lambda paths: [np.asarray(Image.open(path)) for path in paths],
        lambda paths: np.stack([np.asarray(Image.open(path)) for path in paths]),
        lambda paths: (Image.open(path) for path in paths),
        lambda paths: [paths[0], Image.open(paths[1]), *paths[2:]],
    ],
    ids=["text", "folder", "Pillow", "arrays", "batch", "generator", "mixed"],
)
def test_embed_takes_what_a_notebook_holds(good, tiny, convert):
    expected = featx.embed(good, backbone=tiny, device="cpu")
    assert featx.embed(convert(good), backbone=tiny, device="cpu").tobytes() == expected.tobytes()


def test_embed_single_image_gives_one_row(good, tiny):
    for image in (good[0], Image.open(good[0]), np.asarray(Image.open(good[0]))):
        assert featx.embed(image, backbone=tiny, device="cpu").shape == (1, 3)


def test_embed_gray_array_equals_its_three_channels(tiny):
    gray = np.random.default_rng(0).integers(1, 256, (9, 9), dtype=np.uint8)
    colour = np.repeat(gray[:, :, None], 3, axis=2)
    got = featx.embed([gray, colour], backbone=tiny, device="cpu")
    assert got[0].tobytes() == got[1].tobytes()


def test_embed_of_nothing_is_empty(tiny):
    got = featx.embed([], backbone=tiny, device="cpu")
    assert (got.dtype, got.shape) == (np.float32, (0, 3))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("good0_read.jpg", "No such file"),
        ("good1_decode.jpg", "not an image"),
        ("good2_preprocess.png", "too wide"),
        ("good3_embed.png", "not finite"),
    ],
)
def test_embed_bad_image_is_named(mixed, good, tiny, name, reason):
    for path in mixed.glob("good?_*"):
        if path.name != name:
            path.unlink()
    with pytest.raises(
        DecodeError, match=rf"{name}: expected an image, got .*{reason}.*Leave it out"
    ):
        featx.embed(mixed, backbone=tiny, device="cpu")


def test_embed_bad_array_is_named_by_its_number(tiny):
    images = [np.ones((9, 9, 3), np.uint8), np.ones((9, 9, 3), np.float32)]
    with pytest.raises(DecodeError, match=r"^image 1: expected an image, got expected an array of"):
        featx.embed(images, backbone=tiny, device="cpu")


def test_embed_by_name_equals_the_loaded_backbone(good, squeezenet):
    by_name = featx.embed(good[:2], backbone="squeezenet1_1", weights="random:0", device="cpu")
    loaded = featx.embed(good[:2], backbone=squeezenet, device="cpu")
    assert by_name.tobytes() == loaded.tobytes()


# --- options and fingerprint


@pytest.mark.parametrize("name", ["batch_size", "workers"])
@pytest.mark.parametrize("value", [0, -1])
def test_run_options_below_one_is_refused(name, value):
    with pytest.raises(FeatxError, match=f"^{name}: expected at least 1, got {value}"):
        RunOptions(**{name: value})


def test_build_fingerprint_names_backbone_layer_and_rules(squeezenet):
    fingerprint = build_fingerprint(squeezenet, "penultimate", precision="fp32")
    assert fingerprint.backbone == "squeezenet1_1"
    assert fingerprint.weights_digest == squeezenet.weights_digest
    assert (fingerprint.layer, fingerprint.dim) == ("penultimate", 512)
    assert fingerprint.preprocess == squeezenet.preprocess.describe()
    assert "EXIF orientation" in fingerprint.decoder


@pytest.mark.parametrize("option", [{"weights": "random:1"}, {"layer": "features.3"}])
def test_embed_loaded_backbone_with_options_is_refused(good, squeezenet, option):
    with pytest.raises(BackboneError, match=r"beside a loaded backbone, got some"):
        featx.embed(good, backbone=squeezenet, **option)


def test_embed_several_layers_is_refused(good):
    backbone = featx.load_backbone(
        "squeezenet1_1", weights="random:0", layers=["penultimate", "features.3"]
    )
    with pytest.raises(BackboneError, match=r"expected one layer to embed"):
        featx.embed(good, backbone=backbone)
