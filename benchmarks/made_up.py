"""An embedding that no network computed, for caches of random vectors."""

from __future__ import annotations

from featx.cache.format import EmbeddingInfo
from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Origin, Provenance


def build_info(dim: int, name: str = "made-up") -> EmbeddingInfo:
    """Describe an embedding that no network computed."""
    fingerprint = Fingerprint(
        backbone=name,
        weights_digest="0" * 64,
        layer="penultimate",
        preprocess={},
        decoder="none/1",
        precision="fp32",
        dim=dim,
    )
    provenance = Provenance(
        origin=Origin(weights="none"),
        engine="none",
        device="none",
        batch_size=32,
        source="none",
        time="none",
        host="none",
        platform="none",
        versions={},
    )
    return EmbeddingInfo(name, fingerprint, provenance)
