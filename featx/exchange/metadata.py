"""What an exported file says about its vectors, as one JSON object in the file itself."""

from __future__ import annotations

import base64
import importlib.metadata
import json
from dataclasses import asdict, dataclass

import numpy as np

from featx.cache.reader import Cache
from featx.core.errors import ExchangeError
from featx.core.fingerprint import Fingerprint
from featx.core.learnt import Digests, is_ascending
from featx.core.provenance import Provenance
from featx.core.records import build_record, load_json
from featx.core.typing import VectorDtype

KEY = "featx"
"""Name of the metadata in each kind of file."""

VERSION = 1
"""Version of the metadata."""


@dataclass(frozen=True, kw_only=True)
class ExchangeMetadata:
    """Identity and history of exported vectors, from which an import makes the same cache again.

    Attributes
    ----------
    version : int
        Version of this object.
    featx : str
        Version of featx that wrote the file.
    embedding : str
        Name of the embedding in the cache.
    fingerprint : Fingerprint
        Every decision that changes the values.
    provenance : Provenance
        Who computed the vectors, how and when.
    dtype : {"float32", "float16"}
        Dtype of the stored vectors.
    source : str
        Source of the rows, as the user named it.
    columns : tuple of str
        Names of the further columns that people recorded.
    learnt : str
        Shortened digests of the images that the network has learnt from, as big-endian numbers in
        base64; empty for none.
    """

    version: int
    featx: str
    embedding: str
    fingerprint: Fingerprint
    provenance: Provenance
    dtype: VectorDtype
    source: str
    columns: tuple[str, ...] = ()
    learnt: str = ""

    @classmethod
    def of_cache(cls, cache: Cache, embedding: str, columns: tuple[str, ...]) -> ExchangeMetadata:
        """Describe one embedding of a cache.

        Parameters
        ----------
        cache : Cache
            The open cache.
        embedding : str
            Name of the embedding.
        columns : tuple of str
            Names of the further columns.
        """
        info = cache.get_info(embedding)
        learnt = cache.read_learnt_digests(embedding).astype(">u8").tobytes()
        return cls(
            version=VERSION,
            featx=importlib.metadata.version("featx"),
            embedding=embedding,
            fingerprint=info.fingerprint,
            provenance=info.provenance,
            dtype=cache.get_dtype(embedding),
            source=cache.source,
            columns=columns,
            learnt=base64.b64encode(learnt).decode(),
        )

    def to_json(self) -> str:
        """Write the fields as one JSON object with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, *, subject: str, dim: int) -> ExchangeMetadata:
        """Read the text that `to_json` wrote.

        Parameters
        ----------
        text : str or bytes
            Text of one JSON object.
        subject : str
            Name of the file, for the error.
        dim : int
            Length of the vectors in the file.

        Raises
        ------
        ExchangeError
            If the text is not such an object, or does not belong to vectors of this length.
        """
        try:
            found = build_record(cls, load_json(text))
            if found.version != VERSION:
                raise ValueError(f"version {found.version}")
            if found.fingerprint.dim != dim:
                raise ValueError(f"dim {found.fingerprint.dim} beside vectors of {dim}")
            found.read_learnt()
        except ValueError as error:
            raise ExchangeError(
                subject=f"{subject}, metadata {KEY!r}",
                expected=f"metadata of version {VERSION} that belong to the vectors",
                got=str(error),
                remedy="Pass model=NAME to import the vectors as those of another program.",
            ) from error
        return found

    def read_learnt(self) -> Digests:
        """Read the digests of the images that the network has learnt from, uint64, ascending.

        Raises
        ------
        ValueError
            If they are not ascending, or no base64.
        """
        data = base64.b64decode(self.learnt, validate=True)
        if len(data) % 8:
            raise ValueError(f"learnt digests of {len(data)} bytes")
        learnt: Digests = np.frombuffer(data, ">u8").astype(np.uint64)
        if not is_ascending(learnt):
            raise ValueError("learnt digests that are not ascending")
        return learnt
