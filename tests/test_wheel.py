"""The wheel as a user gets it: built, installed away from the checkout, and run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[1]
UNREACHABLE = ("dns error", "error sending request", "Failed to fetch", "Connection", "timed out")


def run(*words: Any, **options: Any) -> Any:
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def install(*words: Any) -> Any:
    """Run uv; skip where no package index can be reached."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
    if uv is None:
        pytest.skip("needs uv, which make puts beside the interpreter")
    done = run(uv, *words)
    if done.returncode and any(word in done.stderr for word in UNREACHABLE):
        pytest.skip(f"needs a package index: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_wheel_in_an_empty_environment_runs_the_demo(tmp_path: Path) -> None:
    install("build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", PROJECT)
    (wheel,) = (tmp_path / "dist").glob("featx-*.whl")
    install("venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    # Only what the wheel asks for is installed, in the versions that the project is tested with.
    locked = ("--constraint", PROJECT / "requirements.lock")
    install("pip", "install", "--quiet", "--compile-bytecode", "--python", python, *locked, wheel)
    done = run(
        python.with_name("featx"),
        "demo",
        "--output",
        tmp_path / "demo",
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.defpath},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    where = run(python, "-c", "import featx; print(featx.__file__)", cwd=tmp_path).stdout
    assert str(tmp_path) in where
    assert (tmp_path / "demo" / "demo.html").is_file()
