"""Run Python functions in forked processes, each in its own copy of the project, with a time limit.

A forked process finds imported what its parent has imported, and cannot change its parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """Work for one forked process, in one of the copies of the project.

    Attributes
    ----------
    run : callable
        What the process does, given its copy; returns the exit code of the process.
    limit_s : float
        Seconds after which the process and its children are killed.
    done : callable
        What this process does afterwards, given the copy and the exit code; None if killed.
    before : callable, optional
        What this process does first, given the copy.
    """

    run: Callable[[Path], int]
    limit_s: float
    done: Callable[[Path, int | None], None]
    before: Callable[[Path], None] | None = None


def run_jobs(jobs: Iterable[Job], trees: Sequence[Path]) -> None:
    """Run jobs, one per copy of the project at a time; a job past its limit is killed."""
    waiting = iter(jobs)
    free = list(trees)
    running: dict[int, tuple[Job, Path, float]] = {}
    try:
        while True:
            while free and (job := next(waiting, None)) is not None:
                tree = free.pop()
                if job.before is not None:
                    job.before(tree)
                running[_fork(job, tree)] = (job, tree, time.monotonic() + job.limit_s)
            if not running:
                return
            time.sleep(0.02)
            for pid, (job, tree, deadline) in list(running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                code: int | None = os.waitstatus_to_exitcode(status) if ended else None
                if not ended and time.monotonic() < deadline:
                    continue
                _kill(pid)
                if not ended:
                    os.waitpid(pid, 0)
                del running[pid]
                job.done(tree, code)
                free.append(tree)
    finally:
        for pid in running:
            _kill(pid)


def _kill(pid: int) -> None:
    """End a forked process and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _fork(job: Job, tree: Path) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 3
    try:
        os.setsid()
        with open(tree.with_suffix(".log"), "w") as log, open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.chdir(tree)
        sys.path[:0] = [str(tree)]
        os.environ["PYTHONPATH"] = str(tree)
        code = int(job.run(tree))
    finally:
        sys.stdout.flush()
        os._exit(code)
