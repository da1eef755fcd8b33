"""Show what a run is doing: named stages and bars on a terminal, in a notebook or in a log.

A stage is a piece of work whose length is not known; a bar counts. Both are shown on standard
error, in the form that fits it:

- On a terminal, a stage is one line with its seconds, which disappears at its end; a bar is one of
  tqdm.
- In a notebook, a bar is a widget if ipywidgets is installed, and a stage is a line.
- Elsewhere (a pipe, a file, the log of a batch system), both are lines: the first one within a
  second, the next ones at every tenth of a bar or after half a minute, but seldom.
- Without standard error, nothing is shown and nothing fails.

One thread draws, so that the seconds go on while the caller's thread computes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from featx.core.bar import Bar
from featx.core.display import SCREEN, StageLine, View, log_end

_SHOW: ContextVar[bool | None] = ContextVar("featx_show_progress", default=None)
_OUTER: ContextVar[str] = ContextVar("featx_outer_stage", default="")


@contextmanager
def show_progress(show: bool | None) -> Iterator[None]:
    """Show or hide the progress of everything in a block.

    Parameters
    ----------
    show : bool or None
        True to show it, in a log without delay; False to hide it; None to leave the choice to the
        enclosing block, or else to standard error.
    """
    before = _SHOW.set(_SHOW.get() if show is None else show)
    try:
        yield
    finally:
        _SHOW.reset(before)


@contextmanager
def stage(text: str, *, is_long: bool = False, is_inner: bool = True) -> Iterator[None]:
    """Show a piece of work by its name while a block runs.

    Parameters
    ----------
    text : str
        Name of the work, such as ``listing photos``.
    is_long : bool
        True if the work always takes seconds: the name is shown at once, because some imports let
        no other thread run.
    is_inner : bool
        False for the whole of a command: it is shown on a terminal only, and does not stand before
        the names of stages and bars in it.
    """
    start = time.perf_counter()
    outer = _OUTER.get()
    full = f"{outer}: {text}" if outer else text
    view = choose_view(_SHOW.get())
    item = None
    if view != "none" and (is_inner or view == "terminal"):
        item = StageLine(full, "log" if view == "notebook" else view, is_long=is_long)
        SCREEN.add(item)
    before = _OUTER.set(full if is_inner else outer)
    try:
        yield
    finally:
        _OUTER.reset(before)
        if item is not None:
            SCREEN.remove(item)
        if is_inner:
            log_end(f"{full}: {time.perf_counter() - start:.2f} s")


def open_bar(text: str, total: int, *, unit: str, done: int = 0, show: bool | None = None) -> Bar:
    """Open a bar that counts pieces of work; close it, or use it as a context manager.

    Parameters
    ----------
    text : str
        Name of the work, such as ``embedding``.
    total : int
        Number of pieces, at most.
    unit : str
        Name of the pieces, in the plural; ``"B"`` counts bytes.
    done : int
        Number of pieces that are done already.
    show : bool, optional
        True to show the bar, in a log without delay; False to hide it. Default: as the enclosing
        `show_progress` says, or else as standard error is.
    """
    outer = _OUTER.get()
    show = _SHOW.get() if show is None else show
    view = choose_view(show) if total > done else "none"  # nothing is left to count
    bar = Bar(text, total, unit=unit, done=done, view=view, is_eager=bool(show))
    bar.begin(f"{outer}: " if outer else "")
    return bar


def announce(text: str) -> None:
    """Say in one line what is going to happen, wherever progress is shown.

    Parameters
    ----------
    text : str
        The line, such as how long the work will take.
    """
    view = choose_view(_SHOW.get())
    if view != "none":
        hide_progress()
        StageLine(text, "log", is_long=True).tick(time.perf_counter())


def hide_progress() -> None:
    """Clear the line of a terminal that shows progress, so that something else can be printed."""
    SCREEN.hide()


def choose_view(show: bool | None) -> View:
    """Choose the form in which progress is shown on standard error as it is now.

    Parameters
    ----------
    show : bool or None
        False to show nothing.
    """
    stream = sys.stderr
    if show is False or stream is None:
        return "none"
    if "ipykernel" in sys.modules and hasattr(stream, "pub_thread"):  # a kernel's own stream
        return "notebook"
    try:
        is_terminal = stream.isatty()
    except (AttributeError, OSError, ValueError):  # ValueError: the stream was closed
        return "none"
    return "terminal" if is_terminal and os.environ.get("TERM") != "dumb" else "log"
