"""featx demo."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    run = functools.partial(app, standalone_mode=False, prog_name="featx")

    @app.command("demo")
    def demo(
        output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(
            "featx-demo"
        ),
    ) -> None:
        """Run the whole of featx on handwritten digits, without network, and make a page of it.

        featx demo
        """
        from featx.demo import run_demo

        run_demo(output, run)
