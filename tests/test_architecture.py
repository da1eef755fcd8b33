"""The house: imports run downwards only, without circles, and `import featx` stays light."""

import ast
import functools
import inspect
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import featx

PACKAGE = Path(featx.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    ("core",),
    ("labels", "remote"),
    ("images", "backbones", "cache", "heads"),
    ("engines", "analytics", "exchange"),
    ("embedding", "fitting"),
    ("explanation", "extraction", "prediction", "doctor"),
    ("finetune",),
    ("report",),
    ("demo", "testing"),
    ("cli",),
    ("featx",),  # the public names
)
"""A room may import rooms of lower floors. Rooms of one floor know nothing of each other."""

LEVELS = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

PLAN = "\n".join(
    f"  floor {level}: {', '.join(rooms)}" for level, rooms in reversed([*enumerate(FLOORS)])
)

ONLY_IN = {
    "typer": ["cli/"],
    "rich": ["cli/"],
    "tqdm": ["core/bar.py"],
    "PIL": [
        *("images/decode.py", "images/opening.py", "report/fonts.py", "report/sheet.py"),
        "explanation/overlay.py",
    ],
    "pillow_heif": ["images/opening.py"],
    "sklearn": [
        *("heads/", "demo.py", "embedding/image_embedder.py"),
        "analytics/row_map.py",  # t-SNE
    ],
    "jinja2": ["report/"],
    "matplotlib": ["report/"],
    "h5py": ["cache/", "exchange/h5ad.py"],
    "torch": [
        *("backbones/", "engines/", "finetune/", "explanation/runner.py"),
        *("core/torch_state.py", "exchange/torch_dataset.py"),
    ],
    "openvino": ["engines/"],
    "torchvision": ["backbones/"],
}
"""Packages that only some rooms may import."""

MAX_LINES = 400


