"""The measurement of a checkout, on a tree made up for it."""

import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).parents[2] / "benchmarks" / "house.py"

FILES = {
    "featx/__init__.py": "",
    "featx/__init__.pyi": "from .top import build as build\n",
    "featx/top.py": (
        'def build(a, b, *, c):\n    """Build.\n\n    Parameters\n    ----------\n    a : int\n'
        "        Of the first.\n    b : int\n        The second number.\n"
        '    """\n    from featx.a.one import f\n    return f\n'
    ),
    "featx/a/__init__.py": "",
    "featx/a/one.py": "def f():\n    from featx.b import two\n    return two\n",
    "featx/b/__init__.py": "",
    "featx/b/two.py": (
        "from featx.a import one\n\n\nclass Box:\n    def open(self):\n        return one\n"
    ),
    "tests/test_it.py": "def test_it():\n    assert True\n",
}


def test_circle_arrows_sizes_and_descriptions(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, HOUSE, tmp_path], capture_output=True, text=True, check=True
    )
    table = dict(line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:])
    assert table["rooms"] == "3"
    assert table["arrows between rooms"] == "3"  # top → a, a → b, b → a
    assert table["import circles, late imports included"] == "1 (a.one, b.two)"
    assert table["largest function (lines)"] == "12, featx.top.build"
    assert table["most parameters outside cli"] == "3, featx.top.build"
    assert table["public names without a docstring"] == "3"  # f, Box, Box.open
    assert table["… without a full noun phrase"] == "2"  # a begins with "Of"; c is missing
    assert table["test functions"] == "1"
