"""Errors of the machine: too few threads, or too little memory, for the work that was asked for."""

from __future__ import annotations

from featx.core.errors import DeviceError

LIMITS = {
    ("can't start new thread", "Resource temporarily unavailable"): (
        "to start threads",
        "Raise the number of processes and threads: ulimit -u, or --pids-limit of a container.",
    ),
    ("allocate memory", "Cannot allocate", "bad_alloc", "bad allocation", "MemoryError"): (
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
        An error that says what to do; None if the error is of another kind.
    """
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
