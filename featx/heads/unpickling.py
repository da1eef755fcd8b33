"""Read the pickle of a head without trust: what it holds is built here, and nothing in it runs.

The standard unpicklers call whatever a pickle names. This one is a table of the few operations that
joblib writes for a head. Of a name, only its role in `featx.heads.allowed` is kept: the result
holds plain values, arrays, and estimators whose attributes are plain values and arrays.
"""

from __future__ import annotations

import os
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from featx.heads.allowed import ESTIMATORS, find_role, import_estimator
from featx.heads.array_pickles import (
    BoundedStream,
    build_dtype,
    build_scalar,
    fill_object_array,
    read_array,
    set_dtype_state,
)

MAX_OPERATIONS = 500_000
"""Largest number of operations. A head of 1,000 classes has some 20,000: its numbers are arrays."""

MAX_VALUES = 2_000_000
"""Largest number of values in the result, each counted as often as it is held."""

MAX_DEPTH = 24
"""Largest number of containers within each other."""

_PLAIN = (str, int, float, bool, type(None), np.ndarray)


@dataclass(frozen=True)
class _Name:
    """A name in the pickle, by its role."""

    role: str


@dataclass
class _Wrapper:
    """An array that joblib describes, before its bytes are read."""


@dataclass
class AbsentEstimator:
    """An estimator of a class that the installed scikit-learn does not have.

    Attributes
    ----------
    name : str
        Name of the class.
    """

    name: str


@dataclass
class HeadPickle:
    """Values that were read from the pickle of a head.

    Attributes
    ----------
    content : object
        The value that the pickle holds.
    sklearn_versions : set of str
        Versions that scikit-learn stamped on the estimators when they were written.
    absent : list of str
        Classes that the installed scikit-learn does not have.
    """

    content: Any = None
    sklearn_versions: set[str] = field(default_factory=set)
    absent: list[str] = field(default_factory=list)


def read_pickle(path: Path) -> HeadPickle:
    """Read a pickle that joblib wrote for a head; nothing in it runs.

    Parameters
    ----------
    path : path
        File to read.

    Returns
    -------
    HeadPickle
        Its content.

    Raises
    ------
    RefusedTypeError
        If the pickle names a type or a function that no head has.
    ValueError, TypeError, LookupError
        If the pickle is damaged, or holds what no head has.
    OSError
        If the file cannot be read.
    """
    found = HeadPickle()
    with path.open("rb") as file:
        if file.peek(1)[:1] != pickle.PROTO:
            raise ValueError("no pickle")
        stream = BoundedStream(file, os.fstat(file.fileno()).st_size)
        found.content = _Machine(stream, found, MAX_OPERATIONS).run()
    check_values(found.content, has_estimators=True)
    return found


def check_values(content: Any, *, has_estimators: bool = False) -> None:
    """Refuse values that are no plain ones, nest too deeply, or are too many.

    Parameters
    ----------
    content : object
        Any value. A value that is held twice is counted twice: a list of few bytes can hold another
        list so often that no reader comes to its end.
    has_estimators : bool
        Whether estimators may be among the values.

    Raises
    ------
    ValueError
        If there is such a value.
    """
    level, n_values = [content], 0
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            inner += _list_parts(value, has_estimators=has_estimators)
            if n_values + len(inner) > MAX_VALUES:
                raise ValueError(f"more than {MAX_VALUES:,} values")
        if not inner:
            return
        n_values += len(inner)
        level = inner
    raise ValueError(f"values that nest deeper than {MAX_DEPTH}")


def _list_parts(value: Any, *, has_estimators: bool) -> list[Any]:
    """List the values that a value holds; refuse a type that no head has."""
    kind = type(value)
    if kind is dict:
        return list(value.values())
    if kind in (list, tuple):
        return list(value)
    if kind in _PLAIN or isinstance(value, np.number | np.bool_ | np.str_):
        return []
    if has_estimators and kind is AbsentEstimator:
        return []
    if has_estimators and kind.__name__ in ESTIMATORS:
        return list(vars(value).values())
    raise ValueError(f"a value of the type {kind.__name__}")


