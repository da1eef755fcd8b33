"""How many small faults the tests notice: plant some at random, one at a time, and run the tests.

Run it with ``make mutants`` or ``python benchmarks/mutants.py featx/cache -n 40 --seed 1``. Faults
are planted in two copies of the project, never in the project itself. The tests first run once as
they are, which shows the functions that each test reaches; a fault in a function is then shown to
the tests that reach it, own file first, until one fails. Torch and the other large packages are
imported once: each fault gets a forked process. Ends in exit code 1 if too few faults are noticed.

`mutants_allowed.toml` lists the faults that may live, each with its reason.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Literal

import pytest
from forks import Job, run_jobs
from mutations import Mutant, list_mutants

ROOT = Path(__file__).parents[1]

Outcome = Literal["noticed", "hangs", "lives"]

MODULES = (
    "featx/core",
    "featx/cache",
    "featx/heads",
    "featx/extraction/plan.py",
    "featx/extraction/inventory.py",
    "featx/extraction/assemble.py",
    "featx/extraction/checks.py",
)
"""The modules that decide something without a network."""

TESTS = ("extraction", "cli", "heads", "fitting", "prediction", "cache", "core")
"""The folders of tests that reach them; the slowest first, so that two processes end together."""

PACKAGES = (
    "h5py",
    "hypothesis",
    "joblib",
    "PIL.Image",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.svm",
    "sklearn.utils.estimator_checks",
    "torch",
    "torchvision",
    "tqdm",
    "typer.testing",
)
"""The packages that every forked process finds imported: 6 s of 7 for a test of `extraction/`."""

OPTIONS = [
    "-q",
    "-x",
    "-m",
    "not slow and not gpu",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",  # hypothesis is imported before pytest starts
    "--hypothesis-seed=0",
]

PATIENCE_S = 60.0
"""Seconds of tests for one fault: a function that all tests reach is not shown to all of them."""

# A fault may loop for ever. Tests take longer beside others than alone, hence a wide margin.
LIMIT_S, LIMIT_FACTOR = 30.0, 5.0
MAP_LIMIT_S = 1200.0


@dataclasses.dataclass(frozen=True)
class Reached:
    """What one test takes, and the functions that it reaches as ``path:first line``."""

    seconds: float
    functions: frozenset[str]


class ReachPlugin:
    """Note the functions of featx that each test reaches, and the tests that fail."""

    def __init__(self, tree: Path) -> None:
        self._prefix = f"{tree}/"
        self._seen: set[str] = set()
        self.tests: dict[str, tuple[float, list[str]]] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Run a test, its fixtures included, under a trace of calls."""
        self._seen = set()
        start = time.perf_counter()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.tests[item.nodeid] = (time.perf_counter() - start, sorted(self._seen))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        if report.failed:
            self.failed.append(report.nodeid)

    def _trace(self, frame: FrameType, event: str, arg: object) -> None:  # noqa: ARG002
        code = frame.f_code
        if code.co_filename.startswith(self._prefix):
            path = code.co_filename.removeprefix(self._prefix)
            self._seen.add(f"{path}:{code.co_firstlineno}")


class ChoicePlugin:
    """Run the chosen tests in their order, and those that only exist with the fault."""

    def __init__(self, chosen: Sequence[str], known: Iterable[str]) -> None:
        self._ranks = {test: rank for rank, test in enumerate(chosen)}
        self._left_out = set(known) - set(chosen)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out and sort."""
        kept = [item for item in items if item.nodeid not in self._left_out]
        items[:] = sorted(kept, key=lambda item: self._ranks.get(item.nodeid, len(self._ranks)))


def choose_tests(mutant: Mutant, tests: Mapping[str, Reached]) -> list[str]:
    """Choose the tests that a fault is shown to, those that should notice it first.

    Parameters
    ----------
    mutant : Mutant
        The fault.
    tests : mapping of str to Reached
        What each test reaches, by node id.

    Returns
    -------
    list of str
        Node ids: the tests that reach the function, then the other tests of its own file, which
        may reach it in a process of their own. The total time is limited to `PATIENCE_S`.
    """
    path = Path(mutant.path)
    folder = f"tests/{path.parent.relative_to('featx')}/"
    own_file = f"{folder}test_{path.stem}.py"
    function = f"{mutant.path}:{mutant.function_line or ''}"
    ranked = []
    for test, reached in tests.items():
        is_own = test.startswith(f"{own_file}::")
        if mutant.function_line:
            reaches = function in reached.functions
        else:
            reaches = any(name.startswith(function) for name in reached.functions)
        if reaches or is_own:
            ranked.append(
                (not reaches, not is_own, not test.startswith(folder), reached.seconds, test)
            )
    chosen: list[str] = []
    total = 0.0
    for *_, seconds, test in sorted(ranked):
        total += seconds
        if chosen and total > PATIENCE_S:
            break
        chosen.append(test)
    return chosen


def draw_mutants(sources: Mapping[str, str], n: int, seed: int) -> list[Mutant]:
    """Draw places at random, and one fault at each."""
    places: dict[tuple[str, int, int], list[Mutant]] = {}
    for path, source in sources.items():
        for mutant in list_mutants(path, source):
            places.setdefault((path, mutant.start, mutant.end), []).append(mutant)
    rng = random.Random(seed)
    drawn = rng.sample(sorted(places), min(n, len(places)))
    mutants = [rng.choice(places[place]) for place in drawn]
    for mutant in mutants:
        ast.parse(mutant.apply(sources[mutant.path]))  # a fault that is no Python shows nothing
    counts = Counter(str(Path(path).parent) for path, *_ in places)
    print(f"{len(places)} places: {', '.join(f'{k} {v}' for k, v in sorted(counts.items()))}")
    return mutants


def read_allowed(path: Path) -> set[tuple[str, str, str, str]]:
    """Read the faults that may live: file, function, line without and with the fault."""
    entries = tomllib.loads(path.read_text()).get("allowed", [])
    assert all(entry["reason"] for entry in entries)
    return {(e["file"], e["function"], e["original"], e["mutated"]) for e in entries}


def copy_project(target: Path) -> Path:
    """Copy the files of the project that git knows or would take."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():  # one that is deleted but not yet committed is not there
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def map_tests(folders: Sequence[str], trees: Sequence[Path]) -> dict[str, Reached]:
    """Run all tests once, without a fault, and note what each reaches."""
    tests: dict[str, Reached] = {}
    failed: list[str] = []

    def build_job(folder: str) -> Job:
        def run(tree: Path) -> int:
            plugin = ReachPlugin(tree)
            options = [option for option in OPTIONS if option != "-x"]
            code = pytest.main([*options, f"tests/{folder}"], plugins=[plugin])
            Path("reached.json").write_text(json.dumps([plugin.tests, plugin.failed]))
            return code

        def done(tree: Path, code: int | None) -> None:
            if code not in (0, 1):
                sys.exit(f"tests/{folder}: cannot be run\n{tree.with_suffix('.log').read_text()}")
            reached, fails = json.loads((tree / "reached.json").read_text())
            failed.extend(fails)
            for test, (seconds, functions) in reached.items():
                tests[test] = Reached(seconds, frozenset(functions))

        return Job(run=run, limit_s=MAP_LIMIT_S, done=done)

    run_jobs([build_job(folder) for folder in folders if (ROOT / "tests" / folder).is_dir()], trees)
    for test in failed:
        tests.pop(test, None)
        print(f"left out, since it fails without a fault: {test}")
    return tests


