"""A source extracted again: what is done anew, what is kept, what goes on, what is refused."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from featx.cache.check import verify_cache
from featx.cache.lock import CacheLock, LockOwner
from featx.cache.reader import open_cache
from featx.cache.shards import Shards
from featx.core.errors import (
    CacheError,
    CacheLockedError,
    FeatxError,
    FingerprintError,
    TooManyFailuresError,
)
from featx.extraction.checks import count_allowed
from featx.extraction.extract import extract
from featx.fitting.fit import evaluate, fit_head, split_cache
from featx.images.content import Content
from featx.prediction.predict import predict

COLOURS = {"ants": (200, 60, 40), "bees": (40, 90, 210)}
CLOCK = itertools.count(10**9)
"""Times of last change to give: each later than the one before, all long ago."""


def age(path):
    """Make a file's last change an old one: one that changed just now is read again, by design."""
    seconds = next(CLOCK)
    os.utime(path, (seconds, seconds))
    return path


@pytest.fixture
def put(make_image):
    """Write a small image that was last changed long ago; a factory."""

    def put(path, seed, **options):
        return age(make_image(path, (24, 20), seed, **options))

    return put


@pytest.fixture
def folder(tmp_path, put):
    """ants/0.png to 3, bees/4.png to 7, told apart by colour."""
    for seed in range(8):
        label = ("ants", "bees")[seed // 4]
        put(tmp_path / "photos" / label / f"{seed}.png", seed, colour=COLOURS[label])
    return tmp_path / "photos"


@pytest.fixture
def run(tiny_backbone, tmp_path):
    """Extract with the tiny backbone, two images at a time: `folder` is four batches."""

    def run(source, output="out.h5", **options):
        options = {"backbone": tiny_backbone, "batch_size": 2, "progress": False} | options
        return extract(source, tmp_path / output, **options)

    return run


@pytest.fixture
def extracted(run, folder):
    """The cache of `folder`."""
    return run(folder).path


@pytest.fixture(scope="session")
def other_backbone():
    """Name of a second registered network, dim 5."""
    import torch
    from torch import nn
    from torchvision import transforms

    from featx.backbones.load import register_backbone

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Conv2d(3, 5, 7, stride=8)
    transform = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    register_backbone("increments-other", network, transform=transform)
    return "increments-other"


@pytest.fixture(scope="session")
def fragile_backbone():
    """Name of a network whose output is infinite for blue images, the bees; dim 3."""
    import torch
    from torch import nn
    from torchvision import transforms

    from featx.backbones.load import register_backbone

    class Fragile(nn.Module):
        def forward(self, batch):
            mean = batch.mean((2, 3))
            return torch.where(mean[:, 2:] > mean[:, :1], mean / 0, mean)

    transform = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])
    register_backbone("increments-fragile", Fragile(), transform=transform)
    return "increments-fragile"


@pytest.fixture
def stop(watch_batches):
    """Let the network raise an error once, after so many batches; a factory."""
    with ExitStack() as stack:

        def stop(error, *, after):
            def act(number):
                if number == after:
                    raise error

            stack.enter_context(watch_batches(act))

        yield stop


@pytest.fixture
def decoded(monkeypatch):
    """The contents that are decoded from here on, as a list."""
    from featx.images.decode import decode_reduced

    seen = []

    def decode(data, min_side):
        seen.append(data)
        return decode_reduced(data, min_side)

    monkeypatch.setattr("featx.embedding.loop.decode_reduced", decode)
    return seen


def read_all(path):
    """Return everything in a cache but who made it."""
    with open_cache(path) as cache:
        present = {name: cache.read_present(name) for name in cache.embeddings}
        return {
            "rows": cache.rows,
            "failures": cache.failures,
            "source": cache.source,
            "present": {name: mask.tolist() for name, mask in present.items()},
            "vectors": {
                name: cache.read_vectors(name, mask).tobytes() for name, mask in present.items()
            },
        }


def read_by_id(path, name=None):
    with open_cache(path) as cache:
        name = cache.get_info(name).name
        rows = cache.select_rows(embedding=name)
        vectors = cache.read_vectors(name, rows)
        return {i: v.tobytes() for i, v in zip(cache.ids[rows].tolist(), vectors, strict=True)}


@pytest.fixture
def check_fresh(run):
    """Compare a cache with a new one of its source, to the last byte."""

    def check(report, source, **options):
        fresh = run(source, "fresh.h5", overwrite=True, **options)
        assert read_all(report.path) == read_all(fresh.path)

    return check


def count(report):
    return report.n_embedded, report.n_removed, report.is_changed


# --- what is as it was


def test_extract_first_run_embeds_every_image(run, folder):
    report = run(folder)
    assert count(report) == (8, 0, True)
    assert (report.n_rows, report.n_resumed, report.taken_from) == (8, 0, None)


def test_extract_again_embeds_nothing_and_leaves_the_file(run, folder, extracted):
    before = extracted.read_bytes(), extracted.stat().st_ino
    report = run(folder)
    assert count(report) == (0, 0, False)
    assert (report.n_rows, report.n_failures) == (8, 0)
    assert (extracted.read_bytes(), extracted.stat().st_ino) == before
    assert sorted(path.name for path in extracted.parent.iterdir()) == ["out.h5", "photos"]


def test_extract_again_reads_no_file(run, folder, extracted, monkeypatch):
    read = []
    monkeypatch.setattr(Content, "read", lambda self, size=None: read.append(self) or b"")
    assert count(run(folder)) == (0, 0, False)
    assert read == []


def test_extract_file_changed_just_now_is_read_again_but_not_embedded(
    run, folder, extracted, make_image, decoded
):
    make_image(folder / "ants/new.png", seed=9)
    assert run(folder).n_embedded == 1
    assert len(decoded) == 1
    assert run(folder).n_embedded == 0
    assert len(decoded) == 1


def test_extract_touched_file_is_read_once_and_not_embedded(
    run, folder, extracted, check_fresh, decoded
):
    age(folder / "ants/0.png")
    report = run(folder)
    assert count(report) == (0, 0, True)
    assert decoded == []
    check_fresh(report, folder)
    assert count(run(folder)) == (0, 0, False)


