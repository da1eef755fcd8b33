"""The command line: parse, make one library call, print. The only package that imports typer."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import suppress

from typer.main import get_group

from featx.cli.app import app
from featx.cli.printing import print_error
from featx.cli.settings import applied, read_settings
from featx.cli.streams import PrintError, standard_streams
from featx.core.errors import FeatxError
from featx.core.progress import stage
from featx.core.signals import end_on_signals

SIGNAL_CODES = {130: "interrupted", 143: "terminated"}


def main(arguments: list[str] | None = None) -> None:
    """Run a command.

    Exit codes: 0 done, 1 an error, reported in one line, 2 wrong usage, 3 too many failures, 130
    interrupted, 141 nobody reads the output, 143 terminated.
    """
    words, settings = read_settings(sys.argv[1:] if arguments is None else arguments)
    with end_on_signals(), applied(settings):
        try:
            with standard_streams():
                code = _run(words, debug=settings.debug)
        except PrintError as error:
            text = error.describe()
            if text is not None:
                print_error(text)
            code = error.exit_code
    if arguments is None:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> None:
    """End a process whose work is done, without the clean-up of its libraries.

    OpenVINO and torch clean up for half a second, in silence, and Python would wait for the fits
    that an interrupted search has begun.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
    os._exit(code)


def _run(words: list[str], *, debug: bool) -> int:
    """Run a command, and return its exit code."""
    name = next((word for word in words if not word.startswith("-")), "")
    try:
        with stage(name or "starting", is_inner=False):
            app(args=words, prog_name="featx")
    except FeatxError as error:
        if debug:
            raise
        from featx.cli.flags import get_exit_code, render_error

        group = get_group(app)
        print_error(render_error(error, group, name))
        return get_exit_code(error, group, words)
    except SystemExit as end:
        code = int(end.code or 0)
        if code in SIGNAL_CODES:
            print_error(f"{SIGNAL_CODES[code]}: {_explain_end(end)}")
        return code
    return 0


def _explain_end(end: BaseException) -> str:
    """Say what is kept of a command that a signal has ended, and how to go on."""
    notes = [note for error in _iter_causes(end) for note in getattr(error, "__notes__", ())]
    if not notes:
        return "no result was written; run the same command again"
    from featx.cli.flags import translate_all

    return translate_all(notes[-1], get_group(app))


def _iter_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it came from: typer turns Ctrl-C into an exit."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
