"""Records from JSON that may come from strangers: bounded in size and depth, with checked types."""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

MAX_LENGTH = 1 << 24
"""Largest length of a JSON text in characters."""

MAX_DEPTH = 32
"""Largest number of objects and lists within each other."""

Record = TypeVar("Record")


def load_json(text: str | bytes) -> Any:
    """Read a JSON text of limited size and depth.

    Parameters
    ----------
    text : str or bytes
        One JSON value.

    Returns
    -------
    object
        The value.

    Raises
    ------
    ValueError
        If the text is not JSON, is longer than `MAX_LENGTH`, or nests deeper than `MAX_DEPTH`.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"JSON of {len(text)} characters, more than {MAX_LENGTH}")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"JSON that nests deeper than {MAX_DEPTH}") from None
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [part for item in level for part in _list_parts(item)]
        if not level:
            return value
    raise ValueError(f"JSON that nests deeper than {MAX_DEPTH}")


def _list_parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def build_record(kind: type[Record], fields: Any) -> Record:
    """Build a dataclass from the fields of a JSON object.

    Parameters
    ----------
    kind : type
        The dataclass. Its annotations may hold JSON's types, ``Literal``, unions, mappings, tuples
        of any length, paths and other dataclasses.
    fields : object
        Value that was read from JSON.

    Returns
    -------
    object
        An instance of `kind`.

    Raises
    ------
    ValueError
        If the value is no object, or a field is missing, unknown or of another type; the message
        names the field.
    """
    if not isinstance(fields, dict):
        raise ValueError(f"{_name(fields)} in place of an object")
    hints = _get_hints(typing.cast(Any, kind))
    for name in fields:
        if name not in hints:
            raise ValueError(f"an unknown field {name!r}")
    values = {}
    for name, value in fields.items():
        try:
            values[name] = _convert(hints[name], value)
        except ValueError as error:
            raise ValueError(f"{error} in the field {name!r}") from None
    try:
        return kind(**values)
    except TypeError as error:
        lacking = [name for name in hints if name not in fields]
        raise ValueError(f"no field {lacking[0]!r}") from error


@functools.cache
def _get_hints(kind: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _convert(hint: Any, value: Any) -> Any:
    """Check a value against an annotation; return it as a dataclass stores it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or (hint is types.NoneType and value is None):
        return value
    if origin is Literal and value in arguments:
        return value
    if origin in (typing.Union, types.UnionType):
        for one in arguments:
            try:
                return _convert(one, value)
            except ValueError:
                continue
    if hint is Path and isinstance(value, str):
        return Path(value)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], item) for item in value)
    if origin is Mapping and isinstance(value, dict):
        return {key: _convert(arguments[1], item) for key, item in value.items()}
    if is_dataclass(hint) and isinstance(hint, type):
        return build_record(hint, value)
    if isinstance(hint, type) and not isinstance(value, bool):
        accepted = (int, float) if hint is float else hint
        if origin is None and isinstance(value, accepted):
            return value
    if hint is bool and isinstance(value, bool):
        return value
    raise ValueError(f"{_name(value)}")


def _name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")
