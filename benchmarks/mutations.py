"""Small faults that a test should notice, found in the syntax tree of one module.

A mutant replaces one stretch of the source text. Docstrings, messages, annotations, decorators and
`__repr__` are left alone: they decide nothing. `mutants.py` draws mutants and runs the tests.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}

ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}

CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}

# `kill` only asks if a process lives: any other signal would end a process of this machine.
QUIET_CALLS = {"cast", "debug", "echo", "info", "kill", "print", "TypeVar", "warn", "warning"}

# Words of messages, and the two switches that only matter to a caller who is wrong anyway.
QUIET_KEYWORDS = {"expected", "got", "help", "remedy", "stacklevel", "strict", "subject"}

QUIET_DECORATORS = {"abstractmethod", "overload"}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A module with one stretch of its text replaced.

    Attributes
    ----------
    path : str
        The module, relative to the root of the project.
    line : int
        The line where the stretch begins, from 1.
    function : str
        The qualified name of the function or class around it; empty at the top of the module.
    function_line : int
        The first line of that function, with its decorators; 0 outside of functions.
    start, end : int
        The stretch, in bytes of the source.
    text : str
        The text that stands there instead.
    """

    path: str
    line: int
    function: str
    function_line: int
    start: int
    end: int
    text: str

    def apply(self, source: str) -> str:
        """Return the source of the module with this fault."""
        raw = source.encode()
        return (raw[: self.start] + self.text.encode() + raw[self.end :]).decode()

    def show(self, source: str) -> tuple[str, str]:
        """Return the lines that change, without and with the fault, each on one line."""
        raw = source.encode()
        first = raw.rfind(b"\n", 0, self.start) + 1
        last = raw.find(b"\n", self.end)
        last = len(raw) if last < 0 else last
        changed = raw[first : self.start] + self.text.encode() + raw[self.end : last]
        before, after = (" ".join(part.decode().split()) for part in (raw[first:last], changed))
        return before, after


