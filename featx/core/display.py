"""Draw stages and bars: what is going on, and the thread that draws the innermost of it."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Literal, TextIO

from featx.core.process import renew_in_children
from featx.core.text import shorten, show_text

View = Literal["none", "terminal", "notebook", "log"]
"""A form in which progress is shown."""

TICK_S = 0.25
"""Seconds between two looks at what is going on."""

STAGE_S = 0.4
"""Seconds after which a stage appears on a terminal; shorter ones would only flicker."""

FIRST_S = 0.8
"""Seconds after which a log gets its first line of a stage or a bar."""

NEXT_S = 10.0
"""Seconds between two lines of a log, at least."""

N_COLUMNS, N_LINES = 80, 24
"""Size of a terminal that does not tell its size."""

LATEST_S = 30.0
"""Seconds after which a log gets a line of a bar that has not reached the next tenth."""


class Item:
    """One stage or bar that is going on.

    Parameters
    ----------
    text : str
        Name of the work.
    view : {"terminal", "notebook", "log"}
        Form in which it is shown.
    """

    def __init__(self, text: str, view: View) -> None:
        self.text, self.view = show_text(text), view
        self.stream: TextIO | None = sys.stderr
        self.start = time.perf_counter()
        self.last_line: float | None = None

    def write(self, text: str) -> None:
        """Write to the stream; a stream that is full or closed shows nothing."""
        if self.stream is not None:
            with suppress(OSError, ValueError):
                self.stream.write(text)
                self.stream.flush()

    def write_line(self, text: str, now: float) -> None:
        """Write one line of a log."""
        self.last_line = now
        self.write(f"featx: {text}\n")

    def tick(self, now: float) -> None:
        """Draw what is due; called by the thread that draws, for the innermost item only."""
        raise NotImplementedError

    def hide(self) -> None:
        """Clear what stands on the terminal's last line."""


class StageLine(Item):
    """A stage: one line with its seconds on a terminal, a line now and then in a log.

    Parameters
    ----------
    text : str
        Name of the work.
    view : {"terminal", "log"}
        Form in which it is shown.
    is_long : bool
        True to show the name at once.
    """

    def __init__(self, text: str, view: View, *, is_long: bool) -> None:
        super().__init__(text, view)
        self.is_long = is_long
        self._shown = ""

    def tick(self, now: float) -> None:
        """See `Item.tick`."""
        seconds = now - self.start
        if self.view == "log":
            if self.last_line is None:
                if self.is_long or seconds >= FIRST_S:
                    self.write_line(self.text, now)
            elif now - self.last_line >= max(LATEST_S, seconds / 10):
                self.write_line(f"{self.text}, {format_seconds(seconds)} so far", now)
        elif self.is_long or seconds >= STAGE_S:
            # A clock, so that the line changes every second.
            minutes, rest = divmod(int(seconds), 60)
            since = f" {minutes}:{rest:02}" if minutes else f" {rest} s" if rest else ""
            end = f" ...{since}"
            n_columns = count_columns(self.stream) or N_COLUMNS
            line = shorten(f"featx: {self.text}", max(n_columns - 1 - len(end), 8)) + end
            if line != self._shown:
                self.write("\r" + line.ljust(len(self._shown)))
                self._shown = line

    def hide(self) -> None:
        """See `Item.hide`."""
        if self._shown:
            self.write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""


class Screen:
    """The stages and bars that are going on, and the thread that draws them."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: a forked child has neither the thread nor what was going on."""
        self.lock = threading.RLock()
        self._items: list[Item] = []
        self._is_drawn = False
        self._quiet_until = 0.0

    def add(self, item: Item) -> None:
        """Add the innermost item."""
        with self.lock:
            self.hide()
            self._quiet_until = 0.0
            self._items.append(item)
            if isinstance(item, StageLine) and item.is_long:
                item.tick(item.start)
            if not self._is_drawn:
                # Without another thread, the run goes on and less is shown.
                with suppress(RuntimeError):
                    threading.Thread(target=self._draw, name="featx-progress", daemon=True).start()
                    self._is_drawn = True

    def remove(self, item: Item) -> None:
        """Remove an item, wherever it stands: several threads may add some."""
        with self.lock:
            item.hide()
            with suppress(ValueError):  # a child of a fork never had it
                self._items.remove(item)

    def hide(self) -> None:
        """Clear the terminal's last line; it stays free for a second."""
        with self.lock:
            if self._items:
                self._items[-1].hide()
                self._quiet_until = time.perf_counter() + 1

    def _draw(self) -> None:
        while True:
            with self.lock:
                if not self._items:
                    self._is_drawn = False
                    return
            self.draw_due()
            time.sleep(TICK_S)

    def draw_due(self) -> None:
        """Draw what is due of the innermost item."""
        with self.lock:
            now = time.perf_counter()
            if self._items and now >= self._quiet_until:
                self._items[-1].tick(now)


SCREEN = Screen()
renew_in_children(SCREEN.reset)


def format_seconds(seconds: float) -> str:
    """Write a duration roughly, in the units that a person would use.

    Parameters
    ----------
    seconds : float
        Duration in seconds.

    Examples
    --------
    >>> format_seconds(8.4), format_seconds(200), format_seconds(7500)
    ('8 s', '3 min', '2 h 5 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def count_columns(stream: TextIO | None) -> int:
    """Count the columns of a terminal; 0 if it does not say.

    Parameters
    ----------
    stream : TextIO or None
        Stream that may be a terminal.
    """
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream else 0
    except (OSError, ValueError, AttributeError):
        return 0


def log_end(text: str) -> None:
    """Log the end of a stage or a bar, if anything in this process logs.

    Parameters
    ----------
    text : str
        Name of the work, and how long it took.
    """
    if "logging" in sys.modules:
        sys.modules["logging"].getLogger("featx").info(text)