@pytest.fixture
def forged(run, folder, make_image):
    """A bitmap whose pixels changed, but neither its size nor its time of last change."""
    path = age(make_image(folder / "ants/8.bmp", (24, 20), 8))
    run(folder)
    before = path.stat()
    make_image(path, (24, 20), 9)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    return path


def test_extract_edit_that_keeps_size_and_time_goes_unseen(run, folder, forged):
    assert count(run(folder)) == (0, 0, False)


def test_extract_rehash_sees_an_edit_that_keeps_size_and_time(run, folder, forged, check_fresh):
    report = run(folder, rehash=True)
    assert count(report) == (1, 0, True)
    check_fresh(report, folder)


def test_extract_rehash_reads_all_and_embeds_nothing(run, folder, extracted, monkeypatch, decoded):
    read = []
    original = Content.read_whole

    def read_whole(self):
        read.append(Path(self.file).name)
        return original(self)

    monkeypatch.setattr(Content, "read_whole", read_whole)
    assert count(run(folder, rehash=True)) == (0, 0, False)
    assert sorted(read) == [f"{number}.png" for number in range(8)]
    assert decoded == []


# --- what is new, changed or gone


def test_extract_new_files_alone_are_embedded(run, folder, extracted, put, check_fresh):
    put(folder / "ants/00.png", 8)
    put(folder / "wasps/0.png", 9)
    report = run(folder)
    assert count(report) == (2, 0, True)
    check_fresh(report, folder)


def test_extract_edited_file_alone_is_embedded(run, folder, extracted, put, check_fresh):
    put(folder / "ants/2.png", 9)
    report = run(folder)
    assert count(report) == (1, 0, True)
    check_fresh(report, folder)


def test_extract_renamed_file_costs_nothing(run, folder, extracted, check_fresh, decoded):
    (folder / "ants/2.png").rename(folder / "ants/x.png")
    report = run(folder)
    assert count(report) == (0, 0, True)
    assert decoded == []
    check_fresh(report, folder)


def test_extract_file_moved_to_another_class_has_its_label(run, folder, extracted, check_fresh):
    before = read_by_id(extracted)
    (folder / "ants/0.png").rename(folder / "bees/0.png")
    report = run(folder)
    assert count(report) == (0, 0, True)
    check_fresh(report, folder)
    with open_cache(extracted) as cache:
        assert cache.labels[cache.ids == "bees/0.png"].tolist() == ["bees"]
    assert read_by_id(extracted)["bees/0.png"] == before["ants/0.png"]


def test_extract_contents_swapped_swap_their_vectors(run, folder, extracted, check_fresh):
    before = read_by_id(extracted)
    one, other = folder / "ants/0.png", folder / "bees/4.png"
    data = one.read_bytes(), other.read_bytes()
    one.write_bytes(data[1])
    other.write_bytes(data[0])
    age(one)
    age(other)
    report = run(folder)
    assert count(report) == (0, 0, True)
    check_fresh(report, folder)
    after = read_by_id(extracted)
    assert after["ants/0.png"] == before["bees/4.png"]
    assert after["bees/4.png"] == before["ants/0.png"]


def test_extract_content_that_comes_twice_is_embedded_once(run, folder, decoded):
    for name in ("ants/copy.png", "bees/copy.png"):
        shutil.copy2(folder / "ants/0.png", folder / name)
    report = run(folder)
    assert (report.n_rows, report.n_embedded) == (10, 8)
    vectors = read_by_id(report.path)
    assert len(vectors) == 10
    assert vectors["ants/0.png"] == vectors["ants/copy.png"] == vectors["bees/copy.png"]
    with open_cache(report.path) as cache:
        assert cache.sizes.tolist() == [[24, 20]] * 10


def test_extract_copy_of_known_content_is_not_embedded(run, folder, extracted, check_fresh):
    shutil.copy2(folder / "ants/0.png", folder / "bees/copy.png")
    report = run(folder)
    assert count(report) == (0, 0, True)
    assert report.n_rows == 9
    check_fresh(report, folder)


def test_extract_removed_files_are_kept_last_and_counted(run, folder, extracted):
    before = read_by_id(extracted)
    (folder / "ants/1.png").unlink()
    (folder / "bees/4.png").unlink()
    report = run(folder)
    assert (report.n_rows, *count(report)) == (8, 0, 2, True)
    assert list(read_by_id(extracted))[-2:] == ["ants/1.png", "bees/4.png"]
    assert read_by_id(extracted) == before
    assert count(run(folder)) == (0, 2, False)


def test_extract_removed_files_stay_behind_those_that_are_there(run, folder, extracted, put):
    (folder / "ants/1.png").unlink()
    put(folder / "wasps/0.png", 9)
    assert count(run(folder)) == (1, 1, True)
    with open_cache(extracted) as cache:
        assert cache.ids.tolist()[-2:] == ["wasps/0.png", "ants/1.png"]


def test_extract_prune_drops_removed_files(run, folder, extracted, check_fresh):
    (folder / "ants/1.png").unlink()
    run(folder)
    report = run(folder, prune=True)
    assert (report.n_rows, *count(report)) == (7, 0, 1, True)
    check_fresh(report, folder)
    assert count(run(folder, prune=True)) == (0, 0, False)


def test_extract_removed_file_that_comes_back_costs_nothing(
    run, folder, extracted, check_fresh, tmp_path
):
    (folder / "ants/1.png").rename(tmp_path / "aside.png")
    assert run(folder).n_removed == 1
    (tmp_path / "aside.png").rename(folder / "ants/1.png")
    report = run(folder)
    assert (report.n_embedded, report.n_removed) == (0, 0)
    check_fresh(report, folder)


def test_extract_file_moved_onto_another_has_its_vector(run, folder, extracted, check_fresh):
    before = read_by_id(extracted)
    (folder / "ants/0.png").replace(folder / "ants/1.png")
    report = run(folder, prune=True)
    assert count(report) == (0, 1, True)
    check_fresh(report, folder)
    assert read_by_id(extracted)["ants/1.png"] == before["ants/0.png"]


