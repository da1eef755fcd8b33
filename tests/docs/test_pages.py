"""The pages are complete and their links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

import featx
from featx.cli.app import app
from featx.cli.settings import OPTIONS

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def list_documented() -> list[str]:
    """List the names that the Python reference documents."""
    pages = sorted((ROOT / "docs/reference/python").glob("*.md"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    return re.findall(r"^::: featx\.([\w.]+)$", text, re.M)


def test_python_reference_documents_every_public_name_once() -> None:
    assert sorted(list_documented()) == sorted([*featx.__all__, "testing.FakeEngine"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


COMMANDS = typer.main.get_group(app).commands
FLAGS = {
    flag for command in COMMANDS.values() for parameter in command.params for flag in parameter.opts
} | {*OPTIONS, "--version", "--help", "--install-completion", "--show-completion"}

# Flags of pip, uv, docker, gunicorn, ray, Slurm and of the scripts in pipelines/ and benchmarks/.
OTHERS = {
    *("--torch-backend", "--shm-size", "--model", "--out", "--rounds", "--photos", "--seconds"),
    *("--images", "--work", "--table", "--sizes", "--ways", "--plot", "--preload"),
    *("--stop", "--train", "--test", "--small"),
    *(
        "--cifar",
        "--data",
        "--seeds",
        "--n-test",
        "--blocks",
        "--backbones",
        "--dims",
        "--old",
        "--parts",
    ),
    *("--array", "--dependency", "--parsable"),
    *("--head", "--port", "--address", "--disable-usage-stats"),
}


def list_command_lines(text: str) -> list[str]:
    """List the featx commands in the blocks of a page, without their comments."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    commands = [
        line for line in lines if re.match(r"featx [a-z]", line) and "[OPTIONS]" not in line
    ]
    return [re.split(r" {2,}#| >| \|", command)[0] for command in commands]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_a_page_parse(page: Path) -> None:
    for line in list_command_lines(page.read_text(encoding="utf-8")):
        _, name, *words = shlex.split(line)
        COMMANDS[name].make_context(name, words)  # raises on wrong usage


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_flags_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(r"(?<![\w-])--[A-Za-z][\w-]*", page.read_text(encoding="utf-8")))
    assert named - FLAGS - OTHERS == set()
