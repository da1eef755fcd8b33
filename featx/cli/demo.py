"""featx demo."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    context: typer.Context,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write to.")
    ] = Path("featx-demo"),
) -> None:
    """Run every step of featx on handwritten digits, offline.

    A page in OUTPUT shows the result.

    featx demo
    """
    from featx.demo import run_demo

    group = context.find_root().command

    def run(words: list[str]) -> object:
        with group.make_context("featx", words) as inner:
            return group.invoke(inner)

    run_demo(output, run)