def test_extract_several_changes_at_once_equal_a_new_cache(
    run, folder, extracted, put, check_fresh
):
    put(folder / "ants/2.png", 20)
    put(folder / "bees/9.png", 21)
    (folder / "bees/5.png").rename(folder / "ants/5.png")
    shutil.copy2(folder / "ants/0.png", folder / "bees/0.png")
    (folder / "ants/3.png").unlink()
    report = run(folder, prune=True)
    assert count(report) == (2, 1, True)
    check_fresh(report, folder)


def pack(folder, tar):
    with tarfile.open(tar, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.add(path, path.relative_to(folder))
    return age(tar)


def test_extract_tar_that_has_grown_embeds_its_new_members(
    run, folder, tmp_path, put, check_fresh, decoded
):
    tar = pack(folder, tmp_path / "photos.tar")
    run(tar)
    assert count(run(tar)) == (0, 0, False)
    put(folder / "ants/00.png", 8)
    report = run(pack(folder, tar))
    assert count(report) == (1, 0, True)
    assert len(decoded) == 9
    check_fresh(report, tar)


def test_extract_one_of_two_tars_that_has_grown_embeds_its_new_members(run, folder, tmp_path, put):
    tars = [pack(folder / label, tmp_path / f"{label}.tar") for label in ("ants", "bees")]
    assert run(tars).n_embedded == 8
    put(folder / "bees/00.png", 8)
    pack(folder / "bees", tars[1])
    assert count(run(tars)) == (1, 0, True)


def test_extract_table_whose_lines_changed_embeds_its_new_files(run, folder, put, check_fresh):
    table = folder / "photos.csv"
    table.write_text("path,label\nants/0.png,A\nbees/4.png,B\n")
    assert run(table).n_embedded == 2
    table.write_text("path,label,group\nants/0.png,C,g\nbees/4.png,B,\nbees/5.png,B,\n")
    report = run(table)
    assert count(report) == (1, 0, True)
    check_fresh(report, table)
    with open_cache(report.path) as cache:
        assert cache.labels.tolist() == ["C", "B", "B"]
        assert cache.groups.tolist() == ["g", "", ""]


def test_extract_source_at_another_place_costs_nothing(run, folder, extracted, tmp_path):
    moved = folder.rename(tmp_path / "moved")
    report = run(moved)
    assert count(report) == (0, 0, True)
    with open_cache(extracted) as cache:
        assert cache.paths[0] == str(moved / "ants/0.png")
        assert cache.source == str(moved)


def test_extract_another_source_is_refused(run, folder, extracted, put, tmp_path):
    before = extracted.read_bytes()
    put(tmp_path / "holiday/0.png", 9)
    with pytest.raises(
        CacheError, match=r"expected the source that it was made from, .*photos, got "
    ):
        run(tmp_path / "holiday")
    assert extracted.read_bytes() == before


def test_extract_another_source_with_overwrite_begins_anew(
    run, extracted, put, tmp_path, check_fresh
):
    put(tmp_path / "holiday/0.png", 9)
    report = run(tmp_path / "holiday", overwrite=True)
    assert (report.n_rows, *count(report)) == (1, 1, 0, True)
    check_fresh(report, tmp_path / "holiday")


def test_extract_overwrite_embeds_all_again(run, folder, extracted, other_backbone):
    run(folder, backbone=other_backbone)
    split_cache(extracted, val=0.25)
    report = run(folder, overwrite=True)
    assert count(report) == (8, 0, True)
    with open_cache(extracted) as cache:
        assert cache.embeddings == ("tests-tiny",)
        assert cache.list_splits() == []


def test_extract_through_a_link_updates_what_it_points_to(run, folder, extracted, put, tmp_path):
    (tmp_path / "link.h5").symlink_to(extracted)
    put(folder / "ants/8.png", 8)
    assert run(folder, "link.h5").n_embedded == 1
    assert (tmp_path / "link.h5").is_symlink()
    assert run(folder).is_changed is False


# --- several embeddings


def test_extract_layers_grow_together(run, folder, put, check_fresh):
    layers = ["penultimate", "conv"]
    run(folder, layers=layers)
    put(folder / "ants/8.png", 8)
    report = run(folder, layers=layers)
    assert count(report) == (1, 0, True)
    assert report.dims == {"tests-tiny": 8, "tests-tiny@conv": 4}
    check_fresh(report, folder, layers=layers)


def test_extract_layer_added_later_equals_both_at_once(run, folder, extracted, check_fresh):
    report = run(folder, layers=["penultimate", "conv"])
    assert count(report) == (8, 0, True)
    check_fresh(report, folder, layers=["penultimate", "conv"])


def test_extract_other_backbone_is_put_beside_the_first(run, folder, extracted, other_backbone):
    before = read_by_id(extracted)
    report = run(folder, backbone=other_backbone)
    assert count(report) == (8, 0, True)
    assert report.dims == {other_backbone: 5}
    assert read_by_id(extracted, "tests-tiny") == before
    alone = run(folder, "alone.h5", backbone=other_backbone)
    assert read_by_id(extracted, other_backbone) == read_by_id(alone.path)
    assert count(run(folder)) == count(run(folder, backbone=other_backbone)) == (0, 0, False)


@pytest.fixture
def uneven(run, folder, extracted, put, other_backbone):
    """Two embeddings of `folder`; of two files that came later the other one has none."""
    run(folder, backbone=other_backbone)
    put(folder / "ants/8.png", 8, colour=COLOURS["ants"])
    put(folder / "bees/9.png", 9, colour=COLOURS["bees"])
    assert run(folder).n_embedded == 2
    return extracted


NEW = ["ants/8.png", "bees/9.png"]


def test_extract_one_of_two_backbones_leaves_new_rows_out_of_the_other(uneven, other_backbone):
    with open_cache(uneven) as cache:
        assert cache.read_present("tests-tiny").all()
        assert cache.ids[~cache.read_present(other_backbone)].tolist() == NEW
        assert cache.failures == ()
        with pytest.raises(CacheError, match=r"expected a vector for each row .* none for 2 of 10"):
            cache.read_vectors(other_backbone)


def test_extract_brings_the_other_backbone_up_to_date(run, folder, uneven, other_backbone):
    report = run(folder, backbone=other_backbone)
    assert count(report) == (2, 0, True)
    fresh = run(folder, "fresh.h5")
    run(folder, "fresh.h5", backbone=other_backbone)
    assert read_all(uneven) == read_all(fresh.path)
    assert count(run(folder, backbone=other_backbone)) == (0, 0, False)


def test_extract_copy_of_old_content_has_a_vector_in_all_embeddings(
    run, folder, uneven, other_backbone
):
    shutil.copy2(folder / "ants/0.png", folder / "ants/copy.png")
    assert run(folder).n_embedded == 0
    vectors = read_by_id(uneven, other_backbone)
    assert vectors["ants/copy.png"] == vectors["ants/0.png"]


def test_fit_head_leaves_out_rows_that_its_embedding_lacks(uneven, other_backbone):
    head = fit_head(uneven, embedding=other_backbone, C=1.0)
    assert head.fitted_on["n_rows"] == 8
    assert fit_head(uneven, embedding="tests-tiny", C=1.0).fitted_on["n_rows"] == 10


def test_evaluate_leaves_out_rows_that_its_embedding_lacks(uneven, other_backbone):
    head = fit_head(uneven, embedding=other_backbone, C=1.0)
    assert evaluate(head, uneven, split="all").n_rows == 8


def test_predict_leaves_out_rows_that_its_embedding_lacks(uneven, other_backbone):
    head = fit_head(uneven, embedding=other_backbone, C=1.0)
    found = predict(head, uneven)
    assert len(found) == 8
    assert not {Path(one.path).name for one in found} & {"8.png", "9.png"}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_extract_output_not_finite_in_one_backbone_leaves_the_row_to_the_other(
    run, folder, tiny_backbone, fragile_backbone, order
):
    names = tiny_backbone, fragile_backbone
    reports = [run(folder, backbone=names[number], max_failures="50%") for number in order]
    by_name = {next(iter(report.dims)): report for report in reports}
    assert by_name[tiny_backbone].n_failures == 0
    assert by_name[fragile_backbone].n_failures == 4
    with open_cache(reports[0].path) as cache:
        assert cache.read_present(tiny_backbone).all()
        assert cache.labels[cache.read_present(fragile_backbone)].tolist() == ["ants"] * 4
        assert {one.embedding for one in cache.failures} == {fragile_backbone}
        assert [one.id for one in cache.failures] == [f"bees/{i}.png" for i in range(4, 8)]


def test_extract_output_not_finite_is_remembered(run, folder, fragile_backbone):
    options = {"backbone": fragile_backbone, "max_failures": 4}
    run(folder, **options)
    assert count(run(folder, **options)) == (0, 0, False)


def test_predict_tells_of_failures_of_its_own_embedding_only(
    run, folder, extracted, fragile_backbone, put
):
    run(folder, backbone=fragile_backbone, max_failures=4)
    found = predict(fit_head(extracted, embedding="tests-tiny", C=1.0), extracted)
    assert [one.error for one in found] == [None] * 8


def test_extract_other_weights_under_the_same_name_are_refused(run, folder, extracted):
    before = extracted.read_bytes()
    with pytest.raises(
        FingerprintError,
        match=r"embedding tests-tiny: expected backbone tests-tiny, weights_digest .*=NAME",
    ):
        run(folder, backbone="lenet5", embedding="tests-tiny")
    assert extracted.read_bytes() == before


def test_extract_name_puts_other_weights_beside(run, folder, extracted):
    for seed in (0, 1):
        run(folder, backbone="lenet5", weights=f"random:{seed}", embedding=f"seed{seed}")
    with open_cache(extracted) as cache:
        assert cache.embeddings == ("seed0", "seed1", "tests-tiny")
        digests = {cache.get_info(name).fingerprint.weights_digest for name in cache.embeddings}
    assert len(digests) == 3


def test_extract_layer_of_a_changed_fingerprint_is_refused_naming_the_field(run, folder):
    run(folder, backbone="lenet5", weights="random:0")
    with pytest.raises(FingerprintError, match=r"lenet5: expected weights_digest .*, got weights_"):
        run(folder, backbone="lenet5", weights="random:1")


# --- storage, provenance, splits


def test_extract_keeps_dtype_and_batch_size_of_the_cache(run, folder, put, check_fresh):
    run(folder, dtype="float16")
    put(folder / "ants/8.png", 8)
    report = run(folder, batch_size=None)
    check_fresh(report, folder, dtype="float16")
    with open_cache(report.path) as cache:
        assert cache.get_dtype() == "float16"
        assert cache.get_info().provenance.batch_size == 2


@pytest.mark.parametrize(
    ("option", "field"), [({"dtype": "float16"}, "dtype"), ({"batch_size": 3}, "batch_size")]
)
def test_extract_another_dtype_or_batch_size_is_refused(run, folder, extracted, option, field):
    with pytest.raises(
        CacheError, match=rf"embedding tests-tiny: expected {field} .*overwrite=True"
    ):
        run(folder, **option)


def test_extract_other_backbone_may_have_another_dtype_and_batch_size(
    run, folder, extracted, other_backbone
):
    run(folder, backbone=other_backbone, dtype="float16", batch_size=4)
    with open_cache(extracted) as cache:
        assert [cache.get_dtype(name) for name in cache.embeddings] == ["float16", "float32"]
        sizes = [cache.get_info(name).provenance.batch_size for name in cache.embeddings]
    assert sizes == [4, 2]


def test_extract_layers_of_different_dtypes_in_one_run_is_refused(run, folder, extracted, put):
    run(folder, layers=["conv"], dtype="float16")
    put(folder / "ants/8.png", 8)
    with pytest.raises(CacheError, match=r"expected dtype float32, .* got float16.*one at a time"):
        run(folder, layers=["conv", "penultimate"])
    assert run(folder).n_embedded == run(folder, layers=["conv"]).n_embedded == 1


def test_extract_increment_is_added_to_the_provenance(run, folder, extracted, put):
    with open_cache(extracted) as cache:
        first = cache.get_info().provenance
    put(folder / "ants/8.png", 8)
    run(folder)
    put(folder / "ants/9.png", 9)
    run(folder)
    with open_cache(extracted) as cache:
        provenance = cache.get_info().provenance
    assert replace(provenance, updates=()) == first
    assert [update.n_embedded for update in provenance.updates] == [1, 1]


def test_extract_nothing_embedded_leaves_the_provenance(run, folder, extracted):
    (folder / "ants/0.png").rename(folder / "ants/x.png")
    run(folder)
    with open_cache(extracted) as cache:
        assert cache.get_info().provenance.updates == ()


def read_splits(path):
    with open_cache(path) as cache:
        return dict(zip(cache.ids.tolist(), cache.splits.tolist(), strict=True))


def test_extract_keeps_recorded_splits(run, folder, extracted, put):
    split_cache(extracted, val=0.25)
    before = read_splits(extracted)
    put(folder / "ants/1.png", 20)
    put(folder / "ants/new.png", 21)
    (folder / "bees/5.png").rename(folder / "bees/renamed.png")
    (folder / "bees/6.png").unlink()
    assert run(folder).n_embedded == 2
    expected = before | {"bees/renamed.png": before["bees/5.png"], "ants/new.png": ""}
    del expected["bees/5.png"]
    assert read_splits(extracted) == expected


def test_extract_splits_of_the_source_replace_recorded_ones(run, folder):
    table = folder / "photos.csv"
    files = [f"ants/{i}.png" for i in range(4)] + [f"bees/{i}.png" for i in range(4, 8)]
    table.write_text("\n".join(["path,label", *(f"{name},{name[:4]}" for name in files)]))
    path = run(table).path
    split_cache(path, val=0.25)
    lines = (f"{name},{name[:4]},test" for name in files)
    table.write_text("\n".join(["path,label,split", *lines]))
    assert count(run(table)) == (0, 0, True)
    assert set(read_splits(path).values()) == {"test"}


# --- what fails


@pytest.fixture
def spoilt(folder):
    """`folder` with one content that is no image, in two files."""
    for name in ("ants/bad.png", "bees/bad.png"):
        (folder / name).write_bytes(b"no image")
        age(folder / name)
    return folder


def test_extract_failure_is_remembered_by_content(run, spoilt, decoded):
    report = run(spoilt, max_failures=2)
    assert (report.n_embedded, report.n_failures) == (8, 2)
    n_decoded = len(decoded)
    (spoilt / "ants/bad.png").rename(spoilt / "ants/worse.png")
    report = run(spoilt, max_failures=2)
    assert (report.n_embedded, report.n_failures) == (0, 2)
    assert len(decoded) == n_decoded
    with open_cache(report.path) as cache:
        assert [one.id for one in cache.failures] == ["ants/worse.png", "bees/bad.png"]
        assert [one.path for one in cache.failures] == [
            str(spoilt / "ants/worse.png"),
            str(spoilt / "bees/bad.png"),
        ]


def test_extract_failure_is_remembered_for_another_backbone(run, spoilt, decoded, other_backbone):
    run(spoilt, max_failures=2)
    del decoded[:]
    assert run(spoilt, max_failures=2, backbone=other_backbone).n_failures == 2
    assert b"no image" not in decoded


def test_extract_retry_failed_that_fails_again_leaves_the_file(run, spoilt, decoded):
    run(spoilt, max_failures=2)
    n_decoded = len(decoded)
    report = run(spoilt, max_failures=2, retry_failed=True)
    assert count(report) == (0, 0, False)
    assert len(decoded) > n_decoded


def test_extract_file_that_could_not_be_read_is_always_tried_again(
    run, folder, tmp_path, put, check_fresh
):
    link = folder / "ants/link.png"
    link.symlink_to(tmp_path / "aside/0.png")
    assert run(folder, max_failures=1).n_failures == 1
    assert count(run(folder, max_failures=1)) == (0, 0, False)
    put(tmp_path / "aside/0.png", 9)
    report = run(folder)
    assert (report.n_embedded, report.n_failures) == (1, 0)
    check_fresh(report, folder)


def test_extract_file_that_went_bad_is_a_failure_and_no_row(run, folder, extracted, check_fresh):
    (folder / "ants/0.png").write_bytes(b"no image")
    age(folder / "ants/0.png")
    report = run(folder, max_failures=1)
    assert (report.n_rows, report.n_failures, *count(report)) == (7, 1, 0, 0, True)
    check_fresh(report, folder, max_failures=1)


def test_extract_failed_file_that_was_mended_is_embedded(run, spoilt, put, check_fresh):
    run(spoilt, max_failures=2)
    put(spoilt / "ants/bad.png", 9)
    (spoilt / "bees/bad.png").unlink()
    report = run(spoilt)
    assert (report.n_embedded, report.n_failures) == (1, 0)
    check_fresh(report, spoilt)


@pytest.mark.parametrize(
    ("text", "n_images", "expected"),
    [
        ("5%", 100, 5),
        ("5%", 19, 0),
        ("5%", 20, 1),
        ("0.1%", 1000, 1),
        ("29%", 100, 29),
        ("100%", 7, 7),
        ("0%", 7, 0),
        (0, 7, 0),
        (3, 7, 3),
        ("12", 7, 12),
        (" 3 ", 7, 3),
    ],
)
def test_count_allowed_is_a_number_or_a_part_rounded_down(text, n_images, expected):
    assert count_allowed(text, n_images) == expected


@pytest.mark.parametrize("text", ["", "%", "-1", "-5%", "101%", "5 %", "few", "1e3", 0.05, None])
def test_count_allowed_of_anything_else_is_refused(text):
    with pytest.raises(FeatxError, match=r"^max_failures: expected a number such as 10, or a"):
        count_allowed(text, 100)


def test_extract_more_failures_than_allowed_makes_no_cache(run, spoilt, tmp_path):
    with pytest.raises(
        TooManyFailuresError,
        match=r"photos: expected at most 0 failures, got \d of 10 images that failed, such as "
        r".*bad\.png: .*an image.* max_failures; finished work is kept\.",
    ):
        run(spoilt)
    assert not (tmp_path / "out.h5").exists()
    assert (tmp_path / "out.h5.partial").is_dir()


def test_extract_more_failures_than_allowed_leaves_the_old_cache(run, folder, extracted, spoilt):
    before = extracted.read_bytes()
    with pytest.raises(TooManyFailuresError, match=r"at most 1 failures, got 2 of 10"):
        run(spoilt, max_failures=1)
    assert extracted.read_bytes() == before


def test_extract_with_more_failures_allowed_goes_on_without_doing_again(
    run, spoilt, check_fresh, decoded
):
    with pytest.raises(TooManyFailuresError, match=r"got \d of 10"):
        run(spoilt, batch_size=16)
    del decoded[:]
    report = run(spoilt, batch_size=16, max_failures="50%")
    assert (report.n_embedded, report.n_resumed, report.n_failures) == (0, 8, 2)
    assert decoded == []
    check_fresh(report, spoilt, batch_size=16, max_failures=2)


def test_extract_failures_known_before_are_refused_before_any_work(run, spoilt, put, decoded):
    run(spoilt, max_failures=2)
    del decoded[:]
    put(spoilt / "ants/new.png", 9)
    with pytest.raises(TooManyFailuresError, match=r"got 2 of 11 .* such as .*bad\.png: not an im"):
        run(spoilt, max_failures=1)
    assert decoded == []


@pytest.fixture
def failing(monkeypatch):
    """Let decoding fail for some contents, or all, in a ``with`` block; a factory."""
    from featx.images.decode import decode_reduced

    @contextmanager
    def failing(contents=None, error=ValueError):
        def decode(data, min_side):
            if contents is None or data in contents:
                raise error("out of order")
            return decode_reduced(data, min_side)

        with monkeypatch.context() as patch:
            patch.setattr("featx.embedding.loop.decode_reduced", decode)
            yield

    return failing


def test_extract_retry_failed_tries_again(run, folder, failing, check_fresh):
    with failing([(folder / "bees/4.png").read_bytes()], MemoryError):
        report = run(folder, max_failures=1)
    assert (report.n_rows, report.n_failures) == (7, 1)
    with open_cache(report.path) as cache:
        assert cache.failures[0].reason == "MemoryError: out of order"
    assert count(run(folder, max_failures=1)) == (0, 0, False)
    report = run(folder, retry_failed=True)
    assert (report.n_embedded, report.n_failures) == (1, 0)
    check_fresh(report, folder)


def test_extract_retry_failed_after_too_many_failures_tries_again(
    run, folder, failing, check_fresh
):
    with failing(), pytest.raises(TooManyFailuresError, match=r"out of order"):
        run(folder)
    with pytest.raises(TooManyFailuresError, match=r"got 8 of 8 .*out of order"):
        run(folder)
    report = run(folder, retry_failed=True)
    assert (report.n_embedded, report.n_failures) == (8, 0)
    check_fresh(report, folder)


def test_extract_retry_interrupted_is_no_failure_any_more(
    run, folder, failing, stop, put, check_fresh
):
    with failing([(folder / "ants/0.png").read_bytes()]):
        run(folder, max_failures=1)
    for seed in (8, 9):
        put(folder / f"bees/{seed}.png", seed)
    stop(KeyboardInterrupt("stopped"), after=1)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder, retry_failed=True)
    report = run(folder)
    assert (report.n_embedded, report.n_resumed, report.n_failures) == (1, 2, 0)
    check_fresh(report, folder)


