"""What a small change of a large cache costs, beside ``cp`` and beside an older commit.

Run it with ``python benchmarks/increments.py``. A cache of 1,000,000 rows of 512 float32 gets 100
rows more, another split, and 1,000 labels. Vectors of new rows are there already: embedding is
measured elsewhere. Each step runs in a process of its own, start not counted; steps of both commits
and of ``cp`` are interleaved. Each works on a fresh copy of the cache, flushed to the disk, so that
none pays for another, and all find memory in the same state: a copy that takes pages which another
has just given back is up to four times as fast. The older commit rewrites the file for labels as an
extraction does, because it cannot say labels later. Medians of the wall time, and of the CPU time,
which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[1]
OLD = "997177f"

SHARED = """
import sys, time, numpy as np
from pathlib import Path
from featx.cache.format import EmbeddingInfo
from featx.cache.reader import Cache
from featx.cache import writer
from featx.cache.writer import Column, write_cache
from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Origin, Provenance
from featx.core.rows import Row

path, dim, n_rows, n_new = Path(sys.argv[1]), *map(int, sys.argv[2:5])
info = EmbeddingInfo("none", Fingerprint(backbone="none", weights_digest="0" * 64,
    layer="penultimate", preprocess={}, decoder="none/1", precision="fp32", dim=dim),
    Provenance(origin=Origin(weights="none"), engine="none", device="cpu", batch_size=32,
    source="s", time="-", host="-", platform="-", versions={}))

def begin():
    global clocks
    clocks = time.perf_counter(), time.process_time()

def end():
    print(time.perf_counter() - clocks[0], time.process_time() - clocks[1])

def build_rows(start, end):
    return [Row(id=f"c{i % 10}/{i:08}.jpg", path=f"/data/c{i % 10}/{i:08}.jpg",
                label=f"class {i % 10}", digest=f"{i:016x}" * 4, width=32, height=32,
                n_bytes=1000, mtime_ns=10**18) for i in range(start, end)]

def draw(rows):
    return np.random.default_rng(int(rows[0])).normal(size=(len(rows), dim)).astype(np.float32)
"""

OLD_BUILD = """
column = Column(info=info, dtype="float32", read=lambda start, end: draw(range(start, end)))
write_cache(path, build_rows(0, n_rows), [column], source="s")
"""

OLD_ADD = """
new = build_rows(n_rows, n_rows + n_new)
begin()
with Cache(path) as base:
    rows = [*base.rows, *new]
    if not new:
        from dataclasses import replace
        rows[:1000] = [replace(row, label=f"other {time.time()}") for row in rows[:1000]]
    def read(start, end):
        kept = base.read_vectors("none", slice(start, min(end, n_rows)))
        return np.concatenate([kept, draw(range(n_rows, end))]) if end > n_rows else kept
    write_cache(path, rows, [Column(info=info, dtype="float32", read=read)], source="s")
end()
"""

SPLIT = """
import featx, sklearn.model_selection
split = featx.split_cache
begin()
split(path, val=0.2, seed=time.time_ns() % 1000, overwrite=True)
end()
"""

NEW_BUILD = """
from featx.core.row_tables import ROW_KINDS, build_table
read = lambda rows: draw(rows)
write_cache(path, build_table(build_rows(0, n_rows), ROW_KINDS),
            [Column(info=info, dtype="float32", read=read)], source="s")
"""

NEW_ADD = """
from featx.cache.writer import update_cache
from featx.core.columns import Table
from featx.core.row_tables import ROW_KINDS, build_table
new = build_table(build_rows(n_rows, n_rows + n_new), ROW_KINDS)
begin()
with Cache(path) as base:
    rows = Table.concat([base.read_rows(), new])
    column = Column(info=info, dtype="float32", read=draw, rows=np.empty(0, np.int64))
    update_cache(path, rows, [column], base=base, source="s")
