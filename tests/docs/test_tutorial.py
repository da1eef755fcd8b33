"""Every command and every line of Python of the tutorial runs, in its order, in one folder."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import COLOURS, write_image

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def list_blocks() -> list[tuple[str, str]]:
    """List the blocks of the page that are to run, with their language."""
    return re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def test_tutorial_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(60):
        label = ("ants", "bees")[number % 2]
        write_image(
            tmp_path / f"photos/{label}/{number}.jpg", (48, 36), number, colour=COLOURS[label]
        )
    blocks = list_blocks()
    assert {language for language, _ in blocks} == {"sh", "python"}
    for language, text in blocks:
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), {})
            continue
        for line in text.splitlines():
            program, *words = shlex.split(line.partition(">")[0])
            result = run_cli(*words)
            assert (program, result.code) == ("featx", 0), (line, result.err)