class _Machine:
    """The stack and the memory of one pickle."""

    def __init__(
        self, stream: BoundedStream, found: HeadPickle, n_operations: int, *, is_inner: bool = False
    ) -> None:
        self.stream, self.found, self.n_left = stream, found, n_operations
        self.is_inner = is_inner
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Run all operations; return the value that they leave."""
        for operation, argument, _ in pickletools.genops(cast(IO[bytes], self.stream)):
            self.n_left -= 1
            if self.n_left < 0:
                raise ValueError(f"more than {MAX_OPERATIONS:,} operations")
            if operation.name == "STOP":
                (value,) = self.stack
                return value
            run = _OPERATIONS.get(operation.name)
            if run is None:
                raise ValueError(f"the operation {operation.name}, which no head has")
            run(self, argument)
        raise ValueError("no end")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_marked(self) -> list[Any]:
        """Take the values above the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def extend_list(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("values appended to what is no list")
        self.stack[-1].extend(values)

    def extend_dict(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise TypeError("items of what is no dict")
        keys = values[::2]
        if not all(type(key) in (str, int, float) for key in keys):
            raise TypeError("a key of another type")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def call(self) -> None:
        """Build what the call of an array's function would return."""
        arguments, name = self.stack.pop(), self.stack.pop()
        role = name.role if type(name) is _Name else ""
        if role == "dtype":
            self.push(build_dtype(arguments))
        elif role == "scalar":
            self.push(build_scalar(arguments))
        elif role == "bytes" and _is_latin(arguments):
            self.push(arguments[0].encode("latin1"))
        elif role == "reconstruct" and arguments == (_Name("ndarray"), (0,), b"b"):
            self.push(np.empty(0, np.int8))
        else:
            raise TypeError("a call that no head has")

    def build(self) -> None:
        """Build an object without its attributes; its class does not take part."""
        arguments, name = self.stack.pop(), self.stack.pop()
        if type(name) is not _Name or type(arguments) is not tuple or arguments:
            raise TypeError("an object with arguments")
        if name.role == "wrapper":
            self.push(_Wrapper())
            return
        if name.role not in ESTIMATORS:
            raise TypeError(f"an object of {name.role}")
        kind = import_estimator(name.role)
        if kind is None:
            self.found.absent.append(name.role)
        self.push(AbsentEstimator(name.role) if kind is None else object.__new__(kind))

    def set_state(self) -> None:
        """Give an object its attributes, or read the bytes of an array."""
        state, target = self.stack.pop(), self.stack[-1]
        kind = type(target)
        if kind is _Wrapper:
            self.stack[-1] = self.read_array(state)
        elif kind is np.ndarray:
            fill_object_array(target, state)
        elif isinstance(target, np.dtype):
            set_dtype_state(target, state)
        elif kind.__name__ in ESTIMATORS:
            self.set_attributes(target, state)
        elif kind is not AbsentEstimator:
            raise TypeError("a state of what has none")

    def read_array(self, state: Any) -> Any:
        array = read_array(state, self.stream)
        if array is not None:
            return array
        # joblib leaves an array of objects to numpy, which writes a pickle of its own.
        if self.is_inner:
            raise ValueError("arrays of objects within each other")
        inner = _Machine(self.stream, self.found, self.n_left, is_inner=True)
        array = inner.run()
        self.n_left = inner.n_left
        if type(array) is not np.ndarray or array.shape != state["shape"]:
            raise ValueError("an array of another shape than it is described")
        return array

    def set_attributes(self, target: Any, state: Any) -> None:
        """Set plain attributes of an estimator; none may stand in the place of its methods."""
        attributes = dict(state)
        stamp = attributes.pop("_sklearn_version", None)
        if type(stamp) is str:
            self.found.sklearn_versions.add(stamp)
        for name in attributes:
            if type(name) is not str or hasattr(type(target), name):
                raise TypeError(f"an attribute {name!r} in the place of a method")
        vars(target).update(attributes)


def _is_latin(arguments: Any) -> bool:
    """Return whether the arguments are a text and the encoding that keeps bytes as they are."""
    return (
        type(arguments) is tuple
        and len(arguments) == 2
        and type(arguments[0]) is str
        and arguments[1] == "latin1"
    )


def _find_name(machine: _Machine, module: Any, name: Any) -> None:
    if type(module) is not str or type(name) is not str:
        raise TypeError("a name that is no text")
    machine.push(_Name(find_role(module, name)))


def _pop_name(machine: _Machine, _: Any) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    _find_name(machine, module, name)


def _push_long(machine: _Machine, value: int) -> None:
    if value.bit_length() > 64:
        raise ValueError("a number of more than 64 bits")
    machine.push(value)


def _push_tuple(machine: _Machine, n_values: int) -> None:
    if len(machine.stack) < n_values:
        raise ValueError("a tuple of too few values")
    start = len(machine.stack) - n_values
    values = tuple(machine.stack[start:])
    del machine.stack[start:]
    machine.push(values)


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.extend_dict([key, value])


def _put(machine: _Machine, index: int | None) -> None:
    machine.memo[len(machine.memo) if index is None else index] = machine.stack[-1]


def _get(machine: _Machine, index: int) -> None:
    if index not in machine.memo:
        raise ValueError("a value that was not kept")
    machine.push(machine.memo[index])


_OPERATIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda _machine, _: None,
    "FRAME": lambda _machine, _: None,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(
        (
            *("BININT", "BININT1", "BININT2", "BINFLOAT"),
            *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"),
        ),
        lambda machine, value: machine.push(value),
    ),
    "LONG1": _push_long,
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: _push_tuple(machine, 1),
    "TUPLE2": lambda machine, _: _push_tuple(machine, 2),
    "TUPLE3": lambda machine, _: _push_tuple(machine, 3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_marked())),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "APPEND": lambda machine, _: machine.extend_list([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend_list(machine.pop_marked()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: machine.extend_dict(machine.pop_marked()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _get),
    "GLOBAL": lambda machine, names: _find_name(machine, *names.split(" ", 1)),
    "STACK_GLOBAL": _pop_name,
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.build(),
    "BUILD": lambda machine, _: machine.set_state(),
}
"""What each operation does. joblib writes no others for a head."""