end()
"""

LABEL = """
import featx
label = featx.label_cache
table = path.with_suffix(".csv")
lines = [f"c{i % 10}/{i:08}.jpg,class {(i + 1) % 10}" for i in range(0, n_rows, n_rows // 1000)]
table.write_text("\\n".join(["id,label", *lines]))
begin()
label(path, table, author=str(time.time_ns()))
end()
"""


def run(code: Path, script: str, *words: object) -> list[float]:
    """Run one step with the featx of a folder; return its seconds of wall and of CPU time."""
    done = subprocess.run(
        [sys.executable, "-c", SHARED + script, *map(str, words)],
        cwd=code,  # Python looks there first
        env=os.environ | {"PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    os.sync()
    return [float(word) for word in done.stdout.split()]


def copy(source: Path, target: Path, *, flush: bool) -> list[float]:
    """Copy a file by ``cp``, flushed to the disk if asked for; return its seconds as `run` does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter(), time.process_time()
    subprocess.run(["cp", "--reflink=auto", str(source), str(target)], check=True)
    if flush:
        with target.open("r+b") as stream:
            os.fsync(stream.fileno())
    own = time.perf_counter() - begin[0], time.process_time() - begin[1]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    target.unlink()
    os.sync()
    child = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [own[0], own[1] + child]


def unpack(commit: str, folder: Path) -> Path:
    """Unpack the package of an older commit."""
    command = ["git", "-C", str(HERE), "archive", commit, "featx"]
    packed = subprocess.run(command, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def measure(folder: Path, options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Measure all steps in interleaved rounds; return the seconds of each."""
    old_code = unpack(options.old, folder / "code") if options.old else None
    sizes = options.dim, options.rows
    new, old = folder / "new.h5", folder / "old.h5"
    run(HERE, NEW_BUILD, new, *sizes, 0)
    if old_code is not None:
        run(old_code, OLD_BUILD, old, *sizes, 0)
    seconds: dict[str, list[list[float]]] = {}

    def note(name: str, values: list[float]) -> None:
        seconds.setdefault(name, []).append(values)
        print(f"{name:20} {values[0]:8.2f} s {values[1]:8.2f} s of CPU", flush=True)

    work = folder / "work.h5"

    def prepare(base: Path) -> None:
        shutil.copyfile(base, work)
        os.sync()

    for _ in range(options.rounds):
        for name, flush in (("cp", False), ("cp and flush", True)):
            prepare(new)
            note(name, copy(work, folder / "copy.h5", flush=flush))
            work.unlink()
        for code, base, side in ((HERE, new, "new"), (old_code, old, "old")):
            if code is None:
                continue
            label = LABEL if side == "new" else OLD_ADD
            steps = (
                ("100 rows", NEW_ADD if side == "new" else OLD_ADD, 100),
                ("split", SPLIT, 0),
                ("1,000 labels", label, 0),
            )
            for name, script, n_new in steps:
                prepare(base)
                note(f"{name}, {side}", run(code, script, work, *sizes, n_new))
                work.unlink()
    return seconds


def main() -> None:
    """Measure, and print the medians and their ratios as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--old", default=OLD, help="older commit; empty for none")
    parser.add_argument("--folder", type=Path, help="folder for the caches; 10 GB at full size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        seconds = measure(Path(name), options)
    for number, clock in enumerate(("wall", "CPU")):
        medians = {
            name: statistics.median(one[number] for one in values)
            for name, values in seconds.items()
        }
        ratios = {}
        for name, value in medians.items():
            if name.endswith(", new"):
                found = {f"÷ {other}": value / medians[other] for other in ("cp", "cp and flush")}
                if options.old:
                    found["old ÷ new"] = medians[name.replace("new", "old")] / value
                ratios[name] = {key: round(ratio, 1) for key, ratio in found.items()}
        print(clock, json.dumps({"seconds": medians, "ratios": ratios}, ensure_ascii=False))


if __name__ == "__main__":
    main()
