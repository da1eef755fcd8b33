"""Draw class maps over the images of mistakes and of the least sure rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from featx.analytics.row_images import RowImages
from featx.core.errors import BackboneError, FeatxError
from featx.core.text import count_noun
from featx.explanation.class_map import ClassMap
from featx.explanation.explainer import BATCH_SIZE, Explainer
from featx.heads.head import Head
from featx.report.class_maps import SIGNS
from featx.report.contents import HeadPart, ShownRow
from featx.report.gallery import SIDE, encode_thumbnail
from featx.report.shown_rows import ShownRows

MAX_ROWS = 144
"""Largest number of rows of all heads that class maps are drawn for, some 25 kB for each."""

Maps = dict[int, list[tuple[str, str]]]
"""Classes and addresses of the maps of each row of the page."""


def add_class_maps(
    part: HeadPart, head: Head, images: RowImages, shown: ShownRows, *, n_heads: int
) -> HeadPart:
    """Draw class maps over the rows that the page shows of a head.

    Parameters
    ----------
    part : HeadPart
        What the page says of the head.
    head : Head
        The head.
    images : RowImages
        Images of the rows.
    shown : ShownRows
        Rows of the page.
    n_heads : int
        Number of heads of the page.

    Returns
    -------
    HeadPart
        The part with the maps; or with a note that says why there are none.
    """
    rows = {one.row: one for one in (*part.mistakes, *part.unsure)}
    chosen = list(rows.values())[: max(1, MAX_ROWS // n_heads)]
    if not chosen:
        return part
    try:
        with _open_explainer(head) as explainer:
            maps, n_missing = _draw(explainer, chosen, images, shown)
            text = f"{explainer.text} {SIGNS}"
    except FeatxError as error:
        told = f"No class maps: expected {error.expected}, got {error.got}."
        return replace(part, map_note=told)
    if len(maps) < len(rows):
        text = f"{text} They are drawn for {len(maps)} of {count_noun(len(rows), 'image')}."
    if n_missing:
        text = f"{text} {count_noun(n_missing, 'image')} could not be read."

    def add(shown_rows: Sequence[ShownRow]) -> list[ShownRow]:
        return [replace(one, maps=maps.get(one.row, [])) for one in shown_rows]

    return replace(part, mistakes=add(part.mistakes), unsure=add(part.unsure), map_note=text)


def _open_explainer(head: Head) -> Explainer:
    """Open an explainer: with an approximation if the network has no exact maps."""
    try:
        return Explainer(head)
    except BackboneError:
        return Explainer(head, approximation="grad-cam")


def _draw(
    explainer: Explainer, chosen: Sequence[ShownRow], images: RowImages, shown: ShownRows
) -> tuple[Maps, int]:
    """Draw the maps of rows, and count the images that cannot be read."""
    known = set(map(str, explainer.head.classes))
    cache_rows = shown.rows
    decoded = images.decode([cache_rows[one.row] for one in chosen])
    found: Maps = {}
    n_missing = 0
    for start in range(0, len(chosen), BATCH_SIZE):  # a few images of full size at a time
        batch = chosen[start : start + BATCH_SIZE]
        pairs = zip(batch, itertools.islice(decoded, len(batch)), strict=True)
        readable = [(one, image) for one, (_, image) in pairs if image is not None]
        n_missing += len(batch) - len(readable)
        classes = [
            [label for label in dict.fromkeys((one.predicted, one.true)) if label in known]
            for one, _ in readable
        ]
        if readable:
            maps = explainer.explain([image for _, image in readable], classes)
            for number, drawn in _iter_drawn(maps):
                found[readable[number][0].row] = drawn
    return found, n_missing


def _iter_drawn(maps: Sequence[ClassMap]) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Yield the number of each image with its maps, all in the same colours."""
    of_image: dict[int, list[ClassMap]] = {}
    for one in maps:
        if one.values is not None:
            of_image.setdefault(one.number, []).append(one)
    for number, several in of_image.items():
        limit = max(float(abs(one.values).max()) for one in several if one.values is not None)
        yield (
            number,
            [
                (
                    str(one.label),
                    encode_thumbnail(one.overlay(SIDE, limit=limit or None), form="webp"),
                )
                for one in several
            ],
        )
