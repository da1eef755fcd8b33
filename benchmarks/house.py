"""Measure how the code of one or two checkouts is built: rooms, arrows, circles, sizes, docstrings.

Run ``python benchmarks/house.py --other ../old``. The script parses the files and imports nothing
of them, so it measures any commit. A room is a folder or a module directly below ``featx``. An
arrow is a room that imports another, in a function or at the top of a module. A circle is a
group of modules each of which imports, over others, itself.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
WEAK_STARTS = ("Of", "As", "What", "Where")


@dataclass(frozen=True)
class House:
    """The parsed code of a checkout.

    Attributes
    ----------
    root : Path
        Folder of the checkout, with ``featx`` and ``tests`` in it.
    """

    root: Path

    @cached_property
    def texts(self) -> dict[str, str]:
        """Text of every module of featx, by dotted name."""
        package = self.root / "featx"
        return {
            ".".join(["featx", *file.relative_to(package).with_suffix("").parts]).removesuffix(
                ".__init__"
            ): file.read_text(encoding="utf-8")
            for file in sorted(package.rglob("*.py"))
        }

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Syntax tree of every module of featx, by dotted name."""
        return {name: ast.parse(text) for name, text in self.texts.items()}

    @cached_property
    def n_lines(self) -> dict[str, int]:
        """Number of lines of every module of featx, by dotted name."""
        return {name: len(text.splitlines()) for name, text in self.texts.items()}

    @cached_property
    def functions(self) -> list[tuple[str, Function, bool]]:
        """Every function of featx: its dotted name, its node, and True for a method."""
        return [
            (f"{module}.{name}", node, method)
            for module, tree in self.trees.items()
            for name, node, method in iter_functions(tree)
        ]

    def is_package(self, module: str) -> bool:
        """Say whether a module is a folder with ``__init__.py``."""
        return (self.root.joinpath(*module.split(".")) / "__init__.py").is_file()

    def read_imports(self, module: str, *, typing: bool = False) -> set[str]:
        """List the modules of featx that a module imports anywhere.

        Parameters
        ----------
        module : str
            Dotted name of the importing module.
        typing : bool
            True to include the imports for type checkers only.

        Returns
        -------
        set of str
            Dotted names, without the module itself.
        """
        package = module if self.is_package(module) else module.rpartition(".")[0]
        names = set()
        for node in iter_nodes(self.trees[module], typing=typing):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parts = package.split(".")
                    parts = parts[: len(parts) - node.level + 1]
                    base = ".".join([*parts, *filter(None, [node.module])])
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    names.add(inner if inner in self.trees else base)
        return {name for name in names if name in self.trees} - {module}

    def list_arrows(self) -> set[tuple[str, str]]:
        """List the pairs of rooms of which the first imports the second."""
        pairs = {
            (get_room(module), get_room(name))
            for module in self.trees
            for name in self.read_imports(module)
        }
        return {(a, b) for a, b in pairs if a != b and "featx" not in (a, b)}


def get_room(module: str) -> str:
    """Return the room of a module: the first part of its name below featx."""
    return "featx" if module == "featx" else module.split(".")[1]


def iter_nodes(node: ast.AST, *, typing: bool) -> Iterator[ast.AST]:
    """Yield a node and all below it; without the bodies of ``if TYPE_CHECKING`` unless asked."""
    yield node
    skip = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not typing
    children = node.orelse if isinstance(node, ast.If) and skip else ast.iter_child_nodes(node)
    for child in children:
        yield from iter_nodes(child, typing=typing)


def iter_functions(
    node: ast.AST, prefix: str = "", *, in_class: bool = False
) -> Iterator[tuple[str, Function, bool]]:
    """Yield every function below a node: its name with classes, its node, True for a method."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            yield prefix + child.name, child, in_class
            yield from iter_functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from iter_functions(child, f"{prefix}{child.name}.", in_class=True)
        else:
            yield from iter_functions(child, prefix, in_class=in_class)


def find_circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Find the groups of two or more nodes that reach each other.

    Parameters
    ----------
    graph : dict of str to set of str
        Nodes that each node points to.

    Returns
    -------
    list of list of str
        The groups, sorted.
    """
    reach = {}
    for start in graph:
        seen: set[str] = set()
        todo = [*graph[start]]
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += graph[name]
        reach[start] = seen
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in graph
        if name in reach[name]
    }
    return sorted([*group] for group in groups)


def list_parameters(node: Function, *, method: bool) -> tuple[list[str], list[str]]:
    """List the positional and the keyword-only parameters of a function, without self."""
    positional = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
    if method and positional[:1] in (["self"], ["cls"]):
        positional = positional[1:]
    return positional, [one.arg for one in node.args.kwonlyargs]


