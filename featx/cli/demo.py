"""featx demo."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from featx.cli.options import AsJson
from featx.cli.printing import print_json


def demo(
    context: typer.Context,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write to.")
    ] = Path("featx-demo"),
    as_json: AsJson = False,
) -> None:
    """Run every step of featx on handwritten digits, offline.

    A report in OUTPUT shows the result.

    featx demo
    """
    from featx.demo import run_demo

    group = context.find_root().command

    def run(words: list[str]) -> object:
        with group.make_context("featx", words) as inner:
            return group.invoke(inner)

    if not as_json:
        run_demo(output, run)
        return
    with redirect_stdout(sys.stderr):
        page = run_demo(output, run)
    print_json({"page": page, "cache": output / "digits.h5", "head": output / "mini.joblib"})
