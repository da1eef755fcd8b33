"""The identity of imported vectors: their own, if featx exported them, or the user's word."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import platform
import re
import socket
from pathlib import Path

import numpy as np

from featx.cache.format import EmbeddingInfo, check_embedding_names
from featx.core.fingerprint import IMPORTED, Fingerprint
from featx.core.provenance import Origin, Provenance
from featx.exchange.incoming import Incoming
from featx.exchange.metadata import ExchangeMetadata

UNNAMED = "imported"
"""Name of the backbone, and of the embedding, of vectors whose model the user does not name."""


def describe_import(
    incoming: Incoming, own: ExchangeMetadata | None, model: str | None, embedding: str | None
) -> EmbeddingInfo:
    """Build name, fingerprint and provenance of an embedding.

    Parameters
    ----------
    incoming : Incoming
        The file of vectors.
    own : ExchangeMetadata or None
        What an export of featx says of the vectors; None for vectors of another program.
    model : str or None
        Name of the model that computed the vectors; None if it is not known.
    embedding : str or None
        Name of the embedding in the cache; None for the name that was exported, or the model.

    Raises
    ------
    CacheError
        If the embedding cannot have this name.
    """
    if own is not None:
        name = embedding or own.embedding
        fingerprint, provenance = own.fingerprint, own.provenance
    else:
        name = embedding or re.sub(r"^[\W_]+|[^\w.+@-]+", "-", model or UNNAMED).lstrip("-")
        name = name or UNNAMED
        fingerprint = Fingerprint(
            backbone=model or UNNAMED,
            weights_digest="" if model else hash_path(incoming.path),
            layer=UNNAMED,
            preprocess={"kind": IMPORTED},
            decoder=IMPORTED,
            precision="fp32",
            dim=incoming.dim,
        )
        provenance = _build_provenance(incoming, model)
    check_embedding_names([name])
    return EmbeddingInfo(name, fingerprint, provenance)


def hash_path(path: Path) -> str:
    """Compute the SHA-256 of a file, or of the names and contents of a folder, hexadecimal.

    Parameters
    ----------
    path : Path
        File or folder.
    """
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{hash_path(file)}\n".encode())
    return digest.hexdigest()


def _build_provenance(incoming: Incoming, model: str | None) -> Provenance:
    now = datetime.datetime.now(datetime.UTC)
    return Provenance(
        origin=Origin(weights=model or UNNAMED),
        engine=UNNAMED,
        device="-",
        batch_size=1,
        source=str(incoming.path),
        time=now.isoformat(timespec="milliseconds"),
        host=socket.gethostname(),
        platform=platform.platform(),
        versions={"featx": importlib.metadata.version("featx"), "numpy": np.__version__},
        n_embedded=incoming.n_rows,
    )
