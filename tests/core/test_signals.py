"""Signals that end a program in a safe place, or wait for the end of a block."""

import os
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from featx.core.signals import EndOnSignal, end_on_signals, hold_signals

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
from featx.core.signals import EndOnSignal, end_on_signals, hold_signals

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


# --- the end of a program


def compile_function(code: str, module: str, **names: Any) -> Any:
    """Compile a function ``run`` as if it stood in a module."""
    scope = types.ModuleType(module).__dict__ | names
    exec(code, scope)
    return scope["run"]


def send(*numbers: int) -> Callable[[], None]:
    """Build a function, which is none of featx, in which signals arrive."""

    def act() -> None:
        for number in numbers:
            signal.raise_signal(number)

    return act


def run_foreign(act: Any, log: list[str]) -> Any:
    """Build a function of a library that turns every error of its own into another one."""
    code = (
        "def run():\n"
        "    try:\n"
        "        act()\n"
        "        log.append('library went on')\n"
        "    except BaseException as error:\n"
        "        raise RuntimeError('C code') from error\n"
    )
    return compile_function(code, "torch.storage", act=act, log=log)


CALL = "def run():\n    log.append('before')\n    call()\n    log.append('after')\n"


def end_in(run: Any, tell: Callable[[str], None] | None = None) -> EndOnSignal:
    """Run a function as the command line does; what it raises goes to the caller."""
    outer = compile_function(
        "def run():\n    with handler.armed():\n        call()", "featx.cli", call=run, handler=None
    )
    with end_on_signals(tell) as handler:
        outer.__globals__["handler"] = handler
        outer()
    return handler


def test_signal_within_a_library_is_raised_when_the_library_returns() -> None:
    log: list[str] = []
    library = run_foreign(send(signal.SIGTERM), log)
    own = compile_function(CALL, "featx.backbones", call=library, log=log)
    with pytest.raises(SystemExit, match="143"):
        end_in(own)
    assert log == ["before", "library went on"]
    assert sys.gettrace() is None or "coverage" in str(sys.gettrace())


def test_signal_within_the_last_call_of_a_function_is_raised_at_its_return() -> None:
    log: list[str] = []
    library = run_foreign(send(signal.SIGINT), log)
    last = compile_function("def run():\n    return call()", "featx.x", call=library)
    own = compile_function(CALL, "featx.y", call=last, log=log)
    with pytest.raises(KeyboardInterrupt):
        end_in(own)
    assert log == ["before", "library went on"]


def test_signal_in_a_function_that_a_library_calls_back_waits_for_the_library() -> None:
    log: list[str] = []
    back = compile_function(CALL, "featx.callback", call=send(signal.SIGTERM), log=log)
    library = run_foreign(back, log)
    own = compile_function(CALL, "featx.backbones", call=library, log=log)
    with pytest.raises(SystemExit, match="143"):
        end_in(own)
    assert log == ["before", "before", "after", "library went on"]


def test_signal_within_a_library_leaves_no_block_without_its_end() -> None:
    log: list[str] = []
    library = run_foreign(send(signal.SIGTERM), log)
    code = (
        "class Block:\n"
        "    def __enter__(self): pass\n"
        "    def __exit__(self, kind, *_): log.append(kind)\n"
        "def run():\n"
        "    try:\n"
        "        with Block():\n"
        "            return library()\n"
        "    finally:\n"
        "        log.append('finally')\n"
    )
    own = compile_function(code, "featx.cache", library=library, log=log)
    with pytest.raises(SystemExit, match="143"):
        end_in(own)
    assert log == ["library went on", SystemExit, "finally"]


def test_signal_while_words_are_parsed_is_raised_before_the_command_works() -> None:
    log: list[str] = []
    own = compile_function(CALL, "featx.cli.extract", call=lambda: None, log=log)
    code = "def run():\n    act()\n    call()\n"
    parser = compile_function(code, "typer.core", act=send(signal.SIGTERM), call=own)
    with pytest.raises(SystemExit, match="143"):
        end_in(parser)
    assert log == []


