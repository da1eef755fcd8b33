"""Bars that count: drawn by tqdm on a terminal and in a notebook, written as lines in a log."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Self

from featx.core.display import (
    FIRST_S,
    LATEST_S,
    N_COLUMNS,
    N_LINES,
    NEXT_S,
    SCREEN,
    Item,
    View,
    count_columns,
    format_seconds,
    log_end,
)
from featx.core.text import shorten, show_text

BAR_COLUMNS = 56
"""Columns of a terminal that belong to the bar itself and its numbers."""


class Bar(Item):
    """A bar that counts; it only grows, and ends where the work ends.

    `open_bar` builds it. Leaving its block without an error ends it at 100 %, even if fewer pieces
    were needed than its total.

    Parameters
    ----------
    text : str
        Name of the work.
    total : int
        Number of pieces, at most.
    unit : str
        Name of the pieces.
    done : int
        Number of pieces that are done already.
    view : {"none", "terminal", "notebook", "log"}
        Form in which it is shown.
    is_eager : bool
        True to show short work in a log too.
    """

    def __init__(
        self, text: str, total: int, *, unit: str, done: int, view: View, is_eager: bool
    ) -> None:
        super().__init__(text, view)
        self.total, self.unit = total, unit
        self.n = self.done = done
        self.is_eager = is_eager
        self._prefix = ""
        self._next_tenth = 0.0
        self._drawn: Any = None

    def begin(self, prefix: str) -> None:
        """Show the bar.

        Parameters
        ----------
        prefix : str
            Names of the stages around the work; they stay when the work gets another name.
        """
        self._prefix = prefix
        self.text = show_text(prefix + self.text)
        if self.view in ("terminal", "notebook"):
            SCREEN.hide()
            # Some terminals have no size, and tqdm would fit its bar into that.
            has_size = count_columns(self.stream) > 0 or self.view == "notebook"
            with suppress(OSError, ValueError):
                self._drawn = _find_tqdm(self.view)(
                    desc=self._describe_briefly(),
                    total=self.total,
                    initial=self.done,
                    unit=self.unit if self.unit == "B" else f" {self.unit}",
                    unit_scale=self.unit == "B",
                    file=self.stream if self.view == "terminal" else None,
                    **(
                        {"dynamic_ncols": True}
                        if has_size
                        else {"ncols": N_COLUMNS, "nrows": N_LINES}
                    ),
                )
        if self.view != "none":
            SCREEN.add(self)

    def update(self, n: int = 1) -> None:
        """Count some more pieces.

        Parameters
        ----------
        n : int
            Number of pieces that were done since the last call.
        """
        with SCREEN.lock:
            self.n += n
            if self._drawn is not None:
                with suppress(OSError, ValueError):
                    self._drawn.update(n)

    def rename(self, text: str, detail: str = "") -> None:
        """Give the work another name, such as ``epoch 3 of 10``.

        Parameters
        ----------
        text : str
            Name of the work from now on.
        detail : str
            Something to show after the bar.
        """
        with SCREEN.lock:
            self.text = show_text(self._prefix + text)
            if self._drawn is not None:
                with suppress(OSError, ValueError):
                    self._drawn.set_description(self._describe_briefly(), refresh=False)
                    self._drawn.set_postfix_str(detail)

    def close(self, *, is_done: bool = True) -> None:
        """End the bar.

        Parameters
        ----------
        is_done : bool
            True if the work is done: what was counted is all of it.
        """
        with SCREEN.lock:
            if is_done:
                self.total = self.n
            if self._drawn is not None:
                self._drawn.total = self.total
                with suppress(OSError, ValueError):
                    self._drawn.close()
            elif self.view == "log" and is_done and (self.is_eager or self.last_line is not None):
                now = time.perf_counter()
                self.write_line(f"{self.describe(now)} in {format_seconds(now - self.start)}", now)
        if self.view != "none":
            SCREEN.remove(self)
        log_end(f"{self.text}: {self.n} {self.unit}, {time.perf_counter() - self.start:.2f} s")

    def _describe_briefly(self) -> str:
        """Name the work so briefly that a terminal has room for the bar."""
        n_columns = count_columns(self.stream) or N_COLUMNS
        return shorten(self.text, max(n_columns - BAR_COLUMNS, 16))

    def describe(self, now: float) -> str:
        """Describe the state in words, with an estimate of the time that is left.

        Parameters
        ----------
        now : float
            The time of ``time.perf_counter``.
        """
        share = self.n / self.total if self.total else 1.0
        if self.unit == "B":
            counts = f"{self.n / 1e6:,.0f} of {self.total / 1e6:,.0f} MB"
        else:
            counts = f"{self.n:,} of {self.total:,} {self.unit}"
        text = f"{self.text}: {counts} ({int(100 * share)} %)"
        rate = (self.n - self.done) / max(now - self.start, 1e-9)
        if rate and self.n < self.total:
            text += f", about {format_seconds((self.total - self.n) / rate)} left"
        return text

    def tick(self, now: float) -> None:
        """See `Item.tick`."""
        if self.view == "terminal" and self._drawn is not None:
            if now - (self.last_line or self.start) >= 1:
                self.last_line = now
                with suppress(OSError, ValueError):
                    self._drawn.refresh()
        elif self.view == "log":
            share = self.n / self.total if self.total else 0.0
            if self.last_line is None:
                is_due = now - self.start >= FIRST_S
            else:
                since = now - self.last_line
                is_due = since >= max(LATEST_S, (now - self.start) / 10) or (
                    since >= NEXT_S and share >= self._next_tenth
                )
            if is_due:
                self._next_tenth = (int(10 * share) + 1) / 10
                self.write_line(self.describe(now), now)

    def hide(self) -> None:
        """See `Item.hide`."""
        if self.view == "terminal" and self._drawn is not None:
            with suppress(OSError, ValueError):
                self._drawn.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close(is_done=kind is None)


def _find_tqdm(view: View) -> Any:
    """Find the bar of tqdm for a view; tqdm warns in a notebook without ipywidgets."""
    import importlib.util

    if view == "notebook" and importlib.util.find_spec("ipywidgets"):
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm
