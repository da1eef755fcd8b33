"""Whatever happens to a source between runs, the cache equals a new one."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.backbones.load import load_backbone
from featx.cache.joined import open_cache
from featx.core.row_tables import list_rows
from featx.extraction.extract import extract
from featx.extraction.naming import name_embedding
from featx.images.decode import encode_image

# What a run notes beside its result is the subject of test_notes.py.
pytestmark = pytest.mark.filterwarnings("ignore::featx.FeatxWarning")

NAMES = ("ants/0.png", "ants/1.png", "bees/0.png", "bees/1.png", "bees/2.png", "loose.png")
LAYERS = (("penultimate",), ("conv",), ("penultimate", "conv"))


def draw_image(seed: Any) -> Any:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(16, 25, 2)
    return encode_image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


*IMAGES, ALWAYS_THERE = [draw_image(seed) for seed in range(7)]
ALWAYS = "bees/always.png"
"""A source of which all fails is refused, so one file stays as it is."""
CONTENTS = (*IMAGES, b"", b"no image", IMAGES[0][:90])


@dataclass(frozen=True)
class Change:
    """What happens to one file; nothing, where it is not there."""

    kind: str
    name: str
    other: str
    content: int
    recent: bool

    def apply(self, folder: Path, clock: Any) -> None:
        path, other = folder / self.name, folder / self.other
        if self.kind == "write":
            path.write_bytes(CONTENTS[self.content])
        elif not path.exists():
            return
        elif self.kind == "rename":
            path.replace(other)
            return
        elif self.kind == "copy":
            other.write_bytes(path.read_bytes())
            path = other
        elif self.kind == "delete":
            path.unlink()
            return
        # A change is told by the time of last change, or is too recent for that to be trusted.
        seconds = None if self.recent else (next(clock),) * 2
        os.utime(path, seconds)


@dataclass(frozen=True)
class Step:
    """Changes, and a run after them, that may be ended after some batches."""

    changes: list[Any]
    layers: tuple[str, ...]
    prune: bool
    rehash: bool
    retry_failed: bool
    stop_after: int | None


CHANGES = st.builds(
    Change,
    kind=st.sampled_from(["write", "write", "rename", "copy", "delete", "touch"]),
    name=st.sampled_from(NAMES),
    other=st.sampled_from(NAMES),
    content=st.integers(0, len(CONTENTS) - 1),
    recent=st.sampled_from([False, False, True]),
)
STEPS = st.lists(
    st.builds(
        Step,
        changes=st.lists(CHANGES, max_size=4),
        layers=st.sampled_from(LAYERS),
        prune=st.booleans(),
        rehash=st.booleans(),
        retry_failed=st.booleans(),
        stop_after=st.sampled_from([None, None, 1]),
    ),
    min_size=2,
    max_size=4,
)


class StopError(Exception):
    """Ends a run."""


def stop_after(n_batches: Any) -> Any:
    """Return what raises after so many batches."""

    def act(number: Any) -> None:
        if number == n_batches:
            raise StopError

    return act


@dataclass(frozen=True)
class Content:
    """What two caches of one source share: rows by id, their vectors, the ledger; no times."""

    rows: dict[str, Any]
    vectors: dict[tuple[str, str], bytes]
    failures: list[Any]

    def take(self, ids: Any) -> Any:
        """Return rows and vectors of some ids."""
        vectors = {key: one for key, one in self.vectors.items() if key[0] in ids}
        return {row_id: self.rows[row_id] for row_id in ids}, vectors


def read(path: Path, names: Any) -> Content:
    """Read what a cache holds of these embeddings; nothing of one that is not there."""
    if not path.exists():
        return Content({}, {}, [])
    with open_cache(path) as cache:
        rows = [replace(row, mtime_ns=-1) for row in list_rows(cache.read_rows())]
        vectors = {}
        for name in set(names) & set(cache.embeddings):
            present = cache.read_present(name)
            found = zip(cache.ids[present], cache.read_vectors(name, present), strict=True)
            vectors.update({(row_id, name): one.tobytes() for row_id, one in found})
        failures = [
            replace(one, mtime_ns=-1) for one in cache.failures if one.embedding in ("", *names)
        ]
        return Content({row.id: row for row in rows}, vectors, failures)


def check_order(before: Content, after: Content, fresh: Content) -> None:
    """Rows stay in their order, and new ones follow in the order of the source."""
    ids = list(after.rows)
    stayed = [row_id for row_id in ids if row_id in before.rows]
    assert stayed == [row_id for row_id in before.rows if row_id in after.rows]
    # A file that was renamed has kept its row, so it is not new.
    renamed = {row.digest for row_id, row in before.rows.items() if row_id not in after.rows}
    new = [
        row_id
        for row_id, row in after.rows.items()
        if row_id not in before.rows and row.digest not in renamed
    ]
    assert new == [row_id for row_id in fresh.rows if row_id in new]
    assert not new or ids.index(new[0]) > max(map(ids.index, stayed), default=-1)


def find_complete(path: Path, names: Any) -> Any:
    """Return the digests that have a vector in each embedding."""
    if not path.exists():
        return set()
    with open_cache(path) as cache:
        if not set(names) <= set(cache.embeddings):
            return set()
        return set(cache.digests[np.all([cache.read_present(name) for name in names], axis=0)])


def check_run(step: Any, backbone: Any, folder: Path, output: Any, watch_batches: Any) -> Any:
    """Run a step, and compare with a new extraction; False if it was stopped."""
    names = [name_embedding(backbone.name, layer) for layer in backbone.layers]
    options = {
        "backbone": backbone,
        "engine": "torch",  # converts nothing: what is known is the same for all engines
        "batch_size": 3,
        "workers": 2,
        "max_failures": "100%",
        "progress": False,
    }
    before, old = find_complete(output, names), read(output, names)
    try:
        with watch_batches(stop_after(step.stop_after)):
            report = extract(
                folder,
                output,
                prune=step.prune,
                rehash=step.rehash,
                retry_failed=step.retry_failed,
                **options,
            )
    except StopError:
        assert read(output, names) == old
        return False
    fresh = extract(folder, output.with_name("fresh.h5"), overwrite=True, **options)
    n_kept = 0 if step.prune else report.n_removed
    assert report.n_rows == fresh.n_rows + n_kept
    assert report.n_failures == fresh.n_failures
    there, sought = read(output, names), read(fresh.path, names)
    assert there.take(sought.rows) == sought.take(sought.rows)
    assert there.failures == sought.failures
    check_order(old, there, sought)
    for row_id in there.rows.keys() - sought.rows.keys():  # the source has them no longer
        assert there.rows[row_id] == old.rows[row_id]
        assert old.take([row_id])[1].items() <= there.take([row_id])[1].items()
    new = find_complete(fresh.path, names) - before
    assert len(new) - report.n_resumed <= report.n_embedded <= len(new)
    return True


def check_steps(steps: Any, backbones: Any, watch_batches: Any) -> None:
    """Run steps one after the other over one folder."""
    clock = itertools.count(10**9)
    with tempfile.TemporaryDirectory() as place:
        folder, output = Path(place, "photos"), Path(place, "out.h5")
        for name, data in ((ALWAYS, ALWAYS_THERE), *zip(NAMES, IMAGES, strict=True)):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (next(clock),) * 2)
        done, layers = True, steps[0].layers
        for step in [*steps[:-1], replace(steps[-1], stop_after=None)]:
            for change in step.changes:
                change.apply(folder, clock)
            if done:  # else it goes on with what it was begun with
                layers = step.layers
            done = check_run(step, backbones[layers], folder, output, watch_batches)
        assert done
        assert sorted(os.listdir(place)) == ["fresh.h5", "out.h5", "photos"]


@pytest.fixture(scope="module")
def backbones(tiny_backbone: str) -> Iterator[Any]:
    """The tiny backbone with one layer, with another, and with both; run by one thread.

    Threads that wait for one another take most of the time where other programs run too.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {layers: load_backbone(tiny_backbone, layers=layers) for layers in LAYERS}
    torch.set_num_threads(before)


FAST = settings(max_examples=6, derandomize=True, deadline=None, database=None)


@FAST
@given(steps=STEPS)
def test_extract_after_any_changes_equals_a_new_cache(
    backbones: Any, watch_batches: Any, steps: Any
) -> None:
    check_steps(steps, backbones, watch_batches)


@pytest.mark.slow
@settings(FAST, max_examples=300)
@given(steps=STEPS)
def test_extract_after_any_of_many_changes_equals_a_new_cache(
    backbones: Any, watch_batches: Any, steps: Any
) -> None:
    check_steps(steps, backbones, watch_batches)
