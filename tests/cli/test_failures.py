"""Whatever ends a command is one line, unless ``--debug`` asks for more."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featx.cli.failures import explain_failure
from featx.core.errors import DeviceError

PARTS = "featx.fitting.fit.FittingRows.read"


def chain(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(MemoryError(), "expected enough memory, got MemoryError", id="memory"),
        pytest.param(RuntimeError("can't start new thread"), "expected to start threads",
                     id="threads"),
        pytest.param(RuntimeError("could not create a primitive"), "expected enough memory",
                     id="primitive"),
        pytest.param(ImportError("libtorch_cpu.so: failed to map segment from shared object"),
                     "expected enough memory", id="library"),
        pytest.param(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "expected enough memory",
                     id="mmap"),
        pytest.param(chain(ImportError("numpy"), MemoryError()), "expected enough memory",
                     id="memory behind an import"),
        pytest.param(ImportError("no name x in y", name="y"), "y: expected a package that can",
                     id="import"),
        pytest.param(OSError(errno.EIO, os.strerror(errno.EIO), "a.h5"),
                     "a.h5: expected access to it, got Input/output error. Check the disk.",
                     id="a file"),
        pytest.param(OSError(errno.EIO, os.strerror(errno.EIO)),
                     "fit-head: expected a system without errors, got Input/output error.",
                     id="the system"),
        pytest.param(PermissionError(errno.EACCES, "Permission denied", "x/y"),
                     "x/y: expected access to it, got Permission denied. Check the path",
                     id="rights"),
        pytest.param(RecursionError("maximum depth"), "got RecursionError: maximum",
                     id="depth"),
        pytest.param(KeyError("x"), "fit-head: expected no error, got KeyError: 'x'", id="fault"),
    ],
)  # fmt: skip
def test_error_that_nobody_expected_is_one_line(
    cache_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(PARTS, fail)
    run_cli("fit-head", cache_path, "-o", cache_path.parent / "h.joblib").check_error(expected)


def test_debug_shows_where_an_error_came_from(
    cache_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, int] = {}
    monkeypatch.setattr(PARTS, lambda *_, **__: names["x"])
    with pytest.raises(KeyError):
        run_cli("fit-head", cache_path, "-o", cache_path.parent / "h.joblib", "--debug")


def test_fault_of_featx_names_its_line() -> None:
    try:
        {}["x"]  # type: ignore[index]
    except KeyError as error:
        told = str(explain_failure(error, "info"))
    assert "got KeyError: 'x' in test_failures.py, line " in told
    assert "--debug" in told


def test_failure_that_was_explained_already_is_no_new_limit() -> None:
    error = DeviceError(subject="engine", expected="enough memory", got="x", remedy="Do.")
    assert "expected no error" in str(explain_failure(chain(KeyError("x"), error), "info"))


def test_too_little_memory_for_the_words_of_an_error_is_told_too(
    cache_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    told: list[bytes] = []
    monkeypatch.setattr(PARTS, fail)
    monkeypatch.setattr("featx.cli.failures.explain_failure", fail)
    monkeypatch.setattr("featx.cli.os.write", lambda number, text: told.append(text))
    result = run_cli("fit-head", cache_path, "-o", cache_path.parent / "h.joblib")
    assert (result.code, result.err) == (1, "")
    (line,) = told
    assert line.startswith(b"featx: expected enough memory to say what failed")


START = """
import builtins, sys
real = builtins.__import__
def refuse(name, *rest):
    if name.startswith("typer"):
        raise {error}
    return real(name, *rest)
builtins.__import__ = refuse
from featx.__main__ import main
main()
"""


@pytest.mark.parametrize("error", ["MemoryError", "ImportError('cut off')"])
def test_command_line_that_cannot_be_imported_is_one_line(error: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START.format(error=error)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("featx: expected to import the command line, got ")
    assert len(done.stderr.splitlines()) == 1


SIGNALLED = """
import builtins, os, signal, sys
real = builtins.__import__
def interrupt(name, *rest):
    if name.startswith("typer"):
        os.kill(os.getpid(), signal.{name})
    return real(name, *rest)
builtins.__import__ = interrupt
import featx.__main__
featx.__main__.main()
"""


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated"), ("SIGHUP", 129, "hung up")],
)
def test_signal_while_the_command_line_is_imported_is_one_line(
    name: str, code: int, word: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED.format(name=name)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (code, "")
    expected = f"featx: {word}: no result was written; run the same command again\n"
    assert done.stderr == expected


def test_import_of_featx_imports_nothing_and_leaves_signals_alone() -> None:
    code = (
        "import signal, sys\n"
        "signals = [signal.getsignal(n) for n in signal.valid_signals()]\n"
        "before = set(sys.modules)\n"
        "import featx\n"
        "assert set(sys.modules) - before == {'featx'}, set(sys.modules) - before\n"
        "import featx.__main__\n"
        "new = {'featx', 'featx.__main__'}\n"
        "assert set(sys.modules) - before == new, set(sys.modules) - before\n"
        "assert signals == [signal.getsignal(n) for n in signal.valid_signals()]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
