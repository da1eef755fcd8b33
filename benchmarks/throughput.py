"""How close featx comes to what the machine can do, and how far the usual script stays behind.

Run it with ``python benchmarks/throughput.py``; ``--device cuda`` on a machine with a
GPU. In each round, one after the other and each in a process of its own: the plain script
(`plain.py`), the bounds, and featx with every engine and precision, from files to the closed,
sealed HDF5 file. Rates are of the steady state, from the first image on; what comes before it is
told apart. A ratio is the median of the rounds' ratios.

The bounds are loops over nothing else, best of five: D images/s read, decoded and resized on all
cores, F images/s through the network from memory, in the better of two batch shapes. On a CPU both
need the same cores: 1 / (1/D + 1/F). Beside a GPU the slower sets the pace: min(D, F). ``featx
doctor`` measures the same loops.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

# Run as a script, its folder's parent is not on the path.
sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from photos import link_some, write_photos
from shared import build_parser

import featx
from featx.backbones.backbone import Backbone
from featx.core.typing import EngineName, Precision
from featx.doctor.advice import combine
from featx.doctor.measure import measure_decoding, measure_network
from featx.embedding.options import RunOptions, count_workers
from featx.engines.choose import list_precisions
from featx.images.sources.read import read_manifest

N_PHOTOS = 4_000


def measure_bounds(folder: Path, backbone: Backbone, options: argparse.Namespace) -> dict[str, Any]:
    """Measure D, and F for each engine and precision."""
    entries = read_manifest(folder).entries[:400]
    decode = measure_decoding(
        entries, backbone, workers=count_workers(), seconds=options.seconds / 3
    ).rate
    forward = {}
    sizes = (8, 16) if options.device == "cpu" else (128, 256)
    for name in list_engines(options):
        engine, precision = parse_way(name)
        built = [
            RunOptions(engine=engine, device=options.device, batch_size=size).build_engine(
                backbone, precision
            )
            for size in sizes
        ]
        best = max(built, key=lambda one: measure_network(one, options.seconds / 15))
        forward[name] = measure_network(best, options.seconds / 3)
    return {"decode": decode, "forward": forward}


def parse_way(text: str) -> tuple[EngineName, Precision]:
    """Read engine and precision, as `list_engines` writes them."""
    engine, precision = text.split()
    return cast(EngineName, engine), cast(Precision, precision)


def list_engines(options: argparse.Namespace) -> list[str]:
    """List what this machine can run: engine and precision."""
    engines: list[EngineName] = options.engines if options.device == "cpu" else ["torch"]
    return [
        f"{engine} {precision}"
        for engine in engines
        for precision in list_precisions(engine, options.device)
        if precision in options.precisions
    ]


def extract(
    folder: str, output: str, backbone: str, weights: str, *, how: str, device: str
) -> None:
    """Extract in this process, and print what it took."""
    engine, precision = parse_way(how)
    report = featx.extract(
        folder, output, backbone=backbone, weights=weights, engine=engine, precision=precision,
        device=device, progress=False,
    )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    result = {
        "images": report.n_embedded,
        "elapsed_s": report.elapsed_s,
        "peak_mb": peak,
        "gpu_busy": None if report.timings.busy_s is None else 1 - report.timings.idle,
        "verdict": report.timings.advise(),
    }
    if device != "cpu":
        import torch

        result["gpu_peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(result))


def run_child(*words: object) -> dict[str, Any]:
    """Run a script in a process of its own; add the seconds that its measurement leaves out."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True
    )
    total = time.perf_counter() - start
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "elapsed_s" in result:
        result["rate"] = result["images"] / result["elapsed_s"]
        result["start_s"] = total - result["elapsed_s"]
    return result


