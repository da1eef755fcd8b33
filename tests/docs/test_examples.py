"""The examples in the docstrings run and give what they show.

An example runs in a folder of its own, with what its reader would have:

- ``photos/``: twelve images in ``train/`` and ``val/``, classes ``ants`` and ``bees``;
- ``ant.jpg`` and ``bee.jpg``: an image of each class;
- ``photos.h5``: the cache of ``photos/``, with the embedding ``mini``;
- ``head.joblib``: a head fitted on it.

The names of its module are there, and ``featx``.
"""

import ast
import doctest
import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import featx
from tests.conftest import COLOURS, write_image

PACKAGE = Path(featx.__file__).parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def iter_documented(
    node: ast.Module | ast.ClassDef, name: str
) -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef]]:
    """Yield all that may have a docstring, a module and its classes first, under dotted names."""
    yield name, node
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from iter_documented(child, f"{name}.{child.name}")
        elif isinstance(child, ast.FunctionDef):
            yield f"{name}.{child.name}", child


def iter_examples() -> Iterator[Any]:
    """Yield a module and a docstring with an example in it, for every such docstring of featx.

    The files are parsed, not imported: collecting the tests would take the seconds of torch else.
    """
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        for name, node in iter_documented(ast.parse(file.read_text(encoding="utf-8")), module):
            text = ast.get_docstring(node) or ""
            if ">>> " in text:
                yield pytest.param(module, text, id=name)


EXAMPLES = list(iter_examples())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder that every example gets a copy of."""
    folder = tmp_path_factory.mktemp("examples")
    seed = 0
    for split, count in (("train", 4), ("val", 2)):
        for label, colour in COLOURS.items():
            for number in range(count):
                path = folder / "photos" / split / label / f"{number}.jpg"
                write_image(path, (48, 36), seed, colour=colour)
                seed += 1
    write_image(folder / "ant.jpg", (48, 36), seed, colour=COLOURS["ants"])
    write_image(folder / "bee.jpg", (48, 36), seed + 1, colour=COLOURS["bees"])
    featx.extract(folder / "photos", folder / "photos.h5", backbone="mini", progress=False)
    featx.fit_head(folder / "photos.h5", folder / "head.joblib", C=1.0)
    return folder


@pytest.mark.parametrize(("module", "text"), EXAMPLES)
def test_example_gives_what_it_shows(
    module: str,
    text: str,
    template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(template, tmp_path / "folder")
    monkeypatch.chdir(tmp_path / "folder")
    names = {**vars(importlib.import_module(module)), "featx": featx}
    example = doctest.DocTestParser().get_doctest(text, names, module, module, 0)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=report.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(report)


def test_no_example_is_skipped() -> None:
    skipping = [example.id for example in EXAMPLES if "doctest: +SKIP" in example.values[1]]
    assert skipping == []