def test_signal_after_the_command_has_ended_leaves_its_exit_code() -> None:
    code = "def run():\n    act()\n    raise SystemExit(3)\n"
    parser = compile_function(code, "typer.core", act=send(signal.SIGTERM))
    with pytest.raises(SystemExit, match="3"):
        end_in(parser)


def test_signal_in_a_destructor_is_not_lost() -> None:
    log: list[str] = []
    code = (
        "class Thing:\n"
        "    def __del__(self):\n"
        "        act()\n"
        "        log.append('cleaned up')\n"
        "def run():\n"
        "    thing = Thing()\n"
        "    del thing\n"
        "    log.append('after')\n"
    )
    own = compile_function(code, "featx.engines", act=send(signal.SIGTERM), log=log)
    with pytest.raises(SystemExit, match="143"):
        end_in(own)
    assert log == ["cleaned up"]


def test_signal_in_a_wait_is_raised_there() -> None:
    log: list[str] = []
    # The system sends the signal, so that no function of the test lies between.
    code = "def run():\n    kill(process, number)\n    log.append('waits for ever')\n"
    names = {"kill": os.kill, "process": os.getpid(), "number": signal.SIGTERM, "log": log}
    waiting = compile_function(code, "threading", **names)
    own = compile_function(CALL, "featx.embedding", call=waiting, log=log)
    with pytest.raises(SystemExit, match="143"):
        end_in(own)
    assert log == ["before"]


def test_only_the_first_signal_raises() -> None:
    log: list[str] = []
    library = run_foreign(send(signal.SIGTERM), log)
    again = send(signal.SIGTERM, signal.SIGINT)
    code = (
        "def run():\n"
        "    try:\n"
        "        library()\n"
        "    except SystemExit:\n"
        "        again()\n"
        "        log.append('cleaned up')\n"
    )
    handler = end_in(compile_function(code, "featx.x", library=library, again=again, log=log))
    assert log == ["library went on", "cleaned up"]
    assert (handler.number, handler.has_raised) == (signal.SIGTERM, True)


def test_signal_outside_the_armed_block_is_noted_and_raised_in_it() -> None:
    with end_on_signals() as handler:
        signal.raise_signal(signal.SIGTERM)
        assert (handler.number, handler.has_raised) == (signal.SIGTERM, False)
        with pytest.raises(SystemExit, match="143"), handler.armed():
            pytest.fail("the signal is raised before the block")


def test_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with end_on_signals() as handler, handler.armed():
            signal.raise_signal(signal.SIGHUP)
        assert handler.number is None
    finally:
        signal.signal(signal.SIGHUP, before)


SECOND = """
import ctypes, os, signal, threading, time
from featx.core.signals import end_on_signals

def interrupt():
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)

with end_on_signals() as handler, handler.armed():
    threading.Thread(target=interrupt).start()
    ctypes.CDLL(None).sleep(60)
"""


def test_second_ctrl_c_ends_the_process_while_c_code_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SECOND], capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("featx: interrupted: ended at once")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("number", "word"), [(2, "interrupted"), (15, "terminated")])
def test_signal_that_waits_for_a_library_says_so_once(
    monkeypatch: pytest.MonkeyPatch, number: int, word: str
) -> None:
    monkeypatch.setattr("featx.core.signals.PATIENCE_S", 0.01)
    told: list[str] = []
    is_told = threading.Event()

    def tell(text: str) -> None:
        told.append(text)
        is_told.set()

    def wait_for_the_word() -> None:
        signal.raise_signal(number)
        is_told.wait(60)

    library = run_foreign(wait_for_the_word, [])
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        end_in(compile_function(CALL, "featx.backbones", call=library, log=[]), tell)
    waits = "waits for a step that cannot be cut short; another Ctrl-C ends the command at once"
    assert told == [f"{word}: {waits}"]


def test_signal_that_has_ended_the_program_is_told_no_more() -> None:
    told: list[str] = []
    with end_on_signals(told.append) as handler:
        handler.tell_wait(signal.SIGINT)
        with handler.armed():
            pass
        handler.tell_wait(signal.SIGINT)
    assert len(told) == 1
