"""Show the images that are suggested to be labelled next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featx.analytics.row_images import RowImages
from featx.analytics.suggestions import Suggestions
from featx.cache.inputs import check_not_of_cache
from featx.cache.joined import open_cache
from featx.core.errors import FeatxError
from featx.core.notes import note
from featx.core.text import count_noun
from featx.core.typing import CachePaths, PathLike
from featx.report.gallery import SIDE, Card, Section, write_images


def write_suggested(
    path: PathLike,
    found: Suggestions,
    cache: CachePaths,
    source: PathLike | Sequence[PathLike] | None = None,
) -> None:
    """Write the images of suggestions as a page or as one contact sheet.

    Parameters
    ----------
    path : path
        Path of the file: ``.html`` for a page, ``.png`` and the like for a sheet.
    found : Suggestions
        The suggestions.
    cache : path or sequence of paths
        Cache that they are of.
    source : path or sequence of paths, optional
        Source of the images. Default: the one that the cache names.

    Raises
    ------
    FeatxError
        If the file cannot be written, or is the cache or one of its images.
    SourceError
        If the source cannot be read.
    """
    with open_cache(cache) as opened:
        check_not_of_cache(Path(path), opened, error=FeatxError)
        images = RowImages(opened, source)
        decoded = [image for _, image in images.decode(found.rows, side=SIDE)]
    if images.missing:
        row, reason = next(iter(images.missing.items()))
        note(
            f"{count_noun(len(images.missing), 'image')} cannot be shown, such as "
            f"{found.ids[found.rows.tolist().index(row)]}: {reason}"
        )
    cards = [
        Card(images=[image], lines=[line["id"], line["why"]])
        for image, line in zip(decoded, found.list_lines(), strict=True)
    ]
    title = f"{count_noun(len(found), 'image')} to label next"
    section = Section(
        title=f"{found.strategy.capitalize()} rows", text=f"{found.because}.", cards=cards
    )
    write_images(path, title, [section])
