"""Buckets of the tests, and what is put into them."""

import hashlib
from pathlib import Path

from featx.core.address import Address
from featx.remote import store


def make_bucket(name: str) -> Address:
    """Make a bucket of its own for a test."""
    address = Address(f"s3://{hashlib.sha256(name.encode()).hexdigest()[:16]}")
    store.request(address, lambda system, _: system.mkdir(address.host))
    return address


def write(address: Address, data: bytes) -> None:
    """Write one object."""
    store.request(address, lambda system, path: system.pipe_file(path, data))


def copy_folder(folder: Path, address: Address) -> None:
    """Write all files below a folder as objects."""
    for file in folder.rglob("*"):
        if file.is_file():
            write(address / file.relative_to(folder).as_posix(), file.read_bytes())
