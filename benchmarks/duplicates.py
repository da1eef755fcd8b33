"""Measure how many planted near-duplicates are found, by kind, and what all pairs cost.

1. Planted: images of a source, and copies of half of them, a tenth for each kind: re-encoded (JPEG
   quality 30 to 90), resized (by 0.7 to 1.4), cropped (up to 10 % off), mirrored, and brightened
   (by 0.6 to 1.5). Precision is that of the pairs with a copy of the kind; pairs of two originals
   are counted apart, because a source may hold near-duplicates of its own.
2. Cost: seconds and peak memory for a cache, with and without its images.

    python benchmarks/duplicates.py planted --source hymenoptera_data
    python benchmarks/duplicates.py planted --source cifar10-test.tar --rows 5000
    python benchmarks/duplicates.py cost --cache cifar10.h5
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

import featx
from featx.fitting.split import build_splits
from featx.images.sources.read import read_manifest

KINDS = ("reencoded", "resized", "cropped", "mirrored", "brightened")
N_SEEDS, VAL = 20, 0.2


def change(image: Image.Image, kind: str, rng: np.random.Generator) -> tuple[Image.Image, int]:
    """Make a copy of an image, and choose the quality at which it is saved.

    Parameters
    ----------
    image : PIL.Image.Image
        The original.
    kind : str
        One of `KINDS`.
    rng : numpy.random.Generator
        Source of how much is changed.
    """
    width, height = image.size
    if kind == "reencoded":
        return image, int(rng.integers(30, 91))
    if kind == "resized":
        factor = rng.uniform(0.7, 1.4)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        return image.resize(size, Image.Resampling.BICUBIC), 90
    if kind == "cropped":
        off = rng.uniform(0.02, 0.1, 2) * (width, height)
        left, top = rng.uniform(0, 1, 2) * off
        box = (left, top, left + width - off[0], top + height - off[1])
        return image.crop(tuple(round(edge) for edge in box)), 90
    if kind == "mirrored":
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 90
    return ImageEnhance.Brightness(image).enhance(rng.choice([0.6, 0.75, 1.3, 1.5])), 90


def plant(source: Path, n_rows: int | None, folder: Path, seed: int) -> dict[str, tuple[str, str]]:
    """Write originals and copies to a folder.

    Returns
    -------
    dict of str to (str, str)
        The kind and the id of the original, by the id of each copy.
    """
    rng = np.random.default_rng(seed)
    entries = read_manifest(source).entries
    chosen = np.sort(rng.permutation(len(entries))[:n_rows])
    kinds = rng.permutation(np.resize([*KINDS, *[""] * len(KINDS)], len(chosen)))
    copies = {}
    for number, kind in zip(chosen.tolist(), kinds.tolist(), strict=True):
        entry = entries[number]
        data = entry.content.read()
        try:
            image = Image.open(io.BytesIO(data)).convert("RGB")
        except OSError:
            continue
        (folder / f"{number}.jpg").write_bytes(data)
        if kind:
            copy, quality = change(image, kind, rng)
            copy.save(folder / f"{number}-copy.jpg", quality=quality)
            copies[f"{number}-copy.jpg"] = kind, f"{number}.jpg"
    return copies


def measure_planted(arguments: argparse.Namespace) -> None:
    """Plant copies, find near-duplicates with and without images, and print shares by kind."""
    with tempfile.TemporaryDirectory() as name:
        work = arguments.work or Path(name)
        folder, cache_path = work / "images", work / "planted.h5"
        folder.mkdir(parents=True, exist_ok=True)
        copies = plant(arguments.source, arguments.rows, folder, arguments.seed)
        featx.extract(
            folder,
            output=cache_path,
            backbone=arguments.backbone,
            weights=arguments.weights,
            size=arguments.size,
        )
        with featx.open_cache(cache_path) as cache:
            images = featx.RowImages(cache)
            for text, given in (("with images", images), ("embeddings alone", None)):
                report(featx.find_near_duplicates(cache, images=given), copies, text)


def report(found: featx.NearDuplicates, copies: dict[str, tuple[str, str]], text: str) -> None:
    """Print precision and recall of each kind.

    Parameters
    ----------
    found : NearDuplicates
        What featx reports.
    copies : dict of str to (str, str)
        What was planted.
    text : str
        Heading.
    """
    pairs = {frozenset(pair) for pair in zip(found.a_id.tolist(), found.b_id.tolist(), strict=True)}
    own = [pair for pair in pairs if not any(one in copies for one in pair)]
    print(
        f"\n{text}: {found.n_rows} rows, {len(pairs)} pairs from {found.threshold:.2f} on, "
        f"{len(own)} of two originals; expected wrong {found.expected_wrong}"
    )
    print(f"{'kind':12} {'planted':>8} {'recall':>8} {'precision':>10}")
    for kind in KINDS:
        planted = {frozenset((one, of)) for one, (k, of) in copies.items() if k == kind}
        touched = [pair for pair in pairs if any(copies.get(one, ("",))[0] == kind for one in pair)]
        right = sum(pair in planted for pair in touched)
        precision = f"{right / len(touched):10.3f}" if touched else f"{'-':>10}"
        print(f"{kind:12} {len(planted):8} {len(planted & pairs) / len(planted):8.3f} {precision}")


def measure_cost(arguments: argparse.Namespace) -> None:
    """Print seconds and peak memory."""
    with featx.open_cache(arguments.cache) as cache:
        for text in ("with images", "embeddings alone"):
            start, before = time.perf_counter(), os.times()
            images = featx.RowImages(cache, arguments.source) if text == "with images" else None
            found = featx.find_near_duplicates(cache, images=images)
            used = os.times()
            seconds = time.perf_counter() - start
            cpu = used.user + used.system - before.user - before.system
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{text}: {found.n_rows} rows, {len(found)} pairs ({int(found.crosses.sum())} "
                f"between splits) from {found.threshold:.2f} on, {len(found.clusters)} clusters: "
                f"{seconds:.1f} s, {cpu:.1f} s of CPU, peak {peak:.2f} GiB"
            )
            check_splits(cache, found)


def check_splits(cache: featx.Cache, found: featx.NearDuplicates) -> None:
    """Print how many pairs cross splits over 20 seeds, and how far class shares are off.

    Parameters
    ----------
    cache : Cache
        Open cache.
    found : NearDuplicates
        Its near-duplicates.
    """
    n_crossing, off, start = 0, 0.0, time.perf_counter()
    for seed in range(N_SEEDS):
        splits = build_splits(cache, val=VAL, test=0.0, seed=seed, similar=found)[0]
        n_crossing += int((splits[found.a] != splits[found.b]).sum())
        is_val = splits == "val"
        shares = [is_val[cache.labels == label].mean() for label in np.unique(cache.labels)]
        off = max(off, float(np.abs(np.subtract(shares, VAL)).max()))
    seconds = (time.perf_counter() - start) / N_SEEDS
    print(
        f"  {N_SEEDS} splits: {n_crossing} pairs cross, shares of classes off by {off:.4f}, "
        f"{seconds:.1f} s each"
    )


def main() -> None:
    """Run one of the two measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    planted = commands.add_parser("planted")
    planted.add_argument("--source", type=Path, required=True)
    planted.add_argument("--rows", type=int, help="Number of originals. Default: all.")
    planted.add_argument("--backbone", default="mobilenet_v2")
    planted.add_argument("--weights", required=True)
    planted.add_argument("--size", type=int)
    planted.add_argument("--work", type=Path, help="Folder to keep. Default: a temporary one.")
    planted.add_argument("--seed", type=int, default=0)
    planted.set_defaults(run=measure_planted)
    cost = commands.add_parser("cost")
    cost.add_argument("--cache", type=Path, required=True)
    cost.add_argument("--source", type=Path, nargs="+")
    cost.set_defaults(run=measure_cost)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
