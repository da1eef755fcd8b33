"""Notes: what a person should know about a run that did not fail."""

from __future__ import annotations

import logging
import sys
import warnings

from featx.core.address import show_locations
from featx.core.errors import FeatxWarning
from featx.core.text import show_text

MAX_NOTE = 2000
"""Length in characters of a note as shown: it may name files of strangers."""

LOGGER = logging.getLogger("featx")
LOGGER.addHandler(logging.NullHandler())  # without a handler, logging would print each note again


def note(text: str) -> None:
    """Tell the caller something about a run that goes on.

    The text is logged to the logger ``featx``, and warned as a `FeatxWarning` at the line of the
    caller's own code that called featx. The command line prints it on standard error.

    Parameters
    ----------
    text : str
        One or more sentences. Python arguments and calls in it become flags and commands on the
        command line, as in an error.
    """
    text = show_text(show_locations(text), MAX_NOTE)
    LOGGER.warning(text)
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_own(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, FeatxWarning, stacklevel=level + 1)


def _is_own(module: str) -> bool:
    """Tell frames of featx, and of the context managers between them, from those of the caller."""
    return module.split(".")[0] in ("featx", "contextlib")
