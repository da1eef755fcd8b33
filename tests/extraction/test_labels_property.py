"""Whatever happens to a source between what people say, what they said holds, and vectors are new.

The cache, or the folder of its parts and the merge of them, is compared with a new cache of the
source, over which everything that was said is laid row by row, in plain words.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.backbones.load import load_backbone
from featx.cache.joined import open_cache
from featx.cache.merge import merge_caches
from featx.core.drafts import is_draft
from featx.core.errors import HeadError
from featx.core.parts import Part
from featx.extraction.extract import extract
from featx.fitting.label import label_cache
from featx.fitting.split import split_cache
from tests.extraction.test_incremental_property import (
    ALWAYS,
    ALWAYS_THERE,
    CHANGES,
    FAST,
    IMAGES,
    NAMES,
    StopError,
    stop_after,
)
from tests.labels.test_hold import find_value

pytestmark = pytest.mark.filterwarnings("ignore::featx.FeatxWarning")

SAID = st.dictionaries(
    st.sampled_from([*NAMES, ALWAYS]),
    st.sampled_from(["wasps", "flies", "ants", "", None]),
    max_size=3,
)

Image = tuple[str, str]
"""Id and digest: of what a person speaks."""


@dataclass(frozen=True)
class Step:
    """Changes of the source, an extraction, what somebody says then, and a split after it.

    The extraction may be ended after a batch of one part; called again, it goes on.
    """

    changes: list[Any]
    prune: bool
    is_stopped: bool
    said: dict[str, str | None]
    split_seed: int | None


STEPS = st.lists(
    st.builds(
        Step,
        changes=st.lists(CHANGES, max_size=3),
        prune=st.booleans(),
        is_stopped=st.sampled_from([False, False, True]),
        said=SAID,
        split_seed=st.sampled_from([None, 0, 1]),
    ),
    min_size=2,
    max_size=4,
)
N_PARTS = st.sampled_from([1, 3])


@dataclass(frozen=True)
class Found:
    """What a cache holds of one row."""

    digest: str
    label: str
    split: str
    vector: bytes


def read_rows(cache: Path) -> tuple[dict[str, Found], list[Any]]:
    """Return the rows of one or several caches by id, and the ledger."""
    with open_cache(cache) as opened:
        vectors = [one.tobytes() for one in opened.read_vectors()]
        columns = opened.digests, opened.labels, opened.splits, vectors
        rows = {
            row_id: Found(*map(_plain, cells))
            for row_id, *cells in zip(opened.ids, *columns, strict=True)
        }
        failures = sorted((one.id, one.digest, one.stage, one.reason) for one in opened.failures)
        return rows, failures


def _plain(value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value)


@dataclass
class Model:
    """A source, its cache or the parts of it, and all that was said, in plain words."""

    folder: Path
    n_parts: int
    backbone: Any
    watch_batches: Any
    said: list[tuple[Any, ...]] = field(default_factory=list)
    splits: dict[Image, str] = field(default_factory=dict)

    @property
    def parts(self) -> list[str | None]:
        """The parts to extract; None for the whole source."""
        numbers = range(1, self.n_parts + 1)
        return [None] if self.n_parts == 1 else [str(Part(one, self.n_parts)) for one in numbers]

    @property
    def cache(self) -> Path:
        return self.folder.with_name("out.h5" if self.n_parts == 1 else "parts")

    @property
    def merged(self) -> Path:
        return self.folder.with_name("merged.h5")

    def extract(self, output: Path, part: str | None = None, **options: Any) -> None:
        extract(
            self.folder,
            output,
            part=part,
            backbone=self.backbone,
            engine="torch",
            batch_size=3,
            workers=2,
            max_failures="100%",
            progress=False,
            **options,
        )

    def carry_out(self, step: Step) -> None:
        """Extract, and say something of the rows."""
        for part in self.parts:
            if step.is_stopped:
                try:
                    with self.watch_batches(stop_after(1)):
                        self.extract(self.cache, part, prune=step.prune)
                except StopError:
                    pass
            self.extract(self.cache, part, prune=step.prune)
        rows, _ = read_rows(self.cache)
        about = {row_id: value for row_id, value in step.said.items() if row_id in rows}
        if about:
            label_cache(self.cache, about, author="ada")
        self.note_said({(row_id, rows[row_id].digest): value for row_id, value in about.items()})
        self.forget_splits(rows)
        if step.split_seed is not None:
            try:
                split_cache(self.cache, val=0.4, seed=step.split_seed, overwrite=True)
            except HeadError:  # too few rows of a class
                return
            rows, _ = read_rows(self.cache)
            self.splits |= {(row_id, row.digest): row.split for row_id, row in rows.items()}
            assert {row.split for row in rows.values()} >= {"train", "val"}

    def note_said(self, about: Mapping[Image, str | None]) -> None:
        """Note what was said: what the same person says again is not added again."""
        occasion = len(self.said)
        for image, value in about.items():
            new = (*image, value or "", occasion, "sure" if value is not None else "withdrawn")
            before = [one for one in self.said if one[:2] == image]
            if not before or (before[-1][2], before[-1][4]) != (new[2], new[4]):
                self.said.append(new)

    def forget_splits(self, rows: Mapping[str, Found]) -> None:
        """Keep the splits of images that are as they were, or are gone without a copy."""
        digests = {row.digest for row in rows.values()}
        self.splits = {
            (row_id, digest): value
            for (row_id, digest), value in self.splits.items()
            if (row_id in rows and rows[row_id].digest == digest)
            or (row_id not in rows and digest not in digests)
        }

    def check(self) -> None:
        """Compare with a new cache of the source."""
        fresh = self.folder.with_name("fresh.h5")
        self.extract(fresh, overwrite=True)
        sources, failures = read_rows(fresh)
        self.check_rows(self.cache, sources, failures)
        if self.n_parts > 1:
            merge_caches(self.cache, self.merged, overwrite=True)
            self.check_rows(self.merged, sources, failures)
        names = [path.name for path in self.folder.parent.rglob("*")]
        assert not any(is_draft(name) or name.endswith(".partial") for name in names)

    def check_rows(self, cache: Path, sources: Mapping[str, Found], failures: Any) -> None:
        rows, found_failures = read_rows(cache)
        assert sources.keys() <= rows.keys()
        assert found_failures == failures
        images = [(row_id, row.digest) for row_id, row in rows.items()]
        for number, (row_id, row) in enumerate(rows.items()):
            image = images[number]
            expected = find_value(image, images, self.said, [], number)
            if row_id in sources:
                assert row.vector == sources[row_id].vector
                assert row.label == (sources[row_id].label if expected is None else expected)
            elif expected is not None:
                assert row.label == expected
            if image in self.splits:
                assert row.split == self.splits[image]


def check_steps(steps: Any, n_parts: int, backbone: Any, watch_batches: Any) -> None:
    clock = itertools.count(10**9)
    with tempfile.TemporaryDirectory() as place:
        model = Model(Path(place, "photos"), n_parts, backbone, watch_batches)
        for name, data in ((ALWAYS, ALWAYS_THERE), *zip(NAMES, IMAGES, strict=True)):
            path = model.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (next(clock),) * 2)
        for step in steps:
            for change in step.changes:
                change.apply(model.folder, clock)
            model.carry_out(step)
            model.check()


@pytest.fixture(scope="module")
def backbone(tiny_backbone: str) -> Any:
    return load_backbone(tiny_backbone)


@settings(FAST, max_examples=3)
@given(steps=STEPS, n_parts=N_PARTS)
def test_what_was_said_holds_through_any_changes(
    backbone: Any, watch_batches: Any, steps: Any, n_parts: int
) -> None:
    check_steps(steps, n_parts, backbone, watch_batches)


@pytest.mark.slow
@settings(FAST, max_examples=30)
@given(steps=STEPS, n_parts=N_PARTS)
def test_what_was_said_holds_through_any_of_many_changes(
    backbone: Any, watch_batches: Any, steps: Any, n_parts: int
) -> None:
    check_steps(steps, n_parts, backbone, watch_batches)
