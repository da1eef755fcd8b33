"""The list of failures that a refused extraction leaves."""

import errno
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import featx
from featx.cache.joined import open_cache
from featx.core.errors import CacheError, FeatxWarning, TooManyFailuresError
from featx.extraction.checks import FailureLimit
from featx.extraction.ledger import (
    name_failure_list,
    read_failures,
    refuse_failures,
    remove_failure_list,
)
from featx.testing import FakeEngine
from tests.extraction.made_up import fail

LIMIT = FailureLimit(source="photos", n_images=10, n_allowed=1)
AWKWARD = [
    fail("a.png", "aa"),
    fail("=cmd()", "bb", embedding="tiny", reason='with "quotes", commas'),
    fail("'quoted'", "cc", reason="@name"),
]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "photos.h5"


def strip(failures: Any) -> Any:
    """Take off what the list leaves out: size and time of the file."""
    return tuple(replace(one, n_bytes=-1, mtime_ns=-1) for one in failures)


def test_refuse_failures_leaves_a_list_that_is_read_again(output: Path) -> None:
    error = refuse_failures(output, LIMIT, 3, AWKWARD)
    assert error.failures == tuple(AWKWARD)
    assert read_failures(output) == strip(AWKWARD)
    text = name_failure_list(output).read_text(encoding="utf-8")
    assert text.splitlines()[0] == "path,stage,reason,embedding,id,digest"
    assert "'=cmd()" in text  # a spreadsheet would run it as a formula
    assert [path.name for path in output.parent.iterdir()] == ["photos.h5.failures.csv"]


def test_refuse_failures_names_the_count_the_first_few_and_the_call(output: Path) -> None:
    failures = [fail(name, name) for name in ("a", "b", "c", "d")]
    error = refuse_failures(output, LIMIT, 4, failures)
    assert error.subject == "photos"
    assert error.expected == "at most 1 failure"
    assert error.got == ("failures in 4 of 10 images, such as /photos/a: broken; /photos/b: broken")
    assert error.remedy.startswith(f"List all of them with featx.read_failures('{output}'). ")
    assert refuse_failures(output, LIMIT, 10, failures).expected == "images"


def test_refuse_failures_on_a_full_disk_says_no_less(output: Path) -> None:
    with patch("featx.extraction.ledger.replacing") as replacing:
        replacing.side_effect = CacheError(subject="x", expected="x", got="x", remedy="x")
        error = refuse_failures(output, LIMIT, 3, AWKWARD)
    assert error.failures == tuple(AWKWARD)
    assert error.remedy.startswith("Repair or remove the files")


def test_too_many_failures_error_can_be_pickled(output: Path) -> None:
    error = pickle.loads(pickle.dumps(refuse_failures(output, LIMIT, 3, AWKWARD)))
    assert isinstance(error, TooManyFailuresError)
    assert error.failures == tuple(AWKWARD)


def test_read_failures_without_list_and_cache_is_refused(output: Path) -> None:
    with pytest.raises(CacheError, match=r"photos\.h5: expected a cache, got no such file"):
        read_failures(output)


@pytest.mark.parametrize(
    "text", ["path,reason\na,b\n", "path,stage,reason,embedding,id,digest\na\n"]
)
def test_read_failures_of_another_table_is_refused(output: Path, text: str) -> None:
    name_failure_list(output).write_text(text)
    with pytest.raises(CacheError, match=r"failures\.csv: expected the list of failures of an"):
        read_failures(output)


# --- whole runs


@pytest.fixture
def extract(folder: Path, output: Path) -> Any:
    def extract(**options: Any) -> Any:
        return featx.extract(
            folder, output, backbone="lenet5", engine=FakeEngine(batch_size=2), **options
        )

    return extract


def spoil(folder: Path, count: int) -> list[Path]:
    """Put files that are no images into a folder: the first ones of all, and all different."""
    paths = [folder / f"aaa/{number}.png" for number in range(count)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"no image {path.name}")
    return paths


def test_extract_refused_lists_all_failures_until_the_next_success(
    extract: Any, folder: Path, output: Path
) -> None:
    bad = spoil(folder, 7)
    told = pytest.warns(FeatxWarning, match=r"^more images failed than the 1 that may")
    with told, pytest.raises(TooManyFailuresError, match=r"got failures in 7 of 15") as caught:
        extract()
    assert [one.path for one in read_failures(output)] == [str(path) for path in bad]
    assert len(caught.value.failures) == 7
    for path in bad[:6]:
        path.unlink()
    with pytest.warns(FeatxWarning, match=r"^1 image failed, all images of aaa among them\. List"):
        report = extract()
    assert (report.n_rows, report.n_resumed, report.n_embedded) == (8, 8, 0)
    assert not name_failure_list(output).exists()
    assert [one.path for one in read_failures(output)] == [str(bad[6])]


def test_extract_refused_leaves_the_cache_and_lists_its_own_failures(
    extract: Any, folder: Path, output: Path
) -> None:
    extract()
    before = output.read_bytes()
    spoil(folder, 2)
    with pytest.warns(FeatxWarning), pytest.raises(TooManyFailuresError):
        extract(max_failures=0)
    assert output.read_bytes() == before
    assert len(read_failures(output)) == 2
    with open_cache(output) as cache:
        assert cache.failures == ()


def test_extract_of_two_images_of_which_one_is_missing_is_done(
    tmp_path: Path, put: Any, output: Path
) -> None:
    put(tmp_path / "cats/0.png", 0)
    table = tmp_path / "table.csv"
    table.write_text("path,label\ncats/0.png,cat\ncats/1.png,cat\n")
    with pytest.warns(FeatxWarning, match=r"^1 image failed\. List them with featx\.read_failures"):
        report = featx.extract(table, output, backbone="lenet5", engine=FakeEngine())
    assert (report.n_rows, report.n_failures) == (1, 1)


def test_remove_failure_list_that_cannot_be_removed_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    remove_failure_list(tmp_path / "c.h5")
    monkeypatch.setattr(os, "unlink", fail)
    with pytest.warns(FeatxWarning, match=r"c\.h5\.failures\.csv could not be removed \(Input/out"):
        remove_failure_list(tmp_path / "c.h5")
