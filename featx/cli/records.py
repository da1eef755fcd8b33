"""Objects that commands print as JSON: one thing has the same key in all of them.

``docs/reference/json.md`` lists the keys, and a test holds it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featx.core.fingerprint import Fingerprint
    from featx.finetune.advise import Advice
    from featx.heads.head import Head


def rename_keys(record: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """Give keys of an object the names that the same things have elsewhere.

    Parameters
    ----------
    record : mapping
        The object.
    **names : str
        New name of each key to rename.

    Examples
    --------
    >>> rename_keys({"path": "photos.h5", "n_rows": 12}, path="cache")
    {'cache': 'photos.h5', 'n_rows': 12}
    """
    return {names.get(key, key): value for key, value in record.items()}


def describe_fingerprint(fingerprint: "Fingerprint") -> dict[str, Any]:
    """Return the decisions of a fingerprint with their digest."""
    return {"digest": fingerprint.digest, **asdict(fingerprint)}


def describe_head(path: Path, head: "Head") -> dict[str, Any]:
    """Return what a head is, what it was fitted on, and its held-out scores."""
    from featx.heads.target_head import TargetHead

    held_out = head.cross_validation
    target = head if isinstance(head, TargetHead) else None
    return {
        "head": path,
        "kind": head.kind,
        "params": dict(head.params),
        "options": dict(head.options),
        "temperature": head.temperature,
        "knows_unknown": head.unknown is not None,
        "has_sets": head.conformal is not None,
        "classes": head.classes.tolist(),
        "fitted_on": asdict(head.fitted_on),
        "embeddings": {
            one.name: {
                "fingerprint": describe_fingerprint(one.fingerprint),
                "origin": asdict(one.origin),
            }
            for one in head.embeddings
        },
        "versions": dict(head.versions),
        "cross_validation": None if held_out is None else held_out.to_dict(),
        "target": target and target.target.to_dict(),
        "held_out": target and target.held_out and target.held_out.to_dict(),
    }


def describe_advice(advice: "Advice") -> dict[str, Any]:
    """Return an estimate of what fine-tuning would gain, and what it was compared with."""
    record = advice.to_dict()
    measured = [
        one | {"gains": [*map(_describe_gains, one["gains"])]} for one in record["measured"]
    ]
    return _describe_gains(record) | {"measured": measured}


def _describe_gains(record: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the spreads of both gains by their means, with the ends of the ranges beside them."""
    gains: dict[str, Any] = {}
    for name, value in rename_keys(record, top="gain_top", more="gain_more").items():
        if name in ("gain_top", "gain_more"):
            ends = None if math.isnan(value["mean"]) else [value["low"], value["high"]]
            gains |= {name: value["mean"], f"{name}_range": ends}
        else:
            gains[name] = value
    return gains
