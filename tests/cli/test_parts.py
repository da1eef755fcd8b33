"""Every command takes a folder of parts, or several caches, as one cache."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def place(
    photos: Path, tiny_backbone: str, run_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working folder with images, and their caches in three parts; the current one."""
    monkeypatch.chdir(tmp_path)
    for number in (1, 2, 3):
        words = ("-o", "parts", "--part", f"{number}/3", "--backbone", tiny_backbone)
        result = run_cli("extract", "photos", *words)
        assert result.code == 0, result.err
        assert f"part {number}/3: " in result.out
    return tmp_path


def test_commands_say_the_same_of_parts_and_of_the_merged_cache(place: Any, run_cli: Any) -> None:
    result = run_cli("merge", "parts", "-o", "all.h5")
    assert (result.code, result.err) == (0, "")
    assert result.out == "all.h5: 12 rows of 3 caches, tests-tiny (dim 8)\n"
    assert run_cli("fit-head", "parts", "-o", "head.joblib", "--C", "1").code == 0
    parts = sorted(str(path) for path in Path("parts").iterdir())
    for words in (
        ("evaluate", "head.joblib"),
        ("evaluate", "head.joblib", "--split", "train"),
        ("predict", "head.joblib", "--csv"),
    ):
        expected = run_cli(*words, "all.h5")
        assert expected.code == 0, expected.err
        for caches in (["parts"], parts, ["parts/part-*.h5"] if words[0] == "evaluate" else parts):
            result = run_cli(*words, *caches)
            assert (result.code, result.out) == (0, expected.out)
            assert result.err == expected.err
    lines = [run_cli("info", name).out.splitlines() for name in ("parts", "all.h5")]
    assert lines[0][0] == "parts: 3 caches of 12 rows, 1 embedding, 0 failures"
    assert [line for line in lines[0] if line[:4] in ("ants", "bees", "all ")] == [
        line for line in lines[1] if line[:4] in ("ants", "bees", "all ")
    ]
    assert run_cli("verify", "parts").out.startswith("parts: sound, 12 rows, 12 vectors checked\n")
    assert run_cli("info", "parts", "--failures").out == "parts: no image failed\n"
    result = run_cli("split", "parts", "--val", "0.25", "--overwrite")
    assert (result.code, result.out.splitlines()[0]) == (0, "parts: train 9, val 3")
    assert run_cli("split", "parts", "--val", "0.25").code == 0  # the same splits: nothing to do
    assert run_cli("evaluate", "head.joblib", "parts").code == 0
    found = json.loads(run_cli("info", "parts", "--json").out)
    assert (found["cache"], found["splits"]) == ("parts", {"train": 9, "val": 3})


def test_a_missing_part_is_a_note_for_readers_and_an_error_for_merge(
    place: Path, run_cli: Any
) -> None:
    (place / "parts" / "part-002-of-003.h5").unlink()
    result = run_cli("info", "parts")
    assert (result.code, result.err) == (0, "featx: parts: 2 of 3 parts, without 2.\n")
    result = run_cli("merge", "parts", "-o", "all.h5")
    assert result.code == 1
    assert result.err.splitlines()[-1].endswith(
        "parts: expected all 3 parts, got 2 of 3 parts, without 2. Extract each missing part, for "
        "example with featx extract source --output parts --part 2/3."
    )
    result = run_cli("verify", "parts")
    assert (result.code, result.out.splitlines()[0].split(", ")[0]) == (1, "parts: incomplete")
    (place / "parts" / "part-003-of-003.h5").write_bytes(b"no HDF5")
    assert run_cli("verify", "parts").out.startswith("parts: damaged, ")


@pytest.mark.parametrize("part", ["0/3", "4/3", "three"])
def test_a_part_that_is_none_is_wrong_usage(run_cli: Any, tmp_path: Path, part: str) -> None:
    result = run_cli("extract", "photos", "-o", str(tmp_path / "parts"), "--part", part)
    assert result.code == 2
    assert "--part: expected K/N with K from 1 to N, such as 3/16, got" in result.err
