"""Parts: shares of one source that several processes or machines extract, each to its own cache.

The hash of its id says which part a row belongs to. So each row is in one part, and stays in it
when other rows come and go.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.core.errors import CacheError
from featx.core.files import name_work_dir
from featx.core.text import join_some
from featx.core.typing import PathLike

_TEXT = re.compile(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", re.ASCII)
_FILE = re.compile(r"part-(\d{3,6})-of-(\d{3,6})\.h5", re.ASCII)

MAX_NAMED = 20
"""Largest number of missing parts that a message names one by one."""


@dataclass(frozen=True)
class Part:
    """One share of a source.

    Attributes
    ----------
    number : int
        Number of the part, from 1.
    count : int
        Number of all parts.

    Examples
    --------
    >>> part = Part.from_text("3/16")
    >>> str(part), part.file_name
    ('3/16', 'part-003-of-016.h5')
    """

    number: int
    count: int

    @classmethod
    def from_text(cls, text: object) -> Part:
        """Read a part as a user writes it.

        Parameters
        ----------
        text : str
            Number of the part and number of all parts, such as ``"3/16"``.

        Raises
        ------
        CacheError
            If the text is no such pair, or the number is not between 1 and the number of parts.
        """
        match = _TEXT.fullmatch(text) if isinstance(text, str) else None
        found = cls(*map(int, match.groups())) if match else cls(0, 0)
        if not 1 <= found.number <= found.count:
            raise CacheError(
                subject="part",
                expected="K/N with K from 1 to N, such as 3/16",
                got=repr(text),
                remedy="Pass the number of this part and the number of all parts.",
            )
        return found

    @property
    def file_name(self) -> str:
        """Name of the part's cache in the folder of all parts."""
        return f"part-{self.number:03}-of-{self.count:03}.h5"

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, row_id: str) -> bool:
        """Tell whether a row belongs to this part.

        Parameters
        ----------
        row_id : str
            Id of the row.
        """
        digest = hashlib.sha256(row_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


def find_part(path: Path) -> Part | None:
    """Find which part a file is, by its name; None if the name is that of no part.

    Parameters
    ----------
    path : Path
        Path of a cache.
    """
    match = _FILE.fullmatch(path.name)
    found = Part(*map(int, match.groups())) if match else None
    if found is None or not 1 <= found.number <= found.count or found.file_name != path.name:
        return None
    return found


def list_part_names(names: Iterable[str]) -> list[str]:
    """List the names that are those of parts, in the order of their numbers.

    Parameters
    ----------
    names : iterable of str
        Names of the files of a folder.
    """
    found = [(part.count, part.number, name) for name in names if (part := find_part(Path(name)))]
    return [name for *_, name in sorted(found)]


def list_part_files(folder: PathLike) -> list[Path]:
    """List the parts in a folder, in the order of their numbers; empty if nothing is a part.

    Parameters
    ----------
    folder : path
        Any path.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [Path(folder, name) for name in list_part_names(names)]


def check_parts(paths: Sequence[Path], subject: str) -> None:
    """Refuse parts of several divisions: a row would be in one part of each.

    Parameters
    ----------
    paths : sequence of Path
        Caches, some of which may be parts.
    subject : str
        Name of all of them, for the error.

    Raises
    ------
    CacheError
        If two parts are not of the same number of parts.
    """
    counts = sorted({part.count for path in paths if (part := find_part(path))})
    if len(counts) > 1:
        raise CacheError(
            subject=subject,
            expected="parts of one division",
            got=f"parts of {' and of '.join(map(str, counts))}",
            remedy="Keep each division in a folder of its own, or remove the parts that you no "
            "longer need.",
        )


def list_missing(paths: Sequence[Path]) -> list[Part]:
    """List the parts that are missing; none if the caches are no parts.

    Parameters
    ----------
    paths : sequence of Path
        Caches; `check_parts` has accepted them.
    """
    parts = {part for path in paths if (part := find_part(path))}
    if not parts:
        return []
    count = next(iter(parts)).count
    return [part for n in range(1, count + 1) if (part := Part(n, count)) not in parts]


def describe_missing(missing: Sequence[Part], paths: Iterable[Path]) -> str:
    """Name the parts that are missing, and say which of them were begun.

    Parameters
    ----------
    missing : sequence of Part
        Parts that are missing, at least one.
    paths : iterable of Path
        The parts that are there; unfinished work on the others lies beside them.

    Returns
    -------
    str
        A noun phrase, such as ``"13 of 16 parts, without 3, 7 (unfinished) and 9"``.
    """
    folders = {path.parent for path in paths}
    names = [
        f"{part.number} (unfinished)"
        if any(name_work_dir(folder / part.file_name).is_dir() for folder in folders)
        else str(part.number)
        for part in missing
    ]
    count = missing[0].count
    return f"{count - len(missing)} of {count} parts, without {join_some(names, MAX_NAMED)}"