def test_extract_retry_of_an_unfinished_run_interrupted_keeps_what_it_mended(
    run, folder, failing, stop
):
    with failing(), pytest.raises(TooManyFailuresError, match=r"out of order"):
        run(folder)
    stop(KeyboardInterrupt("stopped"), after=2)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder, retry_failed=True)
    report = run(folder, max_failures="50%")
    assert (report.n_rows, report.n_embedded, report.n_resumed, report.n_failures) == (4, 0, 4, 4)
    with open_cache(report.path) as cache:
        assert {one.id for one in cache.failures}.isdisjoint(cache.ids.tolist())


def test_extract_killed_twice_around_a_rename_knows_every_size(run, folder, put, stop, check_fresh):
    stop(KeyboardInterrupt("stopped"), after=1)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder)
    (folder / "bees/z.png").write_bytes((folder / "ants/0.png").read_bytes())
    put(folder / "ants/0.png", 50)
    stop(KeyboardInterrupt("stopped"), after=1)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder)
    check_fresh(run(folder), folder)


def test_extract_other_folder_with_the_same_names_sizes_and_times_is_read(
    run, make_image, tmp_path, check_fresh
):
    for seed, name in enumerate(("cam1", "cam2")):
        for number in range(2):
            path = make_image(tmp_path / name / f"a/{number}.bmp", (24, 20), 2 * seed + number)
            os.utime(path, (10**9, 10**9))
    run(tmp_path / "cam1")
    report = run(tmp_path / "cam2")
    assert count(report) == (2, 0, True)
    check_fresh(report, tmp_path / "cam2")


