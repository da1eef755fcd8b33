"""No command is silent on a terminal for longer than a person puts up with.

The bound is on the silence that is the command's own: what its main thread waited for a core that
another program had is left out, so that a busy machine changes nothing (`benchmarks/silence.py`).
"""

import os
import shlex
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from silence import BOUND_S, COMMANDS, FEATX, build_environment, watch, write_photos

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")

QUICK = [
    "extract photos/ -o photos.h5 --backbone mini",
    "split photos.h5 --val 0.2",
    "fit-head photos.h5 -o head.joblib",
]


def follow(lines: list[str], folder: Path, n_images: int) -> list[str]:
    """Run commands one after the other; list those that were silent for too long."""
    write_photos(folder / "photos", n_images)
    environment = build_environment(folder / "store") | {"FEATX_WEIGHTS_DIR": ""}
    too_long = []
    for line in lines:
        found = watch([*FEATX, *shlex.split(line)], folder, environment)
        assert found.code == 0, found.output
        if found.own_s >= BOUND_S:
            too_long.append(f"featx {line}: {found.own_s:.1f} s after {found.start_s:.1f} s")
    return too_long


@pytest.mark.slow
def test_first_commands_of_the_readme_are_never_silent(tmp_path: Path) -> None:
    assert follow(QUICK, tmp_path, 40) == []


@pytest.mark.slow
def test_commands_of_the_docs_are_never_silent(tmp_path: Path) -> None:
    assert follow(COMMANDS.strip().splitlines(), tmp_path, 300) == []


def write_script(folder: Path, text: str) -> list[str]:
    path = folder / "script.py"
    path.write_text(text, encoding="utf-8")
    return [sys.executable, str(path)]


def test_watch_finds_the_silence_of_a_program_that_sleeps(tmp_path: Path) -> None:
    words = write_script(
        tmp_path,
        "import time\nfor s in (0.1, 0.7, 0.2):\n    time.sleep(s)\n    print(s, flush=True)",
    )
    found = watch(words, tmp_path, dict(os.environ))
    assert found.code == 0
    assert 0.6 < found.own_s <= found.seconds
    assert found.output.split() == ["0.1", "0.7", "0.2"]


def test_terminal_gets_the_result_on_a_line_of_its_own(tmp_path: Path) -> None:
    text = (
        "import time\n"
        "from featx.cli.streams import standard_streams\n"
        "from featx.core.progress import stage\n"
        "with standard_streams(), stage('info', is_inner=False):\n"
        "    time.sleep(0.8)\n"
        "    print('the result')\n"
    )
    found = watch(write_script(tmp_path, text), tmp_path, build_environment(tmp_path / "store"))
    assert "featx: info ..." in found.output
    shown = [line.split("\r")[-1] for line in found.output.replace("\r\n", "\n").split("\n")]
    assert shown == ["the result", ""]
