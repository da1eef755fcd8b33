"""The house: imports run downwards only, and `import featx` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import featx

PACKAGE = Path(featx.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# A part may import parts of lower floors, and itself. Rooms share a floor: they know nothing of
# each other.
FLOORS = {
    "core": 0,
    "images": 1,
    "backbones": 1,
    "cache": 1,
    "heads": 1,
    "engines": 2,
    "embedding": 3,
    "fitting": 3,
    "report": 3,
    "extraction": 4,
    "prediction": 4,
    "doctor": 4,
    "finetune": 5,
    "demo": 6,
    "testing": 6,
    "cli": 7,
    "": 8,  # featx itself: its public names
}

ONLY_IN = {
    "typer": ["cli/"],
    "PIL": ["images/decode.py"],
    "sklearn": ["heads/", "demo.py"],
    "h5py": ["cache/"],
    "torch": ["backbones/", "engines/", "finetune/"],
    "openvino": ["engines/"],
    "torchvision": ["backbones/"],
}
"""Packages that only some parts may import."""


def get_name(file):
    return file.relative_to(PACKAGE).as_posix()


def get_part(module):
    """Return the part of featx that a dotted name below it is in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else ""


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def iter_imports(node):
    """Yield the absolute names of what a module imports anywhere but for type checkers."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports are not used in featx"
        if node.module == "featx":
            yield from (f"featx.{alias.name}" for alias in node.names)
        else:
            yield node.module
    children = node.orelse if is_type_checking(node) else ast.iter_child_nodes(node)
    for child in children:
        yield from iter_imports(child)


def read_imports(file):
    return set(iter_imports(ast.parse(file.read_text(encoding="utf-8"))))


def test_iter_imports_sees_functions_but_no_type_checking():
    tree = ast.parse(
        "import a.b\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import never\n"
        "else:\n    import otherwise\n"
        "def f():\n    from c import d\n    if f:\n        import e\n"
        "from featx import errors\n"
    )
    assert set(iter_imports(tree)) == {"a.b", "typing", "otherwise", "c", "e", "featx.errors"}


@pytest.mark.parametrize("file", MODULES, ids=get_name)
def test_module_stands_on_a_known_floor(file):
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part == "__init__" or part in FLOORS


@pytest.mark.parametrize("file", MODULES, ids=get_name)
def test_module_imports_downwards_only(file):
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    own = "" if own == "__init__" else own
    for module in read_imports(file):
        if module.split(".")[0] != "featx":
            continue
        part = get_part(module)
        if module == "featx.__version__" or part == own:
            continue
        # The command line prints the version, which only the package itself has.
        if own == "cli" and module == "featx":
            continue
        assert FLOORS[part] < FLOORS[own], f"{get_name(file)} imports {module}"


@pytest.mark.parametrize("file", MODULES, ids=get_name)
def test_module_leaves_packages_to_those_who_may(file):
    name = get_name(file)
    for package in {module.split(".")[0] for module in read_imports(file)} & set(ONLY_IN):
        allowed = ONLY_IN[package]
        assert any(name.startswith(part) for part in allowed), (
            f"{name} imports {package}, which only {', '.join(allowed)} may"
        )


@pytest.mark.parametrize("package", sorted(ONLY_IN))
def test_package_is_imported_where_it_may_be(package):
    users = [
        get_name(file)
        for file in MODULES
        if package in {module.split(".")[0] for module in read_imports(file)}
    ]
    for part in ONLY_IN[package]:
        assert any(name.startswith(part) for name in users), f"drop {part} from ONLY_IN"


@pytest.mark.parametrize("file", MODULES, ids=get_name)
def test_module_is_no_longer_than_400_lines(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("file", MODULES, ids=get_name)
def test_module_is_no_drawer(file):
    assert file.stem not in ("utils", "helpers", "misc", "common")


HEAVY = ("torch", "torchvision", "openvino", "sklearn", "h5py", "scipy", "PIL", "numpy")


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
def test_start_loads_nothing_heavy(code):
    code += f"\nimport sys; print('loaded:', *(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_commands_on_a_cache_load_no_torch(cache_path, tmp_path):
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


@pytest.mark.parametrize("name", sorted(featx.__all__))
def test_public_name_resolves_with_a_docstring(name):
    value = getattr(featx, name)
    assert name in dir(featx)
    assert value.__doc__
    assert value.__doc__.strip()
    # A dataclass without a docstring gets its signature for one.
    assert not value.__doc__.startswith(f"{name}(")


def test_public_names_cover_what_a_notebook_needs():
    assert {"extract", "open_cache", "fit_head", "evaluate", "predict", "embed"} <= set(
        featx.__all__
    )


def test_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"no_such_name"):
        featx.no_such_name  # noqa: B018