def test_extract_second_backbone_that_cannot_decode_keeps_the_row_of_the_first(
    run, folder, extracted, failing, other_backbone
):
    with failing([(folder / "ants/0.png").read_bytes()]):
        report = run(folder, backbone=other_backbone, max_failures=1)
    assert report.n_failures == 1
    with open_cache(extracted) as cache:
        (failure,) = cache.failures
        assert (failure.id, failure.embedding) == ("ants/0.png", other_backbone)
        assert len(cache) == 8
        assert cache.read_present(other_backbone).sum() == 7
    assert verify_cache(extracted).problems == ()


# --- what ends early


def list_shards(path):
    return sorted(path.with_name(path.name + ".partial").glob("shard-*.h5"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("shard_seconds", [0, 30])
def test_extract_interrupted_goes_on_and_equals_one_run(
    run, folder, stop, check_fresh, tmp_path, error, shard_seconds
):
    stop(error("stopped"), after=3)
    with pytest.raises(error, match=r"stopped"):
        run(folder, shard_seconds=shard_seconds)
    assert len(list_shards(tmp_path / "out.h5")) == (1 if shard_seconds else 3)
    assert not (tmp_path / "out.h5").exists()
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (2, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "photos"]
    check_fresh(report, folder)


def test_extract_interrupted_several_times_goes_on_each_time(run, folder, stop, check_fresh):
    for _ in range(3):
        stop(KeyboardInterrupt("stopped"), after=1)
        with pytest.raises(KeyboardInterrupt, match=r"stopped"):
            run(folder)
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (2, 6)
    check_fresh(report, folder)


def test_extract_interrupted_decodes_nothing_again(run, folder, stop, decoded):
    stop(KeyboardInterrupt("stopped"), after=2)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder)
    del decoded[:]
    run(folder)
    assert len(decoded) == 4


def test_extract_interrupted_increment_leaves_the_cache_and_goes_on(
    run, folder, extracted, put, stop, check_fresh
):
    before = extracted.read_bytes()
    for seed in (8, 9, 10):
        put(folder / f"ants/{seed}.png", seed)
    stop(KeyboardInterrupt("stopped"), after=1)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder)
    assert extracted.read_bytes() == before
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (1, 2)
    check_fresh(report, folder)
    with open_cache(extracted) as cache:
        assert [one.n_embedded for one in cache.get_info().provenance.updates] == [3]


