"""Whatever happens to a source between what people say, what they said holds, and vectors are new.

The cache is compared with a new one of the same source, over which everything that was said is laid
row by row, in plain words.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.backbones.load import load_backbone
from featx.cache.joined import open_cache
from featx.extraction.extract import extract
from featx.fitting.label import label_cache
from tests.extraction.test_incremental_property import (
    ALWAYS,
    ALWAYS_THERE,
    CHANGES,
    FAST,
    IMAGES,
    NAMES,
)
from tests.labels.test_hold import find_value

pytestmark = pytest.mark.filterwarnings("ignore::featx.FeatxWarning")

SAID = st.dictionaries(
    st.sampled_from([*NAMES, ALWAYS]),
    st.sampled_from(["wasps", "flies", "ants", "", None]),
    max_size=3,
)


@dataclass(frozen=True)
class Step:
    """Changes of the source, an extraction, and then what somebody says."""

    changes: list[Any]
    prune: bool
    said: dict[str, str | None]


STEPS = st.lists(
    st.builds(Step, changes=st.lists(CHANGES, max_size=3), prune=st.booleans(), said=SAID),
    min_size=2,
    max_size=4,
)


def read_rows(path: Path) -> Any:
    """Return id, digest and label of each row, and its vector if it has one."""
    with open_cache(path) as cache:
        vectors = cache.read_vectors(rows=cache.read_present())
        found = [one.tobytes() for one in vectors]
        return [*zip(cache.ids, cache.digests, cache.labels, found, strict=True)]


def check_step(step: Step, backbone: Any, folder: Path, said: list[Any]) -> None:
    """Carry a step out, and compare with a new cache."""
    options = {
        "backbone": backbone,
        "engine": "torch",
        "batch_size": 3,
        "workers": 2,
        "max_failures": "100%",
        "progress": False,
    }
    output, fresh = folder.with_name("out.h5"), folder.with_name("fresh.h5")
    extract(folder, output, prune=step.prune, **options)
    digests = {row_id: digest for row_id, digest, *_ in read_rows(output)}
    about = {row_id: value for row_id, value in step.said.items() if row_id in digests}
    if about:
        label_cache(output, about, author="ada")
    occasion = len(said)
    for row_id, value in about.items():
        kind = "withdrawn" if value is None else "sure"
        new = (row_id, digests[row_id], value or "", occasion, kind)
        before = [one for one in said if one[:2] == new[:2]]
        # What the same person says again is not added again.
        if not before or (before[-1][2], before[-1][4]) != (new[2], new[4]):
            said.append(new)
    extract(folder, fresh, overwrite=True, **options)
    sources = {row_id: (label, vector) for row_id, _, label, vector in read_rows(fresh)}
    rows = read_rows(output)
    assert sources.keys() <= {row_id for row_id, *_ in rows}
    pairs = [(row_id, digest) for row_id, digest, *_ in rows]
    for number, (row_id, digest, label, vector) in enumerate(rows):
        expected = find_value((row_id, digest), pairs, said, [], number)
        if row_id in sources:
            source_label, source_vector = sources[row_id]
            assert vector == source_vector
            assert label == (source_label if expected is None else expected)
        elif expected is not None:
            assert label == expected


def check_steps(steps: Any, backbone: Any) -> None:
    clock = itertools.count(10**9)
    said: list[Any] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "photos")
        for name, data in ((ALWAYS, ALWAYS_THERE), *zip(NAMES, IMAGES, strict=True)):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (next(clock),) * 2)
        for step in steps:
            for change in step.changes:
                change.apply(folder, clock)
            check_step(step, backbone, folder, said)


@pytest.fixture(scope="module")
def backbone(tiny_backbone: str) -> Any:
    return load_backbone(tiny_backbone)


@settings(FAST, max_examples=3)
@given(steps=STEPS)
def test_labels_that_were_said_hold_through_any_changes(backbone: Any, steps: Any) -> None:
    check_steps(steps, backbone)


@pytest.mark.slow
@settings(FAST, max_examples=80)
@given(steps=STEPS)
def test_labels_that_were_said_hold_through_any_of_many_changes(backbone: Any, steps: Any) -> None:
    check_steps(steps, backbone)
