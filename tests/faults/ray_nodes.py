"""A process that keeps three "machines" of a Ray cluster on this one, to be killed.

It prints the address of the cluster. It reads one word per line: `kill` ends one of the machines
other than the head, with all its processes, as a power failure does; `add` starts another one.
"""

import os
import random
import signal
import sys
from typing import Any

from ray.cluster_utils import Cluster

from featx.extraction.ray_connect import few_processes

FAST = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500,
        "health_check_failure_threshold": 2}  # fmt: skip
"""A machine that does not answer for a second counts as lost; Ray's default is 15 s."""


def list_children(pid: int) -> list[int]:
    """List the processes that a process has started, their own included."""
    found = [pid]
    for parent in found:
        try:
            with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as stream:
                found += map(int, stream.read().split())
        except OSError:  # it has just ended
            continue
    return found


def kill(node: Any) -> None:
    """Kill a machine: nothing of it can say goodbye."""
    pids = {pid for info in node.all_processes.values() for one in info
            for pid in list_children(one.process.pid)}  # fmt: skip
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main() -> None:
    """Serve the words of standard input until it ends."""
    rng = random.Random(0)
    options: dict[str, Any] = {"num_cpus": 1}
    with few_processes():
        cluster = Cluster(initialize_head=True, head_node_args=options | {"_system_config": FAST})
    nodes = [cluster.add_node(**options) for _ in range(2)]
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line == "kill\n":
            node = nodes.pop(rng.randrange(len(nodes)))
            kill(node)
            cluster.worker_nodes.discard(node)
        else:
            nodes.append(cluster.add_node(**options))
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
