"""Options of the whole program, which may stand before or after the name of a command."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from featx.core.progress import hide_progress, show_progress

OPTIONS: dict[str, tuple[str, dict[str, bool]]] = {
    "--progress": (
        "Show progress, in a log too. Default: bars on a terminal; elsewhere a line now and then.",
        {"progress": True},
    ),
    "--no-progress": ("Show no progress.", {"progress": False}),
    "--quiet": ("Print results and errors only: no progress, no notes.", {"quiet": True}),
    "--verbose": ("Tell how long each step takes.", {"verbose": True}),
    "--debug": ("Show a traceback on errors.", {"debug": True}),
}
"""Help text of each option, and the settings that it makes."""

SHORT = {"-q": "--quiet", "-v": "--verbose"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the options of the whole program say.

    Attributes
    ----------
    progress : bool or None
        Whether to show progress; None leaves it to standard error.
    quiet, verbose, debug : bool
        Whether notes are hidden, steps are timed, and errors have tracebacks.
    """

    progress: bool | None = None
    quiet: bool = False
    verbose: bool = False
    debug: bool = False


_CURRENT: ContextVar[Settings | None] = ContextVar("featx_settings", default=None)


def read_settings(words: Sequence[str]) -> tuple[list[str], Settings]:
    """Take the options of the whole program out of a command line.

    Parameters
    ----------
    words : sequence of str
        Words of the command line; those after ``--`` are no options.

    Returns
    -------
    rest : list of str
        The words that are left for the command.
    settings : Settings
        What the options say; of two that contradict each other, the last one counts.

    Examples
    --------
    >>> read_settings(["info", "-q", "photos.h5"])
    (['info', 'photos.h5'], Settings(progress=None, quiet=True, verbose=False, debug=False))
    """
    end = words.index("--") if "--" in words else len(words)
    settings, rest = Settings(), []
    for word in words[:end]:
        option = OPTIONS.get(SHORT.get(word, word))
        if option is None:
            rest.append(word)
        else:
            settings = replace(settings, **option[1])
    return [*rest, *words[end:]], settings


def get_settings() -> Settings:
    """Return the settings of the command that is running."""
    return _CURRENT.get() or Settings()


@contextmanager
def applied(settings: Settings) -> Iterator[None]:
    """Apply settings to a block: to progress, notes and the lines of the library's logger."""
    token = _CURRENT.set(settings)
    try:
        progress = False if settings.quiet and settings.progress is None else settings.progress
        with show_progress(progress), _logged(settings.verbose):
            yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def _logged(is_verbose: bool) -> Iterator[None]:
    """Print what the library logs about its steps; its notes are printed as notes."""
    if not is_verbose:
        yield
        return
    import logging

    class Handler(logging.StreamHandler[Any]):
        def emit(self, record: logging.LogRecord) -> None:
            hide_progress()
            super().emit(record)

    logger = logging.getLogger("featx")
    level = logger.level
    handler = Handler(sys.stderr)
    handler.setFormatter(logging.Formatter("featx: %(message)s"))
    handler.addFilter(lambda record: record.levelno < logging.WARNING)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