def judge(code: int | None) -> Outcome:
    """Judge a fault by the exit code of pytest, which is None if the tests had to be ended."""
    if code is None:
        return "hangs"
    passed = code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    return "lives" if passed else "noticed"


def run_mutants(
    mutants: Iterable[Mutant],
    sources: Mapping[str, str],
    tests: Mapping[str, Reached],
    trees: Sequence[Path],
) -> Counter[Outcome]:
    """Show each fault to its tests; count what becomes of them."""
    outcomes: Counter[Outcome] = Counter()

    def build_job(mutant: Mutant) -> Job:
        source = sources[mutant.path]
        chosen = choose_tests(mutant, tests)
        files = list(dict.fromkeys(test.split("::")[0] for test in chosen))
        limit_s = LIMIT_S + LIMIT_FACTOR * sum(tests[test].seconds for test in chosen)

        def before(tree: Path) -> None:
            (tree / mutant.path).write_text(mutant.apply(source))

        def run(tree: Path) -> int:  # noqa: ARG001
            # Bytecode of the same second and size would be taken for that of the next fault.
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            if not files:
                return pytest.ExitCode.NO_TESTS_COLLECTED
            return pytest.main([*OPTIONS, *files], plugins=[ChoicePlugin(chosen, tests)])

        def done(tree: Path, code: int | None) -> None:
            (tree / mutant.path).write_text(source)
            outcome = judge(code)
            outcomes[outcome] += 1
            if outcome != "noticed":
                original, mutated = mutant.show(source)
                place = f"{mutant.path}:{mutant.line} {mutant.function}"
                print(f"\n{place}: {outcome} ({len(chosen)} tests)")
                print(f"  - {original}\n  + {mutated}", flush=True)

        return Job(run=run, limit_s=limit_s, done=done, before=before)

    run_jobs(map(build_job, mutants), trees)
    return outcomes


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("modules", nargs="*", default=MODULES, help="modules or folders of featx")
    parser.add_argument("-n", type=int, default=200, help="number of places to draw")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    parser.add_argument("--least", type=float, default=0.9, help="share that must be noticed")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="folders of tests to use")
    parser.add_argument("--processes", type=int, default=2, help="faults planted at a time")
    options = parser.parse_args(arguments)

    paths: list[Path] = []
    for module in options.modules:
        path = ROOT / module
        if not path.exists():
            parser.error(f"{module}: expected a module or folder of featx, got nothing there")
        paths += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in paths}
    drawn = draw_mutants(sources, options.n, options.seed)
    allowed = read_allowed(Path(__file__).with_name("mutants_allowed.toml"))
    mutants = [m for m in drawn if (m.path, m.function, *m.show(sources[m.path])) not in allowed]

    start = time.monotonic()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    for package in PACKAGES:
        importlib.import_module(package)
    with tempfile.TemporaryDirectory(prefix="featx-mutants-") as folder:
        os.environ["TMPDIR"] = folder
        trees = [
            copy_project(Path(folder).resolve() / f"copy{i}") for i in range(options.processes)
        ]
        tests = map_tests(options.tests, trees)
        mapped = time.monotonic()
        print(f"{len(tests)} tests pass without a fault, in {mapped - start:.0f} s", flush=True)
        outcomes = run_mutants(mutants, sources, tests, trees)
    n_run = len(mutants)
    n_noticed = outcomes["noticed"] + outcomes["hangs"]
    share = n_noticed / max(n_run, 1)
    elapsed = time.monotonic() - mapped
    print(
        f"\nnoticed {n_noticed} of {n_run} faults: {share:.3f}, at least {options.least} is asked"
    )
    print(f"{outcomes['hangs']} of the noticed hung; {len(drawn) - n_run} more drawn ones may live")
    print(f"{elapsed:.0f} s for the faults, {elapsed / max(n_run, 1):.1f} s each")
    sys.exit(share < options.least)


if __name__ == "__main__":
    main()
