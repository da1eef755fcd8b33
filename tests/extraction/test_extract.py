"""From images to a cache."""

import json
import tarfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from featx.backbones.load import load_backbone
from featx.cache.joined import open_cache
from featx.core.errors import (
    BackboneError,
    CacheError,
    DeviceError,
    FeatxError,
    FingerprintError,
    SourceError,
)
from featx.core.row_tables import list_rows
from featx.engines.choose import choose_engine
from featx.extraction.extract import extract
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head
from featx.images.manifest import Manifest
from featx.images.sources.read import read_manifest

# What a run notes beside its result is the subject of test_notes.py.
pytestmark = pytest.mark.filterwarnings("ignore::featx.FeatxWarning")


@pytest.fixture
def run(tiny_backbone: str, tmp_path: Path) -> Any:
    """Extract with the tiny backbone; return the report and the output."""

    def run(source: Any, name: str = "out.h5", **options: Any) -> Any:
        options = {"backbone": tiny_backbone, "batch_size": 4, "progress": False, **options}
        return extract(source, tmp_path / name, **options)

    return run


def read_by_id(path: Path, name: str | None = None) -> Any:
    with open_cache(path) as cache:
        return dict(zip(cache.ids.tolist(), cache.read_vectors(name), strict=True))


def spoil(photos: Path) -> Any:
    """Put files that cannot be decoded between the others; return their ids."""
    (photos / "train/ants/0b.jpg").write_bytes(b"no image")
    (photos / "train/bees/1b.png").write_bytes(b"")
    (photos / "val/ants/0b.jpeg").write_bytes((photos / "val/ants/0.jpg").read_bytes()[:200])
    (photos / "val/bees/zz.jpg").symlink_to(photos / "nowhere.jpg")
    return ["train/ants/0b.jpg", "train/bees/1b.png", "val/ants/0b.jpeg", "val/bees/zz.jpg"]


def test_extract_folder_has_its_rows_labels_and_splits(photos: Path, photos_cache: Path) -> None:
    with open_cache(photos_cache) as cache:
        assert cache.ids.tolist() == sorted(
            path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg")
        )
        parts = [row_id.split("/") for row_id in cache.ids]
        assert cache.splits.tolist() == [split for split, _, _ in parts]
        assert cache.labels.tolist() == [label for _, label, _ in parts]
        assert cache.paths.tolist() == [str(photos / row_id) for row_id in cache.ids]
        assert cache.sizes.tolist() == [[48, 36]] * 12
        assert cache.failures == ()
        assert cache.source == str(photos)
        digest = sha256((photos / cache.ids[0]).read_bytes()).hexdigest()
        assert cache.digests[0] == digest


def test_extract_reports_what_it_did(
    run: Any, photos: Path, tiny_backbone: str, tmp_path: Path
) -> None:
    (photos / "notes.txt").write_text("ignored")
    bad = spoil(photos)
    report = run(photos, max_failures=len(bad))
    assert report.path == tmp_path / "out.h5"
    assert (report.n_rows, report.n_failures, report.n_ignored) == (12, len(bad), 1)
    assert report.dims == {tiny_backbone: 8}
    assert report.elapsed_s > 0


def test_extract_vectors_are_what_the_network_gives(
    photos: Path, photos_cache: Path, tiny_backbone: str
) -> None:
    import torch
    from PIL import Image

    backbone = load_backbone(tiny_backbone)
    vectors = read_by_id(photos_cache)
    for row_id, vector in vectors.items():
        with Image.open(photos / row_id) as image:
            pixels = torch.from_numpy(backbone.preprocess.prepare(image))
        with torch.inference_mode():
            expected = backbone.module(pixels[None])[0][0].numpy()
        np.testing.assert_allclose(vector, expected, atol=1e-5)
    assert len({vector.tobytes() for vector in vectors.values()}) == 12


