"""The signals that end a program, for code that runs before anything else can be imported.

`featx.__main__` imports this module first. It imports no file: Python has ``os`` by then.
"""

import _signal  # type: ignore[import-not-found]
import os

_WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}

ENDINGS: dict[int, str] = {
    getattr(_signal, name): word for name, word in _WORDS.items() if hasattr(_signal, name)
}
"""Signals that end a command, by number, each with the word that the command says."""

UNDONE = "no result was written; run the same command again"
"""What an ended command says if it keeps nothing."""


def list_signals() -> list[int]:
    """List the signals of `ENDINGS` that the process does not ignore, as under ``nohup``."""
    return [number for number in ENDINGS if _signal.getsignal(number) != _signal.SIG_IGN]


def end_at_once(number: int, _frame: object = None, text: str = UNDONE) -> None:
    """End the process with the exit code of a signal and one line on standard error.

    This is the handler of signals while featx is being imported. It raises nothing, because an
    exception in the middle of an import would become a traceback.

    Parameters
    ----------
    number : int
        Number of the signal.
    text : str
        What is kept, and how to go on.
    """
    try:
        os.write(2, f"featx: {ENDINGS[number]}: {text}\n".encode())
    except OSError:
        pass  # nobody reads it; `contextlib` would have to be imported for `suppress`
    finally:
        os._exit(128 + number)  # as shells do
