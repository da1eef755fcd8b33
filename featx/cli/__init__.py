"""The command line: parse, make one library call, print. The only package that imports typer."""

from __future__ import annotations

import signal
import sys

from featx.cli.app import app
from featx.core.errors import FeatxError


def main(arguments: list[str] | None = None) -> None:
    """Run a command.

    Exit codes: 0 done, 1 an error, reported in one line, 2 wrong usage, 3 too many failures, 130
    interrupted, 143 terminated.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    # Remove --debug here, so that it may stand anywhere on the line.
    rest = [word for word in arguments if word != "--debug"]
    # By default, SIGTERM ends a process at once; an exception lets commands keep finished work.
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        app(args=rest, prog_name="featx")
    except FeatxError as error:
        if len(rest) < len(arguments):
            raise
        from typer.main import get_group

        from featx.cli.flags import get_exit_code, render_error

        group = get_group(app)
        print(f"featx: {render_error(error, group, rest[0])}", file=sys.stderr)
        sys.exit(get_exit_code(error, group, rest))
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, _frame: object) -> None:
    """Exit with 128 plus the number of the signal, as shells do."""
    sys.exit(128 + number)
