"""A merge may be ended at any moment: nothing is lost, and called again it gives the same cache."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from featx.cache.seal import check_seal
from featx.core.drafts import is_draft
from featx.core.parts import Part

from .conftest import draw_delay, extract_words, read_content

LONG = int(os.environ.get("FEATX_KILLS", "40"))
N_PARTS = 4


@pytest.mark.slow
def test_merge_killed_many_times_loses_nothing(
    server: Any, photo_folder: Any, tmp_path: Path
) -> None:
    parts, output = tmp_path / "parts", tmp_path / "all.h5"
    for number in range(1, N_PARTS + 1):
        words = extract_words(photo_folder, parts, "--part", f"{number}/{N_PARTS}")
        done = server.run(words, tmp_path / "extract.log")
        assert done["code"] == 0, done["stderr"]
    files = {path: path.read_bytes() for path in parts.iterdir()}
    assert sorted(path.name for path in files) == [
        Part(number, N_PARTS).file_name for number in range(1, N_PARTS + 1)
    ]
    words = ["merge", parts, "-o", output, "--overwrite"]
    done = server.run(words, tmp_path / "merge.log")
    assert done["code"] == 0, done["stderr"]
    expected, whole_s = read_content(output), done["seconds"]
    output.unlink()
    rng = random.Random(5)
    n_killed = 0
    while n_killed < LONG:
        delay = draw_delay(rng, whole_s)
        done = server.run(words, tmp_path / "merge.log", after=delay, signal="SIGKILL")
        assert done["code"] in (0, -9), done["stderr"]
        n_killed += done["code"] == -9
        assert {path: path.read_bytes() for path in parts.iterdir()} == files
        if output.exists():
            check_seal(output)
            assert read_content(output) == expected
        if done["code"] == 0 or rng.random() < 0.2:
            output.unlink(missing_ok=True)
    assert server.run(words, tmp_path / "merge.log")["code"] == 0
    assert read_content(output) == expected
    assert not any(is_draft(path.name) for path in tmp_path.iterdir())
