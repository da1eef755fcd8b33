"""What a CUDA GPU makes of featx: the engine alone, extractions from files, and fine-tuning.

    python benchmarks/gpu.py --json gpu.json

Images per second of

- **decoding** alone, by number of threads, and in as many processes, which share no lock;
- the **GPU** alone (pixels lie in its memory) and the **engine** alone (pixels lie in the memory of
  the machine, all slots busy), by backbone, precision and batch size, with the peak of the GPU's
  memory;
- the **compiled** network, against the network as it is, with the seconds that compiling takes;
- **extractions** from files to the closed, sealed cache, beside the plain script (`plain.py`), by
  turns; medians of the rounds, and the share of the time in which the GPU was idle;
- **threads**: the same by number of threads;
- **processes**: the same as one part, two and four parts at the same time, a process for each;
- a **tar** of 10,000 images of 32 × 32 pixels;
- **fine-tuning** on the CPU and on the GPU.

Beside these, the seconds that a new process takes to **start**: to import PyTorch, and to open the
GPU.

Measurements that would begin after ``--seconds`` are left out and named. The JSON file is written
anew after each part, so that a run that is ended leaves what it has. ``--device cpu`` tries the
script on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
import torch
from shared import build_parser

import featx
from featx.backbones.backbone import Backbone
from featx.core.typing import Precision
from featx.doctor.measure import generate_image, measure_decoding, measure_network
from featx.engines import torch_engine
from featx.engines.choose import list_precisions
from featx.engines.engine import MIN_COMPILED
from featx.engines.torch_engine import TorchEngine
from featx.images.decode import encode_image
from featx.images.sources.read import read_manifest

BACKBONES = ("mobilenet_v2", "resnet50", "squeezenet1_1")
FILES = {
    "mobilenet_v2": "mobilenet_v2-imagenet-backbone.pth",
    "squeezenet1_1": "squeezenet1_1-imagenet.pth",
}


class Bench:
    """What all measurements share: the options, the clock, and the lines so far."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options, self.scratch = options, scratch
        self.device: str = options.device
        self.is_cuda = self.device.startswith("cuda")
        self.end = time.monotonic() + options.seconds
        self.found: dict[str, Any] = {"machine": describe_machine(self.device), "left_out": []}
        self.backbones = {name: self.load(name) for name in options.backbones}
        self.precisions: list[Precision] = list_precisions("torch", self.device)

    def name_weights(self, name: str) -> str:
        """Name the weights of a backbone: its file, else random ones."""
        file = self.options.data / "weights" / FILES.get(name, "-")
        return str(file) if file.is_file() else "random:0"

    def load(self, name: str) -> Backbone:
        """Load a backbone with its weights."""
        return featx.load_backbone(name, weights=self.name_weights(name))

    def has_time(self, what: str, seconds: float = 0.0) -> bool:
        """Tell whether there is time for one more measurement; note the one that is left out."""
        if time.monotonic() + seconds < self.end:
            return True
        self.found["left_out"].append(what)
        return False

    def add(self, part: str, **line: Any) -> None:
        """Keep a line of a part, and print it."""
        values = {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in line.items()
        }
        self.found.setdefault(part, []).append(values)
        print(part, *(f"{name}={value}" for name, value in values.items()), flush=True)

    def write(self) -> None:
        """Write what was found so far."""
        if self.options.json:
            self.options.json.write_text(json.dumps(self.found, indent=1))


