"""Parts of a source: whole caches that continue, fit together, and merge to the single run."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from featx.cache.joined import open_cache
from featx.cache.merge import merge_caches
from featx.core.errors import CacheError, FingerprintError, TooManyFailuresError
from featx.core.parts import Part
from featx.extraction.ledger import read_failures
from tests.extraction.caches import list_shards, read_by_id


def run_parts(run: Any, source: Any, n_parts: int, **options: Any) -> list[Any]:
    numbers = range(1, n_parts + 1)
    return [run(source, "parts", part=f"{number}/{n_parts}", **options) for number in numbers]


@pytest.mark.parametrize("n_parts", [1, 3, pytest.param(16, marks=pytest.mark.slow)])
def test_merged_parts_equal_the_single_run(
    run: Any, folder: Path, tmp_path: Path, n_parts: int
) -> None:
    single = run(folder)
    reports = run_parts(run, folder, n_parts)
    assert [report.path.name for report in reports] == [
        Part(number, n_parts).file_name for number in range(1, n_parts + 1)
    ]
    assert sum(report.n_rows for report in reports) == 8
    merged = merge_caches(tmp_path / "parts", tmp_path / "all.h5")
    assert merged.n_rows == 8
    assert read_by_id(merged.path) == read_by_id(single.path)
    with open_cache(merged.path) as cache, open_cache(single.path) as expected:
        assert sorted(zip(cache.ids, cache.labels, cache.digests, strict=True)) == sorted(
            zip(expected.ids, expected.labels, expected.digests, strict=True)
        )
        made = cache.get_info().provenance
        assert sum(run.n_embedded for run in (made, *made.updates)) == 8
        assert cache.source == expected.source


def test_an_extraction_goes_on_with_the_merged_cache(
    run: Any, folder: Path, tmp_path: Path, put: Any
) -> None:
    run_parts(run, folder, 3)
    merged = merge_caches(tmp_path / "parts", tmp_path / "all.h5")
    assert run(folder, "all.h5").n_embedded == 0
    put(folder / "ants/new.png", 40)
    report = run(folder, "all.h5")
    assert (report.n_embedded, report.n_rows) == (1, 9)
    assert report.path == merged.path


def test_an_empty_part_is_a_whole_cache_that_grows(
    run: Any, folder: Path, tmp_path: Path, put: Any
) -> None:
    reports = run_parts(run, folder, 16)
    empty = next(report for report in reports if not report.n_rows)
    part = Part(reports.index(empty) + 1, 16)
    assert empty.understood.startswith(f"part {part}: 0 images")
    with open_cache(empty.path) as cache:
        assert len(cache) == 0
        assert cache.embeddings == ("tests-tiny",)
        assert cache.read_vectors().shape == (0, 8)
    assert not run(folder, "parts", part=str(part)).is_changed
    name = next(name for n in range(1000) if part.has(name := f"ants/{n:03}.png"))
    put(folder / name, 50)
    report = run(folder, "parts", part=str(part))
    assert (report.n_rows, report.n_embedded) == (1, 1)
    assert [run(folder, "parts", part=f"{n}/16").n_embedded for n in (1, 16)] == [0] * 2


def test_an_interrupted_part_continues(run: Any, folder: Path, tmp_path: Path, stop: Any) -> None:
    stop(KeyboardInterrupt("stopped"), after=1)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        run(folder, "parts", part="1/2")
    path = tmp_path / "parts" / Part(1, 2).file_name
    assert list_shards(path)
    assert not path.exists()
    report = run(folder, "parts", part="1/2")
    assert (report.n_rows, report.n_resumed, report.n_embedded) == (4, 2, 2)


IDS = [(("ants", "bees")[seed // 4], seed) for seed in range(8)]


def test_a_new_part_takes_the_settings_of_the_others(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    run(folder, "parts", part="1/2", embedding="mine", dtype="float16")
    with pytest.warns(match=r"part-001-of-002\.h5: .* as in its embedding mine"):
        run(folder, "parts", part="2/2", backbone=None, batch_size="auto")
    with open_cache(tmp_path / "parts") as cache:
        assert cache.embeddings == ("mine",)
        assert cache.get_dtype() == "float16"
        assert {one.get_info().provenance.batch_size for one in cache.members} == {2}


def test_a_part_that_would_differ_from_the_others_is_refused_before_it_is_embedded(
    run: Any, folder: Path, tmp_path: Path, other_backbone: str
) -> None:
    run(folder, "parts", part="1/2", embedding="mine")
    with pytest.raises(FingerprintError, match=r"part-001-of-002\.h5, embedding mine"):
        run(folder, "parts", part="2/2", backbone=other_backbone, embedding="mine")
    with pytest.raises(CacheError, match=r"part-001-of-002\.h5, embedding mine: expected dtype"):
        run(folder, "parts", part="2/2", embedding="mine", dtype="float16")
    with pytest.raises(FingerprintError, match=r"its embeddings \(mine\), got other"):
        run(folder, "parts", part="2/2", backbone=other_backbone, embedding="other")
    names = [path.name for path in (tmp_path / "parts").glob("part-002*")]
    assert names == []


def test_parts_of_another_division_are_refused(run: Any, folder: Path, tmp_path: Path) -> None:
    run(folder, "parts", part="1/2")
    with pytest.raises(CacheError, match="expected parts of one division, got parts of 2 and of 3"):
        run(folder, "parts", part="1/3")


def test_a_folder_of_parts_is_no_output_of_a_whole_source(run: Any, folder: Path) -> None:
    run(folder, "parts", part="1/2")
    with pytest.raises(CacheError, match=r"got a folder of parts. Pass part='K/N'"):
        run(folder, "parts")


def test_a_file_is_no_output_of_a_part(run: Any, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"expected a folder .*, got the name of a file"):
        run(folder, "photos.h5", part="1/2")
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match=r"expected a folder .*, got a file"):
        run(folder, "file", part="1/2")
    assert not (tmp_path / "photos.h5").exists()


def test_a_part_may_hold_nothing_but_a_damaged_image(
    run: Any, tmp_path: Path, folder: Path
) -> None:
    lone = tmp_path / "lone"
    shutil.copytree(folder, lone)
    (lone / "ants/bad.png").write_bytes(b"no image")
    part = next(
        part
        for count in range(9, 500)
        for part in [Part(n, count) for n in range(1, count + 1)]
        if part.has("ants/bad.png") and not any(part.has(f"{c}/{i}.png") for c, i in IDS)
    )
    with pytest.warns(match="1 image failed"):
        report = run(lone, "parts", part=str(part))
    assert (report.n_rows, report.n_failures) == (0, 1)
    assert [one.id for one in read_failures(tmp_path / "parts")] == ["ants/bad.png"]


def test_failures_of_a_refused_part_are_read_from_its_folder(
    run: Any, spoilt: Path, tmp_path: Path
) -> None:
    with pytest.warns(match="more images failed"), pytest.raises(TooManyFailuresError):
        run(spoilt, "parts", part="1/1", max_failures=0)
    failed = read_failures(tmp_path / "parts")
    assert {one.id for one in failed} == {"ants/bad.png", "bees/bad.png"}
