"""A store of objects on loopback: moto's server in a process of its own, bounded by the tests."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from featx.core.address import Address
from featx.remote import store as remote_store
from tests.remote.buckets import make_bucket
from tests.remote.proxy import Proxy

CONNECT = socket.socket.connect

SERVER = """
import logging, os, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").disabled = True
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # until the tests end, in whatever way
os._exit(0)
"""


@pytest.fixture(autouse=True)
def _loopback(_no_network: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only servers on loopback are reached."""

    def connect(self: Any, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
        ):
            raise OSError(f"tests reach no network, got {address}")
        return CONNECT(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Requests are made again without delay, and no file system stays open."""
    monkeypatch.setattr(remote_store, "FIRST_DELAY_S", 0.001)
    remote_store._systems.clear()
    remote_store._n_lost.clear()
    yield
    remote_store._systems.clear()


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """Port of a server of S3."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        line = process.stdout.readline()
        assert line, "moto's server did not start"
        yield int(line)
        process.stdin.close()
        process.wait(30)


@pytest.fixture
def s3(s3_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the server, without faults."""
    with Proxy(s3_port) as proxy:
        _point_at(proxy.url, monkeypatch)
        yield proxy


@pytest.fixture
def bucket(s3: Proxy, request: Any) -> Address:
    """A bucket of its own, through the proxy."""
    return make_bucket(request.node.name)


def _point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
        monkeypatch.delenv(name)
    values = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
