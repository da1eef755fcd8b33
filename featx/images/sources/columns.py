"""Names of columns: which column of a table holds paths, ids, labels, splits and groups."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from featx.core.errors import SourceError
from featx.core.text import shorten

Role = Literal["path", "id", "label", "split", "group"]
"""What the cells of a column mean."""

NAMES: Mapping[Role, tuple[str, ...]] = {
    "path": (
        "path",
        "file",
        "file name",
        "file path",
        "image",
        "image file",
        "image file name",
        "image name",
        "image path",
        "img",
        "img file",
        "img name",
        "img path",
    ),
    "id": ("id",),
    "label": ("label", "label name", "class", "classes", "class name", "category", "target"),
    "split": ("split", "subset", "partition", "data set", "set"),
    "group": ("group",),
}
"""Names of the columns that featx reads: the first is featx's own, the others are those of other
tools. Case, blanks, ``_``, ``-`` and a plural ``s`` make no difference."""

CLOSE = 0.75
"""Smallest similarity of a near miss, as `difflib` measures it: that of ``clas`` and ``class``."""

ID_WORDS = frozenset(["id", "image", "img", "file", "row", "sample"])
"""Words of a name such as ``image_id`` that make it a near miss of ``id``."""


class PathlessError(SourceError):
    """A table has no column of paths."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of one table.

    Attributes
    ----------
    indices : mapping of str to int
        Position of the column of each role. A role without a column is left out.
    passed_over : tuple of str
        Columns that are not read although their names are near those that are, each with the
        nearest name or the column that is read in its place.
    unread : tuple of str
        All other columns that are not read.
    names : mapping of str to str
        Name of the column of each role, as the table has it.
    """

    indices: Mapping[Role, int]
    passed_over: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    names: Mapping[Role, str] = field(default_factory=dict)


def has_paths(names: Sequence[str]) -> bool:
    """Tell whether one of the names is that of a column of paths."""
    return any(_ROLES.get(_squash(name)) == "path" for name in names)


def find_role(name: str) -> Role | None:
    """Find what a column of this name holds; None for another name.

    Parameters
    ----------
    name : str
        Name of a column.

    Examples
    --------
    >>> find_role("File_Name"), find_role("score")
    ('path', None)
    """
    return _ROLES.get(_squash(name))


def find_columns(names: Sequence[str], subject: str, *, images: int | None = None) -> Columns:
    """Find the column of each role by its name.

    Parameters
    ----------
    names : sequence of str
        Names of all columns, in the order of the table.
    subject : str
        Name of the table, for the error.
    images : int, optional
        Position of a column that holds the images themselves, which takes the place of paths.

    Returns
    -------
    Columns
        One column for each role that the table has.

    Raises
    ------
    SourceError
        If there is no column of paths, or if two columns could have the same role.

    Examples
    --------
    >>> columns = find_columns(["file_name", "Label", "spilt"], "photos.csv")
    >>> columns.names, columns.passed_over
    ({'path': 'file_name', 'label': 'Label'}, ('spilt (nearest: split)',))
    """
    squashed = [_squash(name) for name in names]
    indices: dict[Role, int] = {} if images is None else {"path": images}
    passed_over = []
    for role, known in NAMES.items():
        found = [i for i, name in enumerate(squashed) if _ROLES.get(name) == role and i != images]
        own = [i for i in found if squashed[i] == _squash(known[0])]
        chosen = own or found
        if role not in indices:
            if len(chosen) > 1:
                raise _refuse_two(subject, role, [names[i] for i in chosen])
            if chosen:
                indices[role] = chosen[0]
        read = indices.get(role)
        passed_over += [
            f"{names[i]} ({names[read]} is read)" for i in found if read not in (i, None)
        ]
    if "path" not in indices:
        raise _refuse_pathless(subject, names)
    unread = []
    for name in names:
        nearest = next((known for role, known in _iter_near(name) if role not in indices), None)
        if nearest is not None:
            passed_over.append(f"{name} (nearest: {nearest})")
        elif name and _squash(name) not in _ROLES:
            unread.append(name)
    return Columns(
        indices=indices,
        passed_over=tuple(passed_over),
        unread=tuple(unread),
        names={role: names[index] for role, index in indices.items()},
    )


def _squash(name: str) -> str:
    """Write a name without case, signs and plural: ``File_Names`` becomes ``filename``."""
    word = "".join(character for character in name.casefold() if character.isalnum())
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


_ROLES: Mapping[str, Role] = {
    _squash(name): role for role, names in NAMES.items() for name in names
}


def _iter_near(name: str) -> Iterator[tuple[Role, str]]:
    """Yield the roles that the name of a column is near to, each with the nearest name."""
    squashed = _squash(name)
    if squashed in _ROLES:
        return
    close = difflib.get_close_matches(squashed, _ROLES, n=1, cutoff=CLOSE)
    for one in filter(lambda known: known[0] == squashed[0], close):  # "age" is not near "image"
        role = _ROLES[one]
        yield role, next(known for known in NAMES[role] if _squash(known) == one).replace(" ", "_")
    words = {_squash(word) for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    for role, known in NAMES.items():
        has_word = any(_squash(one) in words for one in known if " " not in one)
        if has_word and (role != "id" or words <= ID_WORDS):
            yield role, known[0]


def _refuse_two(subject: str, role: Role, names: Sequence[str]) -> SourceError:
    return SourceError(
        subject=subject,
        expected=f"one column for {role}",
        got=shorten(", ".join(names)),
        remedy=f"Rename the one to read to {role}, or the others to something else.",
    )


def _refuse_pathless(subject: str, names: Sequence[str]) -> PathlessError:
    nearest = [name for name in names if "path" in dict(_iter_near(name))]
    hint = f" Nearest: {shorten(', '.join(nearest))}." if nearest else ""
    remedy = f"Rename the column that holds the files to path.{hint}"
    return PathlessError(
        subject=subject,
        expected="a column of paths, such as path, file_name or image",
        got=shorten(", ".join(names)) or "no columns",
        remedy=remedy if any(names) else "Write a header such as path,label in its first line.",
    )