def list_fields(node: ast.ClassDef) -> tuple[list[str], bool] | None:
    """List the fields of a dataclass that are not keyword-only by ``KW_ONLY``.

    Returns
    -------
    tuple of list of str and bool, or None
        The fields, and True where the decorator says ``kw_only=True``; None for another class.
    """
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        if ast.unparse(call.func if call else decorator).split(".")[-1] != "dataclass":
            continue
        fields = []
        for line in node.body:
            if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
                continue
            kind = ast.unparse(line.annotation)
            if kind.endswith("KW_ONLY"):
                break
            if "ClassVar" not in kind:
                fields.append(line.target.id)
        words = [ast.unparse(word) for word in call.keywords] if call else []
        return fields, "kw_only=True" in words
    return None


def list_positional(house: House) -> list[tuple[int, str]]:
    """List how many positional parameters every function and dataclass of featx takes."""
    counts = [
        (len(list_parameters(node, method=method)[0]), name)
        for name, node, method in house.functions
        if get_room(name) != "cli"
    ]
    for module, tree in house.trees.items():
        for node in ast.walk(tree):
            fields = list_fields(node) if isinstance(node, ast.ClassDef) else None
            if isinstance(node, ast.ClassDef) and fields and not fields[1]:
                counts.append((len(fields[0]), f"{module}.{node.name}"))
    return counts


def list_undocumented(house: House) -> list[str]:
    """List the public functions, classes and methods of featx without a docstring."""
    missing = []
    for module, tree in house.trees.items():
        for node in tree.body:
            nodes = [(module, node)]
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                nodes += [(f"{module}.{node.name}", one) for one in node.body]
            for parent, one in nodes:
                if not isinstance(one, (*FUNCTIONS, ast.ClassDef)) or one.name.startswith("_"):
                    continue
                marks = {ast.unparse(mark).split(".")[-1] for mark in one.decorator_list}
                if not marks & {"overload", "override", "setter"} and not ast.get_docstring(one):
                    missing.append(f"{parent}.{one.name}")
    return missing


def read_descriptions(docstring: str) -> dict[str, str]:
    """Read the parameters of a numpydoc docstring.

    Returns
    -------
    dict of str to str
        Description of each parameter or attribute, by its name without stars; empty where the
        docstring gives the type alone.
    """
    found: dict[str, list[str]] = {}
    for block in re.findall(
        r"^(?:Parameters|Other Parameters|Attributes)\n-{3,}\n(.*?)(?=^\S[^\n]*\n-{3,}\n|\Z)",
        docstring,
        re.MULTILINE | re.DOTALL,
    ):
        names: list[str] = []
        for line in block.splitlines():
            if line and not line[0].isspace():
                names = [name.strip().strip("*`") for name in line.split(" : ")[0].split(",")]
                found |= {name: [] for name in names}
            elif line.strip():
                for name in names:
                    found[name].append(line.strip())
    return {name: " ".join(lines) for name, lines in found.items()}


def iter_public(house: House) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Yield the public callables of featx: name, parameters, and their descriptions."""
    stub = ast.parse((house.root / "featx/__init__.pyi").read_text(encoding="utf-8"))
    for line in stub.body:
        if not isinstance(line, ast.ImportFrom):
            continue
        module = ".".join(["featx"] * bool(line.level) + [line.module or ""]).rstrip(".")
        for alias in line.names:
            for node in house.trees[module].body if module in house.trees else []:
                if isinstance(node, FUNCTIONS) and node.name == alias.name:
                    yield describe_function(alias.name, node, method=False)
                elif isinstance(node, ast.ClassDef) and node.name == alias.name:
                    yield from describe_class(node)


def describe_function(
    name: str, node: Function, *, method: bool, docstring: str | None = None
) -> tuple[str, list[str], dict[str, str]]:
    """Return name, parameters and descriptions of a function."""
    positional, keywords = list_parameters(node, method=method)
    stars = [one.arg for one in (node.args.vararg, node.args.kwarg) if one]
    text = ast.get_docstring(node) if docstring is None else docstring
    return name, [*positional, *keywords, *stars], read_descriptions(text or "")


def describe_class(node: ast.ClassDef) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Yield the constructor and the public methods of a class, as `describe_function` does."""
    text = ast.get_docstring(node) or ""
    fields = list_fields(node)
    if fields:
        yield node.name, [one for one in fields[0] if one[0] != "_"], read_descriptions(text)
    for one in node.body:
        if isinstance(one, FUNCTIONS) and one.name == "__init__":
            yield describe_function(node.name, one, method=True, docstring=text)
        elif isinstance(one, FUNCTIONS) and not one.name.startswith("_"):
            yield describe_function(f"{node.name}.{one.name}", one, method=True)