class _Finder(ast.NodeVisitor):
    """Collect the mutants of one module."""

    def __init__(self, path: str, source: str) -> None:
        self.path = path
        self.found: list[Mutant] = []
        self._names: list[str] = []
        self._function_lines = [0]
        self._offsets = [0]
        for line in source.encode().splitlines(keepends=True):
            self._offsets.append(self._offsets[-1] + len(line))

    def add(self, node: ast.expr | ast.stmt, text: str) -> None:
        """Note that a node can be replaced by a text."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        self.found.append(
            Mutant(
                path=self.path,
                line=node.lineno,
                function=".".join(self._names),
                function_line=self._function_lines[-1],
                start=self._offsets[node.lineno - 1] + node.col_offset,
                end=self._offsets[node.end_lineno - 1] + node.end_col_offset,
                text=text,
            )
        )

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        """Visit some nodes; None stands for a default that is not there."""
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Visit the defaults and the body."""
        if node.name == "__repr__" or QUIET_DECORATORS & set(map(_name, node.decorator_list)):
            return
        self._names.append(node.name)
        self._function_lines.append(min([node.lineno, *(d.lineno for d in node.decorator_list)]))
        self.visit_all([*node.args.defaults, *node.args.kw_defaults, *node.body])
        self._function_lines.pop()
        self._names.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Visit the body."""
        self._names.append(node.name)
        self._function_lines.append(0)
        self.visit_all(node.body)
        self._function_lines.pop()
        self._names.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Visit the value, not the annotation."""
        self.visit_all([node.value])

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave f-strings alone: nearly all are messages."""

    def visit_Assert(self, node: ast.Assert) -> None:
        """Leave assertions alone: they narrow types."""

    def visit_Expr(self, node: ast.Expr) -> None:
        """Drop a call that stands alone; leave docstrings alone."""
        if isinstance(node.value, ast.Constant):
            return
        if isinstance(node.value, ast.Call) and _name(node.value.func) not in QUIET_CALLS:
            self.add(node, "pass")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Go on where an error was raised."""
        self.add(node, "pass")

    def visit_Return(self, node: ast.Return) -> None:
        """Return nothing."""
        if node.value is not None and not isinstance(node.value, ast.Constant):
            self.add(node.value, "None")
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        """Go on with the loop."""
        self.add(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        """Leave the loop."""
        self.add(node, "break")

    def visit_If(self, node: ast.If) -> None:
        """Negate a condition that no other change turns round."""
        if _name(node.test) != "TYPE_CHECKING":
            self._negate(node.test)
            self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        """Negate a condition that no other change turns round."""
        self._negate(node.test)
        self.generic_visit(node)

    def _negate(self, test: ast.expr) -> None:
        is_turned = isinstance(test, ast.Compare | ast.BoolOp) or (
            isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        )
        if not is_turned:
            self.add(test, f"(not {ast.unparse(test)})")

    def visit_Compare(self, node: ast.Compare) -> None:
        """Turn each comparison round, or move its bound."""
        for i, operator in enumerate(node.ops):
            swapped = [*node.ops[:i], COMPARISONS[type(operator)](), *node.ops[i + 1 :]]
            self.add(node, ast.unparse(ast.Compare(node.left, swapped, node.comparators)))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """Swap `and` and `or`."""
        operator = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self.add(node, f"({ast.unparse(ast.BoolOp(operator, node.values))})")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """Drop a `not` or a sign."""
        if isinstance(node.op, ast.Not | ast.USub):
            self.add(node, f"({ast.unparse(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Swap an arithmetic operator, except between strings; leave unions of types alone."""
        if isinstance(node.op, ast.BitOr) and not self._function_lines[-1]:
            return
        words = any(
            isinstance(side, ast.Constant | ast.JoinedStr) and not _is_number(side)
            for side in (node.left, node.right)
        )
        operator = ARITHMETIC.get(type(node.op))
        if operator is not None and not words:
            self.add(node, f"({ast.unparse(ast.BinOp(node.left, operator(), node.right))})")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Swap the operator of an assignment in place."""
        operator = ARITHMETIC.get(type(node.op))
        if operator is not None:
            self.add(node, ast.unparse(ast.AugAssign(node.target, operator(), node.value)))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Swap `min` and `max`, `any` and `all`; leave the words of messages alone."""
        name = _name(node.func)
        if name in QUIET_CALLS or name.endswith(("Error", "Warning")):
            return
        if isinstance(node.func, ast.Name) and name in CALLS:
            self.add(node.func, CALLS[name])
        self.visit(node.func)
        self.visit_all(node.args)
        self.visit_all(word.value for word in node.keywords if word.arg not in QUIET_KEYWORDS)

    def visit_Slice(self, node: ast.Slice) -> None:
        """Drop a bound."""
        for bound in (node.lower, node.upper):
            if bound is not None:
                self.add(bound, "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Flip a truth value, move a number by one, change a string that is not a sentence."""
        value = node.value
        if isinstance(value, bool):
            self.add(node, str(not value))
        elif isinstance(value, int | float):
            self.add(node, repr(value + 1))
            self.add(node, f"({value - 1!r})")
        elif isinstance(value, str) and " " not in value:
            self.add(node, repr(f"{value}~"))
        elif isinstance(value, bytes):
            self.add(node, repr(value + b"~"))


def _name(node: ast.expr) -> str:
    """Return the last name of a dotted name or of what is called; empty for anything else."""
    if isinstance(node, ast.Call):
        return _name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def list_mutants(path: str, source: str) -> list[Mutant]:
    """List the mutants of a module, in the order of its text.

    Parameters
    ----------
    path : str
        The module, relative to the root of the project.
    source : str
        The text of the module.

    Returns
    -------
    list of Mutant
        All mutants; several may change the same place.
    """
    finder = _Finder(path, source)
    finder.visit(ast.parse(source))
    return sorted(finder.found, key=lambda mutant: (mutant.start, mutant.end, mutant.text))