def get_name(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def get_room(file: Path) -> str:
    """Return the room of a file: its folder below featx, or itself at the top level."""
    first = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "featx" if first in ("__init__", "__main__") else first


def find_file(module: str) -> Path | None:
    """Find the file of a dotted name below featx; None for another package."""
    if module.split(".")[0] != "featx":
        return None
    path = PACKAGE.joinpath(*module.split(".")[1:])
    if path.with_suffix(".py").is_file() and path != PACKAGE:
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def iter_imports(node: ast.AST, *, typing: bool) -> Iterator[str]:
    """Yield the dotted names that a module imports anywhere, late imports included.

    Parameters
    ----------
    node : ast.AST
        The module.
    typing : bool
        True to include what is imported for type checkers only.
    """
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "featx uses no relative imports"
        assert node.module is not None
        for alias in node.names:
            # "from featx.cache import seal" imports a module, "from featx.cache.seal import x" not.
            inner = f"{node.module}.{alias.name}"
            yield inner if find_file(inner) else node.module
    skip = is_type_checking(node) and not typing
    children = node.orelse if isinstance(node, ast.If) and skip else ast.iter_child_nodes(node)
    for child in children:
        yield from iter_imports(child, typing=typing)


@functools.cache
def read_imports(file: Path, *, typing: bool = False) -> set[str]:
    return set(iter_imports(ast.parse(file.read_text(encoding="utf-8")), typing=typing))


def test_iter_imports_sees_functions_and_on_request_type_checking() -> None:
    tree = ast.parse(
        "import a.b\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import only_typing\n"
        "else:\n    import otherwise\n"
        "def f():\n    from c import d\n    if f:\n        import e\n"
        "from featx.cache import seal\n"
        "from featx.core.rows import Row\n"
    )
    seen = {"a.b", "typing", "otherwise", "c", "e", "featx.cache.seal", "featx.core.rows"}
    assert set(iter_imports(tree, typing=False)) == seen
    assert set(iter_imports(tree, typing=True)) == seen | {"only_typing"}


def list_upward(file: Path) -> list[str]:
    """List what a module imports from rooms that are not below its own."""
    room, found = get_room(file), []
    for module in read_imports(file, typing=True):
        target = find_file(module)
        # The command line prints the version, which only the package itself has.
        if target is None or (room == "cli" and module == "featx"):
            continue
        other = get_room(target)
        if other != room and LEVELS[other] >= LEVELS[room]:
            found.append(f"{get_name(file)} imports {module}")
    return found


# One test for all modules: a test for each of 350 modules costs more than what it does.
def test_modules_import_rooms_of_lower_floors_only() -> None:
    homeless = [get_name(file) for file in MODULES if get_room(file) not in LEVELS]
    assert not homeless, f"in no room of the house:\n{PLAN}"
    upward = [line for file in MODULES for line in list_upward(file)]
    assert not upward, f"imports run downwards only:\n{PLAN}"


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {
        file: {
            target
            for module in read_imports(file, typing=True)
            if (target := find_file(module)) is not None and target != file
        }
        for file in MODULES
    }
    # Leaves are taken off until none is left: what remains imports itself by some way.
    while leaves := {file for file, targets in graph.items() if not targets & graph.keys()}:
        graph = {file: targets for file, targets in graph.items() if file not in leaves}
    circle = {get_name(file): sorted(map(get_name, graph[file] & graph.keys())) for file in graph}
    assert not circle


def test_modules_leave_packages_to_those_who_may() -> None:
    forbidden = [
        f"{get_name(file)} imports {package}"
        for file in MODULES
        for package in {module.split(".")[0] for module in read_imports(file)} & set(ONLY_IN)
        if not any(get_name(file).startswith(part) for part in ONLY_IN[package])
    ]
    assert not forbidden, f"see {ONLY_IN}"


@pytest.mark.parametrize("package", sorted(ONLY_IN))
def test_package_is_imported_where_it_may_be(package: str) -> None:
    users = [
        get_name(file)
        for file in MODULES
        if package in {module.split(".")[0] for module in read_imports(file)}
    ]
    for part in ONLY_IN[package]:
        assert any(name.startswith(part) for name in users), f"drop {part} from ONLY_IN"


def test_no_module_is_longer_than_400_lines() -> None:
    counts = {get_name(file): len(file.read_text("utf-8").splitlines()) for file in MODULES}
    assert not {name: count for name, count in counts.items() if count > MAX_LINES}


def test_no_module_is_a_drawer() -> None:
    drawers = ("utils", "helpers", "misc", "common")
    assert not [get_name(file) for file in MODULES if file.stem in drawers]


@functools.cache
def parse(file: Path) -> list[ast.AST]:
    return [*ast.walk(ast.parse(file.read_text(encoding="utf-8")))]


def iter_classes(file: Path) -> Iterator[ast.ClassDef]:
    yield from (node for node in parse(file) if isinstance(node, ast.ClassDef))


def test_dataclasses_of_four_fields_take_keywords_only() -> None:
    positional = []
    for file in MODULES:
        for node in iter_classes(file):
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            n_fields = sum(isinstance(one, ast.AnnAssign) for one in node.body)
            is_dataclass = any(mark.startswith("dataclass") for mark in marks)
            if is_dataclass and n_fields >= 4 and not any("kw_only=True" in one for one in marks):
                positional.append(f"{get_name(file)}: {node.name}")
    assert not positional


def test_errors_are_raised_with_their_parts() -> None:
    whole = []
    for file in MODULES:
        for node in parse(file):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = ast.unparse(node.exc.func)
                if name in featx.__all__ and name.endswith("Error") and node.exc.args:
                    whole.append(f"{get_name(file)}, line {node.lineno}: {name}")
    assert not whole


HEAVY = (
    "torch",
    "torchvision",
    "openvino",
    "sklearn",
    "h5py",
    "scipy",
    "PIL",
    "matplotlib",
    "numpy",
    "rich",
    "tqdm",
    "ray",
)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import featx; featx.__version__; dir(featx)", id="import"),
        pytest.param("from featx.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
                     id="help"),
        pytest.param("from featx.cli import main\ntry: main(['--version'])\n"
                     "except SystemExit: pass", id="version"),
    ],
)  # fmt: skip
def test_start_loads_nothing_heavy(code: str) -> None:
    code += f"\nimport sys; print('loaded:', *(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_extract_loads_torch_only_when_there_is_something_to_embed() -> None:
    code = "import sys, featx; featx.extract; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_commands_on_a_cache_load_no_torch(cache_path: Path, tmp_path: Path) -> None:
    head = tmp_path / "head.joblib"
    lines = [
        ["info", str(cache_path)],
        ["fit-head", str(cache_path), "-o", str(head)],
        ["evaluate", str(head), str(cache_path)],
        ["predict", str(head), str(cache_path)],
        ["split", str(cache_path), "--overwrite"],
    ]
    code = (
        "import sys\nfrom featx.cli import main\n"
        f"for line in {lines!r}:\n"
        "    try: main(line)\n"
        "    except SystemExit as end: assert not end.code, line\n"
        "    assert 'torch' not in sys.modules, line\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- the border


def test_public_names_resolve_with_docstrings() -> None:
    for name in featx.__all__:
        value = getattr(featx, name)
        assert name in dir(featx)
        assert value.__doc__, name
        assert value.__doc__.strip(), name
        # A dataclass without a docstring gets its signature for one.
        assert not value.__doc__.startswith(f"{name}("), name


def test_public_names_cover_what_a_notebook_needs() -> None:
    assert {"extract", "open_cache", "fit_head", "evaluate", "predict", "embed"} <= set(
        featx.__all__
    )


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"no_such_name"):
        getattr(featx, "no_such_name")  # noqa: B009


def iter_members(name: str) -> Iterator[tuple[str, object]]:
    """Yield a public name with its value, and the public methods and properties of a class."""
    value = getattr(featx, name)
    yield name, value
    if inspect.isclass(value):
        for key, member in vars(value).items():
            inner = getattr(member, "fget", None) or getattr(member, "func", None) or member
            if not key.startswith("_") and inspect.isfunction(inspect.unwrap(inner)):
                yield f"{name}.{key}", inner


def test_every_type_that_a_public_call_names_is_public() -> None:
    classes = {node.name for file in MODULES for node in iter_classes(file)}
    hidden = []
    for label, value in itertools.chain.from_iterable(map(iter_members, featx.__all__)):
        if not callable(value):
            continue
        raised = re.findall(r"^    (?:    )?(\w+Error(?:, \w+Error)*)$", value.__doc__ or "", re.M)
        words = set(re.findall(r"\b[A-Z]\w+", " ".join(raised)))
        if inspect.isfunction(value):
            words |= set(re.findall(r"\b[A-Z]\w+", str(value.__annotations__)))
        elif inspect.isclass(value):
            words |= set(re.findall(r"\b[A-Z]\w+", str(vars(value).get("__annotations__", {}))))
        hidden += [f"{label}: {word}" for word in words & classes if word not in featx.__all__]
    assert not hidden, "featx.__all__ lacks them"


def test_public_docstrings_name_no_private_module() -> None:
    public, private = {*featx.__all__, "testing"}, []
    for label, value in itertools.chain.from_iterable(map(iter_members, featx.__all__)):
        named = re.findall(r"`(featx\.[\w.]+)`", getattr(value, "__doc__", None) or "")
        private += [f"{label}: {one}" for one in named if one.split(".")[1] not in public]
    assert not private