def test_extract_interrupted_then_source_changed_equals_a_new_cache(
    run, folder, stop, put, check_fresh
):
    shutil.copy2(folder / "ants/0.png", folder / "ants/copy.png")
    stop(KeyboardInterrupt("stopped"), after=3)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder)
    # The content's second file is all that is left of it.
    put(folder / "ants/0.png", 20)
    (folder / "ants/1.png").unlink()
    (folder / "ants/2.png").rename(folder / "bees/2.png")
    report = run(folder)
    assert report.n_resumed == 6
    check_fresh(report, folder)


def test_extract_interrupted_with_overwrite_goes_on(run, folder, extracted, stop, check_fresh):
    stop(KeyboardInterrupt("stopped"), after=2)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder, overwrite=True)
    report = run(folder, overwrite=True)
    assert (report.n_embedded, report.n_resumed) == (4, 4)
    check_fresh(report, folder)


@pytest.fixture
def unfinished(run, folder, stop, tmp_path):
    """The work folder of an extraction that was interrupted after two batches."""
    stop(KeyboardInterrupt("stopped"), after=2)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder, shard_seconds=0)
    return tmp_path / "out.h5.partial"


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"backbone": "lenet5"}, r"got that of tests-tiny"),
        ({"layers": ["conv"]}, r"got that of tests-tiny"),
        ({"backbone": "lenet5", "embedding": "tests-tiny"}, r"another \w+ of tests-tiny"),
        ({"dtype": "float16"}, r"dtype float32 in place of float16"),
        ({"batch_size": 4}, r"batch_size 2 in place of 4"),
    ],
)
def test_extract_with_other_arguments_than_the_unfinished_run_is_refused(
    run, folder, unfinished, options, got
):
    before = sorted(unfinished.iterdir())
    with pytest.raises(CacheError, match=rf"{got}.*Finish it .* or drop it: rm -r .*\.partial"):
        run(folder, **options)
    assert sorted(unfinished.iterdir()) == before
    assert run(folder).n_resumed == 4


