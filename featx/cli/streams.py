"""Standard output and standard error as a command needs them: there, printable, and whole."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from featx.core.progress import hide_progress

PIPE_CODE = 141
"""Exit code if nobody reads what a command prints: 128 plus the number of SIGPIPE."""


class PrintError(Exception):
    """Standard output takes no text.

    Parameters
    ----------
    error : OSError
        The error of standard output.
    """

    def __init__(self, error: OSError) -> None:
        self.error = error
        super().__init__(str(error))

    @property
    def exit_code(self) -> int:
        """Exit code of the command."""
        return PIPE_CODE if self.error.errno == errno.EPIPE else 1

    def describe(self, written: str) -> str | None:
        """Describe the error in one line; None if nobody reads the output any more.

        Parameters
        ----------
        written : str
            A sentence about the files that the command has written; may be empty.
        """
        if self.error.errno == errno.EPIPE:
            return None
        return (
            f"standard output: expected to print the result, got {self.error.strerror}. "
            f"{written}Print to another place."
        )


class _Closed(io.TextIOBase):
    """A standard output that was closed before the start: each write fails, as the system's do."""

    def write(self, _text: str) -> int:
        """Raise `OSError`."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class _Printed:
    """Standard output that clears the line of progress first, and raises errors as `PrintError`.

    Parameters
    ----------
    stream : TextIO
        Standard output of the process.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        hide_progress()
        with _print_errors():
            return self._stream.write(text)

    def flush(self) -> None:
        with _print_errors():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _print_errors() -> Iterator[None]:
    """Raise `PrintError` for an error of standard output."""
    try:
        yield
    except OSError as error:
        raise PrintError(error) from error
    except ValueError as error:  # closed by a host program
        raise PrintError(OSError(errno.EBADF, os.strerror(errno.EBADF))) from error


@contextmanager
def standard_streams() -> Iterator[None]:
    """Make both streams usable while a command runs.

    A shell can close them (``>&-``), and a parent without a console passes none. No file of the run
    takes the number of such a stream. Printing to a standard output that is missing is an error,
    and what goes to a missing standard error goes nowhere. Characters that a terminal cannot show
    are escaped.
    """
    before = sys.stdout, sys.stderr
    _open_missing()
    if sys.stdout is None:
        sys.stdout = cast(TextIO, _Closed())
    if sys.stderr is None:
        sys.stderr = _open_nowhere()
    with suppress(AttributeError, ValueError):  # a stream of a test or a host program
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    stdout, stderr = sys.stdout, sys.stderr
    sys.stdout = _Printed(stdout)
    try:
        yield
    finally:
        for stream in (stdout, stderr):
            _drop_rest(stream)
        sys.stdout, sys.stderr = before


def use_utf8() -> bool:
    """Encode what is printed as UTF-8, if it goes to a file or a program and not to a terminal.

    Returns
    -------
    bool
        True if standard output takes every character.
    """
    with suppress(AttributeError, ValueError):
        if not is_terminal(sys.stdout):
            sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    encoding = str(getattr(sys.stdout, "encoding", None) or "utf-8")
    return encoding.lower().replace("-", "") == "utf8"


def _drop_rest(stream: TextIO) -> None:
    """Drop what a stream does not take: Python would try again at the end, and fail."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    except ValueError:  # closed by a host program
        return


def _open_missing() -> None:
    """Open the system's null device for each standard stream that was closed before the start."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _open_nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is a terminal; a missing or closed one is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False
