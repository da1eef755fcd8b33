"""The history of an embedding comes back as it was written."""

import json
from dataclasses import replace

from featx.core.provenance import Origin, Provenance
from tests.builders import build_provenance


def test_provenance_from_its_json_is_equal() -> None:
    update = build_provenance(n_embedded=3, time="2026-02-02T00:00:00+00:00")
    provenance = build_provenance(
        origin=Origin(weights="/w.pth", preprocess_from="resnet18", size=64),
        versions={"featx": "0.1", "torch": "2.11"},
        updates=(update, replace(update, n_embedded=4)),
    )
    assert Provenance.from_json(provenance.to_json()) == provenance


def test_provenance_json_is_one_object_in_order_of_names() -> None:
    fields = json.loads(build_provenance().to_json())
    assert list(fields) == sorted(fields)
    assert fields["origin"] == {"preprocess_from": None, "size": None, "weights": "random:0"}
    assert (fields["updates"], fields["n_embedded"]) == ([], 0)
