"""The faults that `make mutants` plants, and the tests that it shows them to."""

import ast
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

# Scripts find each other in their own folder.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from forks import Job, run_jobs
from mutants import ROOT, Reached, choose_tests, draw_mutants, read_allowed, run_mutants
from mutations import Mutant, list_mutants


def list_lines(source: str) -> set[str]:
    """List the changed lines of all faults of a source."""
    return {mutant.show(source)[1] for mutant in list_mutants("featx/core/x.py", source)}


def build_mutant(path: str = "featx/cache/seal.py", function_line: int = 10) -> Mutant:
    return Mutant(
        path=path, line=12, function="f", function_line=function_line, start=0, end=1, text="x"
    )


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        ("x = a < b", {"x = a <= b"}),
        ("x = a == b", {"x = a != b"}),
        ("x = a is not None", {"x = a is None"}),
        ("x = a in b", {"x = a not in b"}),
        ("x = a < b <= c", {"x = a <= b <= c", "x = a < b < c"}),
        ("x = a and b or c", {"x = (a or b) or c", "x = ((a and b) and c)"}),
        ("x = not a", {"x = (a)"}),
        ("x = a + b * c", {"x = (a - b * c)", "x = a + (b / c)"}),
        ("x = a | b", {"x = (a & b)"}),
        ("x -= a", {"x += a"}),
        ("x = min(a, b)", {"x = max(a, b)"}),
        ("x = a[b:c]", {"x = a[:c]", "x = a[b:]"}),
        ("x = 3", {"x = 4", "x = (2)"}),
        ("x = True", {"x = False"}),
        ("x = 'rows'", {"x = 'rows~'"}),
        ("x = b'rows'", {"x = b'rows~'"}),
        ("close(a)", {"pass"}),
        ("raise ValueError('no')", {"pass"}),
        ("return a", {"return None"}),
        ("return None", set()),
        ("if a: x = b", {"if (not a): x = b"}),
        ("if a < b: x = c", {"if a <= b: x = c"}),
        ("x = b if a else c", {"x = b if (not a) else c"}),
    ],
)
def test_list_mutants_changes_each_decision(line: str, faults: set[str]) -> None:
    found = list_lines(f"def f():\n    {line}\n")
    assert found == faults


@pytest.mark.parametrize(
    "source",
    [
        '"""Text."""',
        'def f():\n    """Text."""',
        "def f(x: Literal['a']) -> Literal['b']: ...",
        "x: Literal['a']",
        "def f():\n    x = 'a sentence of words'",
        "def f():\n    x = f'{a}-{b + 1}'",
        "def f():\n    warnings.warn('text', stacklevel=2)",
        "def f():\n    assert x == 1",
        "def f():\n    os.kill(pid, 0)",
        "def f():\n    x = HeadError(subject='k', got='m')",
        "def f():\n    x = build(remedy='k')",
        "def f():\n    x = zip(a, b, strict=True)",
        "def __repr__(self):\n    return a + b",
        "@overload\ndef f(x=1): ...",
        "@cache(maxsize=1)\ndef f(): ...",
        "if TYPE_CHECKING:\n    x = 1",
        "Names = int | str",
        "Weight = Literal['balanced'] | None",
    ],
)
def test_list_mutants_leaves_words_and_types_alone(source: str) -> None:
    assert list_lines(source) == set()


def test_list_mutants_of_default_names_function_and_first_line() -> None:
    source = dedent(
        """\
        class Reader:
            size = 3

            @cache
            def read(self, n=True):
                return self.size
        """
    )
    found = {(m.text, m.function, m.function_line) for m in list_mutants("m.py", source)}
    assert found == {
        ("4", "Reader", 0),
        ("(2)", "Reader", 0),
        ("False", "Reader.read", 4),
        ("None", "Reader.read", 4),
    }


def test_list_mutants_behind_other_letters_replaces_the_right_bytes() -> None:
    assert list_lines("def f():\n    x = ('größe ist', a < b)\n") == {"x = ('größe ist', a <= b)"}


def test_list_mutants_of_real_module_are_python_and_differ() -> None:
    source = (ROOT / "benchmarks/mutations.py").read_text()
    mutants = list_mutants("benchmarks/mutations.py", source)
    assert len(mutants) > 100
    for mutant in mutants[::10]:
        assert ast.dump(ast.parse(mutant.apply(source))) != ast.dump(ast.parse(source)), mutant


def test_draw_mutants_draws_each_place_once_by_seed() -> None:
    sources = {"a.py": "def f():\n    return [1, 2, 3, a < b]\n"}
    first = draw_mutants(sources, 4, seed=0)
    assert first == draw_mutants(sources, 4, seed=0)
    assert len({(m.start, m.end) for m in first}) == 4
    assert len(draw_mutants(sources, 100, seed=0)) == 5
    assert len({tuple(draw_mutants(sources, 2, seed=seed)) for seed in range(9)}) > 1


