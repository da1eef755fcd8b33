"""The command line: parse, one library call, print. The only place that imports typer."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from featx.cli import extract, heads, looking, starting, tuning, verify
from featx.core.errors import FeatxError

app = typer.Typer(
    name="featx",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (starting, extract, heads, tuning, looking, verify):
    module.add_commands(app)


def _print_version(value: bool) -> None:
    if value:
        import featx

        print(f"featx {featx.__version__}")
        raise typer.Exit


@app.callback()
def _start(
    # Taken by `main`; here for the help text.
    _debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Embed images with frozen convnets, keep the embeddings in one HDF5 file, fit heads on it.

    featx extract photos/ -o photos.h5 --backbone resnet50

    featx fit-head photos.h5 -o head.joblib
    """


def main(arguments: list[str] | None = None) -> None:
    """Run a command.

    Exit codes: 0 done, 1 an error told in one line, 2 wrong usage, 3 too many failures, 130
    interrupted, 143 terminated.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    # Taken out here, so that it may stand anywhere on the line.
    rest = [word for word in arguments if word != "--debug"]
    # By default SIGTERM ends a process at once; as an exception it lets work in hand be kept.
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        app(args=rest, prog_name="featx")
    except FeatxError as error:
        if len(rest) < len(arguments):
            raise
        print(f"featx: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, _frame: object) -> None:
    """End as a shell reports it: 128 and the signal's number."""
    sys.exit(128 + number)