def describe_machine(device: str) -> dict[str, Any]:
    """Name the machine's parts and the versions of the libraries."""
    described: dict[str, Any] = {"torch": torch.__version__, "device": device}
    if device.startswith("cuda"):
        described["gpu"] = torch.cuda.get_device_name(device)
        described["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    described["threads"] = torch.get_num_threads()
    return described


# --- parts

START = """
import sys, time
times = [time.perf_counter()]
import torch
times.append(time.perf_counter())
torch.zeros(1, device=sys.argv[1]).cpu()
times.append(time.perf_counter())
import featx
from featx.engines.torch_engine import TorchEngine
backbone = featx.load_backbone("mobilenet_v2", weights=sys.argv[2])
times.append(time.perf_counter())
TorchEngine(backbone, device=sys.argv[1])
times.append(time.perf_counter())
print(*(after - before for before, after in zip(times, times[1:])))
"""


def measure_start(bench: Bench) -> None:
    """Start processes: the first reads the libraries from the disk."""
    for number in range(2):
        if not bench.has_time(f"start {number + 1}", 10):
            continue
        words = [sys.executable, "-c", START, bench.device, bench.name_weights("mobilenet_v2")]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        names = ("import_s", "open_s", "backbone_s", "engine_s")
        bench.add("start", **dict(zip(names, map(float, done.stdout.split()[-4:]), strict=True)))


def measure_threads_of_decoding(bench: Bench) -> None:
    """Decode alone."""
    entries = read_manifest(bench.options.photos).entries[:400]
    for n_threads in bench.options.threads:
        name = f"decoding, {n_threads} threads"
        if not bench.has_time(name):
            continue
        for decode in ("exact", "fast") if n_threads == max(bench.options.threads) else ("exact",):
            speed = measure_decoding(
                entries[: 60 * n_threads],
                bench.backbones["mobilenet_v2"],
                workers=n_threads,
                decode=decode,
                seconds=0.5,
            )
            bench.add("decoding", threads=n_threads, decode=decode, images_per_s=speed.rate)
    n_processes = max(bench.options.threads)
    if bench.has_time(f"decoding, {n_processes} processes", 15):
        rate = measure_processes_of_decoding(bench, n_processes)
        bench.add("decoding", processes=n_processes, decode="exact", images_per_s=rate)


DECODING = """
import sys
from pathlib import Path
import featx
from featx.doctor.measure import measure_decoding
from featx.images.sources.read import read_manifest
backbone = featx.load_backbone("mobilenet_v2", weights=sys.argv[2])
entries = read_manifest(Path(sys.argv[1])).entries[:100]
print("ready", flush=True)
sys.stdin.readline()
print(measure_decoding(entries, backbone, workers=1).rate)
"""


def measure_processes_of_decoding(bench: Bench, n_processes: int) -> float:
    """Decode in processes of one thread, which share no lock; return the sum of their rates."""
    words = [DECODING, str(bench.options.photos), bench.name_weights("mobilenet_v2")]
    return sum(map(float, run_together([words] * n_processes)))


def run_together(scripts: Sequence[list[str]]) -> list[str]:
    """Start scripts, let them go on once all are ready, and return the last line of each."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for words in scripts
    ]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.communicate()[0].splitlines()[-1] for process in processes]


def measure_engines(bench: Bench) -> None:
    """Run the engine alone, and the GPU alone."""
    for name, backbone in bench.backbones.items():
        for precision in bench.precisions:
            for batch_size in bench.options.batch_sizes:
                if not bench.has_time(f"engine, {name} {precision} {batch_size}", 2):
                    continue
                forget_peak(bench)
                start = time.perf_counter()
                with TorchEngine(
                    backbone, device=bench.device, precision=precision, batch_size=batch_size
                ) as engine:
                    built_s = time.perf_counter() - start
                    bench.add(
                        "engine",
                        backbone=name,
                        precision=precision,
                        batch_size=batch_size,
                        engine=measure_network(engine, 0.4),
                        gpu=measure_gpu(engine, 0.3),
                        built_s=built_s,
                        peak_mb=read_peak(bench),
                    )


def measure_gpu(engine: TorchEngine, seconds: float) -> float:
    """Run the network over pixels that lie on the device, in images per second."""
    runner = engine._runner
    pixels = torch.from_numpy(engine.slots[0].pixels.copy()).to(engine.device)

    def wait() -> None:
        if engine.device != "cpu":
            torch.cuda.synchronize()

    runner.compute(pixels)
    wait()
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not rates:
        start = time.perf_counter()
        for _ in range(4):
            runner.compute(pixels)
        wait()
        rates.append(4 * engine.batch_size / (time.perf_counter() - start))
    return statistics.median(rates)


def measure_compiled(bench: Bench) -> None:
    """Compile, and compare with the network as it is."""
    for name in bench.options.compiled:
        for precision in bench.precisions[:2]:
            if not bench.has_time(f"compiled, {name} {precision}", 30):
                continue
            rates: list[float] = []
            seconds, graphs, is_compiled = 0.0, 0, False
            for n_images in (0, MIN_COMPILED):
                start = time.perf_counter()
                with TorchEngine(
                    bench.backbones[name],
                    device=bench.device,
                    precision=precision,
                    n_images=n_images,
                ) as engine:
                    engine.run(engine.slots[0].pixels)
                    seconds = time.perf_counter() - start
                    rates.append(measure_gpu(engine, 0.5))
                    graphs = count_graphs()
                    is_compiled = hasattr(engine._runner.network, "_orig_mod")
            bench.add(
                "compiled",
                backbone=name,
                precision=precision,
                plain=rates[0],
                compiled=rates[1],
                ratio=rates[1] / rates[0],
                seconds=seconds,
                is_compiled=is_compiled,
                graphs_so_far=graphs,
            )


def count_graphs() -> int:
    """Count the graphs that torch has compiled in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def measure_extractions(bench: Bench) -> None:
    """Extract from files, by turns with the plain script."""
    folder = bench.options.photos
    hows: dict[str, Callable[[], dict[str, Any]]] = {}
    for name in list(bench.backbones)[:2]:
        for precision in bench.precisions[:2]:
            hows[f"featx {name} {precision}"] = lambda n=name, p=precision: extract(  # type: ignore[misc]
                bench, folder, n, precision=p
            )
    hows["featx mobilenet_v2 fp32 fast"] = lambda: extract(
        bench, folder, "mobilenet_v2", decode="fast"
    )
    hows["plain mobilenet_v2"] = lambda: run_plain(bench, folder, "mobilenet_v2")
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    next(iter(hows.values()))()  # reads the files into memory, and is not counted
    for number in range(bench.options.rounds):
        for how, measure in hows.items():
            if bench.has_time(f"extraction, {how}, round {number + 1}", 8):
                found[how].append(measure())
    for how, lines in found.items():
        medians = {
            name: statistics.median(line[name] for line in lines)
            for name, value in lines[0].items()
            if isinstance(value, float)
        }
        rates = [line["images_per_s"] for line in lines]
        bench.add(
            "extraction",
            how=how,
            rounds=len(lines),
            **medians,
            least=min(rates),
            most=max(rates),
            verdict=lines[-1].get("verdict", ""),
        )


def extract(bench: Bench, source: Path, name: str, **options: Any) -> dict[str, Any]:
    """Extract in this process."""
    output = bench.scratch / "out.h5"
    forget_peak(bench)
    start = time.perf_counter()
    report = featx.extract(
        source, output, backbone=bench.backbones[name], engine="torch", device=bench.device,
        overwrite=True, progress=False, **options,
    )  # fmt: skip
    timings = report.timings
    return {
        "images_per_s": report.n_embedded / report.elapsed_s,
        "gpu_idle": float(timings.idle),
        "cores": timings.usage * timings.n_cores,
        "start_s": time.perf_counter() - start - report.elapsed_s,
        "wait_images_s": timings.waits_s["images"],
        "wait_network_s": timings.waits_s["network"],
        "wait_write_s": timings.waits_s["write"],
        "wall_s": timings.wall_s,
        "peak_mb": read_peak(bench),
        "verdict": timings.advise(),
    }


def run_plain(bench: Bench, source: Path, name: str) -> dict[str, Any]:
    """Run the plain script in a process of its own, with as many processes that decode."""
    n_processes = max(bench.options.threads)
    weights = bench.name_weights(name)
    words = [Path(__file__).with_name("plain.py"), source, bench.scratch / "plain.h5", name]
    words += ["" if weights == "random:0" else weights, bench.device, n_processes]
    done = subprocess.run(
        [sys.executable, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True
    )
    result = json.loads(done.stdout.splitlines()[-1])
    return {"images_per_s": result["images"] / result["elapsed_s"]}


def measure_threads(bench: Bench) -> None:
    """Extract with each number of threads."""
    paths = sorted(bench.options.photos.rglob("*.jpg"))
    for n_threads in bench.options.threads:
        if not bench.has_time(f"threads, {n_threads}", 5):
            continue
        folder = bench.scratch / f"threads-{n_threads}"
        link(paths[: 200 * n_threads], folder)
        line = extract(bench, folder, "mobilenet_v2", workers=n_threads, precision="fp32")
        bench.add("threads", threads=n_threads, **line)


PART = """
import sys, time
from pathlib import Path
import featx
source, output, weights, device, part, n_threads = sys.argv[1:]
backbone = featx.load_backbone("mobilenet_v2", weights=weights)
print("ready", flush=True)
sys.stdin.readline()
report = featx.extract(
    source, output, backbone=backbone, engine="torch", device=device, part=part,
    workers=int(n_threads), progress=False,
)
print(report.n_embedded, report.elapsed_s, time.time())
"""


def measure_processes(bench: Bench) -> None:
    """Extract parts at the same time: from the first image to the last file that is closed."""
    for n_parts in bench.options.processes:
        if not bench.has_time(f"processes, {n_parts}", 12):
            continue
        n_threads = max(max(bench.options.threads) // n_parts, 1)
        folder = bench.scratch / f"parts-{n_parts}"
        folder.mkdir()
        words = [PART, str(bench.options.photos), str(folder), bench.name_weights("mobilenet_v2")]
        scripts = [
            [*words, bench.device, f"{number}/{n_parts}", str(n_threads)]
            for number in range(1, n_parts + 1)
        ]
        lines = [[float(word) for word in line.split()] for line in run_together(scripts)]
        begin = min(end - elapsed for _, elapsed, end in lines)
        rate = sum(n for n, *_ in lines) / (max(end for *_, end in lines) - begin)
        bench.add("processes", processes=n_parts, threads=n_threads, images_per_s=rate)


def measure_tar(bench: Bench) -> None:
    """Extract a tar of small images, with the compiled network and with the network as it is."""
    tar = bench.options.data / "data" / "cifar10-test.tar"
    if not tar.is_file():
        return
    for name, size in (("lenet5", None), ("mobilenet_v2", 64)):
        for least in (10**9, MIN_COMPILED):
            network = "compiled" if least == MIN_COMPILED else "as it is"
            if not bench.has_time(f"tar, {name} {size} {network}", 15):
                continue
            weights = "DEFAULT" if name == "lenet5" else bench.name_weights(name)
            bench.backbones["tar"] = featx.load_backbone(name, weights=weights, size=size)
            setattr(torch_engine, "MIN_COMPILED", least)  # noqa: B010
            line = extract(bench, tar, "tar")
            bench.add("tar", backbone=name, size=size, network=network, **line)
    setattr(torch_engine, "MIN_COMPILED", MIN_COMPILED)  # noqa: B010
    bench.backbones.pop("tar", None)


def measure_tuning(bench: Bench) -> None:
    """Tune on the CPU and on the GPU; the output of the trunk is kept."""
    source = bench.options.tuning
    cache = bench.scratch / "tuning.h5"
    if not bench.has_time("tuning", 15):
        return
    featx.extract(
        source, cache, backbone="mobilenet_v2", weights=bench.name_weights("mobilenet_v2"),
        engine="torch", device=bench.device, progress=False,
    )  # fmt: skip
    hows = [(bench.device, precision) for precision in ("bf16", "fp32")] if bench.is_cuda else []
    for unfreeze in (1, 5):
        for device, precision in [*hows, ("cpu", None)]:
            if not bench.has_time(f"tuning, {unfreeze} blocks on {device}", 15):
                continue
            forget_peak(bench)
            report = featx.fine_tune(
                source, cache, bench.scratch / "tuned.safetensors", unfreeze=unfreeze,
                recipe=featx.Recipe(epochs=3, lr=1e-4, precision=precision),  # type: ignore[arg-type]
                overwrite=True, engine="torch", device=device, progress=False,
            )  # fmt: skip
            bench.add(
                "tuning",
                unfreeze=unfreeze,
                device=device,
                precision=precision or "fp32",
                images_per_s=report.history[-1].images_per_s,
                first_loss=report.history[1].train_loss,
                last_loss=report.history[-1].train_loss,
                train_s=report.train_s,
                trunk_s=report.trunk_s,
                peak_mb=read_peak(bench),
            )


# --- images and memory


def write_many(folder: Path, target: Path, n_images: int) -> None:
    """Copy images until there are enough; a few bytes behind each make the files distinct."""
    target.mkdir(parents=True)
    sources = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    if not sources:
        import numpy as np

        rng = np.random.default_rng(0)
        sources = [encode_image(generate_image(rng), "JPEG") for _ in range(50)]
    for number in range(n_images):
        data = sources[number % len(sources)] + number.to_bytes(4)
        (target / f"{number:05}.jpg").write_bytes(data)


def link(paths: Sequence[Path], folder: Path) -> None:
    """Link files into a new folder."""
    folder.mkdir()
    for path in paths:
        (folder / path.name).hardlink_to(path)


def forget_peak(bench: Bench) -> None:
    """Begin to measure the peak of the GPU's memory."""
    if bench.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def read_peak(bench: Bench) -> float:
    """Read the peak of the GPU's memory in MB; 0 on a CPU."""
    return torch.cuda.max_memory_reserved() / 1e6 if bench.is_cuda else 0.0


PARTS = {
    "extraction": measure_extractions,
    "engine": measure_engines,
    "threads": measure_threads,
    "processes": measure_processes,
    "decoding": measure_threads_of_decoding,
    "tar": measure_tar,
    "tuning": measure_tuning,
    "compiled": measure_compiled,
    "start": measure_start,
}


def main() -> None:
    """Measure part by part; print lines and write JSON."""
    parser = build_parser(__doc__)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    parser.add_argument("--compiled", nargs="+", default=["mobilenet_v2", "resnet50"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--parts", nargs="+", default=list(PARTS))
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=220, help="no measurement begins later")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.getLogger("featx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        options.tuning = options.data / "data" / "hymenoptera_data"
        options.photos = scratch / "photos"
        write_many(options.tuning, options.photos, options.images)
        bench = Bench(options, scratch)
        print(bench.found["machine"], flush=True)
        for part in options.parts:
            start = time.perf_counter()
            try:
                PARTS[part](bench)
            except Exception as error:  # the other parts are measured all the same
                bench.add("failed", which=part, error=f"{type(error).__name__}: {error}"[:500])
            bench.found.setdefault("part_s", {})[part] = time.perf_counter() - start
            bench.write()
    print("left out:", *bench.found["left_out"], sep="\n- ")


if __name__ == "__main__":
    main()