def test_extract_records_failures_with_stage_and_reason(run: Any, photos: Path) -> None:
    bad = spoil(photos)
    report = run(photos, max_failures=len(bad))
    with open_cache(report.path) as cache:
        failures = {failure.id: failure for failure in cache.failures}
        assert not set(cache.ids) & set(bad)
    assert sorted(failures) == bad
    assert failures[bad[0]].stage == "decode"
    assert "expected an image in a format that featx reads" in failures[bad[0]].reason
    assert failures[bad[0]].digest == sha256(b"no image").hexdigest()
    assert failures[bad[1]].reason.startswith("expected an image, got an empty file. Copy")
    assert failures[bad[2]].stage == "decode"
    assert failures[bad[3]].stage == "read"
    assert failures[bad[3]].digest == ""
    for failure in failures.values():
        assert failure.path == str(photos / failure.id)
        assert len(failure.reason.splitlines()) == 1


def test_extract_bad_files_leave_their_neighbours_identical(
    run: Any, photos: Path, photos_cache: Path
) -> None:
    report = run(photos, max_failures=len(spoil(photos)))
    clean, spoilt = read_by_id(photos_cache), read_by_id(report.path)
    assert list(clean) == list(spoilt)
    for row_id, vector in clean.items():
        assert vector.tobytes() == spoilt[row_id].tobytes()


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 7}, {"batch_size": 12}])
def test_extract_rows_and_values_do_not_depend_on_how_it_runs(
    run: Any, photos: Path, photos_cache: Path, options: Any
) -> None:
    first, second = read_by_id(photos_cache), read_by_id(run(photos, **options).path)
    assert list(first) == list(second)
    np.testing.assert_allclose(list(first.values()), list(second.values()), atol=1e-5)


def test_extract_of_files_that_all_fail_is_an_error_whatever_is_allowed(
    run: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"no image")
    with pytest.raises(
        SourceError,
        match=r"got failures in 2 of 2 images, such as .*jpg: expected an image in a format ",
    ):
        run(folder, max_failures="100%")
    names = ["out.h5.failures.csv", "out.h5.partial", "photos"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize(
    ("factor", "dtype", "reason"),
    [(np.inf, None, "not finite"), (1e7, "float16", "not finite in float16")],
)
def test_extract_not_finite_output_is_a_failure(
    photos: Path, run: Any, factor: Any, dtype: Any, reason: Any
) -> None:
    import torch
    from torch import nn
    from torchvision import transforms

    from featx.backbones.custom import register_backbone

    class Fragile(nn.Module):
        def forward(self, x: Any) -> Any:
            # Bees are blue: their rows become infinite, and only theirs.
            x = x.mean((2, 3))
            return torch.where(x[:, 2:] > x[:, :1], x * factor, x)

    transform = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])
    backbone = f"tests-fragile-{dtype}"
    register_backbone(backbone, Fragile(), transform=transform)
    report = run(photos, backbone=backbone, max_failures="50%", dtype=dtype)
    with open_cache(report.path) as cache:
        assert set(cache.labels) == {"ants"}
        assert {failure.stage for failure in cache.failures} == {"embed"}
        assert {failure.reason for failure in cache.failures} == {
            f"the network's output is {reason}"
        }
    assert (report.n_rows, report.n_failures) == (6, 6)


def test_extract_float16_rounds_the_same_vectors(
    run: Any, photos: Path, photos_cache: Path
) -> None:
    path = run(photos, dtype="float16").path
    with open_cache(path) as half, open_cache(photos_cache) as full:
        assert half.read_vectors().dtype == np.float16
        np.testing.assert_array_equal(half.read_vectors(), full.read_vectors().astype(np.float16))
        assert half.get_info().fingerprint == full.get_info().fingerprint


def test_extract_several_layers_are_several_embeddings(
    run: Any, photos: Path, photos_cache: Path, tiny_backbone: str
) -> None:
    report = run(photos, layers=["penultimate", "conv"])
    assert report.dims == {tiny_backbone: 8, f"{tiny_backbone}@conv": 4}
    single = read_by_id(run(photos, "conv.h5", layers=["conv"]).path)
    for name, expected in (
        (tiny_backbone, read_by_id(photos_cache)),
        (f"{tiny_backbone}@conv", single),
    ):
        found = read_by_id(report.path, name)
        np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=1e-5)
    with open_cache(report.path) as cache, open_cache(photos_cache) as alone:
        infos = {name: cache.get_info(name).fingerprint for name in cache.embeddings}
        assert infos[tiny_backbone] == alone.get_info().fingerprint
        assert infos[f"{tiny_backbone}@conv"].layer == "conv"