def test_extract_overwrite_drops_unfinished_work_of_other_arguments(
    run, folder, unfinished, check_fresh
):
    report = run(folder, batch_size=4, overwrite=True)
    assert (report.n_embedded, report.n_resumed) == (8, 0)
    assert not unfinished.exists()
    check_fresh(report, folder, batch_size=4)


def test_extract_damaged_shard_is_done_again(run, folder, unfinished, check_fresh):
    shard = sorted(unfinished.glob("shard-*.h5"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (6, 2)
    check_fresh(report, folder)


def test_extract_interrupted_after_the_last_batch_embeds_nothing_again(
    run, folder, monkeypatch, check_fresh
):
    with monkeypatch.context() as patch:
        patch.setattr("featx.extraction.extract.write_cache", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError, match=r"division"):
            run(folder)
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (0, 8)
    check_fresh(report, folder)


def test_extract_interrupted_after_the_cache_was_written_clears_up(
    run, folder, monkeypatch, check_fresh, tmp_path
):
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "remove", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError, match=r"division"):
            run(folder)
    report = run(folder)
    assert (report.n_embedded, report.n_rows) == (0, 8)
    assert not (tmp_path / "out.h5.partial").exists()
    check_fresh(report, folder)
    assert count(run(folder)) == (0, 0, False)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_extract_worker_thread_that_dies_loses_nothing_that_was_done(
    run, folder, failing, check_fresh, error
):
    with (
        failing([(folder / "bees/7.png").read_bytes()], error),
        pytest.raises(error, match=r"out of order"),
    ):
        run(folder, shard_seconds=0)
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (4, 4)  # a worker takes four at a time
    check_fresh(report, folder)


# --- one writer


def test_extract_while_another_process_writes_is_refused_before_any_work(
    run, folder, extracted, put, decoded
):
    put(folder / "ants/8.png", 8)
    with (
        CacheLock(extracted),
        pytest.raises(CacheLockedError, match=r"only writer, got process \d+ on .*--break-lock"),
    ):
        run(folder)
    assert decoded == []
    assert run(folder).n_embedded == 1


def test_extract_break_lock_writes(run, folder, extracted, put):
    put(folder / "ants/8.png", 8)
    lock = CacheLock(extracted)
    assert run(folder, break_lock=True).n_embedded == 1
    with pytest.raises(CacheLockedError, match=r"got the lock broken"):
        lock.check()


def test_extract_whose_lock_is_broken_leaves_the_cache_and_its_work(
    run, folder, extracted, put, watch_batches
):
    before = extracted.read_bytes()
    put(folder / "ants/8.png", 8)
    with (
        watch_batches(lambda _: CacheLock(extracted, break_lock=True)),
        pytest.raises(CacheLockedError, match=r"got the lock broken by process"),
    ):
        run(folder)
    assert extracted.read_bytes() == before
    report = run(folder, break_lock=True)
    assert (report.n_embedded, report.n_resumed) == (1, 0)  # not even a shard was written


def leave_dead_lock(output):
    """Lock a cache in the name of a process that is no more."""
    holder = replace(LockOwner.of_this_process(), started="before")
    output.with_name(f".{output.name}.lock").write_text(json.dumps(asdict(holder)))
    return holder


def test_extract_takes_over_the_lock_of_a_dead_process(run, folder, tmp_path):
    holder = leave_dead_lock(tmp_path / "out.h5")
    assert run(folder).taken_from == str(holder)


# --- the command line


@pytest.fixture
def extract_cli(run_cli, folder, tiny_backbone, monkeypatch):
    """Run ``featx extract photos -o out.h5`` with the tiny backbone, in the folder above."""
    monkeypatch.chdir(folder.parent)

    def run(*options):
        return run_cli("extract", "photos", "-o", "out.h5", "--backbone", tiny_backbone, *options)

    return run


def test_extract_command_run_again_says_that_nothing_was_to_do(extract_cli):
    assert "8 embedded in " in extract_cli().out
    result = extract_cli()
    assert (result.code, result.err) == (0, "")
    assert result.out == "out.h5: 8 rows, tests-tiny (dim 8), up to date\n"


def test_extract_command_notes_what_is_worth_knowing(extract_cli, folder):
    extract_cli()
    (folder / "ants/0.png").unlink()
    assert extract_cli().err == (
        "featx: 1 images are no longer in the source, kept: --prune drops them\n"
    )
    result = extract_cli("--prune")
    assert result.err == "featx: 1 images are no longer in the source, dropped\n"
    assert result.out.startswith("out.h5: 7 rows, tests-tiny (dim 8), 0 embedded in ")


def test_extract_command_notes_a_lock_taken_over(extract_cli, folder):
    holder = leave_dead_lock(folder.parent / "out.h5")
    notes = extract_cli().list_notes()
    assert notes == [f"featx: took over the lock of {holder}, which is dead"]


def test_extract_command_options_reach_the_run(extract_cli, forged):
    assert "1 embedded" in extract_cli("--rehash").out
    forged.write_bytes(b"no image")
    assert extract_cli("--max-failures", "1").code == 0
    assert extract_cli("--max-failures", "1", "--retry-failed").code == 0
    assert "9 rows" not in extract_cli("--overwrite", "--max-failures", "1").out


def test_extract_command_while_locked_ends_in_code_1(extract_cli, folder):
    with CacheLock(folder.parent / "out.h5"):
        result = extract_cli()
        assert result.code == 1
        assert "expected to be its only writer" in result.err
        assert extract_cli("--break-lock").code == 0


def test_extract_command_with_too_many_failures_ends_in_code_3(extract_cli, spoilt):
    result = extract_cli()
    assert result.code == 3
    assert result.out == ""
    assert len(result.err.splitlines()) == 1
    assert result.err.startswith("featx: photos: expected at most 0 failures, got ")
    assert not Path("out.h5").exists()
    result = extract_cli("--max-failures", "50%")
    assert result.code == 0
    assert result.out.startswith("out.h5: 8 rows, tests-tiny (dim 8), 0 embedded in ")
    assert result.list_notes() == [
        "featx: went on after 8 images that an interrupted run had done",
        "featx: 2 images failed: featx info out.h5 --failures",
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_extract_command_ended_by_a_signal_can_be_run_again(extract_cli, monkeypatch, number, code):
    before = signal.getsignal(signal.SIGTERM)
    original, calls = Shards.append, itertools.count()

    def append_or_signal(self, *args, **kwargs):
        if next(calls) == 3:
            signal.raise_signal(number)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Shards, "append", append_or_signal)
    result = extract_cli("--batch-size", "2", "--shard-seconds", "0")
    assert (result.code, result.out) == (code, "")
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(list_shards(Path("out.h5"))) == 3
    result = extract_cli("--batch-size", "2")
    assert result.code == 0
    assert "8 rows, tests-tiny (dim 8), 2 embedded" in result.out
    notes = result.list_notes()
    assert notes == ["featx: went on after 6 images that an interrupted run had done"]


CHILD = """
import sys
import threading
from functools import partial
from featx.cache.shards import Shards
from featx.cli import main
from featx.embedding.loop import RunOptions

build, numbers = RunOptions.build_engine, iter(range(9))
seal, sealed = Shards.seal_when_due, threading.Semaphore(0)

def wait_for_the_parent(wait):
    if next(numbers) == 2:
        sealed.acquire()
        sealed.acquire()
        print("waiting", flush=True)
        sys.stdin.read()
    return wait()

def build_waiting(*args, **options):
    engine = build(*args, **options)
    for slot in engine.slots:
        slot.wait = partial(wait_for_the_parent, slot.wait)
    return engine

def seal_and_count(shards, seconds):
    seal(shards, seconds)
    sealed.release()

RunOptions.build_engine, Shards.seal_when_due = build_waiting, seal_and_count
main(sys.argv[1:])
"""


def test_extract_command_terminated_ends_in_code_143_and_goes_on(run, folder, tmp_path):
    line = ["extract", folder, "-o", tmp_path / "out.h5", "--backbone", "lenet5"]
    line += ["--batch-size", "2", "--shard-seconds", "0", "--device", "cpu"]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, line)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout.readline() == "waiting\n"
        child.terminate()
        child.stdin.close()  # the signal is there already, and the network may go on
        assert child.wait(timeout=60) == 143
    assert len(list_shards(tmp_path / "out.h5")) == 2
    assert not (tmp_path / ".out.h5.lock").exists()
    report = run(folder, backbone="lenet5", device="cpu")
    assert (report.n_embedded, report.n_resumed, report.taken_from) == (4, 4, None)
    fresh = run(folder, "fresh.h5", backbone="lenet5", device="cpu")
    assert read_all(report.path)["rows"] == read_all(fresh.path)["rows"]
    np.testing.assert_allclose(
        *(np.frombuffer(read_all(r.path)["vectors"]["lenet5"], "f4") for r in (report, fresh)),
        atol=1e-6,
    )
