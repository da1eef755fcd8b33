"""What an extraction says: its report, and its notes."""

import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import featx
from featx.core.columns import Categories
from featx.core.errors import FeatxWarning
from featx.core.row_tables import ROW_KINDS, build_table
from featx.core.rows import Row
from featx.core.typing import Split
from featx.embedding.timings import Timings
from featx.extraction.report import (
    ExtractionReport,
    count_labels,
    count_rows,
    count_splits,
    list_notes,
)
from featx.testing import FakeEngine
from tests.extraction.caches import leave_dead_lock

REPORT = ExtractionReport(
    path=Path("photos.h5"),
    understood="4 images, 2 labels (cat: 2, dog: 2), splits train 2, val 2",
    n_rows=4,
    labels={"cat": 2, "dog": 2},
    splits={"train": 2, "val": 2},
    n_learnt=0,
    n_failures=0,
    n_ignored=0,
    dims={"mini": 768},
    n_embedded=4,
    n_resumed=0,
    n_damaged=0,
    n_removed=0,
    is_changed=True,
    taken_from=None,
    elapsed_s=2.0,
    timings=Timings(),
)


def row(label: str | None, split: Split | None = None) -> Row:
    return Row(id=f"{label}/{split}", path="", label=label, split=split)


def test_report_prints_what_was_done_and_understood() -> None:
    rows, understood, advice = str(REPORT).splitlines()
    assert rows == "photos.h5: 4 rows, mini (dim 768), 4 embedded in 2.0 s, 2 images/s"
    assert understood == REPORT.understood
    assert advice == REPORT.timings.advise()
    one = replace(REPORT, n_rows=1, n_embedded=0)
    assert str(one).splitlines() == ["photos.h5: 1 row, mini (dim 768), updated", understood]
    old = replace(REPORT, is_changed=False, n_embedded=0)
    assert str(old).splitlines() == ["photos.h5: 4 rows, mini (dim 768), up to date", understood]


def test_report_as_plain_values_is_json() -> None:
    found = json.loads(json.dumps(REPORT.to_dict()))
    assert (found["path"], found["labels"], found["n_rows"]) == ("photos.h5", REPORT.labels, 4)
    assert found["advice"] == REPORT.timings.advise()


def test_counts_leave_out_rows_that_have_none() -> None:
    rows = [row("b", "val"), row("a", "test"), row(None), row("b", "train"), row("a", "val")]
    counts = count_rows(build_table(rows, ROW_KINDS))
    assert list(count_labels(counts).items()) == [("a", 2), ("b", 2)]
    assert list(count_splits(counts).items()) == [("train", 1), ("val", 2), ("test", 1)]


def list_all_notes(
    report: ExtractionReport, rows: list[Row], sought: list[Row], *, prune: bool = False
) -> list[str]:
    counts = count_rows(build_table(rows, ROW_KINDS))
    labels = Categories.from_list(one.label for one in sought).count()
    return list_notes(report, counts, labels, prune=prune)


TRAIN = [row("cat", "train"), row("dog", "train")]


@pytest.mark.parametrize(
    ("changes", "rows", "sought", "prune", "notes"),
    [
        ({}, TRAIN, TRAIN, False, []),
        ({"n_resumed": 3, "n_ignored": 3}, TRAIN, TRAIN, False, []),
        (
            {"taken_from": "process 7"},
            TRAIN,
            TRAIN,
            False,
            ["the lock of process 7, which is dead, was taken over."],
        ),
        (
            {"n_damaged": 2},
            TRAIN,
            TRAIN,
            False,
            ["2 damaged shards of the interrupted run: their images were embedded again."],
        ),
        (
            {"n_removed": 1},
            TRAIN,
            TRAIN,
            False,
            ["1 row without an image in the source: kept. Pass prune=True to drop them."],
        ),
        ({"n_removed": 1}, TRAIN, TRAIN, True, []),
        (
            {"n_failures": 2},
            TRAIN,
            [*TRAIN, row("ox"), row("elk"), row("ox")],
            False,
            [
                "2 images failed, all images of elk and ox among them. List them with "
                "featx.read_failures('photos.h5')."
            ],
        ),
        (
            {},
            [*TRAIN, row("a", "val"), row("b", "test"), row("c", "val"), row("d", "val")],
            TRAIN,
            False,
            [
                "4 labels without a row in the split train: a, b, c and 1 more. A head cannot "
                "learn them."
            ],
        ),
        ({"splits": {"val": 2}}, [row("cat", "val")], TRAIN, False, []),
    ],
)
def test_list_notes_of_what_a_person_should_know(
    changes: Any, rows: list[Row], sought: list[Row], prune: bool, notes: list[str]
) -> None:
    report = replace(REPORT, **changes)
    assert list_all_notes(report, rows, sought, prune=prune) == notes


def test_list_notes_shows_labels_of_strangers_on_one_short_line() -> None:
    rows = [*TRAIN, row("\x1b[31m" + "x" * 500, "val")]
    (text,) = list_all_notes(REPORT, rows, rows)
    assert text.isprintable()
    assert len(text) < 150


# --- whole runs


@pytest.fixture
def extract(folder: Path, tmp_path: Path) -> Any:
    def extract(**options: Any) -> Any:
        engine = FakeEngine(batch_size=2)
        return featx.extract(
            folder, tmp_path / "out.h5", backbone="lenet5", engine=engine, **options
        )

    return extract


def test_extract_reports_how_the_source_was_read(extract: Any) -> None:
    report = extract()
    assert report.understood.startswith("8 images, 2 labels (ants: 4, bees: 4)")
    assert (report.labels, report.splits) == ({"ants": 4, "bees": 4}, {})


def test_extract_tells_python_users_of_failed_and_ignored_files_once_each(
    extract: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "ants/bad.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("notes")
    caplog.set_level(logging.WARNING, logger="featx")
    with pytest.warns(FeatxWarning) as warned:
        report = extract()
    assert (report.n_failures, report.n_ignored) == (1, 1)
    texts = [str(one.message) for one in warned]
    assert len(texts) == 2
    assert "1 .txt" in texts[0]
    assert texts[1].startswith("1 image failed. List them with featx.read_failures(")
    assert [record.getMessage() for record in caplog.records] == texts
    assert {one.filename for one in warned} == {__file__}


def test_extract_tells_python_users_of_labels_that_look_alike(extract: Any, folder: Path) -> None:
    (folder / "Ants").mkdir()
    (folder / "ants/0.png").rename(folder / "Ants/0.png")
    with pytest.warns(
        FeatxWarning, match=r"labels differ only by case: 'Ants' \(1 row\) and 'ants"
    ):
        extract()


def test_extract_names_files_that_lie_in_two_classes(extract: Any, folder: Path) -> None:
    shutil.copy(folder / "ants/0.png", folder / "bees/copy.png")
    shutil.copy(folder / "ants/0.png", folder / "ants/again.png")
    told = r"^1 file lies in two classes: ants/0\.png and bees/copy\.png$"
    with pytest.warns(FeatxWarning, match=told):
        extract()


def test_extract_tells_python_users_of_a_lock_taken_over(extract: Any, tmp_path: Path) -> None:
    holder = leave_dead_lock(tmp_path / "out.h5")
    with pytest.warns(FeatxWarning, match=re.escape(f"the lock of {holder}, which is dead")):
        extract()
