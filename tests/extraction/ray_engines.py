"""Engines that end badly, and a script that sends one of them to a cluster."""

import os
import signal
import sys
from typing import Any

import featx
from featx.testing import FakeEngine


class Deadly:
    """Build engines whose first batch ends their process, as the system does without memory."""

    def build(self, backbone: Any, **options: Any) -> Any:
        return FakeEngine(on_batch=lambda _: os.kill(os.getpid(), signal.SIGKILL)).build(
            backbone, **options
        )


class Broken:
    """Build engines that raise an error at their third batch."""

    def build(self, backbone: Any, **options: Any) -> Any:
        return FakeEngine(fail_at=2).build(backbone, **options)


class Unbuilt:
    """Build nothing, for want of memory."""

    def build(self, backbone: Any, **options: Any) -> Any:
        raise MemoryError


if __name__ == "__main__":
    source, output, kind = sys.argv[1:]
    engines: dict[str, Any] = {"deadly": Deadly, "broken": Broken, "unbuilt": Unbuilt}
    try:
        featx.extract(
            source, output, backbone="lenet5", engine=engines[kind](), cluster="ray", workers=1,
            progress=False,
        )  # fmt: skip
    except featx.FeatxError as error:
        sys.exit(str(error))
