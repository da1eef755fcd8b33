"""Connect to a Ray cluster, or start Ray on this machine for one run and end it."""

from __future__ import annotations

import importlib
import logging
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib

from featx.core.errors import DeviceError, FeatxError, require
from featx.core.notes import note
from featx.core.progress import stage
from featx.core.typing import PathLike

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray would report its use to its makers
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a late call of a thread would start another Ray
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray warns that this will be its default
}
"""Variables of the environment of Ray and of the processes that it starts."""

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Variable without which Ray replaces 127.0.0.1 by an address that the network can reach; Ray reads
it when it is imported."""

LOCAL = LOOPBACK | {
    "RAY_AUTH_MODE": "token",  # nobody else on this machine may use the Ray of this run
    "RAY_AUTH_TOKEN": os.urandom(32).hex(),  # Ray would keep one in the home folder
    "RAY_worker_niceness": "0",  # as for work in this process
}
"""More of these variables for Ray that is started for a run."""

CONNECT_S = 10.0
"""Seconds that a cluster may take to accept a connection."""

MAX_SOCKET_PATH = 40
"""Largest length of the folder of Ray's sockets: the system allows 107 characters for a socket, and
Ray appends up to 64."""


@dataclass(frozen=True, kw_only=True)
class ClusterRequest:
    """The cluster of a request.

    Attributes
    ----------
    address : str
        ``HOST:PORT`` of the cluster; ``"auto"`` for the one that runs on this machine; ``""`` for
        Ray on this machine, started for this run.
    device : str
        Device that actors run the network on, as the caller named it.
    """

    address: str
    device: str

    @property
    def variables(self) -> dict[str, str]:
        """Variables of the environment for this cluster alone."""
        if not self.address:
            return LOCAL
        return LOOPBACK if self.address.startswith(("127.", "localhost:", "[::1]")) else {}

    @property
    def name(self) -> str:
        """The cluster as the caller named it."""
        return f"ray://{self.address}" if self.address else "ray"


def parse_cluster(text: str, device: str) -> ClusterRequest:
    """Read the argument `cluster`.

    Parameters
    ----------
    text : str
        ``ray``, ``ray://auto`` or ``ray://HOST:PORT``.
    device : str
        Device that actors run the network on.

    Raises
    ------
    FeatxError
        If the text is none of these.

    Examples
    --------
    >>> parse_cluster("ray://10.0.0.1:6379", "auto").address
    '10.0.0.1:6379'
    """
    match = re.fullmatch(r"ray(?:://(auto|[\w.-]+:\d{1,5}|\[[\da-fA-F:]+\]:\d{1,5}))?", text)
    if match is None:
        raise FeatxError(
            subject="cluster",
            expected="ray, ray://auto or ray://HOST:PORT",
            got=repr(text),
            remedy="Pass 'ray' to start Ray on this machine, or the address that ray start "
            "--head printed.",
        )
    return ClusterRequest(address=match.group(1) or "", device=device)


@contextmanager
def open_ray(cluster: ClusterRequest) -> Iterator[Any]:
    """Connect to a cluster in a block. Ray that was started for the block ends with it.

    If the caller has connected to a cluster, that connection is used, and stays.

    Parameters
    ----------
    cluster : ClusterRequest
        The cluster.

    Yields
    ------
    module
        The package ray, connected.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    DeviceError
        If the cluster cannot be reached, or Ray does not start.
    """
    with _environment(QUIET | cluster.variables):
        ray: Any = require("ray", "cluster")
        require("ray.data", "cluster")
        if ray.is_initialized():
            _check_connected(ray, cluster)
            yield ray
            return
        if cluster.address not in ("", "auto"):
            _check_reachable(cluster)
        folder = None if cluster.address else _make_folder()
        try:
            with _silent():
                with _handlers_kept(), few_processes(), stage(f"connecting to {cluster.name}"):
                    _connect(ray, cluster, folder)
                yield ray
        finally:
            with _handlers_kept():
                ray.shutdown()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def _check_connected(ray: Any, cluster: ClusterRequest) -> None:
    """Say where the caller is connected to, if another cluster was asked for by its address."""
    connected = ray.get_runtime_context().gcs_address
    if cluster.address not in ("", "auto", connected):
        note(f"{cluster.name}: this process is connected to ray://{connected}, which is used")


def _connect(ray: Any, cluster: ClusterRequest, folder: PathLike | None) -> None:
    options: dict[str, Any] = {"address": cluster.address}
    if folder is not None:
        options = {
            "address": "local",
            "num_cpus": int(joblib.cpu_count()),
            "include_dashboard": False,
            "_temp_dir": str(folder),
        }
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises many kinds
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise DeviceError(
            subject=f"cluster {cluster.name}",
            expected="a Ray that answers",
            got=f"{type(error).__name__}: {lines[0][:200] if lines else ''}",
            remedy="Run the command on a machine of the cluster, with the Ray and the Python of "
            "the cluster."
            if cluster.address
            else "Free memory and space in the folder for temporary files; a busy machine may need "
            "another try.",
        ) from error


DISPENSABLE = ("start_api_server", "start_monitor", "start_log_monitor")
"""Functions that start Ray's dashboard, its autoscaler, and the process that gathers logs."""


@contextmanager
def few_processes() -> Iterator[None]:
    """Let Ray that is started in a block start no process that a run does not need.

    Ray has no switch for them all. Without a dashboard, it still starts the process for statistics
    on its use, which asks 169.254.169.254 and ``metadata.google.internal`` which cloud the machine
    belongs to, even if the statistics are off.
    """
    node: Any = importlib.import_module("ray._private.node").Node
    before = {name: getattr(node, name) for name in DISPENSABLE}
    for name in before:
        setattr(node, name, lambda _node, **_options: None)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(node, name, function)


def _check_reachable(cluster: ClusterRequest) -> None:
    """Refuse an address where nothing listens: Ray itself would try for minutes."""
    host, _, port = cluster.address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(
            subject=f"cluster {cluster.name}",
            expected="a Ray cluster at this address",
            got=str(getattr(error, "strerror", None) or error),
            remedy="Start it with: ray start --head --port 6379, pass the address that it prints, "
            "and open the port for this machine.",
        ) from error


def _make_folder() -> str:
    """Make a folder for Ray's sockets and logs; their paths must be short."""
    place = tempfile.gettempdir()
    return tempfile.mkdtemp(
        prefix="featx-ray-", dir=place if len(place) < MAX_SOCKET_PATH else "/tmp"
    )


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment in a block; those that the user has set stay."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Ray from printing each loss to standard output; featx tells of it."""
    worker: Any = importlib.import_module("ray._private.worker")
    before, worker._worker_logs_enabled = worker._worker_logs_enabled, False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Give back the handler of SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)
