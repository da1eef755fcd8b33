"""Show what a search found: each query with its nearest rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from featx.analytics.row_images import RowImages, decode_entry
from featx.analytics.search_result import SearchResult
from featx.cache.reader import Cache
from featx.core.notes import note
from featx.core.typing import PathLike
from featx.report.gallery import SIDE, Card, check_output
from featx.report.locations import shorten_paths
from featx.report.montage import RowGroup, write_rows

QUERY = "query"


def write_search(
    cache: Cache,
    found: SearchResult,
    output: PathLike,
    *,
    source: PathLike | Sequence[PathLike] | None = None,
) -> Path:
    """Write a contact sheet or a page of the rows that a search found, each query first.

    Parameters
    ----------
    cache : Cache
        The open cache that was searched.
    found : SearchResult
        Return value of `featx.search`.
    output : path
        File to write: ``.png``, ``.jpg`` or ``.webp`` for a contact sheet, ``.html`` for a page. A
        page or sheet of featx there is replaced.
    source : path or sequence of paths, optional
        Source of the images. Default: the source that the cache names.

    Returns
    -------
    Path
        The file.

    Warns
    -----
    FeatxWarning
        If images are gone, were changed after they were embedded, or cannot be read.

    Raises
    ------
    FeatxError
        If the file cannot be written.
    SourceError, CacheError
        If the source that is passed cannot be read, or has none of the rows.

    See Also
    --------
    featx.search : Search a cache.

    Examples
    --------
    >>> found = featx.search("photos.h5", "ant.jpg", top=3, progress=False)
    >>> with featx.open_cache("photos.h5") as cache:
    ...     print(featx.write_search(cache, found, "like-ant.html"))
    like-ant.html
    """
    check_output(output)
    images = RowImages(cache, source)
    entries = iter(found.query_images)
    groups = []
    for number, query in enumerate(found.queries):
        places = np.flatnonzero(found.rows[number] >= 0)
        rows, lines = found.rows[number, places].tolist(), list_captions(found, number)
        first = None
        if found.query_rows[number] >= 0:
            rows, lines = [int(found.query_rows[number]), *rows], [[query, QUERY], *lines]
        elif found.query_images:
            image = decode_entry(next(entries), side=SIDE)
            if isinstance(image, str):
                note(f"{query} cannot be shown: {image}")
            shown = None if isinstance(image, str) else image
            first = Card(images=[shown], lines=[query, QUERY])
        groups.append(RowGroup(title=query, rows=rows, lines=lines, first=first))
    write_rows(output, f"Search in {shorten_paths(found.cache)}", images, groups)
    return Path(output)


def list_captions(found: SearchResult, number: int) -> list[list[str]]:
    """List the captions of the rows that were found for a query.

    Parameters
    ----------
    found : SearchResult
        The result.
    number : int
        Number of the query.
    """
    return [
        [
            found.ids[number, place],
            " · ".join(filter(None, (f"{found.scores[number, place]:.3f}", *said))),
        ]
        for place, said in enumerate(zip(found.labels[number], found.splits[number], strict=True))
        if found.rows[number, place] >= 0
    ]
