"""Objects that several commands print as JSON: one thing has the same keys in each of them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featx.core.fingerprint import Fingerprint
    from featx.heads.head import Head


def describe_fingerprint(fingerprint: "Fingerprint") -> dict[str, Any]:
    """Return the decisions of a fingerprint with their digest."""
    return {"digest": fingerprint.digest, **asdict(fingerprint)}


def describe_head(path: Path, head: "Head") -> dict[str, Any]:
    """Return what a head is, what it was fitted on, and its held-out scores."""
    held_out = head.cross_validation
    return {
        "head": path,
        "kind": head.kind,
        "params": dict(head.params),
        "classes": head.classes.tolist(),
        "fitted_on": asdict(head.fitted_on),
        "fingerprint": describe_fingerprint(head.fingerprint),
        "origin": asdict(head.origin),
        "cross_validation": None if held_out is None else held_out.to_dict(),
    }
