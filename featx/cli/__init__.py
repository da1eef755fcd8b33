"""The command line: parse, make one library call, print. The only package that imports typer."""

from __future__ import annotations

import atexit
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from typer.main import get_group

from featx.cli.app import app
from featx.cli.printing import print_error
from featx.cli.settings import applied, read_settings
from featx.cli.streams import PrintError, standard_streams
from featx.core.endings import ENDINGS, UNDONE
from featx.core.errors import FeatxError
from featx.core.progress import stage
from featx.core.signals import EndOnSignal, end_on_signals

NO_MEMORY = b"featx: expected enough memory to say what failed, got too little. Free some memory.\n"


def main(arguments: list[str] | None = None) -> None:
    """Run a command.

    Exit codes: 0 done, 1 an error, reported in one line, 2 wrong usage, 3 too many failures, 129
    hung up, 130 interrupted, 141 nobody reads the output, 143 terminated.
    """
    start = time.time()
    words, settings = read_settings(sys.argv[1:] if arguments is None else arguments)
    tell = None if settings.quiet else print_error
    with standard_streams(), end_on_signals(tell) as signals, applied(settings):
        try:
            with signals.armed():
                code = _run(words)
        except BaseException as error:
            if settings.debug and not signals.has_raised and not isinstance(error, SystemExit):
                raise
            code = _report(error, words, signals, start)
        if arguments is None:
            _leave(code)
    sys.exit(code)


def _run(words: Sequence[str]) -> int:
    """Run a command, and return its exit code."""
    code = 0
    try:
        with stage(_find_name(words) or "starting", is_inner=False):
            app(args=words, prog_name="featx")
    except SystemExit as end:
        code = int(end.code or 0)
        if code - 128 in ENDINGS:
            raise
    sys.stdout.flush()
    return code


def _find_name(words: Sequence[str]) -> str:
    """Find the name of the command; empty if there is none."""
    return next((word for word in words if not word.startswith("-")), "")


def _report(error: BaseException, words: Sequence[str], signals: EndOnSignal, start: float) -> int:
    """Print in one line why a command ended, and return its exit code."""
    try:
        text, code = _describe(error, words, signals, list_written(words, start))
        if text is not None:
            print_error(text)
    except (MemoryError, ImportError, OSError, RuntimeError):
        with suppress(OSError):
            os.write(2, NO_MEMORY)
        return 1
    return code


def list_written(words: Sequence[str], start: float) -> list[str]:
    """List the files that a command has put in place so far.

    Parameters
    ----------
    words : sequence of str
        Words of the command line, some of which name files.
    start : float
        Time at which the command began, in seconds since 1970.
    """
    written = []
    for path in (word.partition("=")[2] if word.startswith("--") else word for word in words):
        with suppress(OSError, ValueError):
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode) and status.st_ctime >= start:
                written.append(path)
    return written


def _describe(
    error: BaseException, words: Sequence[str], signals: EndOnSignal, written: Sequence[str]
) -> tuple[str | None, int]:
    """Describe why a command ended; None if nobody reads it. The second value is the exit code."""
    # What fails after the exception of a signal fails because of it.
    number = signals.number if signals.has_raised else None
    if isinstance(error, SystemExit):
        number = int(error.code or 0) - 128
    if number is not None:
        return f"{ENDINGS[number]}: {_explain_end(error, written)}", 128 + number
    if isinstance(error, PrintError):
        told = "".join(f"{path} is in place. " for path in written)
        return error.describe(told), error.exit_code
    from featx.cli.failures import explain_failure
    from featx.cli.flags import get_exit_code, render_error

    group, name = get_group(app), _find_name(words)
    found = error if isinstance(error, FeatxError) else explain_failure(error, name)
    return render_error(found, group, name), get_exit_code(found, group, words)


def _explain_end(end: BaseException, written: Sequence[str]) -> str:
    """Say what is kept of a command that a signal has ended, and how to go on."""
    notes = [note for error in _iter_causes(end) for note in getattr(error, "__notes__", ())]
    told = [f"{path} is in place" for path in written]
    if notes:
        from featx.cli.flags import translate_all

        told.append(translate_all(notes[-1], get_group(app)))
    return "; ".join(told) or UNDONE


def _iter_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it came from: typer turns Ctrl-C into an exit."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _leave(code: int) -> None:
    """End a process whose work is done, without the clean-up of its libraries.

    OpenVINO and torch clean up for half a second, in silence, and Python would wait for the fits
    that an interrupted search has begun.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, PrintError):
            stream.flush()
    os._exit(code)
