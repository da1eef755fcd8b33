"""Signals that wait: for the end of a block, or until they are let in."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from featx.core.signals import hold_signals

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGUSR1")


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Numbers of the SIGUSR1 that were handled."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGUSR1, before)


def test_hold_signals_handler_runs_at_the_end_or_when_let_in(heard: list[int]) -> None:
    with hold_signals() as held:
        signal.raise_signal(signal.SIGUSR1)
        assert heard == []
        assert held.is_pending
        held.deliver()
        assert heard == [signal.SIGUSR1]
        assert not held.is_pending
        signal.raise_signal(signal.SIGUSR1)
        assert len(heard) == 1
    assert len(heard) == 2
    signal.raise_signal(signal.SIGUSR1)
    assert len(heard) == 3


def test_hold_signals_of_some_lets_others_through(heard: list[int]) -> None:
    with hold_signals([signal.SIGINT]) as held:
        signal.raise_signal(signal.SIGUSR1)
        assert heard == [signal.SIGUSR1]
        assert not held.is_pending


def test_hold_signals_of_none_holds_none(heard: list[int]) -> None:
    with hold_signals([]):
        signal.raise_signal(signal.SIGUSR1)
        assert heard == [signal.SIGUSR1]


def test_hold_signals_ignored_one_stays_ignored() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with hold_signals([signal.SIGUSR1]) as held:
            signal.raise_signal(signal.SIGUSR1)
            assert not held.is_pending
    finally:
        signal.signal(signal.SIGUSR1, before)


def raise_while_held(number: int | None) -> None:
    with hold_signals():
        if number is not None:
            signal.raise_signal(number)
        raise RuntimeError("stop")


def test_hold_signals_on_exception_gives_handlers_back(heard: list[int]) -> None:
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match=r"stop"):
        raise_while_held(signal.SIGUSR1)
    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)) == before
    assert heard == [signal.SIGUSR1]


def test_hold_signals_interrupt_is_raised_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt):
        raise_while_held(signal.SIGINT)


DEFAULT = """
import signal
from featx.core.signals import hold_signals

with hold_signals({numbers}):
    signal.raise_signal(signal.SIGTERM)
    print("held", flush=True)
"""


@pytest.mark.parametrize(
    ("numbers", "out"),
    [("[signal.SIGTERM]", "held\n"), ("", "")],
    ids=["asked for", "not asked for"],
)
def test_hold_signals_default_handler_ends_the_process(numbers: str, out: str) -> None:
    code = DEFAULT.format(numbers=numbers)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, out, "")


def test_hold_signals_in_another_thread_holds_none() -> None:
    waiting: list[bool] = []

    def hold() -> None:
        with hold_signals() as held:
            held.deliver()
            waiting.append(held.is_pending)

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert waiting == [False]
