"""The output of the trunk, kept or not, in any view of the images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from featx.backbones.load import load_backbone
from featx.cache.joined import open_cache
from featx.cache.lock import LockOwner
from featx.core.errors import (
    CacheError,
    CacheLockedError,
    FeatxWarning,
    TooManyFailuresError,
    TuningError,
)
from featx.core.typing import Array, Float32Array
from featx.embedding.options import RunOptions
from featx.finetune.trunk import (
    Features,
    KeptFeatures,
    LiveFeatures,
    TrunkRun,
    name_view,
)
from featx.images.content import Content
from featx.images.entries import Entry
from featx.images.sources.read import read_manifest

BuildRun = Callable[..., TrunkRun]
MakeImage = Callable[..., Path]
WatchBatches = Callable[..., Any]
CountBatches = Callable[[Callable[[], object]], int]


def read(
    features: Features, order: Iterable[int], batch_size: int = 3, view: int = 0
) -> list[Float32Array]:
    return list(features.iter_batches(np.array([*order]), batch_size, view))


def get_content(entry: Entry) -> Content:
    assert isinstance(entry.content, Content)
    return entry.content


def compute(run: TrunkRun, view: int = 0) -> Array:
    """Compute the feature maps of all images, without any loop."""
    backbone = run.build_view(view)
    pixels = [
        backbone.preprocess.prepare(Image.open(get_content(entry).file).convert("RGB"))
        for entry in run.entries
    ]
    batch = backbone.preprocess.normalise(torch.from_numpy(np.stack(pixels)))
    with torch.inference_mode():
        maps: Array = backbone.module(batch)[0].numpy()
    return maps


ORDERS = {
    "as they lie": list(range(11)),
    "backwards": list(range(10, -1, -1)),
    "some": [7, 2, 9, 0],
    "some twice": [3, 3, 8, 1, 3],
}


@pytest.mark.parametrize("view", [0, 1, 2])
@pytest.mark.parametrize("kind", ["kept", "live"])
def test_features_are_what_the_trunk_puts_out_in_any_order(
    build_run: BuildRun, tmp_path: Path, kind: str, view: int
) -> None:
    run = build_run()
    features: KeptFeatures | LiveFeatures = LiveFeatures(run)
    if kind == "kept":
        features = KeptFeatures(run, tmp_path / "t.h5", 2)
        features.fill()
    expected = compute(run, view)
    assert np.ptp(expected, axis=0).max() > 0.1  # images are told apart
    for order in ORDERS.values():
        for batch_size in (1, 3, 4, 64):
            batches = read(features, order, batch_size, view)
            sizes = [len(batch) for batch in batches]
            assert all(size == batch_size for size in sizes[:-1])
            assert 1 <= sizes[-1] <= batch_size
            joined = np.concatenate(batches)
            assert joined.dtype == np.float32
            np.testing.assert_allclose(joined, expected[order], rtol=1e-5, atol=1e-6)


def test_features_of_one_engine_are_the_same_kept_or_not(
    build_run: BuildRun, tmp_path: Path
) -> None:
    run = build_run()
    kept = KeptFeatures(run, tmp_path / "t.h5", 1)
    kept.fill()
    live = LiveFeatures(run)
    order = [5, 0, 10, 3, 3, 7]
    for view in (0, 1, 0):
        pairs = zip(read(kept, order, 4, view), read(live, order, 4, view), strict=True)
        for first, second in pairs:
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-7)


def test_features_of_views_differ_from_the_plain_ones(build_run: BuildRun, tmp_path: Path) -> None:
    kept = KeptFeatures(build_run(), tmp_path / "t.h5", 2)
    kept.fill()
    plain, first, second = (np.concatenate(read(kept, range(11), view=v)) for v in range(3))
    for one, other in ((plain, first), (plain, second), (first, second)):
        assert np.abs(one - other).max(axis=1).min() > 1e-3  # for every image


def test_live_features_left_early_can_be_asked_again(build_run: BuildRun) -> None:
    live = LiveFeatures(build_run())
    batches = live.iter_batches(np.arange(11), 2, 0)
    first = next(batches)
    batches.close()
    np.testing.assert_array_equal(read(live, range(11), 2)[0], first)


@pytest.fixture
def count_batches(watch_batches: WatchBatches) -> CountBatches:
    """Count the batches that networks run while a function is called; a factory."""

    def count(call: Callable[[], object]) -> int:
        numbers: list[int] = []
        with watch_batches(numbers.append):
            call()
        return len(numbers)

    return count


def test_fill_a_second_time_embeds_nothing(
    build_run: BuildRun, tmp_path: Path, count_batches: CountBatches
) -> None:
    path = tmp_path / "t.h5"
    assert count_batches(KeptFeatures(build_run(), path, 2).fill) == 9  # 3 of each view
    before = path.read_bytes()
    assert count_batches(KeptFeatures(build_run(), path, 2).fill) == 0
    assert count_batches(KeptFeatures(build_run(), path, 0).fill) == 0
    assert path.read_bytes() == before
    assert count_batches(KeptFeatures(build_run(), path, 3).fill) == 3


@pytest.mark.parametrize("n_done", [2, 4, 8])
def test_fill_interrupted_in_any_view_goes_on(
    build_run: BuildRun,
    tmp_path: Path,
    watch_batches: WatchBatches,
    count_batches: CountBatches,
    n_done: int,
) -> None:
    def interrupt(number: int) -> None:
        if number == n_done:
            raise KeyboardInterrupt

    features = KeptFeatures(build_run(), tmp_path / "t.h5", 2)
    with watch_batches(interrupt), pytest.raises(KeyboardInterrupt):
        features.fill()
    assert count_batches(KeptFeatures(build_run(), tmp_path / "t.h5", 2).fill) == 9 - n_done
    for view in range(3):
        got = np.concatenate(read(features, range(11), view=view))
        np.testing.assert_allclose(got, compute(build_run(), view), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", ["network", "seed"])
def test_fill_over_the_output_of_another_run_replaces_it(
    build_run: BuildRun, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "t.h5"
    KeptFeatures(build_run(), path, 1).fill()
    if change == "network":
        run = build_run(backbone=load_backbone("lenet5", weights="random:0"))
    else:
        run = build_run(seed=1)
    features = KeptFeatures(run, path, 1)
    features.fill()
    for view in (0, 1):
        got = np.concatenate(read(features, range(11), view=view))
        np.testing.assert_allclose(got, compute(run, view), rtol=1e-5, atol=1e-6)


def test_fill_of_fewer_images_drops_the_others(
    build_run: BuildRun, tmp_path: Path, count_batches: CountBatches
) -> None:
    path = tmp_path / "t.h5"
    run = build_run()
    KeptFeatures(run, path, 1).fill()
    part = replace(run, entries=run.entries[4:9], digests=run.digests[4:9])
    features = KeptFeatures(part, path, 1)
    assert count_batches(features.fill) == 0
    with open_cache(path) as cache:
        assert len(cache) == 5
    got = np.concatenate(read(features, range(5), view=1))
    np.testing.assert_allclose(got, compute(run, 1)[4:9], rtol=1e-5, atol=1e-6)


def test_fill_of_more_images_embeds_those_alone(
    build_run: BuildRun, tmp_path: Path, count_batches: CountBatches
) -> None:
    path = tmp_path / "t.h5"
    run = build_run()
    part = replace(run, entries=run.entries[:4], digests=run.digests[:4])
    KeptFeatures(part, path, 1).fill()
    features = KeptFeatures(run, path, 1)
    assert count_batches(features.fill) == 4  # 7 images, in 2 batches of each view
    got = np.concatenate(read(features, range(11), view=1))
    np.testing.assert_allclose(got, compute(run, 1), rtol=1e-5, atol=1e-6)


def test_fill_into_a_cache_of_the_users_is_refused_and_leaves_it(
    build_run: BuildRun, cache_path: Path
) -> None:
    before = cache_path.read_bytes()
    features = KeptFeatures(build_run(), cache_path, 0)
    with pytest.raises(TuningError, match=r"expected the output of a trunk, got a cache with tiny"):
        features.fill()
    assert cache_path.read_bytes() == before


def test_fill_into_what_is_no_cache_is_refused_and_leaves_it(
    build_run: BuildRun, tmp_path: Path
) -> None:
    (tmp_path / "notes.h5").write_text("notes")
    features = KeptFeatures(build_run(), tmp_path / "notes.h5", 0)
    with pytest.raises(CacheError, match=r"notes\.h5: expected a sealed cache"):
        features.fill()
    assert (tmp_path / "notes.h5").read_text() == "notes"


CHANGED = r"05\.png: expected the image that was extracted, got another one\."


def test_kept_features_of_an_image_that_was_changed_name_it(
    build_run: BuildRun, folder: Path, tmp_path: Path, make_image: MakeImage
) -> None:
    run = build_run()
    make_image(folder / "05.png", seed=99)
    features = KeptFeatures(run, tmp_path / "t.h5", 0)
    features.fill()
    with pytest.raises(TuningError, match=CHANGED):
        read(features, [1, 2])


def test_kept_features_of_an_image_changed_after_the_fill_name_it(
    build_run: BuildRun, folder: Path, tmp_path: Path, make_image: MakeImage
) -> None:
    run = build_run()
    KeptFeatures(run, tmp_path / "t.h5", 0).fill()
    make_image(folder / "05.png", seed=99)
    features = KeptFeatures(run, tmp_path / "t.h5", 0)
    features.fill()
    with pytest.raises(TuningError, match=CHANGED):
        read(features, [1, 2])


def test_live_features_of_an_image_that_was_changed_name_it(
    build_run: BuildRun, folder: Path, make_image: MakeImage
) -> None:
    live = LiveFeatures(build_run())
    make_image(folder / "05.png", seed=99)
    assert len(read(live, [1, 2])) == 1
    with pytest.raises(TuningError, match=CHANGED):
        read(live, [9, 8, 7, 6, 5, 4])


def test_kept_features_of_an_image_that_is_gone_name_it(
    build_run: BuildRun, folder: Path, tmp_path: Path
) -> None:
    features = KeptFeatures(build_run(), tmp_path / "t.h5", 0)
    (folder / "05.png").unlink()
    with (
        pytest.warns(FeatxWarning, match=r"^more images failed than the 0 that may"),
        pytest.raises(TooManyFailuresError, match=r"1 of 11 .*05\.png: No such file"),
    ):
        features.fill()
    assert not (tmp_path / "t.h5").exists()


@pytest.mark.parametrize("spoil", ["gone", "damaged"])
def test_live_features_of_an_image_that_cannot_be_read_name_it(
    build_run: BuildRun, folder: Path, spoil: str
) -> None:
    live = LiveFeatures(build_run())
    if spoil == "gone":
        (folder / "05.png").unlink()
    else:
        (folder / "05.png").write_bytes(b"no image")
    with pytest.raises(TuningError, match=r"05\.png: expected an image .*, got .*featx.extract"):
        read(live, [9, 8, 7, 6, 5, 4])


def test_fill_over_the_output_of_another_source_replaces_it(
    build_run: BuildRun, tmp_path: Path, make_image: MakeImage
) -> None:
    path = tmp_path / "t.h5"
    KeptFeatures(build_run(), path, 1).fill()
    for number in range(3):
        make_image(tmp_path / f"others/{number}-other.png", (40, 40), seed=50 + number)
    manifest = read_manifest(tmp_path / "others")
    digests = tuple(sha256(get_content(entry).read()).hexdigest() for entry in manifest.entries)
    run = build_run(source=manifest.source, entries=manifest.entries, digests=digests)
    features = KeptFeatures(run, path, 1)
    features.fill()
    for view in (0, 1):
        (batch,) = read(features, range(3), 3, view)
        np.testing.assert_allclose(batch, compute(run, view), rtol=1e-5, atol=1e-6)
    with open_cache(path) as cache:
        assert len(cache) == 3


def test_fill_breaks_the_lock_of_another_host_where_it_may(
    build_run: BuildRun, tmp_path: Path
) -> None:
    holder = asdict(replace(LockOwner.of_this_process(), host="elsewhere"))
    (tmp_path / ".t.h5.lock").write_text(json.dumps(holder))
    features = KeptFeatures(build_run(), tmp_path / "t.h5", 0)
    with pytest.raises(CacheLockedError, match=r"t\.h5: .*break_lock=True"):
        features.fill()
    features.fill(break_lock=True)
    assert len(read(features, range(11), 11)) == 1


def test_live_features_of_all_views_come_of_one_engine(
    build_run: BuildRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    build = RunOptions.build_engine

    def note(self: RunOptions, *args: Any, **options: Any) -> Any:
        built.append(build(self, *args, **options))
        return built[-1]

    monkeypatch.setattr(RunOptions, "build_engine", note)
    features = LiveFeatures(build_run())
    batches = [read(features, range(4), 4, view)[0] for view in (0, 1, 2)]
    assert len(built) == 1
    assert not np.array_equal(batches[1], batches[2])
    features.close()
    assert built[0].slots == ()  # threads, memory and processes are released
    np.testing.assert_array_equal(read(features, range(4), 4, 2)[0], batches[2])
    assert len(built) == 2


def test_count_bytes_is_what_the_vectors_take(build_run: BuildRun, tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    run = build_run(n_top=3)
    KeptFeatures(run, path, 5).fill()
    sizes: list[int] = []
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: sizes.append(item.nbytes) if name.endswith("vectors") else None
        )
    assert len(sizes) == 6
    assert sum(sizes) == pytest.approx(run.count_bytes(6), rel=0.02)
    # The file holds rows, labels and a seal beside them, of a fixed size for few rows.
    assert 0 < path.stat().st_size - run.count_bytes(6) < 256 * 1024


def test_name_view_is_one_that_fill_knows_again() -> None:
    assert [name_view(view) for view in (0, 1, 12)] == ["plain", "view-1", "view-12"]