def test_choose_tests_takes_reaching_ones_own_file_first() -> None:
    reaching = frozenset({"featx/cache/seal.py:10"})
    tests = {
        "tests/cli/test_cli.py::quick": Reached(0.1, reaching),
        "tests/cache/test_reader.py::slow": Reached(3.0, reaching),
        "tests/cache/test_seal.py::apart": Reached(0.1, frozenset()),
        "tests/cache/test_seal.py::slow": Reached(5.0, reaching),
        "tests/cache/test_seal.py::quick": Reached(1.0, reaching),
        "tests/core/test_files.py::other": Reached(0.1, frozenset({"featx/cache/seal.py:100"})),
    }
    assert choose_tests(build_mutant(), tests) == [
        "tests/cache/test_seal.py::quick",
        "tests/cache/test_seal.py::slow",
        "tests/cache/test_reader.py::slow",
        "tests/cli/test_cli.py::quick",
        "tests/cache/test_seal.py::apart",
    ]


def test_choose_tests_outside_of_functions_takes_all_that_reach_the_module() -> None:
    tests = {
        "tests/cli/test_cli.py::a": Reached(0.1, frozenset({"featx/cache/seal.py:100"})),
        "tests/cli/test_cli.py::b": Reached(0.1, frozenset({"featx/cache/lock.py:100"})),
    }
    assert choose_tests(build_mutant(function_line=0), tests) == ["tests/cli/test_cli.py::a"]


def test_choose_tests_ends_when_patience_does() -> None:
    reaching = frozenset({"featx/cache/seal.py:10"})
    tests = {f"tests/cli/test_cli.py::{i}": Reached(25.0, reaching) for i in range(4)}
    assert len(choose_tests(build_mutant(), tests)) == 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # Python 3.12
def test_run_jobs_tells_exit_codes_and_kills_what_hangs(tmp_path: Path) -> None:
    codes: dict[str, int | None] = {}

    def build_job(name: str, run: Callable[[Path], int], limit_s: float) -> Job:
        def done(tree: Path, code: int | None) -> None:
            codes[name] = code

        return Job(run=run, limit_s=limit_s, done=done)

    def hang(tree: Path) -> int:
        time.sleep(60)
        return 0

    def die(tree: Path) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    trees = [tmp_path / "a", tmp_path / "b"]
    for tree in trees:
        tree.mkdir()
    jobs = [
        build_job("hangs", hang, 0.2),
        build_job("fails", lambda tree: 1, 30),
        build_job("passes", lambda tree: 0, 30),
        build_job("dies", die, 30),
    ]
    run_jobs(jobs, trees)
    assert codes == {"hangs": None, "fails": 1, "passes": 0, "dies": -9}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # Python 3.12
def test_run_mutants_counts_each_fault_as_its_tests_judge_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module, source = "featx/core/x.py", "def f(a):\n    return a + 1\n\ndef g(a):\n    close(a)\n"
    test = """
        from pathlib import Path

        def test_f():
            names = {}
            exec(Path("featx/core/x.py").read_text(), names)
            assert names["f"](1) == 2
    """
    tree = tmp_path / "copy"
    for path, text in ((module, source), ("tests/core/test_x.py", dedent(test))):
        (tree / path).parent.mkdir(parents=True)
        (tree / path).write_text(text)
    tests = {"tests/core/test_x.py::test_f": Reached(0.1, frozenset())}
    first, *_, last = list_mutants(module, source)
    outcomes = run_mutants([first, last], {module: source}, tests, [tree])
    assert outcomes == {"noticed": 1, "lives": 1}
    report = capfd.readouterr().out
    assert report.count("lives") == 1
    assert f"{module}:5 g: lives (1 tests)\n  - close(a)\n  + pass\n" in report
    assert (tree / module).read_text() == source


def test_read_allowed_compares_by_words(tmp_path: Path) -> None:
    path = tmp_path / "allowed.toml"
    path.write_text(
        "[[allowed]]\nfile = 'm.py'\nfunction = 'f'\noriginal = 'x = 1'\nmutated = 'x = 2'\n"
        "reason = 'x is not used'\n"
    )
    source = "def f():\n    x  =  1\n"
    mutant = list_mutants("m.py", source)[1]
    assert read_allowed(path) == {(mutant.path, mutant.function, *mutant.show(source))}


def test_allowed_faults_of_the_project_exist() -> None:
    for file, function, original, mutated in read_allowed(ROOT / "benchmarks/mutants_allowed.toml"):
        source = (ROOT / file).read_text()
        shown = {(m.function, *m.show(source)) for m in list_mutants(file, source)}
        assert (function, original, mutated) in shown, f"{file}: no such fault: {mutated}"
