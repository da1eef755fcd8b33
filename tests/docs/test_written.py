"""The blocks of README and of the pages run as they are written, in order, twice in one folder.

The fast form runs README, the tutorial and the page of each neighbour in this process, each in a
folder of its own. The long form runs the other pages with bash and Python, in one folder. Named
weights are random numbers here: where a network is downloaded, a file lies in `FEATX_WEIGHTS_DIR`,
and its SHA-256 is not checked.
"""

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featx.backbones import fetch
from featx.backbones.registry import get_backbone_spec
from tests.conftest import COLOURS, write_image

ROOT = Path(__file__).parents[2]
README, TUTORIAL = ROOT / "README.md", ROOT / "docs/tutorial.md"
HOW_TO = sorted((ROOT / "docs/how_to").glob("*.md"))
NEIGHBOURS = sorted((ROOT / "docs/how_to/neighbours").glob("*.md"))
SET_UP = ("make ", "pip ", "uv ")
"""Beginnings of lines that install something, which CI and the test of the wheel do."""

Blocks = list[tuple[str, str]]


def list_blocks(page: Path) -> Blocks:
    """List the blocks of a page that are to run, with their language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(sh|python)\n(.*?)^```$", text, re.M | re.S)


def list_lines(text: str) -> list[str]:
    """List the lines of a shell block, without its comments and what installs something."""
    lines = [line.partition("  #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(SET_UP)]


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights of the networks that the pages name."""
    import torch
    import torchvision

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name in ("resnet50", "mobilenet_v2"):
        network = torchvision.models.get_model(name)
        default = get_backbone_spec(name).list_weights()[-1]
        torch.save(network.state_dict(), folder / default.file_name)
    return folder


@pytest.fixture
def folder(tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a reader, who has images of two classes."""
    monkeypatch.setenv(fetch.WEIGHTS_DIR_VARIABLE, str(weights_dir))
    monkeypatch.chdir(tmp_path)
    for number in range(40):
        label = ("ants", "bees")[number % 2]
        write_image(Path(f"photos/{label}/{number}.jpg"), (48, 36), number, colour=COLOURS[label])
    for number, name in enumerate(("ant.jpg", "bee.jpg", "new/1.jpg", "new/2.jpg")):
        write_image(
            Path(name), (48, 36), 100 + number, colour=COLOURS[("ants", "bees")[number % 2]]
        )
    return tmp_path


def expand(line: str) -> Iterator[str]:
    """Split a line into words as a shell does, with names of files in place of patterns."""
    for word in shlex.split(line.partition(" > ")[0]):
        yield from sorted(glob.glob(word)) if "*" in word and "/" in word else [word]


def run_twice(page: Path, blocks: Blocks, run_cli: Any) -> None:
    """Run the blocks of a page in this process, twice."""
    for _ in range(2):
        for language, text in blocks:
            if language == "python":
                exec(compile(text, str(page), "exec"), {})
                continue
            for line in list_lines(text):
                program, *words = expand(line)
                result = run_cli(*words)
                assert (program, result.code) == ("featx", 0), (line, result.err)


@pytest.mark.parametrize(
    "page", [pytest.param(README, marks=pytest.mark.slow), TUTORIAL], ids=["readme", "tutorial"]
)
def test_page_runs_as_it_is_written_twice(
    page: Path, folder: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "check_digest", lambda *_: None)
    blocks = list_blocks(page)
    assert {language for language, _ in blocks} == {"sh", "python"}
    run_twice(page, blocks, run_cli)
    assert list(folder.glob("*.h5"))


@pytest.fixture
def run_block(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Run a block in a process of its own, as its reader would."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(
        "from featx.backbones import fetch\nfetch.check_digest = lambda *_: None\n"
    )
    programs = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{site}{os.pathsep}{ROOT}",
    }

    def run(language: str, text: str) -> None:
        if language == "python" and (named := re.match(r"# (\w+\.py)\n", text)):
            (folder / named.group(1)).write_text(text, encoding="utf-8")
            return
        command = ["bash", "-euc", "\n".join(list_lines(text))]
        if language == "python":
            command = [sys.executable, "-W", "error::FutureWarning", "-c", text]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (text, done.stderr)
        assert "Traceback" not in done.stderr

    return run


@pytest.mark.slow
def test_all_pages_run_as_they_are_written_twice_in_one_folder(run_block: Any) -> None:
    for _ in range(2):
        for page in (README, TUTORIAL, *HOW_TO):
            for language, text in list_blocks(page):
                run_block(language, text)


def check_packages(text: str) -> None:
    """Skip the test of a page if a package that its Python imports is not installed."""
    for name in sorted(set(re.findall(r"^(?:import|from) (\w+)", text, re.M))):
        pytest.importorskip(name, reason=f"needs {name}")


@pytest.mark.parametrize("page", NEIGHBOURS, ids=lambda page: page.stem)
def test_page_of_a_neighbour_runs_as_it_is_written_twice(
    page: Path, folder: Path, run_cli: Any
) -> None:
    blocks = list_blocks(page)
    check_packages("\n".join(text for language, text in blocks if language == "python"))
    run_twice(page, blocks, run_cli)


@pytest.mark.slow
def test_page_of_r_runs_in_r(folder: Path, run_cli: Any) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("needs R with hdf5r: apt-get install r-cran-hdf5r")
    page = ROOT / "docs/how_to/neighbours/r.md"
    for _, text in list_blocks(page):
        for line in list_lines(text):
            assert run_cli(*shlex.split(line)[1:]).code == 0
    blocks = re.findall(r"^```r\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    command = ["Rscript", "--vanilla", "-e", "\n".join(blocks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "no package called" in done.stderr:
        pytest.skip("needs the R package hdf5r: apt-get install r-cran-hdf5r")
    assert done.returncode == 0, done.stderr
    shape, *_, accuracy = done.stdout.splitlines()
    assert shape == "[1]  40 768"
    assert float(accuracy.split()[-1]) > 0.8
