"""Show that this checkout gives the results of an older commit, and is not slower.

Run ``python benchmarks/compare_commits.py --old COMMIT``. The older commit is unpacked into a
temporary folder, and featx of this checkout is copied into another. Each side runs in processes of
its own, with a store of its own that begins empty, over hymenoptera with mobilenet_v2. The first
table says which results are the same: the embeddings byte for byte, heads and scores as numbers.
What only the format or the words changed is a note. The second table gives medians of interleaved
rounds and the ratio old ÷ new, of wall time and of CPU time. On a shared machine the ratio of CPU
times is the steadier one.

The exit code is 1 if a result differs.
"""

from __future__ import annotations

import argparse
import compileall
import io
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Run as a script, its folder's parent is not on the path.
sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
from shared import build_parser, check_there

HERE = Path(__file__).parents[1]
OLD = "285970d"
ENGINES = ("openvino", "torch")
BACKBONE = "mobilenet_v2"

EXTRACT = """
import sys, featx
source, output, weights, engine = sys.argv[1:]
report = featx.extract(source, output, backbone="mobilenet_v2", weights=weights, engine=engine,
                       overwrite=True, progress=False)
print(report.elapsed_s)
"""

EMBED = """
import hashlib, sys, featx
weights, engine, *images = sys.argv[1:]
vectors = featx.embed(images, backbone="mobilenet_v2", weights=weights, engine=engine,
                      progress=False)
print(vectors.shape, vectors.dtype, hashlib.sha256(vectors.tobytes()).hexdigest())
"""

CACHE = """
import hashlib, json, sys, featx
found = {}
with featx.open_cache(sys.argv[1]) as cache:
    for name in ("ids", "paths", "labels", "splits", "groups", "digests", "sizes"):
        data = repr(getattr(cache, name).tolist()).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    for name in cache.embeddings:
        vectors = cache.read_vectors(name)
        found[name] = f"{vectors.shape} {vectors.dtype} {hashlib.sha256(vectors).hexdigest()}"
print(json.dumps(found))
"""

FITTED = """
import json, sys, joblib, numpy as np
found = {}
def walk(value, name):
    if name.endswith("_") and isinstance(value, (list, np.ndarray)):
        found.setdefault(name, []).append(np.asarray(value).tolist())
    elif isinstance(value, (dict, list, tuple)):
        pairs = value.items() if isinstance(value, dict) else ((name, one) for one in value)
        for key, one in pairs:
            walk(one, str(key))
    elif hasattr(value, "__dict__"):
        walk(vars(value), name)
walk(joblib.load(sys.argv[1])["estimator"], "")
print(json.dumps(found, sort_keys=True))
"""

N_SHORT = 5
"""Runs of each short command in a round: on a shared machine, 0.1 s vary by a quarter."""

FORMAT_KEYS = {"digest", "fingerprint", "provenance"}
"""Keys of JSON whose values depend on the format of the file or on the time, not on the results."""


@dataclass(frozen=True)
class Side:
    """One of the two commits, with a folder for its files.

    Attributes
    ----------
    name : str
        ``old`` or ``new``.
    code : Path
        Folder that holds the package ``featx``.
    folder : Path
        Working folder of the processes: caches, heads and the store.
    """

    name: str
    code: Path
    folder: Path

    def run(self, *words: object) -> str:
        """Run Python with this side's featx; return what it printed."""
        environment = os.environ | {
            "PYTHONPATH": str(self.code),
            "FEATX_STORE": str(self.folder / "store"),
        }
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            shown = " ".join(str(word) for word in words if "\n" not in str(word))
            sys.exit(f"{self.name}: {shown}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def read_cache(self, name: str) -> dict[str, str]:
        """Read what a cache of this side holds: a digest of each column and of the vectors."""
        found: dict[str, str] = json.loads(self.run("-c", CACHE, name))
        return found

    def featx(self, *words: object) -> str:
        """Run the command line of this side."""
        return self.run("-m", "featx.cli", *words)


@dataclass
class Findings:
    """The results compared so far.

    Attributes
    ----------
    lines : list of tuple of str
        What was compared, and the outcome.
    notes : list of str
        Differences of names, words and format.
    n_different : int
        Number of results that differ.
    """

    lines: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_different: int = 0

    def add(self, what: str, differences: list[str], size: str = "") -> None:
        """Record a comparison, which found these differences."""
        self.n_different += bool(differences)
        shown = "; ".join(differences[:5])
        outcome = f"DIFFERENT: {shown}" if differences else f"same{size}"
        self.lines.append((what, outcome))
        print(f"  {what}: {outcome}", file=sys.stderr, flush=True)

    def add_json(self, what: str, old: str, new: str) -> None:
        """Record the comparison of two JSON texts: values differ, names may."""
        before, after = (dict(flatten(json.loads(text))) for text in (old, new))
        gone = {key: value for key, value in before.items() if key not in after}
        come = {key: value for key, value in after.items() if key not in before}
        different = []
        for key in before.keys() & after.keys():
            a, b = before[key], after[key]
            if a == b:
                continue
            if FORMAT_KEYS & {*key.split(".")}:
                self.notes.append(f"{what}, format: {key}: {a} → {b}")
            elif is_prose(a) and is_prose(b) and holds_numbers(b, a):
                self.notes.append(f"{what}, words: {a!r} → {b!r}")
            elif key.endswith("min_cosine") and abs(a - b) < 1e-12:
                # The vectors themselves are compared byte for byte.
                self.notes.append(f"{what}, last bits: {key}: {a!r} → {b!r}")
            else:
                different.append(f"{key}: {a!r} → {b!r}")
        for key, value in gone.items():
            twins = [name for name, other in come.items() if repr(other) == repr(value)]
            twin = max(twins, key=lambda name: count_common_end(key, name), default=None)
            if twin:
                self.notes.append(f"{what}, name: {key} → {twin}")
                del come[twin]
            elif FORMAT_KEYS & {*key.split(".")}:
                self.notes.append(f"{what}, format: {key} is gone")
            else:
                different.append(f"{key}: {value!r} → gone")
        self.notes += [f"{what}, new: {key}: {value!r}" for key, value in come.items()]
        self.add(what, sorted(different), f" ({len(before.keys() & after.keys())} values)")


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a JSON value with their dotted names."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from flatten(one, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list) and value:
        for number, one in enumerate(value):
            yield from flatten(one, f"{name}.{number}".lstrip("."))
    else:
        yield name, value


def is_prose(value: object) -> bool:
    """Say whether a value is a text of several words."""
    return isinstance(value, str) and " " in value


def holds_numbers(text: str, numbers_of: str) -> bool:
    """Say whether a text has the numbers of another in their order, perhaps with more between."""
    numbers = iter(re.findall(r"\d+(?:\.\d+)?", text))
    return all(number in numbers for number in re.findall(r"\d+(?:\.\d+)?", numbers_of))


def count_common_end(first: str, second: str) -> int:
    """Count the last parts that two dotted names have in common."""
    pairs = zip(reversed(first.split(".")), reversed(second.split(".")), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), len(first.split(".")))


