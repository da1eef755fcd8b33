"""The rows that a page shows: each is held once, with a thumbnail of limited size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from featx.analytics.row_images import RowImages
from featx.cache.reader import Cache
from featx.core.text import count_noun, show_text
from featx.core.typing import IntArray
from featx.report.contents import RowColumns
from featx.report.gallery import SIDE, encode_thumbnail

if TYPE_CHECKING:
    from PIL.Image import Image

SIDES = ((SIDE, 160), (SIDE, 96), (160, 64), (112, 48), (80, 32))
"""Sides in pixels of the thumbnails of cards and of other rows, the finest choice first."""

N_MEASURED = 48
"""Number of thumbnails of each sort whose bytes say which sides fit."""

MAX_ID = 120
"""Length in characters of an id: a page shows no more."""


class ShownRows:
    """The rows that a page shows anywhere, in the order in which its parts name them.

    Parameters
    ----------
    cache : Cache
        The open cache.
    classes, splits : sequence of str
        Names that labels and splits are numbered by.
    """

    def __init__(self, cache: Cache, classes: Sequence[str], splits: Sequence[str]) -> None:
        self._cache = cache
        self._classes, self._splits = list(classes), list(splits)
        self._positions: dict[int, int] = {}
        self._cards: set[int] = set()

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def rows(self) -> IntArray:
        """Numbers of the rows in the cache, int64 ``(n_shown,)``."""
        return np.fromiter(self._positions, np.int64, len(self._positions))

    def place(self, rows: IntArray | Sequence[int], *, as_cards: bool = False) -> IntArray:
        """Find the positions of rows on the page, and make room for those that are new to it.

        Parameters
        ----------
        rows : sequence of int
            Numbers of the rows in the cache.
        as_cards : bool
            Whether the rows are shown as cards, in a larger size.

        Returns
        -------
        ndarray of int64
            ``(n_rows,)``, positions in the columns of `read`.
        """
        numbers = [int(row) for row in rows]
        placed = [self._positions.setdefault(row, len(self._positions)) for row in numbers]
        if as_cards:
            self._cards.update(numbers)
        return np.array(placed, np.int64)

    def read(self, images: RowImages | None, max_bytes: int) -> tuple[RowColumns, str]:
        """Read the columns of the rows, with thumbnails of limited size.

        Cards come first; other rows lack a thumbnail if the bytes do not suffice for all.

        Parameters
        ----------
        images : RowImages or None
            Images of the rows; None shows none.
        max_bytes : int
            Largest number of bytes of all thumbnails together.

        Returns
        -------
        columns : RowColumns
            The columns.
        note : str
            Sentence about rows whose image is not shown, and why; empty if all are.
        """
        rows = self.rows
        thumbnails: dict[int, str] = {}
        if images is not None and len(rows):
            thumbnails = self._encode(images, max_bytes)
        labels, splits = self._cache.labels[rows], self._cache.splits[rows]
        ids = self._cache.ids[rows]
        columns = RowColumns(
            ids=[show_text(one, MAX_ID) for one in ids.tolist()],
            labels=_number(labels.tolist(), self._classes),
            splits=_number(splits.tolist(), self._splits),
            thumbnails=[thumbnails.get(row) for row in rows.tolist()],
        )
        return columns, self._describe(images, thumbnails)

    def _encode(self, images: RowImages, max_bytes: int) -> dict[int, str]:
        """Encode the thumbnails, cards first, until the bytes are spent."""
        cards = [row for row in self._positions if row in self._cards]
        others = [row for row in self._positions if row not in self._cards]
        card_side, side = self._choose_sides(images, cards, others, max_bytes)
        found: dict[int, str] = {}
        left = max_bytes
        for rows, size in ((cards, card_side), (others, side)):
            for row, image in images.decode(rows, side=size):
                if image is None:
                    continue
                text = _encode(image, size)
                if len(text) > left:
                    return found
                left -= len(text)
                found[row] = text
        return found

    def _choose_sides(
        self, images: RowImages, cards: list[int], others: list[int], max_bytes: int
    ) -> tuple[int, int]:
        """Choose the largest sides that fit, by the bytes of some thumbnails."""
        rng = np.random.default_rng(0)
        samples: list[list[Image]] = []
        for rows in (cards, others):
            some = rng.permutation(np.array(rows, np.int64))[:N_MEASURED]
            samples.append([one for _, one in images.decode(some, side=SIDE) if one is not None])
        for sides in SIDES:
            total = sum(
                len(rows) * sum(len(_encode(one, side)) for one in sample) / max(1, len(sample))
                for rows, sample, side in zip((cards, others), samples, sides, strict=True)
            )
            if total <= max_bytes:
                break
        return sides

    def list_missing(self, images: RowImages) -> list[int]:
        """List the rows of the page whose image was asked for and is not there.

        Parameters
        ----------
        images : RowImages
            Images of the rows.
        """
        return [row for row in self._positions if row in images.missing]

    def _describe(self, images: RowImages | None, thumbnails: dict[int, str]) -> str:
        """Say which rows of the page have no image on it."""
        if images is None or len(thumbnails) == len(self):
            return ""
        missing = self.list_missing(images)
        n_cut = len(self) - len(thumbnails) - len(missing)
        told = []
        if missing:
            id_ = show_text(str(self._cache.ids[missing[0]]), MAX_ID)
            told.append(
                f"{count_noun(len(missing), 'image')} of {count_noun(len(self), 'row')} on this "
                f"page cannot be shown, such as that of {id_}: {images.missing[missing[0]]}."
            )
        if n_cut:
            told.append(
                f"{count_noun(n_cut, 'image')} of {count_noun(len(self), 'row')} on this page "
                f"{'is' if n_cut == 1 else 'are'} left out, so that the page stays small."
            )
        return " ".join(told)


def _encode(image: Image, side: int) -> str:
    return encode_thumbnail(image, side, form="webp")


def _number(names: list[str], known: Sequence[str]) -> IntArray:
    """Return the position of each name among the known ones, -1 for none."""
    codes = {name: code for code, name in enumerate(known)}
    return np.array([codes.get(name, -1) for name in names], np.int64)
