"""The command-line reference says what the commands are now."""

import re
import runpy
from pathlib import Path

import pytest
import typer.main

from featx.cli.app import app

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "reference" / "cli.md"
GROUP = typer.main.get_group(app)


def read_section(name: str) -> str:
    """Return the part of the page that describes one command."""
    sections = re.split(r"^## featx (\S+)$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    return dict(zip(sections[1::2], sections[2::2], strict=True))[name]


def test_committed_page_is_what_the_app_gives_now() -> None:
    render = runpy.run_path(str(DOCS / "generate_cli.py"))["render_reference"]
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python docs/generate_cli.py"


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_page_names_every_option_that_typer_takes(name: str) -> None:
    section = read_section(name)
    options = [p for p in GROUP.commands[name].params if p.param_type_name == "option"]
    assert options
    for option in options:
        # Only the first column: other rows' texts may mention an option too.
        assert re.search(rf"^\|.*`{option.opts[0]}`.*?\|", section, re.M), option.opts