def diff(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """List the keys whose values differ."""
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def compare_results(old: Side, new: Side, photos: Path, weights: Path) -> Findings:
    """Run every command on both sides and compare what it gives."""
    findings, sides = Findings(), (old, new)
    for side in sides:
        place = side.run("-c", "import featx; print(featx.__file__)").strip()
        if not Path(place).is_relative_to(side.code):
            sys.exit(f"{side.name}: expected featx of {side.code}, got {place}.")
    images = sorted((photos / "val").glob("*/*.jpg"))[::10]
    for engine in ENGINES:
        cache, head = f"{engine}.h5", f"{engine}.joblib"
        both = []
        for side in sides:
            words = ["-o", cache, "--backbone", BACKBONE, "--weights", weights, "--engine", engine]
            side.featx("extract", photos, *words)
            first = side.read_cache(cache)
            side.featx("extract", photos, *words, "--overwrite")
            both.append(side.read_cache(cache))
            findings.add(f"extract {engine}: first and second run, {side.name}",
                         diff(first, both[-1]))  # fmt: skip
        findings.add(f"extract {engine}: rows and vectors, byte for byte", diff(*both))
        commands: dict[str, list[object]] = {
            "fit-head": ["fit-head", cache, "-o", head, "--json"],
            "evaluate": ["evaluate", head, cache, "--json"],
            "predict": ["predict", head, photos / "val", "--json", "--top", "2"],
            "info": ["info", cache, "--json"],
            "verify": ["verify", cache, "--json"],
            "verify --against": ["verify", cache, "--json", "--against", photos, "--sample", "40"],
            "advise": ["advise", cache, "--json"],
        }
        for what, command in commands.items():
            extra = ["--engine", engine] if what in ("predict", "verify --against") else []
            findings.add_json(f"{what} {engine}", *(side.featx(*command, *extra) for side in sides))
        texts = [side.run("-c", FITTED, head) for side in sides]
        arrays = json.loads(texts[0])
        if "coef_" not in arrays:
            sys.exit(f"{head}: expected coef_ in the fitted head, got {', '.join(arrays)}.")
        findings.add(
            f"fit-head {engine}: fitted arrays",
            diff(*({key: str(one) for key, one in json.loads(text).items()} for text in texts)),
            f" ({', '.join(sorted(arrays))})",
        )
        texts = [side.run("-c", EMBED, weights, engine, *images) for side in sides]
        findings.add(f"featx.embed {engine}, byte for byte", [] if texts[0] == texts[1] else texts)
    splits = []
    for side in sides:
        shutil.copy(side.folder / "torch.h5", side.folder / "split.h5")
        words = ["--val", "0.3", "--test", "0.2", "--seed", "3"]
        side.featx("split", "split.h5", *words, "--overwrite")
        splits.append(side.read_cache("split.h5"))
    findings.add("split", diff(*splits))
    for asked in (["*"], [BACKBONE], [BACKBONE, "--blocks"]):
        texts = [side.featx("backbones", *asked, "--json") for side in sides]
        findings.add_json(f"backbones {' '.join(asked)}", *texts)
    return findings


def compare_times(
    old: Side, new: Side, photos: Path, weights: Path, *, n_rounds: int
) -> list[tuple[str, dict[str, list[float]]]]:
    """Time every command in interleaved rounds, after `compare_results` has filled the stores.

    Returns
    -------
    list of tuple of str and dict
        What was timed, and seconds by side and kind: ``old wall``, ``old cpu``, ``new wall``, …
    """
    # OpenVINO: with its network in the store, torch (seconds of import) is not needed.
    same = ["-o", "openvino.h5", "--backbone", BACKBONE, "--weights", weights]
    same += ["--engine", "openvino"]
    commands: dict[str, list[object]] = {
        'python -c "import featx"': ["-c", "import featx"],
        "featx --help": ["-m", "featx.cli", "--help"],
        "featx info": ["-m", "featx.cli", "info", "torch.h5"],
        "featx extract, no-op rerun": ["-m", "featx.cli", "extract", photos, *same],
        "featx fit-head": ["-m", "featx.cli", "fit-head", "torch.h5", "-o", "timed.joblib",
                           "--overwrite"],
    }  # fmt: skip
    for engine in ENGINES:
        commands[f"extract {engine}"] = ["-c", EXTRACT, photos, "timed.h5", weights, engine]
    times: dict[str, dict[str, list[float]]] = {}
    for number in range(n_rounds + 1):
        for name, words in commands.items():
            pair = (old, new) if number % 2 else (new, old)
            for side in pair * (1 if name.startswith("extract ") else N_SHORT):
                before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                printed = side.run(*words)
                wall = time.perf_counter() - start
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                if not number:  # one round that is not counted fills the caches of the disk
                    continue
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                rows = {name: wall}
                if name.startswith("extract "):
                    rows = {f"{name}, whole process": wall, f"{name}, embedding": float(printed)}
                for row, seconds in rows.items():
                    kinds = times.setdefault(row, {})
                    kinds.setdefault(f"{side.name} wall", []).append(seconds)
                    if not row.endswith("embedding"):
                        kinds.setdefault(f"{side.name} cpu", []).append(cpu)
        print(f"  round {number} of {n_rounds}", file=sys.stderr, flush=True)
    return [*times.items()]


def print_times(times: list[tuple[str, dict[str, list[float]]]], n_images: int) -> None:
    """Print the medians as a table in Markdown."""
    print("| what | old (s) | new (s) | ratio | old CPU (s) | new CPU (s) | ratio CPU |")
    print("|---|---|---|---|---|---|---|")
    for name, kinds in times:
        cells = []
        for kind in ("wall", "cpu"):
            if f"old {kind}" not in kinds:
                cells += ["", "", ""]
                continue
            a, b = (statistics.median(kinds[f"{side} {kind}"]) for side in ("old", "new"))
            rates = [
                f" ({n_images / s:.0f} images/s)" if "embedding" in name else "" for s in (a, b)
            ]
            cells += [f"{a:.3f}{rates[0]}", f"{b:.3f}{rates[1]}", f"{a / b:.3f}"]
        print(f"| {name} | " + " | ".join(cells) + " |")


def unpack(commit: str, folder: Path) -> Path:
    """Unpack a commit of this repository into a folder."""
    done = subprocess.run(
        ["git", "-C", str(HERE), "archive", commit], stdout=subprocess.PIPE, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def main() -> None:
    """Compare results and times with an older commit."""
    parser = build_parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--old", default=OLD, help=f"the older commit (default: {OLD})")
    parser.add_argument("--new", help="a commit in place of the files of this checkout")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds; 0 for results alone")
    options = parser.parse_args()
    photos = check_there(options.data / "data" / "hymenoptera_data").resolve()
    weights = check_there(options.data / "weights" / f"{BACKBONE}-imagenet-backbone.pth").resolve()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        for name in ("old", "new"):
            (folder / name).mkdir()
        old = Side("old", unpack(options.old, folder / "old-code"), folder / "old")
        code = folder / "new-code"
        if options.new:
            unpack(options.new, code)
        else:  # a copy, so that edits during the run change nothing
            shutil.copytree(HERE / "featx", code / "featx")
        # As an installation has it: where Python may not write bytecode, each start would compile.
        for side in ("old-code", "new-code"):
            compileall.compile_dir(folder / side / "featx", quiet=1)
        new = Side("new", code, folder / "new")
        findings = compare_results(old, new, photos, weights)
        print("| result | old and new |")
        print("|---|---|")
        for what, outcome in findings.lines:
            print(f"| {what} | {outcome} |")
        print("\nDifferences of names, words and format:\n")
        print("\n".join(f"- {note}" for note in dict.fromkeys(findings.notes)) or "none")
        if options.rounds:
            print(flush=True)
            n_images = len([*photos.glob("*/*/*.jpg")])
            print_times(compare_times(old, new, photos, weights, n_rounds=options.rounds), n_images)
    if findings.n_different:
        sys.exit(f"{findings.n_different} results differ.")


if __name__ == "__main__":
    main()
