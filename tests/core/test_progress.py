"""What is shown of a run: on a terminal, in a notebook, in a log, and without standard error."""

import io
import logging
import os
import re
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from featx.core import display
from featx.core.bar import Bar
from featx.core.display import SCREEN, format_seconds
from featx.core.progress import (
    announce,
    choose_view,
    hide_progress,
    open_bar,
    show_progress,
    stage,
)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    def show(self) -> list[str]:
        """List the lines as a terminal would show them: a return goes to the line's start."""
        lines = []
        for text in self.getvalue().split("\n"):
            shown = ""
            for part in text.split("\r"):
                shown = part + shown[len(part) :]
            lines.append(shown.rstrip())
        return lines


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Let a stream stand for standard error."""

    def use(stream: Any) -> Any:
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return use


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Nobody draws but the test, on a clock of its own: a function lets the time pass."""
    clock = {"now": 100.0}
    monkeypatch.setattr("time.perf_counter", lambda: clock["now"])
    monkeypatch.setattr(SCREEN, "_is_drawn", True)

    def advance(seconds: float) -> None:
        for _ in range(round(seconds / display.TICK_S)):
            clock["now"] += display.TICK_S
            SCREEN.draw_due()

    return advance


# --- where it is shown


def test_choose_view_of_a_terminal_a_pipe_and_no_stream(
    stderr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stderr(Terminal())
    assert (choose_view(None), choose_view(True), choose_view(False)) == (
        "terminal",
        "terminal",
        "none",
    )
    monkeypatch.setenv("TERM", "dumb")
    assert choose_view(None) == "log"
    stderr(io.StringIO())
    assert choose_view(None) == "log"
    sys.stderr.close()
    assert choose_view(None) == "none"
    stderr(None)
    assert choose_view(True) == "none"


def test_choose_view_in_a_notebook_is_a_notebook(
    stderr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stderr(io.StringIO())
    stream.pub_thread = object()
    assert choose_view(None) == "log"
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert choose_view(None) == "notebook"


def test_bar_in_a_notebook_without_ipywidgets_is_text_without_a_warning(
    stderr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stderr(io.StringIO())
    stream.pub_thread = object()
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with warnings.catch_warnings(), open_bar("embedding", 3, unit="images") as bar:
        warnings.simplefilter("error")
        bar.update(3)
    assert "embedding: 100%" in stream.getvalue()


def test_bar_in_a_notebook_with_ipywidgets_is_the_one_that_tqdm_chooses(
    stderr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stderr(io.StringIO())
    stream.pub_thread = object()
    chosen: list[dict[str, Any]] = []

    class Widget:
        total = 0

        def __init__(self, **options: Any) -> None:
            chosen.append(options)

        def update(self, n: int) -> None:
            self.n = n

        def close(self) -> None:
            chosen.append({"ends_at": (self.n, self.total)})

    auto = types.ModuleType("tqdm.auto")
    auto.tqdm = Widget  # type: ignore[attr-defined]
    widgets = types.ModuleType("ipywidgets")
    widgets.__spec__ = ModuleSpec("ipywidgets", None)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    with open_bar("embedding", 9, unit="images") as bar:
        bar.update(3)
    assert (chosen[0]["desc"], chosen[0]["total"]) == ("embedding", 9)
    assert chosen[1] == {"ends_at": (3, 3)}
    assert stream.getvalue() == ""


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_standard_error_work_goes_on(stderr: Any, stream: Any) -> None:
    stderr(io.StringIO() if stream else None)
    with show_progress(True), stage("listing"), open_bar("embedding", 2, unit="images") as bar:
        if stream:
            sys.stderr.close()
        bar.update(2)
    assert bar.n == 2


class Full(Terminal):
    """A terminal that takes no text."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


# Older tqdm fails to delete a bar that could not be drawn, which only the tests notice.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_standard_error_that_fails_does_not_end_the_work(stderr: Any, still: Any) -> None:
    stderr(Full())
    with stage("listing"), open_bar("embedding", 2, unit="images") as bar:
        still(3)
        bar.update(2)
    assert bar.n == 2


# --- on a terminal


def test_stage_on_a_terminal_counts_seconds_and_disappears(stderr: Any, still: Any) -> None:
    stream = stderr(Terminal())
    with stage("listing photos"):
        still(0.25)
        assert stream.getvalue() == ""
        still(0.25)
        assert stream.show() == ["featx: listing photos ..."]
        seen = []
        for _ in range(4):
            still(1)
            seen += stream.show()
        assert seen == [f"featx: listing photos ... {n} s" for n in (1, 2, 3, 4)]
        still(59)
        assert stream.show() == ["featx: listing photos ... 1:03"]
    assert stream.show() == [""]


def test_stage_with_a_long_name_still_counts_its_seconds(stderr: Any, still: Any) -> None:
    stream = stderr(Terminal())
    with stage(f"measuring {'mobilenet' * 20} in fp32"):
        still(3)
        (line,) = stream.show()
        assert line.startswith("featx: measuring mob")
        assert line.endswith("in fp32 ... 3 s")
        assert len(line) < display.N_COLUMNS


def test_bar_with_a_long_name_leaves_room_for_its_numbers(stderr: Any) -> None:
    stream = stderr(Terminal())
    with stage("mobilenet" * 20), open_bar("embedding", 10, unit="images") as bar:
        bar.update(10)
    assert "embedding: 100%" in stream.show()[0]
    assert "10/10" in stream.show()[0]


def test_stage_that_is_long_is_announced_at_once(stderr: Any, still: Any) -> None:
    stream = stderr(Terminal())
    with stage("preparing mini", is_long=True):
        assert stream.show() == ["featx: preparing mini ..."]


def test_stage_within_a_stage_names_both_and_comes_back(stderr: Any, still: Any) -> None:
    stream = stderr(Terminal())
    with stage("extract", is_inner=False), stage("view 1 of 2"):
        with stage("compiling"):
            still(1)
            assert stream.show() == ["featx: view 1 of 2: compiling ... 1 s"]
        still(1)
        assert stream.show() == ["featx: view 1 of 2 ... 2 s"]


def test_stage_shows_names_of_strangers_as_one_printable_line(stderr: Any, still: Any) -> None:
    stream = stderr(Terminal())
    with stage("reading \x1b[31mred\nline"):
        still(1)
    assert "\x1b" not in stream.getvalue()
    assert "\n" not in stream.getvalue()


def test_hide_progress_clears_the_line_until_a_second_later(stderr: Any, still: Any) -> None:
    stream = stderr(Terminal())
    with stage("listing"):
        still(1)
        hide_progress()
        assert stream.show() == [""]
        still(0.5)
        assert stream.show() == [""]
        still(1)
        assert stream.show() == ["featx: listing ... 2 s"]


def read_percents(text: str) -> list[int]:
    return [int(percent) for percent in re.findall(r"(\d+)%", text)]


def test_bar_only_grows_and_ends_at_100_even_if_less_was_needed(stderr: Any, still: Any) -> None:
    stream = stderr(Terminal())
    with open_bar("choosing C", 65, unit="fits") as bar:
        for _ in range(40):
            bar.update()
            still(0.5)
    percents = read_percents(stream.getvalue())
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert "choosing C: 100%" in stream.show()[0]
    assert "40/40" in stream.show()[0]


def test_bar_that_an_error_ends_stays_where_it_was(stderr: Any) -> None:
    stream = stderr(Terminal())
    bar = open_bar("embedding", 10, unit="images")
    bar.update(4)
    bar.__exit__(ValueError, ValueError("no"), None)
    assert "40%" in stream.show()[0]


def test_bar_shows_a_sign_of_life_between_two_updates(stderr: Any, still: Any) -> None:
    stream = stderr(Terminal())
    with open_bar("embedding", 10, unit="images"):
        before = stream.tell()
        still(2)
        assert stream.tell() > before


def test_bar_keeps_the_outer_name_when_it_is_renamed(stderr: Any) -> None:
    stream = stderr(Terminal())
    with stage("tuning"), open_bar("training", 10, unit="images") as bar:
        bar.rename("epoch 1 of 2", "loss 0.5")
        bar.update(10)
    assert "tuning: epoch 1 of 2: 100%" in stream.getvalue()
    assert "loss 0.5" in stream.getvalue()


def test_bar_of_nothing_is_not_shown(stderr: Any) -> None:
    stream = stderr(Terminal())
    with open_bar("embedding", 0, unit="images"):
        pass
    assert stream.getvalue() == ""


# --- in a log


def test_stage_in_a_log_is_a_line_within_a_second_and_then_seldom(stderr: Any, still: Any) -> None:
    stream = stderr(io.StringIO())
    with stage("listing photos"):
        still(0.75)
        assert stream.getvalue() == ""
        still(0.25)
        assert stream.getvalue() == "featx: listing photos\n"
        still(45)
    assert stream.getvalue().splitlines() == [
        "featx: listing photos",
        "featx: listing photos, 31 s so far",
    ]


def test_stage_of_a_moment_leaves_no_line_in_a_log(stderr: Any, still: Any) -> None:
    stream = stderr(io.StringIO())
    with stage("info", is_inner=False):
        still(5)
        with stage("listing photos"):
            still(0.5)
    assert stream.getvalue() == ""


def test_bar_in_a_log_has_a_line_each_tenth_or_half_minute(stderr: Any, still: Any) -> None:
    stream = stderr(io.StringIO())
    with open_bar("embedding", 1000, unit="images") as bar:
        for _ in range(200):
            still(1)
            bar.update(5)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "featx: embedding: 0 of 1,000 images (0 %)"
    assert lines[1] == "featx: embedding: 100 of 1,000 images (10 %), about 3 min left"
    assert lines[-1] == "featx: embedding: 1,000 of 1,000 images (100 %) in 3 min"
    assert [int(re.findall(r"\((\d+) %\)", line)[0]) for line in lines] == [
        *range(0, 91, 10),
        100,
    ]


def test_bar_of_a_week_leaves_a_log_that_can_be_read(stderr: Any, still: Any) -> None:
    stream = stderr(io.StringIO())
    with open_bar("embedding", 10**9, unit="images"):
        still(20_000)
    assert 20 < len(stream.getvalue().splitlines()) < 60


def test_bar_of_a_moment_has_a_line_in_a_log_only_on_request(stderr: Any, still: Any) -> None:
    stream = stderr(io.StringIO())
    for show in (None, False, True):
        with open_bar("embedding", 4, unit="images", show=show) as bar:
            bar.update(4)
    assert stream.getvalue() == "featx: embedding: 4 of 4 images (100 %) in 0 s\n"


def test_bar_of_bytes_counts_megabytes(stderr: Any, still: Any) -> None:
    stream = stderr(io.StringIO())
    with show_progress(True), open_bar("received", 14_200_000, unit="B") as bar:
        bar.update(7_100_000)
        still(1)
        bar.update(7_100_000)
    first, last = stream.getvalue().splitlines()
    assert first == "featx: received: 7 of 14 MB (50 %), about 1 s left"
    assert last == "featx: received: 14 of 14 MB (100 %) in 1 s"


def test_announce_is_one_line_where_progress_is_shown(stderr: Any, still: Any) -> None:
    stream = stderr(io.StringIO())
    announce("measuring takes about 15 s")
    with show_progress(False):
        announce("nobody reads this")
    assert stream.getvalue() == "featx: measuring takes about 15 s\n"


# --- who decides


@pytest.mark.parametrize(
    ("outer", "own", "is_shown"),
    [
        (None, True, True),
        (True, None, True),
        (False, None, False),
        (False, True, True),
        (True, False, False),
    ],
)
def test_show_progress_holds_for_everything_within(
    stderr: Any, outer: bool | None, own: bool | None, is_shown: bool
) -> None:
    stream = stderr(io.StringIO())
    with show_progress(outer), show_progress(None), open_bar("a", 1, unit="b", show=own) as bar:
        bar.update()
    assert bool(stream.getvalue()) is is_shown


def test_ends_of_stages_and_bars_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, "featx"),
        show_progress(False),
        stage("writing"),
        open_bar("embedding", 2, unit="images") as bar,
    ):
        bar.update(2)
    assert re.fullmatch(r"writing: embedding: 2 images, \d+\.\d\d s", caplog.messages[0])
    assert re.fullmatch(r"writing: \d+\.\d\d s", caplog.messages[1])


# --- threads and processes


def test_bars_of_several_threads_end_in_any_order(stderr: Any) -> None:
    stream = stderr(Terminal())
    first, second = (open_bar(name, 2, unit="images") for name in ("first", "second"))
    threads = [threading.Thread(target=bar.update, args=(2,)) for bar in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.close()
    second.close()
    assert stream.getvalue().count("100%") >= 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_of_a_fork_shows_its_own_work() -> None:
    code = """
import os, sys, time
from featx.core.progress import open_bar, stage
with open_bar("parent", 2, unit="images", show=True) as bar:
    if os.fork() == 0:
        with open_bar("child", 1, unit="images", show=True) as own:
            own.update()
        os._exit(0)
    os.wait()
    bar.update(2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if "100 %" in line]
    assert [line.split(":")[1] for line in lines] == [" child", " parent"]


def test_showing_nothing_imports_no_tqdm() -> None:
    code = (
        "import sys; from featx.core.progress import open_bar, stage\n"
        "with stage('a'), open_bar('b', 1, unit='c') as bar: bar.update()\n"
        "print('tqdm' in sys.modules, 'logging' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False False\n", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (89, "89 s"), (91, "2 min"), (7140, "1 h 59 min")],
)
def test_format_seconds_is_rough(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_bar_is_what_open_bar_returns() -> None:
    assert isinstance(open_bar("a", 1, unit="b", show=False), Bar)
