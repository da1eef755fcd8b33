"""Engines that end badly, and a script that sends them to a cluster."""

import os
import signal
import sys
from typing import Any

import featx
from featx.extraction import ray
from featx.extraction.ray_connect import ClusterRequest, open_ray
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
    source, output = sys.argv[1:]
    ray.WAIT_S = 0.0  # nothing is to come back
    with open_ray(ClusterRequest(address="", device="cpu")):
        for engine in (Unbuilt(), Broken(), Deadly()):
            try:
                featx.extract(
                    source, output, backbone="lenet5", engine=engine, cluster="ray", workers=1,
                    progress=False,
                )  # fmt: skip
            except featx.FeatxError as error:
                print(error, flush=True)
