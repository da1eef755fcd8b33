"""Measure reports: seconds, CPU time, size of the page, and the largest memory of the process.

1. Hymenoptera: 398 images, two heads on the embeddings of two networks, class maps and audit.
2. CIFAR-10: 10,000 images, one head.
3. Generated: 1,000 classes of 10 images each, one head.

    python benchmarks/report.py 1 2 3 --folder /tmp/reports

Caches and heads lie in the folder, and are made only if they are not there. Each report is written
by a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import featx

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from shared import build_parser

MOBILENET = ("mobilenet_v2", "weights/mobilenet_v2-imagenet-backbone.pth")
SQUEEZENET = ("squeezenet1_1", "weights/squeezenet1_1-imagenet.pth")

N_CLASSES, PER_CLASS, SIDE = 1000, 10, 96


def main() -> None:
    """Measure the parts that are named."""
    parser = build_parser(__doc__)
    parser.add_argument("parts", nargs="*", type=int, default=[1, 2, 3], help="Parts to measure.")
    parser.add_argument("--folder", type=Path, default=Path("reports"), help="Folder of all files.")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    print("data: seconds, CPU time of all threads, MB of the page, images, MB of memory")
    if 1 in arguments.parts:
        cache = folder / "hymenoptera.h5"
        for network in (MOBILENET, SQUEEZENET):
            embed(arguments.data / "data" / "hymenoptera_data", cache, network, arguments.data)
        measure("hymenoptera, two heads", cache, MOBILENET[0], SQUEEZENET[0])
    if 2 in arguments.parts:
        cache, tar = folder / "cifar.h5", arguments.data / "data" / "cifar10-test.tar"
        embed(tar, cache, MOBILENET, arguments.data, size=224)
        split(cache)
        measure("CIFAR-10, 10,000 rows", cache, MOBILENET[0])
    if 3 in arguments.parts:
        cache = folder / "generated.h5"
        generate(folder / "generated")
        if not cache.exists():
            featx.extract(folder / "generated", cache, backbone="mini")
        split(cache)
        measure("1,000 classes of 10 images", cache, "mini", kind="nearest-mean")


def embed(
    source: Path, cache: Path, network: tuple[str, str], data: Path, *, size: int | None = None
) -> None:
    """Embed images, if the cache has not the embedding."""
    name, weights = network
    if cache.exists():
        with featx.open_cache(cache) as opened:
            if name in opened.embeddings:
                return
    featx.extract(source, cache, backbone=name, weights=str(data / weights), size=size)


def split(cache: Path) -> None:
    """Record a split, if there is no train."""
    with featx.open_cache(cache) as opened:
        is_done = "train" in opened.list_splits()
    if not is_done:
        featx.split_cache(cache, val=0.2, overwrite=True, author="benchmark")


def generate(folder: Path) -> None:
    """Draw images of classes that differ in colour, if they are not there."""
    rng = np.random.default_rng(0)
    for label in range(N_CLASSES):
        colour = rng.integers(0, 256, 3)
        for number in range(PER_CLASS):
            path = folder / f"class {label:04}" / f"{number}.png"
            noise = rng.normal(0, 30, (SIDE // 4, SIDE // 4, 3))
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).resize((SIDE, SIDE)).save(path)


def measure(name: str, cache: Path, *embeddings: str, kind: str = "logreg") -> None:
    """Fit heads, write a report in a process of its own, and print what it took."""
    heads = [cache.with_name(f"{cache.stem}-{embedding}.joblib") for embedding in embeddings]
    for embedding, head in zip(embeddings, heads, strict=True):
        if not head.exists():
            featx.fit_head(cache, head, embedding=embedding, kind=kind)
    page = cache.with_suffix(".html")
    words = [str(cache), *map(str, heads), "-o", str(page)]
    script = (
        "import json, resource, sys, time\n"
        "import featx\n"
        "cache, *heads, _, page = sys.argv[1:]\n"
        "done = featx.write_report(cache, heads, page).to_dict()\n"
        "done['memory'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3\n"
        "done['cpu'] = time.process_time()\n"
        "print(json.dumps(done))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *words], check=True, capture_output=True, text=True
    )
    done = json.loads(ran.stdout)
    print(
        f"{name}: {done['seconds']:.1f} s, CPU {done['cpu']:.1f} s, "
        f"{done['n_bytes'] / 1e6:.1f} MB, {done['n_images']:,} images, {done['memory']:,.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
