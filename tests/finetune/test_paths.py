"""Where the files of a fine-tuning go, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.core.errors import FeatxWarning, TuningError
from featx.finetune.paths import TuningPaths

from .doubles_scene import list_names

OUTPUTS = ("tuned.safetensors", "tuned.joblib", "tuned.log.csv")


@pytest.fixture
def paths(tmp_path: Path) -> TuningPaths:
    return TuningPaths.build(tmp_path / "tuned.safetensors", None)


def test_paths_are_named_by_the_output(paths: TuningPaths) -> None:
    assert [path.name for path in (paths.output, paths.head, paths.log)] == list(OUTPUTS)
    assert paths.folder.name == "tuned.safetensors.partial"
    assert paths.trunk.name == "tuned.trunk.h5"
    assert {path.parent for path in vars(paths).values()} == {paths.output.parent}


def test_interrupted_run_says_what_is_kept_and_how_to_go_on(paths: TuningPaths) -> None:
    assert paths.describe_kept() == "no result was written; run the same again"
    paths.trunk.touch()
    assert paths.describe_kept() == (
        f"finished work is kept in {paths.trunk}; run the same again with resume=True"
    )
    paths.folder.mkdir()
    assert f"kept in {paths.folder} and {paths.trunk};" in paths.describe_kept()


def test_trunk_may_lie_elsewhere() -> None:
    assert TuningPaths.build("a.safetensors", "b/trunk.h5").trunk == Path("b/trunk.h5")


@pytest.mark.parametrize(
    ("name", "got"),
    [("tuned.pth", "one that ends in .pth"), ("tuned", "no suffix"), ("t.joblib", "one that ends")],
)
def test_output_of_another_suffix_is_refused(name: str, got: str) -> None:
    with pytest.raises(
        TuningError, match=rf"expected a name that ends in \.safetensors, got {got}"
    ):
        TuningPaths.build(name, None)


@pytest.mark.parametrize("name", OUTPUTS)
def test_output_that_is_there_is_refused(paths: TuningPaths, name: str) -> None:
    (paths.output.parent / name).write_text("before")
    with pytest.raises(TuningError, match=rf"{name}: expected a new file.*overwrite=True"):
        paths.check([], overwrite=False, resume=False)
    assert (paths.output.parent / name).read_text() == "before"
    paths.check([], overwrite=True, resume=False)
    assert (paths.output.parent / name).read_text() == "before"  # until the new one is whole


def test_trunk_that_is_there_is_taken(paths: TuningPaths) -> None:
    paths.trunk.write_text("of a run before")
    paths.check([], overwrite=False, resume=False)
    assert paths.trunk.read_text() == "of a run before"


def test_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    paths = TuningPaths.build(tmp_path / "no/tuned.safetensors", None)
    with pytest.raises(TuningError, match=r"tuned\.safetensors: expected .*mkdir"):
        paths.check([], overwrite=False, resume=False)


@pytest.mark.parametrize("name", [*OUTPUTS, "tuned.trunk.h5"])
def test_output_that_is_read_is_refused(paths: TuningPaths, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("read")
    (tmp_path / "link").symlink_to(tmp_path / name)
    for read in (tmp_path / name, tmp_path / "link"):
        with pytest.raises(TuningError, match=rf"{name}: expected a file of its own, got a file"):
            paths.check([tmp_path / "gone", read], overwrite=True, resume=False)
    assert (tmp_path / name).read_text() == "read"


def begin(paths: TuningPaths) -> Path:
    paths.folder.mkdir()
    (paths.folder / "checkpoint.pt").write_text("begun")
    return paths.folder / "checkpoint.pt"


def test_unfinished_run_is_neither_dropped_nor_continued_unasked(paths: TuningPaths) -> None:
    checkpoint = begin(paths)
    with pytest.raises(
        TuningError, match=r"no unfinished run, got one\. Pass resume=True .*overwrite=True"
    ):
        paths.check([], overwrite=False, resume=False)
    assert checkpoint.read_text() == "begun"


@pytest.mark.parametrize("overwrite", [False, True])
def test_unfinished_run_is_continued_with_its_outputs(paths: TuningPaths, overwrite: bool) -> None:
    checkpoint = begin(paths)
    paths.output.write_text("put in place before the run was ended")
    paths.check([], overwrite=overwrite, resume=True)
    assert checkpoint.read_text() == "begun"
    assert paths.output.exists()


def test_unfinished_run_is_dropped_on_overwrite(paths: TuningPaths) -> None:
    begin(paths)
    paths.check([], overwrite=True, resume=False)
    assert not paths.folder.exists()


def test_resume_leaves_outputs_to_whoever_can_tell_whether_their_run_is_finished(
    paths: TuningPaths,
) -> None:
    paths.head.write_text("before")
    with pytest.raises(TuningError, match=r"tuned\.joblib: expected a new file"):
        paths.check([], overwrite=False, resume=True)
    paths.output.write_text("weights")
    paths.check([], overwrite=False, resume=True)
    assert (paths.head.read_text(), paths.output.read_text()) == ("before", "weights")


def test_unfinished_run_beside_a_file_of_the_user_is_dropped_and_the_file_stays(
    paths: TuningPaths,
) -> None:
    begin(paths)
    (paths.folder / "notes.txt").touch()
    with pytest.warns(FeatxWarning, match=r"could not be removed \(Directory not empty\)"):
        paths.check([], overwrite=True, resume=False)
    assert list_names(paths.folder) == ["notes.txt"]
