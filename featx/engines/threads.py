"""Threads for PyTorch on a CPU, each computing by itself."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import torch


def open_pool(n_threads: int) -> ThreadPoolExecutor:
    """Open a pool of threads that compute alone; other threads are not changed."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        n_threads, "featx-torch", initializer=torch.set_num_threads, initargs=(1,)
    )
    all_there = threading.Barrier(n_threads)
    deque(pool.map(lambda _: all_there.wait(), range(n_threads)), maxlen=0)
    # The setting belongs to one thread, but new threads also begin with it.
    restore = threading.Thread(target=torch.set_num_threads, args=(before,))
    restore.start()
    restore.join()
    return pool
