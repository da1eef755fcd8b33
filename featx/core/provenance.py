"""The history of an embedding: who computed it, how and when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from featx.core.records import build_record, load_json


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The three values that featx needs to load the backbone of an embedding again.

    Attributes
    ----------
    weights : str
        Weights as requested; a file as an absolute path.
    preprocess_from : str or None
        Name of the weights whose preprocessing was used; None for a preprocessing of the backbone
        itself, such as a transform of the user.
    size : int or None
        Pixels per side, if the caller replaced the size that belongs to the weights.
    """

    weights: str
    preprocess_from: str | None = None
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Who computed an embedding, how and when: everything that is not its fingerprint.

    Attributes
    ----------
    origin : Origin
        Record of how to load the backbone again.
    engine, device : str
        Name of the engine, and of the device that it ran on.
    batch_size : int
        Number of rows in every batch, the padded last batch included; constant for the life of an
        embedding.
    source : str
        Source as the user named it.
    time : str
        Start of the run, ISO 8601, UTC.
    host, platform : str
        Name of the machine, and its operating system.
    versions : mapping of str to str
        Version of each package that took part.
    n_embedded : int
        Number of distinct images that this run embedded.
    updates : tuple of Provenance
        Later runs that added vectors, oldest first.
    """

    origin: Origin
    engine: str
    device: str
    batch_size: int
    source: str
    time: str
    host: str
    platform: str
    versions: Mapping[str, str]
    n_embedded: int = 0
    updates: tuple[Provenance, ...] = ()

    def to_json(self) -> str:
        """Write the fields as one JSON object with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """Read the text that `to_json` wrote.

        Parameters
        ----------
        text : str
            Text of one JSON object.

        Raises
        ------
        ValueError
            If the text is not such an object.
        """
        return build_record(cls, load_json(text))
