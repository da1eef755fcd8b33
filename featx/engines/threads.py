"""Threads for PyTorch on a CPU, each computing by itself."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import torch

from featx.engines.limits import build_failure


def open_pool(n_threads: int) -> ThreadPoolExecutor:
    """Open a pool of threads that compute alone; other threads are not changed.

    Parameters
    ----------
    n_threads : int
        Number of threads.

    Raises
    ------
    DeviceError
        If the system refuses to start so many threads.
    """
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(n_threads, "featx-torch", initializer=_begin)
    all_there = threading.Barrier(n_threads)
    try:
        deque(pool.map(lambda _: all_there.wait(), range(n_threads)), maxlen=0)
        # The setting belongs to one thread, but new threads also begin with it.
        restore = threading.Thread(target=torch.set_num_threads, args=(before,))
        restore.start()
        restore.join()
    except RuntimeError as error:
        all_there.abort()  # otherwise, the threads that did start would wait for ever
        pool.shutdown()
        raise build_failure(error, "engine torch", "Pass workers=1.") from error
    return pool


def _begin() -> None:
    """Begin a thread; it would also flush denormal numbers if the thread that opened it does."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)