def test_extract_fingerprint_says_what_was_run(photos_cache: Path, tiny_backbone: str) -> None:
    backbone = load_backbone(tiny_backbone)
    with open_cache(photos_cache) as cache:
        found = cache.get_info().fingerprint
    assert found.backbone == tiny_backbone
    assert found.weights_digest == backbone.weights_digest
    assert found.layer == "penultimate"
    assert "CenterCrop" in found.preprocess["transform"]
    assert found.decoder == "pillow-exact/1"
    assert (found.precision, found.dim) == ("fp32", 8)


def test_extract_provenance_says_who_when_and_how(photos: Path, photos_cache: Path) -> None:
    with h5py.File(photos_cache) as file:
        provenance = json.loads(file["embeddings/tests-tiny"].attrs["provenance"])
    assert set(provenance) >= {
        "engine", "device", "origin", "source", "time", "host", "versions",
    }  # fmt: skip
    assert (provenance["engine"], provenance["device"]) == choose_engine()
    assert (provenance["batch_size"], provenance["n_embedded"]) == (4, 12)
    assert provenance["origin"] == {"weights": "DEFAULT", "preprocess_from": None, "size": None}
    assert provenance["source"] == str(photos)
    assert set(provenance["versions"]) >= {"featx", "torch", "pillow", provenance["engine"]}


# --- a size of one's own


def test_extract_size_is_run_and_recorded(run: Any, photos: Path) -> None:
    import torch
    from PIL import Image

    report = run(photos / "val", backbone="mini", size=40)
    backbone = load_backbone("mini", size=40)
    with open_cache(report.path) as cache:
        info = cache.get_info()
        assert info.provenance.origin.size == 40
        assert info.fingerprint.preprocess == backbone.preprocess.identify()
    for row_id, vector in read_by_id(report.path).items():
        with Image.open(photos / "val" / row_id) as image:
            pixels = torch.from_numpy(backbone.preprocess.prepare(image).copy())
        with torch.inference_mode():
            expected = backbone.module(backbone.preprocess.normalise(pixels[None]))[0][0].numpy()
        np.testing.assert_allclose(vector, expected, atol=1e-4)


def test_extract_without_a_size_records_none(photos_cache: Path) -> None:
    with open_cache(photos_cache) as cache:
        assert cache.get_info().provenance.origin.size is None


def test_extract_another_size_goes_beside_under_another_name_only(run: Any, photos: Path) -> None:
    folder = photos / "val/ants"
    path = run(folder, backbone="lenet5").path
    with pytest.raises(FingerprintError, match=r"expected .*resize 32.*got .*resize 33"):
        run(folder, backbone="lenet5", size=33)
    extract(folder, path, backbone="lenet5", size=33, embedding="lenet5-33", progress=False)
    with open_cache(path) as cache:
        sizes = {name: cache.get_info(name).provenance.origin.size for name in cache.embeddings}
        assert sizes == {"lenet5": None, "lenet5-33": 33}


@pytest.mark.parametrize("size", [0, 5000])
def test_extract_size_out_of_bounds_is_refused(run: Any, photos: Path, size: Any) -> None:
    with pytest.raises(BackboneError, match=rf"size: expected 1 to 4096 pixels, got {size}\."):
        run(photos, backbone="lenet5", size=size)


def test_extract_size_beside_a_loaded_backbone_is_refused(run: Any, photos: Path) -> None:
    backbone = load_backbone("lenet5")
    with pytest.raises(BackboneError, match=r"expected no weights, layers, preprocess or size be"):
        run(photos, backbone=backbone, size=33)


# --- rows chosen by the caller


def choose(photos: Path, *labels: Any) -> Any:
    """Take the rows of some labels from the manifest of a folder."""
    manifest = read_manifest(photos)
    return Manifest(
        source=manifest.source,
        entries=tuple(entry for entry in manifest.entries if entry.row.label in labels),
    )


