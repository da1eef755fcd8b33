"""Errors of the machine: too few threads, or too little memory, for the work that was asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from featx.core.errors import DeviceError

LIMITS = {
    ("can't start new thread", "Resource temporarily unavailable"): (
        "to start threads",
        "Raise the number of processes and threads: ulimit -u, or --pids-limit of a container.",
    ),
    (
        *("allocate memory", "Cannot allocate", "bad_alloc", "bad allocation", "MemoryError"),
        *("Unable to allocate", "could not create a primitive", "failed to map segment"),
    ): (
        "enough memory",
        "Pass a smaller batch_size and fewer workers, or raise the limit: ulimit -v, or --memory "
        "of a container.",
    ),
}
"""Parts of messages, with what was needed and what to do."""


def find_limit(error: BaseException, subject: str) -> DeviceError | None:
    """Find the limit of the machine that an error speaks of.

    Parameters
    ----------
    error : BaseException
        Error of Python, PyTorch or OpenVINO; none of them has a class of its own for limits.
    subject : str
        The thing that met the limit, such as ``"engine openvino"``.

    Returns
    -------
    DeviceError or None
        An error that says what to do; None if the error is of another kind, or says it already.
    """
    if isinstance(error, DeviceError):
        return None
    text = f"{type(error).__name__}: {error}"
    for parts, (expected, remedy) in LIMITS.items():
        for part in parts:
            if part in text:
                return DeviceError(subject=subject, expected=expected, got=part, remedy=remedy)
    return None


def build_failure(error: BaseException, subject: str, remedy: str) -> DeviceError:
    """Turn any error of a library into one of featx, with the last line of its message.

    Parameters
    ----------
    error : BaseException
        The error.
    subject : str
        The thing that failed, such as ``"engine openvino"``.
    remedy : str
        Sentence that says what to do, unless a limit of the machine was met.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return find_limit(error, subject) or DeviceError(
        subject=subject,
        expected="to run the network",
        got=f"{type(error).__name__}: {lines[-1][:200] if lines else ''}",
        remedy=remedy,
    )


@contextmanager
def explain_failures(subject: str, remedy: str) -> Iterator[None]:
    """Turn the errors of a library in a block into errors of featx.

    Parameters
    ----------
    subject, remedy : str
        As `build_failure` takes them.

    Raises
    ------
    DeviceError
        If the library fails, or meets a limit of the machine.
    """
    try:
        yield
    except DeviceError:
        raise
    except (RuntimeError, MemoryError) as error:
        raise build_failure(error, subject, remedy) from error


def check_threads(n_threads: int, subject: str) -> None:
    """Refuse to go on if the system does not start so many threads.

    A library that starts some of its threads, and is refused the next one, may wait for ever.

    Parameters
    ----------
    n_threads : int
        Number of threads that the library starts.
    subject : str
        The library, such as ``"engine openvino"``.

    Raises
    ------
    DeviceError
        If the system refuses a thread.
    """
    leave = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(n_threads):
            thread = threading.Thread(target=leave.wait, name="featx-probe")
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise build_failure(error, subject, "Close other programs.") from error
    finally:
        leave.set()
        for thread in started:
            thread.join()
