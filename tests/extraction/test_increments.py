"""A source extracted again, from end to end: what is kept, what goes on, what is refused."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featx.cache.check import verify_cache
from featx.cache.joined import open_cache
from featx.cache.label_writer import write_splits
from featx.cache.lock import CacheLock
from featx.cache.shards import Shards
from featx.core.errors import (
    CacheError,
    CacheLockedError,
    FingerprintError,
    TooManyFailuresError,
)
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head
from featx.fitting.split import split_cache
from featx.images.content import Content
from featx.prediction.predict import predict
from tests.extraction.caches import (
    COLOURS,
    age,
    count,
    leave_dead_lock,
    list_shards,
    pack,
    read_all,
    read_by_id,
)

# What a run notes beside its result is the subject of test_notes.py.
pytestmark = pytest.mark.filterwarnings("ignore::featx.FeatxWarning")


def test_extract_first_run_embeds_every_image(run: Any, folder: Path) -> None:
    report = run(folder)
    assert count(report) == (8, 0, True)
    assert (report.n_rows, report.n_resumed, report.taken_from) == (8, 0, None)


def test_extract_again_embeds_nothing_and_leaves_the_file(
    run: Any, folder: Path, extracted: Path
) -> None:
    before = extracted.read_bytes(), extracted.stat().st_ino
    report = run(folder)
    assert count(report) == (0, 0, False)
    assert (report.n_rows, report.n_failures) == (8, 0)
    assert (extracted.read_bytes(), extracted.stat().st_ino) == before
    assert sorted(path.name for path in extracted.parent.iterdir()) == ["out.h5", "photos"]


def test_extract_again_reads_no_file(
    run: Any, folder: Path, extracted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Content, "read", lambda self, size=None: 1 / 0)
    assert count(run(folder)) == (0, 0, False)


def test_extract_file_changed_just_now_is_read_again_but_not_embedded(
    run: Any, folder: Path, extracted: Path, make_image: Any, decoded: Any
) -> None:
    make_image(folder / "ants/new.png", seed=9)
    assert run(folder).n_embedded == 1
    assert len(decoded) == 1
    assert run(folder).n_embedded == 0
    assert len(decoded) == 1


def test_extract_touched_file_is_read_once_and_not_embedded(
    run: Any, folder: Path, extracted: Path, check_fresh: Any, decoded: Any
) -> None:
    age(folder / "ants/0.png")
    report = run(folder)
    assert count(report) == (0, 0, True)
    assert decoded == []
    check_fresh(report, folder)
    assert count(run(folder)) == (0, 0, False)


def test_extract_edit_that_keeps_size_and_time_goes_unseen(
    run: Any, folder: Path, forged: Path
) -> None:
    assert count(run(folder)) == (0, 0, False)


def test_extract_rehash_sees_an_edit_that_keeps_size_and_time(
    run: Any, folder: Path, forged: Path, check_fresh: Any
) -> None:
    report = run(folder, rehash=True)
    assert count(report) == (1, 0, True)
    check_fresh(report, folder)


def test_extract_rehash_reads_all_and_embeds_nothing(
    run: Any, folder: Path, extracted: Path, monkeypatch: pytest.MonkeyPatch, decoded: Any
) -> None:
    read: list[str] = []
    original = Content.read_whole

    def read_whole(self: Content, *args: Any) -> Any:
        read.append(Path(self.file).name)
        return original(self, *args)

    monkeypatch.setattr(Content, "read_whole", read_whole)
    assert count(run(folder, rehash=True)) == (0, 0, False)
    assert sorted(read) == [f"{number}.png" for number in range(8)]
    assert decoded == []


def test_extract_contents_swapped_swap_their_vectors(
    run: Any, folder: Path, extracted: Path, check_fresh: Any
) -> None:
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


def test_extract_content_that_comes_twice_is_embedded_once(
    run: Any, folder: Path, decoded: Any
) -> None:
    for name in ("ants/copy.png", "bees/copy.png"):
        shutil.copy2(folder / "ants/0.png", folder / name)
    report = run(folder)
    assert (report.n_rows, report.n_embedded) == (10, 8)
    vectors = read_by_id(report.path)
    assert len(vectors) == 10
    assert vectors["ants/0.png"] == vectors["ants/copy.png"] == vectors["bees/copy.png"]
    with open_cache(report.path) as cache:
        assert cache.sizes.tolist() == [[24, 20]] * 10


def test_extract_removed_files_stay_where_they_are_and_are_counted(
    run: Any, folder: Path, extracted: Path
) -> None:
    before = read_by_id(extracted)
    (folder / "ants/1.png").unlink()
    (folder / "bees/4.png").unlink()
    report = run(folder)
    assert (report.n_rows, *count(report)) == (8, 0, 2, False)
    assert list(read_by_id(extracted).items()) == list(before.items())
    assert count(run(folder)) == (0, 2, False)


def test_extract_prune_drops_removed_files(
    run: Any, folder: Path, extracted: Path, check_fresh: Any
) -> None:
    (folder / "ants/1.png").unlink()
    run(folder)
    report = run(folder, prune=True)
    assert (report.n_rows, *count(report)) == (7, 0, 1, True)
    check_fresh(report, folder)
    assert count(run(folder, prune=True)) == (0, 0, False)


def test_extract_several_changes_at_once_equal_a_new_cache(
    run: Any, folder: Path, extracted: Path, put: Any, check_fresh: Any
) -> None:
    put(folder / "ants/2.png", 20)
    put(folder / "bees/9.png", 21)
    (folder / "bees/5.png").rename(folder / "ants/5.png")
    shutil.copy2(folder / "ants/0.png", folder / "bees/0.png")
    (folder / "ants/3.png").unlink()
    report = run(folder, prune=True)
    assert count(report) == (2, 1, True)
    check_fresh(report, folder)


def test_extract_tar_that_has_grown_embeds_its_new_members(
    run: Any, folder: Path, tmp_path: Path, put: Any, check_fresh: Any, decoded: Any
) -> None:
    tar = pack(folder, tmp_path / "photos.tar")
    run(tar)
    assert count(run(tar)) == (0, 0, False)
    put(folder / "ants/00.png", 8)
    report = run(pack(folder, tar))
    assert count(report) == (1, 0, True)
    assert len(decoded) == 9
    check_fresh(report, tar)


def test_extract_table_whose_lines_changed_embeds_its_new_files(
    run: Any, folder: Path, put: Any, check_fresh: Any
) -> None:
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


def test_extract_source_at_another_place_costs_nothing(
    run: Any, folder: Path, extracted: Path, tmp_path: Path
) -> None:
    moved = folder.rename(tmp_path / "moved")
    report = run(moved)
    assert count(report) == (0, 0, True)
    with open_cache(extracted) as cache:
        assert cache.paths[0] == str(moved / "ants/0.png")
        assert cache.source == str(moved)


def test_extract_another_source_with_overwrite_begins_anew(
    run: Any, extracted: Path, put: Any, tmp_path: Path, check_fresh: Any
) -> None:
    put(tmp_path / "holiday/0.png", 9)
    report = run(tmp_path / "holiday", overwrite=True)
    assert (report.n_rows, *count(report)) == (1, 1, 0, True)
    check_fresh(report, tmp_path / "holiday")


def test_extract_overwrite_embeds_all_again(
    run: Any, folder: Path, extracted: Path, other_backbone: str
) -> None:
    run(folder, backbone=other_backbone)
    split_cache(extracted, val=0.25)
    report = run(folder, overwrite=True)
    assert count(report) == (8, 0, True)
    with open_cache(extracted) as cache:
        assert cache.embeddings == ("tests-tiny",)
        assert cache.list_splits() == []


def test_extract_through_a_link_updates_what_it_points_to(
    run: Any, folder: Path, extracted: Path, put: Any, tmp_path: Path
) -> None:
    (tmp_path / "link.h5").symlink_to(extracted)
    put(folder / "ants/8.png", 8)
    assert run(folder, "link.h5").n_embedded == 1
    assert (tmp_path / "link.h5").is_symlink()
    assert run(folder).is_changed is False


def test_extract_layer_added_later_equals_both_at_once(
    run: Any, folder: Path, extracted: Path, check_fresh: Any
) -> None:
    layers = ["penultimate", "conv"]
    report = run(folder, layers=layers)
    assert count(report) == (8, 0, True)
    check_fresh(report, folder, layers=layers)


def test_extract_layers_of_different_dtypes_in_one_run_is_refused(
    run: Any, folder: Path, extracted: Path, put: Any
) -> None:
    run(folder, layers=["conv"], dtype="float16")
    put(folder / "ants/8.png", 8)
    with pytest.raises(CacheError, match=r"expected dtype float32, .* got float16.*one at a time"):
        run(folder, layers=["conv", "penultimate"])
    for layer in ("penultimate", "conv"):
        assert run(folder, layers=[layer]).n_embedded == 1


def test_extract_layers_grow_together(run: Any, folder: Path, put: Any, check_fresh: Any) -> None:
    layers = ["penultimate", "conv"]
    run(folder, layers=layers)
    put(folder / "ants/8.png", 8)
    report = run(folder, layers=layers)
    assert count(report) == (1, 0, True)
    assert report.dims == {"tests-tiny": 8, "tests-tiny@conv": 4}
    check_fresh(report, folder, layers=layers)


def test_extract_other_backbone_is_put_beside_the_first(
    run: Any, folder: Path, extracted: Path, other_backbone: str
) -> None:
    before = read_by_id(extracted)
    report = run(folder, backbone=other_backbone)
    assert count(report) == (8, 0, True)
    assert report.dims == {other_backbone: 5}
    assert read_by_id(extracted, "tests-tiny") == before
    alone = run(folder, "alone.h5", backbone=other_backbone)
    assert read_by_id(extracted, other_backbone) == read_by_id(alone.path)
    assert count(run(folder)) == count(run(folder, backbone=other_backbone)) == (0, 0, False)


@pytest.fixture
def uneven(run: Any, folder: Path, extracted: Path, put: Any, other_backbone: str) -> Any:
    """Two embeddings of `folder`; of two files that came later the other one has none."""
    run(folder, backbone=other_backbone)
    put(folder / "ants/8.png", 8, colour=COLOURS["ants"])
    put(folder / "bees/9.png", 9, colour=COLOURS["bees"])
    assert run(folder).n_embedded == 2
    return extracted


NEW = ["ants/8.png", "bees/9.png"]


def test_extract_one_of_two_backbones_leaves_new_rows_out_of_the_other(
    uneven: Path, other_backbone: str
) -> None:
    with open_cache(uneven) as cache:
        assert cache.read_present("tests-tiny").all()
        assert cache.ids[~cache.read_present(other_backbone)].tolist() == NEW
        assert cache.failures == ()
        with pytest.raises(CacheError, match=r"expected a vector for each row .* none for 2 of 10"):
            cache.read_vectors(other_backbone)


def test_extract_brings_the_other_backbone_up_to_date(
    run: Any, folder: Path, uneven: Path, other_backbone: str
) -> None:
    report = run(folder, backbone=other_backbone)
    assert count(report) == (2, 0, True)
    fresh = run(folder, "fresh.h5")
    run(folder, "fresh.h5", backbone=other_backbone)
    assert read_all(uneven) == read_all(fresh.path)
    assert count(run(folder, backbone=other_backbone)) == (0, 0, False)


def test_extract_copy_of_old_content_has_a_vector_in_all_embeddings(
    run: Any, folder: Path, uneven: Path, other_backbone: str
) -> None:
    shutil.copy2(folder / "ants/0.png", folder / "ants/copy.png")
    assert run(folder).n_embedded == 0
    vectors = read_by_id(uneven, other_backbone)
    assert vectors["ants/copy.png"] == vectors["ants/0.png"]


def test_fit_head_leaves_out_rows_that_its_embedding_lacks(
    uneven: Path, other_backbone: str
) -> None:
    head = fit_head(uneven, embedding=other_backbone, C=1.0)
    assert head.fitted_on.n_rows == 8
    assert fit_head(uneven, embedding="tests-tiny", C=1.0).fitted_on.n_rows == 10


def test_evaluate_leaves_out_rows_that_its_embedding_lacks(
    uneven: Path, other_backbone: str
) -> None:
    head = fit_head(uneven, embedding=other_backbone, C=1.0)
    assert evaluate(head, uneven, split="all").n_rows == 8


def test_predict_says_why_rows_that_its_embedding_lacks_have_no_prediction(
    uneven: Path, other_backbone: str
) -> None:
    head = fit_head(uneven, embedding=other_backbone, C=1.0)
    found = predict(head, uneven)
    assert len(found) == 10
    lacking = {Path(one.path).name: one.error for one in found if one.error is not None}
    assert set(lacking) == {"8.png", "9.png"}
    assert all(other_backbone in str(error) for error in lacking.values())


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_extract_output_not_finite_in_one_backbone_leaves_the_row_to_the_other(
    run: Any, folder: Path, tiny_backbone: str, fragile_backbone: str, order: Any
) -> None:
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


def test_predict_tells_of_failures_of_its_own_embedding_only(
    run: Any, folder: Path, extracted: Path, fragile_backbone: str, put: Any
) -> None:
    run(folder, backbone=fragile_backbone, max_failures=4)
    found = predict(fit_head(extracted, embedding="tests-tiny", C=1.0), extracted)
    assert [one.error for one in found] == [None] * 8


def test_extract_other_weights_under_the_same_name_are_refused(
    run: Any, folder: Path, extracted: Path
) -> None:
    before = extracted.read_bytes()
    with pytest.raises(
        FingerprintError,
        match=r"embedding tests-tiny: expected backbone tests-tiny, got .*=NAME",
    ):
        run(folder, backbone="lenet5", embedding="tests-tiny")
    assert extracted.read_bytes() == before


def test_extract_name_puts_other_weights_beside(run: Any, folder: Path, extracted: Path) -> None:
    for seed in (0, 1):
        run(folder, backbone="lenet5", weights=f"random:{seed}", embedding=f"seed{seed}")
    with open_cache(extracted) as cache:
        assert cache.embeddings == ("seed0", "seed1", "tests-tiny")
        digests = {cache.get_info(name).fingerprint.weights_digest for name in cache.embeddings}
    assert len(digests) == 3


def test_extract_keeps_dtype_and_batch_size_of_the_cache(
    run: Any, folder: Path, put: Any, check_fresh: Any
) -> None:
    run(folder, dtype="float16")
    put(folder / "ants/8.png", 8)
    report = run(folder, batch_size="auto")
    check_fresh(report, folder, dtype="float16")
    with open_cache(report.path) as cache:
        assert cache.get_dtype() == "float16"
        assert cache.get_info().provenance.batch_size == 2


def test_extract_increment_is_added_to_the_provenance(
    run: Any, folder: Path, extracted: Path, put: Any
) -> None:
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


def read_splits(path: Path) -> Any:
    with open_cache(path) as cache:
        return dict(zip(cache.ids.tolist(), cache.splits.tolist(), strict=True))


def test_extract_keeps_recorded_splits(run: Any, folder: Path, extracted: Path, put: Any) -> None:
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


def test_extract_failure_is_remembered_by_content(run: Any, spoilt: Path, decoded: Any) -> None:
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


def test_extract_failure_is_remembered_for_another_backbone(
    run: Any, spoilt: Path, decoded: Any, other_backbone: str
) -> None:
    run(spoilt, max_failures=2)
    assert b"no image" in decoded
    del decoded[:]
    assert run(spoilt, max_failures=2, backbone=other_backbone).n_failures == 2
    assert b"no image" not in decoded


def test_extract_file_that_went_bad_is_a_failure_and_no_row(
    run: Any, folder: Path, extracted: Path, check_fresh: Any
) -> None:
    (folder / "ants/0.png").write_bytes(b"no image")
    age(folder / "ants/0.png")
    report = run(folder, max_failures=1)
    assert (report.n_rows, report.n_failures, *count(report)) == (7, 1, 0, 0, True)
    check_fresh(report, folder, max_failures=1)


def test_extract_failed_file_that_was_repaired_is_embedded(
    run: Any, spoilt: Path, put: Any, check_fresh: Any
) -> None:
    run(spoilt, max_failures=2)
    put(spoilt / "ants/bad.png", 9)
    (spoilt / "bees/bad.png").unlink()
    report = run(spoilt)
    assert (report.n_embedded, report.n_failures) == (1, 0)
    check_fresh(report, spoilt)


def test_extract_retry_failed_that_fails_again_leaves_the_file(
    run: Any, spoilt: Path, decoded: Any
) -> None:
    run(spoilt, max_failures=2)
    n_decoded = len(decoded)
    report = run(spoilt, max_failures=2, retry_failed=True)
    assert count(report) == (0, 0, False)
    assert len(decoded) > n_decoded


def test_extract_file_that_could_not_be_read_is_always_tried_again(
    run: Any, folder: Path, tmp_path: Path, put: Any, check_fresh: Any
) -> None:
    link = folder / "ants/link.png"
    link.symlink_to(tmp_path / "aside/0.png")
    assert run(folder, max_failures=1).n_failures == 1
    assert count(run(folder, max_failures=1)) == (0, 0, False)
    put(tmp_path / "aside/0.png", 9)
    report = run(folder)
    assert (report.n_embedded, report.n_failures) == (1, 0)
    check_fresh(report, folder)


def test_extract_more_failures_than_allowed_makes_no_cache(
    run: Any, spoilt: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        TooManyFailuresError,
        match=r"photos: expected at most 1 failure, got failures in 2 of 10 images, such as "
        r".*bad\.png: .*an image.* List all of them with featx\.read_failures\('.*out\.h5'\)",
    ):
        run(spoilt)
    assert not (tmp_path / "out.h5").exists()
    assert (tmp_path / "out.h5.partial").is_dir()


def test_extract_more_failures_than_allowed_leaves_the_old_cache(
    run: Any, folder: Path, extracted: Path, spoilt: Path
) -> None:
    before = extracted.read_bytes()
    with pytest.raises(TooManyFailuresError, match=r"at most 1 failure.*, got .* 2 of 10"):
        run(spoilt, max_failures=1)
    assert extracted.read_bytes() == before


def test_extract_with_more_failures_allowed_goes_on_without_doing_again(
    run: Any, spoilt: Path, check_fresh: Any, decoded: Any
) -> None:
    with pytest.raises(TooManyFailuresError, match=r"got failures in \d of 10"):
        run(spoilt, batch_size=16)
    del decoded[:]
    report = run(spoilt, batch_size=16, max_failures="50%")
    assert (report.n_embedded, report.n_resumed, report.n_failures) == (0, 8, 2)
    assert decoded == []
    check_fresh(report, spoilt, batch_size=16, max_failures=2)


def test_extract_failures_known_before_are_listed_with_new_ones(
    run: Any, spoilt: Path, put: Any, decoded: Any
) -> None:
    run(spoilt, max_failures=2)
    del decoded[:]
    put(spoilt / "ants/new.png", 9)
    (spoilt / "bees/new.png").write_bytes(b"no image either")
    with pytest.raises(TooManyFailuresError, match=r"got failures in 3 of 12 ") as caught:
        run(spoilt, max_failures=1)
    names = [one.id for one in caught.value.failures]
    assert names == ["ants/bad.png", "bees/bad.png", "bees/new.png"]
    assert len(decoded) == 2  # nothing that was known is read again
    report = run(spoilt, max_failures=3)
    assert (report.n_embedded, report.n_resumed) == (0, 1)


def test_extract_retry_failed_tries_again(
    run: Any, folder: Path, failing: Any, check_fresh: Any
) -> None:
    with failing([(folder / "bees/4.png").read_bytes()], MemoryError):
        report = run(folder, max_failures=1)
    assert (report.n_rows, report.n_failures) == (7, 1)
    with open_cache(report.path) as cache:
        assert cache.failures[0].reason == "MemoryError: out of order"
    assert count(run(folder, max_failures=1)) == (0, 0, False)
    report = run(folder, retry_failed=True)
    assert (report.n_embedded, report.n_failures) == (1, 0)
    check_fresh(report, folder)


def test_extract_retry_interrupted_is_no_failure_any_more(
    run: Any, folder: Path, failing: Any, stop: Any, put: Any, check_fresh: Any
) -> None:
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
    run: Any, folder: Path, failing: Any, stop: Any
) -> None:
    with failing(), pytest.raises(TooManyFailuresError, match=r"out of order"):
        run(folder)
    stop(KeyboardInterrupt("stopped"), after=2)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder, retry_failed=True)
    report = run(folder, max_failures="50%")
    assert (report.n_rows, report.n_embedded, report.n_resumed, report.n_failures) == (4, 0, 4, 4)
    with open_cache(report.path) as cache:
        assert {one.id for one in cache.failures}.isdisjoint(cache.ids.tolist())


def test_extract_killed_twice_around_a_rename_knows_every_size(
    run: Any, folder: Path, put: Any, stop: Any, check_fresh: Any
) -> None:
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
    run: Any, make_image: Any, tmp_path: Path, check_fresh: Any
) -> None:
    for seed, name in enumerate(("cam1", "cam2")):
        for number in range(2):
            path = make_image(tmp_path / name / f"a/{number}.bmp", (24, 20), 2 * seed + number)
            os.utime(path, (10**9, 10**9))
    run(tmp_path / "cam1")
    report = run(tmp_path / "cam2")
    assert count(report) == (2, 0, True)
    check_fresh(report, tmp_path / "cam2")


def test_extract_second_backbone_that_cannot_decode_keeps_the_row_of_the_first(
    run: Any, folder: Path, extracted: Path, failing: Any, other_backbone: str
) -> None:
    with failing([(folder / "ants/0.png").read_bytes()]):
        report = run(folder, backbone=other_backbone, max_failures=1)
    assert report.n_failures == 1
    with open_cache(extracted) as cache:
        (failure,) = cache.failures
        assert (failure.id, failure.embedding) == ("ants/0.png", other_backbone)
        assert len(cache) == 8
        assert cache.read_present(other_backbone).sum() == 7
    assert verify_cache(extracted).problems == ()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("shard_seconds", [0, 30])
def test_extract_interrupted_goes_on_and_equals_one_run(
    run: Any,
    folder: Path,
    stop: Any,
    check_fresh: Any,
    tmp_path: Path,
    error: Any,
    shard_seconds: Any,
) -> None:
    stop(error("stopped"), after=3)
    with pytest.raises(error, match=r"stopped"):
        run(folder, shard_seconds=shard_seconds)
    assert len(list_shards(tmp_path / "out.h5")) == (1 if shard_seconds else 3)
    assert not (tmp_path / "out.h5").exists()
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (2, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "photos"]
    check_fresh(report, folder)


def test_extract_interrupted_increment_leaves_the_cache_and_goes_on(
    run: Any, folder: Path, extracted: Path, put: Any, stop: Any, check_fresh: Any
) -> None:
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
    run: Any, folder: Path, stop: Any, put: Any, check_fresh: Any
) -> None:
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


def test_extract_interrupted_with_overwrite_goes_on(
    run: Any, folder: Path, extracted: Path, stop: Any, check_fresh: Any
) -> None:
    stop(KeyboardInterrupt("stopped"), after=2)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder, overwrite=True)
    report = run(folder, overwrite=True)
    assert (report.n_embedded, report.n_resumed) == (4, 4)
    check_fresh(report, folder)


@pytest.fixture
def unfinished(run: Any, folder: Path, stop: Any, tmp_path: Path) -> Any:
    """The work folder of an extraction that was interrupted after two batches."""
    stop(KeyboardInterrupt("stopped"), after=2)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder, shard_seconds=0)
    return tmp_path / "out.h5.partial"


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"backbone": "lenet5"}, r"got unfinished work on tests-tiny"),
        ({"layers": ["conv"]}, r"got unfinished work on tests-tiny"),
        ({"backbone": "lenet5", "embedding": "tests-tiny"}, r"another \w+ of tests-tiny"),
        ({"dtype": "float16"}, r"dtype float32 in place of float16"),
        ({"batch_size": 4}, r"batch_size 2 in place of 4"),
    ],
)
def test_extract_with_other_arguments_than_the_unfinished_run_is_refused(
    run: Any, folder: Path, unfinished: Path, options: Any, got: Any
) -> None:
    before = sorted(unfinished.iterdir())
    with pytest.raises(CacheError, match=rf"{got}.*Finish that .* or delete .*: rm -r .*\.partial"):
        run(folder, **options)
    assert sorted(unfinished.iterdir()) == before
    assert run(folder).n_resumed == 4


def test_extract_overwrite_drops_unfinished_work_of_other_arguments(
    run: Any, folder: Path, unfinished: Path, check_fresh: Any
) -> None:
    report = run(folder, batch_size=4, overwrite=True)
    assert (report.n_embedded, report.n_resumed) == (8, 0)
    assert not unfinished.exists()
    check_fresh(report, folder, batch_size=4)


def test_extract_damaged_shard_is_done_again(
    run: Any, folder: Path, unfinished: Path, check_fresh: Any
) -> None:
    shard = sorted(unfinished.glob("shard-*.h5"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (6, 2)
    check_fresh(report, folder)


def test_extract_interrupted_after_the_last_batch_embeds_nothing_again(
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, check_fresh: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("featx.extraction.commit.write_cache", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError, match=r"division"):
            run(folder)
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (0, 8)
    check_fresh(report, folder)


def test_extract_interrupted_after_the_cache_was_written_clears_up(
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, check_fresh: Any, tmp_path: Path
) -> None:
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
    run: Any, folder: Path, failing: Any, check_fresh: Any, error: Any
) -> None:
    with (
        failing([(folder / "bees/7.png").read_bytes()], error),
        pytest.raises(error, match=r"out of order"),
    ):
        run(folder, shard_seconds=0)
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (4, 4)  # a worker takes four at a time
    check_fresh(report, folder)


def test_extract_while_another_process_writes_is_refused_before_any_work(
    run: Any, folder: Path, extracted: Path, put: Any, decoded: Any
) -> None:
    put(folder / "ants/8.png", 8)
    with (
        CacheLock(extracted),
        pytest.raises(
            CacheLockedError,
            match=r"only writer of the cache, got process \d+ on .*break_lock=True",
        ),
    ):
        run(folder)
    assert decoded == []
    assert run(folder).n_embedded == 1


def test_extract_break_lock_writes(run: Any, folder: Path, extracted: Path, put: Any) -> None:
    put(folder / "ants/8.png", 8)
    lock = CacheLock(extracted)
    assert run(folder, break_lock=True).n_embedded == 1
    with pytest.raises(CacheLockedError, match=r"got a lock that .* has broken"):
        lock.check()


def test_extract_whose_lock_is_broken_leaves_the_cache_and_its_work(
    run: Any, folder: Path, extracted: Path, put: Any, watch_batches: Any
) -> None:
    before = extracted.read_bytes()
    put(folder / "ants/8.png", 8)
    with (
        watch_batches(lambda _: CacheLock(extracted, break_lock=True)),
        pytest.raises(CacheLockedError, match=r"got a lock that process .* has broken"),
    ):
        run(folder)
    assert extracted.read_bytes() == before
    report = run(folder, break_lock=True)
    assert (report.n_embedded, report.n_resumed) == (1, 0)  # not even a shard was written


def test_extract_leaves_a_file_that_came_during_a_first_run(
    run: Any, folder: Path, tmp_path: Path, watch_batches: Any, check_fresh: Any
) -> None:
    """Another program, which knows no lock of featx, may put one there."""
    output = tmp_path / "out.h5"
    with (
        watch_batches(lambda _: output.write_bytes(b"of somebody")),
        pytest.raises(CacheError, match=r"a new file, or one with the same content, got a file"),
    ):
        run(folder)
    assert output.read_bytes() == b"of somebody"
    output.unlink()
    report = run(folder)
    assert (report.n_embedded, report.n_resumed) == (0, 8)
    check_fresh(report, folder)


def test_extract_leaves_a_cache_that_was_replaced_during_the_run(
    run: Any, folder: Path, extracted: Path, put: Any, watch_batches: Any
) -> None:
    put(folder / "ants/8.png", 8)
    whole = extracted.read_bytes()
    before = extracted.with_name("before.h5")
    before.write_bytes(whole)

    def replace(_: object) -> None:
        write_splits(before, ["train"] * 8)
        before.replace(extracted)

    with (
        watch_batches(replace),
        pytest.raises(CacheError, match=r"expected the file that was read, got a file that was wr"),
    ):
        run(folder)
    with open_cache(extracted) as cache:
        assert set(cache.splits) == {"train"}
    assert run(folder).n_resumed == 1


def test_extract_takes_over_the_lock_of_a_dead_process(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    holder = leave_dead_lock(tmp_path / "out.h5")
    assert run(folder).taken_from == str(holder)
