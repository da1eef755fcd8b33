"""The contents of many rows as columns: the place of each row's bytes, made when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

import numpy as np

from featx.core.columns import Categories, Rows, Table, Texts, iter_blocks
from featx.core.typing import IntArray
from featx.images.content import Content, InMemory
from featx.images.remote import RemoteContent, build_content, stat_all

States = tuple[IntArray, IntArray]
"""Sizes and times of many objects."""

NOWHERE = -2
"""Size of a file that is not there; no read has it."""


class Contents(Sequence[Content | InMemory]):
    """The bytes of many rows.

    Parameters
    ----------
    files : Texts or Categories
        ``(n_rows,)``, file or archive of each row, behind the root.
    root : str
        Text before each file.
    offsets, sizes : ndarray of int64, optional
        ``(n_rows,)``, range of the bytes in the file, as `Content` has it. Default: whole files.
    states : tuple of ndarray of int64, optional
        Size and time of the object of each row, both ``(n_rows,)``, where a listing has said them;
        `NOWHERE` where it has not.
    are_remote : bool
        Whether files may be addresses.
    others : mapping of int to Content or InMemory
        Contents of the rows that are no such range.

    Examples
    --------
    >>> contents = Contents(Texts.from_list(["1.jpg", "2.jpg"]), root="photos/")
    >>> contents[1].file
    'photos/2.jpg'
    """

    def __init__(
        self,
        files: Texts | Categories,
        *,
        root: str = "",
        offsets: IntArray | None = None,
        sizes: IntArray | None = None,
        states: States | None = None,
        are_remote: bool = False,
        others: Mapping[int, Content | InMemory] | None = None,
    ) -> None:
        self.files, self.root = files, root
        self.offsets, self.sizes = offsets, sizes
        self.states, self.are_remote = states, are_remote
        self.others = others or {}

    @classmethod
    def from_list(cls, contents: Sequence[Content | InMemory]) -> Contents:
        """Build the columns of a list."""
        plain = {row: one for row, one in enumerate(contents) if type(one) is Content}
        others = {row: one for row, one in enumerate(contents) if type(one) is not Content}
        nothing = Content("")
        ranges = [plain.get(row, nothing) for row in range(len(contents))]
        return cls(
            Texts.from_list(one.file for one in ranges),
            offsets=np.array([one.offset for one in ranges], np.int64),
            sizes=np.array([one.size for one in ranges], np.int64),
            others=others,
        )

    @classmethod
    def concat(cls, parts: Sequence[Contents]) -> Contents:
        """Join the contents of several sources, one behind the other."""
        n_rows = np.cumsum([0, *map(len, parts)]).tolist()
        return cls(
            Texts.concat([Texts.from_list(map(part.root.__add__, part.files)) for part in parts]),
            offsets=np.concatenate([_fill(one.offsets, slice(0, len(one)), 0) for one in parts]),
            sizes=np.concatenate([_fill(one.sizes, slice(0, len(one)), -1) for one in parts]),
            states=_join_states(parts),
            are_remote=any(part.are_remote for part in parts),
            others={
                start + row: one
                for start, part in zip(n_rows, parts, strict=False)
                for row, one in part.others.items()
            },
        )

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, key: int) -> Content | InMemory: ...
    @overload
    def __getitem__(self, key: Rows) -> Contents: ...
    def __getitem__(self, key: int | Rows) -> Content | InMemory | Contents:
        if isinstance(key, slice | np.ndarray):
            rows = np.arange(len(self))[key].tolist() if self.others else []
            return Contents(
                self.files[key],
                root=self.root,
                offsets=None if self.offsets is None else self.offsets[key],
                sizes=None if self.sizes is None else self.sizes[key],
                states=None if self.states is None else (self.states[0][key], self.states[1][key]),
                are_remote=self.are_remote,
                others={
                    new: self.others[row] for new, row in enumerate(rows) if row in self.others
                },
            )
        row = range(len(self))[key]
        if row in self.others:
            return self.others[row]
        offset = 0 if self.offsets is None else int(self.offsets[row])
        size = -1 if self.sizes is None else int(self.sizes[row])
        return self._build(row, self.files[row], offset, size)

    def _build(self, row: int, file: str, offset: int, size: int) -> Content:
        """Build the content of one row."""
        if not self.are_remote:
            return Content(self.root + file, offset, size)
        state = None
        if self.states is not None and self.states[0][row] != NOWHERE:
            state = int(self.states[0][row]), int(self.states[1][row])
        return build_content(self.root + file, offset, size, state)

    def __iter__(self) -> Iterator[Content | InMemory]:
        others = self.others
        for block in iter_blocks(len(self)):
            offsets = _fill(self.offsets, block, 0).tolist()
            sizes = _fill(self.sizes, block, -1).tolist()
            places = zip(self.files[block], offsets, sizes, strict=True)
            for row, (file, offset, size) in enumerate(places, block.start):
                yield others[row] if row in others else self._build(row, file, offset, size)

    def read_states(self, rows: IntArray) -> Table:
        """Get size and time of last change of some rows, without opening a file.

        Parameters
        ----------
        rows : ndarray of int
            Numbers of the rows, ascending.

        Returns
        -------
        Table
            n_bytes and mtime_ns, int64; `NOWHERE` for a file that is not there.
        """
        n_bytes, mtimes = (np.full(len(rows), NOWHERE, np.int64) for _ in range(2))
        held = self.others.values() if isinstance(self.others, dict) else ()
        if self.are_remote or any(isinstance(one, RemoteContent) for one in held):
            for place, state in enumerate(stat_all(self[rows])):
                if state is not None:
                    n_bytes[place], mtimes[place] = state
            return Table({"n_bytes": n_bytes, "mtime_ns": mtimes})
        archive = ""
        for place, content in enumerate(self[rows]):
            assert isinstance(content, Content)
            try:
                if content.size < 0 or content.file != archive:  # one look at each archive
                    n_bytes[place], mtimes[place] = content.stat()
                else:
                    n_bytes[place], mtimes[place] = content.size, mtimes[place - 1]
            except OSError:  # a missing file is tried again, and then fails with its reason
                archive = ""
            else:
                archive = content.file if content.size >= 0 else ""
        return Table({"n_bytes": n_bytes, "mtime_ns": mtimes})


def _join_states(parts: Sequence[Contents]) -> States | None:
    """Join what listings have said of objects; None if none has said anything."""
    if all(part.states is None for part in parts):
        return None
    nothing = [np.full(len(part), NOWHERE, np.int64) for part in parts]
    states = [part.states or (none, none) for part, none in zip(parts, nothing, strict=True)]
    return np.concatenate([one[0] for one in states]), np.concatenate([one[1] for one in states])


def _fill(column: IntArray | None, block: slice, default: int) -> IntArray:
    """Return a block of a column; the default for each row of a column that is not there."""
    return np.full(block.stop - block.start, default) if column is None else column[block]