def compare(
    name: str, weights: Path | None, photos: Path, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Measure one backbone in several rounds: one line for each engine and precision."""
    given = str(weights) if weights else "random:0"
    own = [__file__, "--device", options.device, "--seconds", options.seconds, "--engines"]
    own += [*options.engines, "--precisions", *options.precisions, "--child"]
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # One run that is not counted keeps the converted network, and fills the disk's cache.
        few = link_some(photos, folder / "few", 64)
        for how in list_engines(options):
            run_child(*own, "extract", few, folder / f"{how}.h5", name, given, how)
        for number in range(options.rounds):
            result = run_child(*own, "bounds", photos, name, given)
            if not number:  # as many photos as take some seconds
                rates = {how: bound(result, how, options) for how in list_engines(options)}
                counts = {
                    how: max(64, min(options.photos, int(rate * options.seconds)))
                    for how, rate in rates.items()
                }
                # It makes about a quarter of what the slowest engine can.
                n_plain = int(min(rates.values()) / 4 * options.plain_seconds)
                n_plain = max(64, min(options.photos, n_plain))
                parts = {
                    n: link_some(photos, folder / f"part-{n}", n)
                    for n in {n_plain, *counts.values()}
                }
            words = [Path(__file__).with_name("plain.py"), parts[n_plain], folder / "plain.h5"]
            result["plain"] = run_child(*words, name, weights or "", options.device)
            for how, n in counts.items():
                output = folder / f"{how}-{number}.h5"
                result[how] = run_child(*own, "extract", parts[n], output, name, given, how)
                output.unlink()
            rounds.append(result)
            print(f"  {name}, round {number + 1}", file=sys.stderr, flush=True)
    return [summarise(name, how, rounds, options) for how in counts]


def bound(result: dict[str, Any], how: str, options: argparse.Namespace) -> float:
    """Say what the machine could do at the best."""
    return combine(result["decode"], result["forward"][how], options.device)


def summarise(
    name: str, how: str, rounds: list[dict[str, Any]], options: argparse.Namespace
) -> dict[str, Any]:
    """Take medians over the rounds."""

    def median(values: Any) -> float:
        return float(statistics.median(list(values)))

    line = {
        "backbone": name,
        "engine": how,
        "plain": median(r["plain"]["rate"] for r in rounds),
        "decode": median(r["decode"] for r in rounds),
        "forward": median(r["forward"][how] for r in rounds),
        "bound": median(bound(r, how, options) for r in rounds),
        "featx": median(r[how]["rate"] for r in rounds),
        "to_plain": median(r[how]["rate"] / r["plain"]["rate"] for r in rounds),
        "to_bound": median(r[how]["rate"] / bound(r, how, options) for r in rounds),
        "bound_to_plain": median(bound(r, how, options) / r["plain"]["rate"] for r in rounds),
        "plain_start_s": median(r["plain"]["start_s"] for r in rounds),
        "featx_start_s": median(r[how]["start_s"] for r in rounds),
        "peak_mb": max(r[how]["peak_mb"] for r in rounds),
        "images": rounds[0][how]["images"],
        "verdict": rounds[-1][how]["verdict"],
    }
    if options.device != "cpu":
        line["gpu_busy"] = median(r[how]["gpu_busy"] for r in rounds)
        line["gpu_peak_mb"] = max(r[how]["gpu_peak_mb"] for r in rounds)
    return line


def print_table(lines: list[dict[str, Any]]) -> None:
    """Print the table as Markdown."""
    print(
        "| backbone | engine | plain | D | F | bound | featx | featx ÷ plain | bound ÷ plain "
        "| featx ÷ bound | start plain, featx (s) | peak (MB) |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for line in lines:
        print(
            "| {backbone} | {engine} | {plain:.1f} | {decode:.0f} | {forward:.0f} | {bound:.0f} "
            "| {featx:.0f} | {to_plain:.1f} | {bound_to_plain:.1f} | {to_bound:.2f} "
            "| {plain_start_s:.1f}, {featx_start_s:.1f} | {peak_mb:.0f} |".format(**line)
        )


def main() -> None:
    """Compare every backbone; print a table and write JSON."""
    parser = build_parser(__doc__)
    parser.add_argument("--backbones", nargs="+", default=["mobilenet_v2", "resnet50"])
    parser.add_argument("--engines", nargs="+", default=["openvino", "torch"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "fp16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--photos", type=int, default=N_PHOTOS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="how long each run may take")
    parser.add_argument("--plain-seconds", type=float, default=15)
    parser.add_argument("--json", type=Path, help="where the table is written as JSON")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, *words = options.child
        if kind == "extract":
            *words, how = words
            extract(*words, how=how, device=options.device)
        else:
            backbone = featx.load_backbone(words[1], weights=words[2])
            print(json.dumps(measure_bounds(Path(words[0]), backbone, options)))
        return
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        write_photos(options.data / "data", photos, options.photos)
        for name in options.backbones:
            weights = options.data / "weights" / f"{name}-imagenet-backbone.pth"
            lines += compare(name, weights if weights.is_file() else None, photos, options)
    print_table(lines)
    if options.json:
        options.json.write_text(json.dumps(lines, indent=2))


if __name__ == "__main__":
    main()