def test_extract_manifest_has_its_rows_alone(run: Any, photos: Path, photos_cache: Path) -> None:
    report = run(choose(photos, "bees"))
    assert report.n_rows == 6
    whole, chosen = read_by_id(photos_cache), read_by_id(report.path)
    assert list(chosen) == [row_id for row_id in whole if "/bees/" in row_id]
    for row_id, vector in chosen.items():
        np.testing.assert_allclose(vector, whole[row_id], atol=1e-5)
    with open_cache(report.path) as cache:
        assert cache.source == str(photos)
        assert cache.get_info().provenance.source == str(photos)
        assert set(cache.labels) == {"bees"}
        assert cache.splits.tolist() == ["train"] * 4 + ["val"] * 2


def test_extract_manifest_of_a_whole_folder_equals_the_folder(
    run: Any, photos: Path, photos_cache: Path
) -> None:
    report = run(read_manifest(photos))
    with open_cache(report.path) as manifest, open_cache(photos_cache) as folder:
        # The time of a file just written is not yet kept.
        found, expected = (
            [replace(row, n_bytes=-1, mtime_ns=-1) for row in list_rows(cache.read_rows())]
            for cache in (manifest, folder)
        )
        assert found == expected
        assert manifest.read_vectors().tobytes() == folder.read_vectors().tobytes()


def test_extract_manifest_with_more_rows_embeds_these_alone(run: Any, photos: Path) -> None:
    run(choose(photos, "bees"))
    report = run(choose(photos, "ants", "bees"))
    assert (report.n_embedded, report.n_rows) == (6, 12)


def test_extract_manifest_with_fewer_rows_drops_the_others_where_pruned(
    run: Any, photos: Path
) -> None:
    run(choose(photos, "ants", "bees"))
    assert run(choose(photos, "bees")).n_rows == 12
    report = run(choose(photos, "bees"), prune=True)
    assert (report.n_embedded, report.n_rows) == (0, 6)


