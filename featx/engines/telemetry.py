"""Import OpenVINO without its telemetry."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from featx.core.process import GLOBAL_STATE

PACKAGE = "openvino_telemetry"


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import OpenVINO, or a part of it, in the block.

    If OpenVINO finds its package of telemetry, every import asks the internet for its makers'
    server and leaves a client id in the home folder. In the block it finds no such package, and
    takes the stand-in that it brings along for this case. Afterwards, the package can be imported
    as before.
    """
    with GLOBAL_STATE:
        before = {PACKAGE: sys.modules[PACKAGE]} if PACKAGE in sys.modules else {}
        sys.modules[PACKAGE] = None  # type: ignore[assignment]
        try:
            yield
        finally:
            del sys.modules[PACKAGE]
            sys.modules.update(before)
