"""What the provenance of a cache says of an engine, also of one on another machine."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass

from featx.engines.engine import Engine


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """The description of an engine, without the engine.

    Attributes
    ----------
    name : str
        Name of the engine.
    device : str
        Device that runs the network.
    batch_size : int
        Number of images per batch.
    versions : mapping of str to str
        Versions of the packages that the engine consists of, by name.
    """

    name: str
    device: str
    batch_size: int
    versions: Mapping[str, str]


def describe_engine(engine: Engine) -> EngineInfo:
    """Describe an engine of this process.

    Parameters
    ----------
    engine : Engine
        An open engine.
    """
    return EngineInfo(
        name=engine.name,
        device=engine.device,
        batch_size=engine.batch_size,
        versions={name: importlib.metadata.version(name) for name in engine.packages},
    )