def test_extract_manifest_without_rows_is_refused(
    run: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_loading(monkeypatch)
    with pytest.raises(SourceError, match=r"photos: expected at least one row, got none\."):
        run(choose(photos))
    assert not (tmp_path / "out.h5").exists()


def refuse_work(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("work was begun")


def refuse_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.embedding.identity.load_backbone", refuse_work)


def test_extract_over_what_is_no_cache_is_refused_before_any_work(
    run: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes.h5"
    notes.write_text("not to be lost")
    refuse_loading(monkeypatch)
    with pytest.raises(CacheError, match=r"notes\.h5: expected a sealed cache"):
        run(photos, notes.name)
    assert notes.read_text() == "not to be lost"


def test_extract_unknown_dtype_is_refused_before_any_work(
    run: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_loading(monkeypatch)
    with pytest.raises(CacheError, match=r"dtype: expected float32 or float16, got 'float8'"):
        run(photos, dtype="float8")


def test_extract_unknown_device_is_refused_before_any_work(
    run: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_loading(monkeypatch)
    with pytest.raises(DeviceError, match=r"device: expected auto, cpu, .* got 'gpu'"):
        run(photos, device="gpu")


@pytest.mark.parametrize("option", ["batch_size", "workers"])
def test_extract_without_rows_at_a_time_or_workers_is_refused(
    run: Any, photos: Path, option: Any
) -> None:
    with pytest.raises(FeatxError, match=rf"^{option}: expected .* at least 1, got 0"):
        run(photos, **{option: 0})


def test_extract_overwrite_replaces_the_cache(run: Any, photos: Path, photos_cache: Path) -> None:
    (photos / "val/ants/0.jpg").unlink()
    run(photos, photos_cache.name, overwrite=True)
    with open_cache(photos_cache) as cache:
        assert len(cache) == 11


def test_extract_overwrite_that_fails_keeps_the_old_cache(
    run: Any, photos_cache: Path, tmp_path: Path
) -> None:
    before = photos_cache.read_bytes()
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match=r"empty file"):
        run(folder, photos_cache.name, overwrite=True)
    assert photos_cache.read_bytes() == before


def test_extract_tar_equals_folder(
    run: Any, photos: Path, photos_cache: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(photos, "photos")
    report = run(tmp_path / "photos.tar")
    with open_cache(report.path) as tar, open_cache(photos_cache) as folder:
        for name in ("labels", "splits", "digests", "sizes"):
            found = dict(zip(tar.digests, getattr(tar, name).tolist(), strict=True))
            expected = dict(zip(folder.digests, getattr(folder, name).tolist(), strict=True))
            assert found == expected
        vectors = dict(zip(tar.digests, tar.read_vectors(), strict=True))
        for digest, vector in zip(folder.digests, folder.read_vectors(), strict=True):
            np.testing.assert_allclose(vectors[digest], vector, atol=1e-6)


def test_extract_table_has_its_columns(run: Any, photos: Path, tmp_path: Path) -> None:
    table = photos / "photos.csv"
    lines = ["path,label,split,group", "val/ants/0.jpg,A,test,g1", "val/bees/0.jpg,B,,g2"]
    table.write_text("\n".join(lines))
    with open_cache(run(table).path) as cache:
        assert cache.labels.tolist() == ["A", "B"]
        assert cache.splits.tolist() == ["test", ""]
        assert cache.groups.tolist() == ["g1", "g2"]


def test_extract_with_loaded_backbone_equals_by_name(
    run: Any, photos: Path, photos_cache: Path, tiny_backbone: str
) -> None:
    loaded = load_backbone(tiny_backbone)
    found = read_by_id(run(photos, backbone=loaded).path)
    expected = read_by_id(photos_cache)
    assert {k: v.tobytes() for k, v in found.items()} == {
        k: v.tobytes() for k, v in expected.items()
    }


def test_extract_unknown_backbone_shows_nearest(run: Any, photos: Path) -> None:
    with pytest.raises(BackboneError, match=r"got 'resnet51'.*Nearest: resnet50"):
        run(photos, backbone="resnet51")


def test_extract_torchvision_backbone_with_random_weights_is_repeatable(
    run: Any, photos: Path
) -> None:
    options = {"backbone": "shufflenet_v2_x0_5", "weights": "random:3", "batch_size": 2}
    first = run(photos / "val/ants", "a.h5", **options)
    second = run(photos / "val/ants", "b.h5", **options)
    assert first.dims == {"shufflenet_v2_x0_5": 1024}
    vectors = [np.array(list(read_by_id(report.path).values())) for report in (first, second)]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert vectors[0].any()


@pytest.mark.gpu
def test_extract_on_cuda_is_close_to_the_cpu(run: Any, photos: Path, photos_cache: Path) -> None:
    report = run(photos, device="cuda")
    found, expected = read_by_id(report.path), read_by_id(photos_cache)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=1e-4)
    with open_cache(report.path) as cuda, open_cache(photos_cache) as cpu:
        assert cuda.get_info().fingerprint == cpu.get_info().fingerprint
        assert cuda.get_info().provenance.device.startswith("cuda")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("backbone", "file", "least"),
    [
        ("mobilenet_v2", "mobilenet_v2-imagenet-backbone.pth", 0.948),
        ("squeezenet1_1", "squeezenet1_1-imagenet.pth", 0.92),
    ],
)
def test_extract_real_photos_reach_the_known_accuracy(
    run: Any, shared: Path, backbone: Any, file: Any, least: Any
) -> None:
    report = run(
        shared / "data/hymenoptera_data",
        backbone=backbone,
        weights=str(shared / "weights" / file),
        batch_size=32,
    )
    assert report.n_rows == 398  # 397 photos and a stray GIF
    scores = evaluate(fit_head(report.path), report.path)
    assert scores.n_rows == 153
    assert scores.accuracy >= least
    assert scores.n_seen == 0


def test_extract_over_its_own_source_is_refused(tmp_path: Path, photos: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text(f"path\n{next(photos.rglob('*.jpg'))}\n")
    before = table.read_bytes()
    with pytest.raises(CacheError, match=r"expected a file of its own, got the source"):
        extract(table, table, backbone="tests-tiny", overwrite=True)
    assert table.read_bytes() == before


@pytest.mark.parametrize("name", ["x/y", ".", "", "..", "a b"])
def test_extract_name_that_hdf5_would_take_for_a_path_is_refused(
    photos: Path, photos_cache: Path, run: Any, name: str
) -> None:
    before = photos_cache.read_bytes()
    with pytest.raises(CacheError, match=r"expected letters, digits and \. \+ - _ @, got"):
        extract(photos, photos_cache, backbone="tests-tiny", embedding=name, progress=False)
    assert photos_cache.read_bytes() == before