def count_raises(house: House) -> tuple[int, int]:
    """Count raises of the errors that featx defines: with one message, and with parts."""
    classes = {
        node.name
        for tree in house.trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    }
    message = parts = 0
    for tree in house.trees.values():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                continue
            if ast.unparse(node.exc.func).split(".")[-1] in classes:
                message += bool(node.exc.args)
                parts += not node.exc.args and any(
                    word.arg in ("subject", None) for word in node.exc.keywords
                )
    return message, parts


def show_largest(counts: list[tuple[int, str]]) -> str:
    """Show the largest of counted things with its name."""
    return "{}, {}".format(*max(counts, default=(0, "none")))


def show_circles(house: House, *, typing: bool) -> str:
    """Show number and modules of the import circles."""
    circles = find_circles(
        {module: house.read_imports(module, typing=typing) for module in house.trees}
    )
    names = "; ".join(", ".join(name.removeprefix("featx.") for name in one) for one in circles)
    return f"{len(circles)}" + (f" ({names})" if circles else "")


def measure(root: Path) -> dict[str, str]:
    """Measure a checkout: one figure for each line of the table."""
    house = House(root)
    sizes = [(node.end_lineno or 0) - node.lineno + 1 for _, node, _ in house.functions]
    parameters = [
        (sum(map(len, list_parameters(node, method=method))), name)
        for name, node, method in house.functions
    ]
    described = [
        (f"{name}({parameter})", texts.get(parameter, ""))
        for name, names, texts in iter_public(house)
        for parameter in names
    ]
    weak = [name for name, text in described if text.split(" ")[0] in ("", *WEAK_STARTS)]
    wide = [
        node.name
        for tree in house.trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and (fields := list_fields(node))
        and len(fields[0]) >= 4
        and not fields[1]
    ]
    message, parts = count_raises(house)
    tests = [file.read_text(encoding="utf-8") for file in (root / "tests").rglob("*.py")]
    lengths = house.n_lines.values()
    return {
        "modules at the top level of featx": str(len([*(root / "featx").glob("[!_]*.py")])),
        "rooms": str(len({get_room(name) for name in house.trees} - {"featx"})),
        "arrows between rooms": str(len(house.list_arrows())),
        "import circles, late imports included": show_circles(house, typing=False),
        "… with imports for type checkers": show_circles(house, typing=True),
        "largest function (lines)": show_largest(
            [(size, name) for size, (name, *_) in zip(sizes, house.functions, strict=True)]
        ),
        "most parameters outside cli": show_largest(
            [one for one in parameters if get_room(one[1]) != "cli"]
        ),
        "most parameters in cli": show_largest(
            [one for one in parameters if get_room(one[1]) == "cli"]
        ),
        "most positional parameters or fields": show_largest(list_positional(house)),
        "files over 300 lines": str(sum(n > 300 for n in lengths)),
        "files over 400 lines": str(sum(n > 400 for n in lengths)),
        "longest file (lines)": show_largest([(n, name) for name, n in house.n_lines.items()]),
        "public names without a docstring": str(len(list_undocumented(house))),
        "public parameters": str(len(described)),
        "… without a full noun phrase": str(len(weak)),
        "dataclasses of 4 or more fields, not kw_only": str(len(wide)),
        "errors raised with one message": str(message),
        "errors raised with parts": str(parts),
        "lines of featx": str(sum(lengths)),
        "lines of tests": str(sum(len(text.splitlines()) for text in tests)),
        "test functions": str(
            sum(
                isinstance(node, FUNCTIONS) and node.name.startswith("test_")
                for text in tests
                for node in ast.walk(ast.parse(text))
            )
        ),
    }


def main() -> None:
    """Print one table, a column for each checkout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = Path(__file__).parents[1]
    parser.add_argument("tree", type=Path, nargs="?", default=here, help="folder of a checkout")
    parser.add_argument("--other", type=Path, help="folder of another checkout, shown beside it")
    parser.add_argument("--list", action="store_true", help="list what the counts count")
    options = parser.parse_args()
    roots = [options.tree, *filter(None, [options.other])]
    columns = [measure(root) for root in roots]
    print("| | " + " | ".join(root.resolve().name for root in roots) + " |")
    print("|---|" + "---|" * len(roots))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    if options.list:
        print_lists(House(options.tree))


def print_lists(house: House) -> None:
    """Print the arrows and the names behind the counts of a checkout."""
    print("\nArrows:", ", ".join(f"{a} → {b}" for a, b in sorted(house.list_arrows())))
    print("\nWithout a docstring:", ", ".join(list_undocumented(house)) or "none")
    for name, names, texts in iter_public(house):
        for parameter in names:
            text = texts.get(parameter, "")
            if text.split(" ")[0] in ("", *WEAK_STARTS):
                print(f"{name}({parameter}): {text or 'no description'}")


if __name__ == "__main__":
    main()
