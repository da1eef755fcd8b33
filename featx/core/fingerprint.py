"""What makes two embeddings comparable."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields

from featx.core.errors import FingerprintError


@dataclass(frozen=True)
class Fingerprint:
    """All that decides the values of an embedding, and nothing else.

    Two embeddings may stand in one matrix, and a head may read one that it was not fitted on, only
    where every field agrees. Who computed it, when, and by which engine is provenance and is kept
    beside the fingerprint.

    Attributes
    ----------
    backbone : str
        Name of the architecture.
    weights_digest : str
        SHA-256 over the backbone's tensors (without its classifier), so that the same weights
        agree whether they came by name or from a file.
    layer : str
        Where the embedding was read; ``"penultimate"`` is the input of the last Linear.
    preprocess : str
        Resize, crop and normalisation.
    decoder : str
        The image library and its rules for orientation, transparency and depth.
    precision : str
        Arithmetic of the network, such as ``"fp32"``.
    dim : int
        Length of one embedding.
    """

    backbone: str
    weights_digest: str
    layer: str
    preprocess: str
    decoder: str
    precision: str
    dim: int

    def to_json(self) -> str:
        """Write the fields as one JSON object, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that stand for all the fields."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def list_differences(self, other: Fingerprint) -> list[str]:
        """Name the fields in which two fingerprints differ."""
        names = (field.name for field in fields(self))
        return [name for name in names if getattr(self, name) != getattr(other, name)]


def check_comparable(expected: Fingerprint, got: Fingerprint, *, subject: str, remedy: str) -> None:
    """Refuse embeddings of another fingerprint.

    Raises
    ------
    FingerprintError
        Naming each field that differs, with both values.
    """
    names = expected.list_differences(got)
    if names:
        wanted = ", ".join(f"{name} {getattr(expected, name)}" for name in names)
        found = ", ".join(f"{name} {getattr(got, name)}" for name in names)
        raise FingerprintError(f"{subject}: expected {wanted}, got {found}. {remedy}")
