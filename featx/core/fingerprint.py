"""The identity of an embedding: every decision that changes its values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from featx.core.errors import FingerprintError
from featx.core.records import build_record, load_json
from featx.core.typing import Precision

Identity = Mapping[str, Any]
"""One decision as versioned data, in JSON types: ``{"kind": "image-classification/1", …}``."""


SIZES = ("resize", "crop")
"""Numbers of a preprocessing that stand in the sentence for a reader."""

IMPORTED = "imported/1"
"""Kind of the preprocessing, and decoder, of vectors that another program computed."""

MAX_DIFFERENCES = 3
"""Largest number of differences that an error names."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Every decision that changes the values of an embedding, and nothing else.

    Two embeddings may be put into one matrix only if all fields agree. A head may read another
    embedding than the one that it was fitted on only if all fields agree. Who computed an
    embedding, when, and with which engine is provenance, which is stored beside the fingerprint.

    Attributes
    ----------
    backbone : str
        Name of the architecture.
    weights_digest : str
        SHA-256 over the tensors of the backbone without its classifier, hexadecimal: equal weights
        have equal digests, whether they were loaded by name or from a file.
    layer : str
        Name of the layer that was read; ``"penultimate"`` is the input of the last Linear.
    preprocess : mapping
        Resize, crop and normalisation as versioned data; its ``kind`` names code and version.
    decoder : str
        Image library with its rules and their version, such as ``"pillow-exact/1"``.
    precision : str
        Arithmetic of the network, such as ``"fp32"``.
    dim : int
        Length of one embedding.
    """

    backbone: str
    weights_digest: str
    layer: str
    preprocess: Identity
    decoder: str
    precision: Precision
    dim: int

    def to_json(self) -> str:
        """Write the fields as one JSON object with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
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

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that stand for all fields."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @property
    def is_imported(self) -> bool:
        """Whether another program computed the vectors: featx cannot compute more of them."""
        return self.preprocess.get("kind") == IMPORTED

    def describe(self) -> str:
        """Write the decisions as one line for a reader; never compare this text."""
        if self.is_imported:
            file = f"file {self.weights_digest[:12]}"
            model = file if self.weights_digest else self.backbone
            return f"imported vectors of {model}, dim {self.dim}"
        sizes = [f"{key} {self.preprocess[key]}" for key in SIZES if key in self.preprocess]
        parts = [
            f"{self.backbone} {self.layer}",
            f"weights {self.weights_digest[:12]}",
            *(sizes or [str(self.preprocess.get("kind"))]),
            self.decoder,
            self.precision,
        ]
        return ", ".join(parts)

    def list_fields(self) -> dict[str, Any]:
        """List all decisions by name; a part of a mapping is named like ``preprocess.crop``."""
        fields: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if isinstance(value, Mapping):
                fields |= {f"{name}.{key}": part for key, part in value.items()}
            else:
                fields[name] = value
        return fields

    def list_differences(self, other: Fingerprint) -> list[str]:
        """List the names of the decisions in which two fingerprints differ.

        Parameters
        ----------
        other : Fingerprint
            Fingerprint to compare with.
        """
        ours, theirs = self.list_fields(), other.list_fields()
        return [name for name in ours | theirs if ours.get(name) != theirs.get(name)]


def check_comparable(
    expected: Fingerprint, got: Fingerprint, *, subject: str, remedy: str, because: str = ""
) -> None:
    """Refuse embeddings that were made differently.

    Parameters
    ----------
    expected, got : Fingerprint
        The two identities to compare.
    subject : str
        The embedding that the second fingerprint belongs to, for the error.
    remedy : str
        Advice for the reader of the error.
    because : str
        Reason for the expectation, such as ``"as the head was fitted on"``. Default: none.

    Raises
    ------
    FingerprintError
        If a field differs. The message shows both values of the differences that matter most:
        another backbone differs in everything else too.
    """
    names = expected.list_differences(got)
    if names:
        shown = [name for name in names if name == "backbone"] or names[:MAX_DIFFERENCES]
        texts = [_format_fields(one, shown, len(names)) for one in (expected, got)]
        raise FingerprintError(
            subject=subject,
            expected=f"{texts[0]}, {because}" if because else texts[0],
            got=texts[1],
            remedy=remedy,
        )


def _format_fields(fingerprint: Fingerprint, names: list[str], n_differences: int) -> str:
    fields = fingerprint.list_fields()
    texts = [_format_field(name, fields.get(name, "-")) for name in names]
    if names != ["backbone"] and n_differences > len(names):
        texts.append(f"and {n_differences - len(names)} more")
    return ", ".join(texts)


def _format_field(name: str, value: object) -> str:
    """Write one decision: digests are shortened, and the parts of a mapping named alone."""
    if name == "weights_digest":
        return f"weights {str(value)[:12]}"
    return f"{name.removeprefix('preprocess.')} {value}"
