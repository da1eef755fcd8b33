"""Write a report: one page with what a cache and its heads are, and what they get wrong."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from featx.analytics.row_images import RowImages
from featx.analytics.row_map import import_umap
from featx.cache.inputs import check_not_of_cache
from featx.core.address import name_location
from featx.core.errors import FeatxError
from featx.core.notes import note
from featx.core.progress import show_progress, stage
from featx.core.recognise import check_order
from featx.core.typing import MapMethod, PathLike, SplitChoice, check_choice
from featx.fitting.comparable import find_comparable
from featx.fitting.compare import name_heads
from featx.fitting.inputs import CacheLike, HeadLike, opened_cache, read_head
from featx.heads.head import Head
from featx.heads.splits import check_seed
from featx.report.collect import ReportRequest, collect_report, locate
from featx.report.gallery import PAGES, check_output
from featx.report.render import write_html
from featx.report.report_page import MAX_BYTES, render_report

RESERVE = 50_000
"""Bytes of the page that are kept free, as for the sentence about images that are left out."""

EMPTY = "data:,"
"""Address of an empty image, which stands for each thumbnail while all else is measured."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report shows, and how large it is.

    Attributes
    ----------
    path : Path
        The page that was written.
    n_rows : int
        Number of rows of the cache.
    n_shown : int
        Number of rows that the page shows.
    n_images : int
        Number of them whose image it shows.
    n_missing : int
        Number of shown rows without an image: gone, changed or damaged.
    n_points : int
        Number of rows on the map.
    heads : tuple of str
        Names of the heads.
    n_mistakes : tuple of int or None
        Number of wrong predictions of each head; None for a head that was not scored, or that is
        not for one class per image.
    n_bytes : int
        Size of the page.
    seconds : float
        Seconds that the call took.

    See Also
    --------
    featx.write_report : Writes the page.
    """

    path: Path
    n_rows: int
    n_shown: int
    n_images: int
    n_missing: int
    n_points: int
    heads: tuple[str, ...]
    n_mistakes: tuple[int | None, ...]
    n_bytes: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self) | {"path": str(self.path)}


def write_report(  # noqa: PLR0913
    cache: CacheLike,
    heads: HeadLike | Sequence[HeadLike] | Mapping[str, HeadLike] = (),
    output: PathLike = "report.html",
    *,
    source: PathLike | Sequence[PathLike] | None = None,
    embedding: str | None = None,
    split: SplitChoice | None = None,
    map_method: MapMethod = "pca",
    audit: bool = True,
    explain: bool = True,
    seed: int = 0,
    progress: bool | None = False,
) -> Report:
    """Write one page about a cache and its heads: data, map, mistakes with class maps, and more.

    The page holds its images, opens without a network and has at most 10 MB, so that it can be
    mailed. It shows images and names of the data: mail it only to who may see them. It names files
    without their folders, but for its commands: these have the paths that you passed, shortened
    where they lie below the current folder.

    Heads are judged by rows that they have not learnt from. If there are no others, each row is
    predicted by a head of the same kind that was fitted without it.

    Parameters
    ----------
    cache : path, sequence of paths or Cache
        Cache, or several caches as `featx.open_cache` takes them.
    heads : path or Head, sequence of them, or mapping of str to path or Head
        Heads to judge; a mapping names them. Default: none, for a page about the data alone.
    output : path
        The ``.html`` file to write. A page of featx there is replaced.
    source : path or sequence of paths, optional
        Source of the images, as `featx.extract` takes it. Default: the source that the cache names.
    embedding : str, optional
        Name of the embedding of the map, of the audit and of the learning curve. Default: the first
        one that the first head reads; without heads, the only one of the cache.
    split : {"train", "val", "test", "all"}, optional
        Rows that heads are judged by. Default: ``"val"``, or else ``"test"``, or else all rows.
    map_method : {"pca", "tsne", "umap"}
        Way to arrange the rows on the map, as `featx.map_rows` takes it.
    audit : bool
        Whether to look for duplicates, leaks, wrong labels and outliers, as `featx.audit` does.
    explain : bool
        Whether to draw class maps over the images of mistakes, as `featx.explain` does.
    seed : int
        Seed of all that is random.
    progress : bool or None
        Whether to show progress on standard error; None shows bars on a terminal and in a
        notebook, and elsewhere a line now and then.

    Returns
    -------
    Report
        Numbers of the rows and images that the page shows, its size and the seconds.

    Warns
    -----
    FeatxWarning
        If rows are left out of the map or of a score.

    Raises
    ------
    CacheError
        If the cache cannot be read, or has no such split or embedding, or if the source has none of
        its rows.
    HeadError
        If a head cannot be read, or knows no class of the rows.
    FingerprintError
        If a head can take none of the embeddings.
    SourceError
        If the source cannot be read.
    MissingExtraError
        If ``"umap"`` is asked for and umap-learn is not installed.
    FeatxError
        If the page cannot be written, or another program wrote the file that is there.

    See Also
    --------
    featx.evaluate : The scores alone.
    featx.audit : The audit alone.
    featx.explain : Class maps of any images.

    Examples
    --------
    >>> report = featx.write_report("photos.h5", "head.joblib", "report.html")
    >>> report.n_rows, report.n_images, report.n_mistakes
    (12, 12, (0,))
    """
    start = time.perf_counter()
    check_seed(seed)
    check_choice("map_method", map_method, MapMethod)
    if map_method == "umap":
        import_umap()  # before the work
    output = _check_page(output)
    named = _name_heads(heads)
    for given in named.values():
        check_order(
            ("cache", "heads"),
            (cache, given),
            content="cache",
            call="featx.write_report({held!r}, {rest!r})",
        )
    read = {name: read_head(given) for name, given in named.items()}
    with show_progress(progress), opened_cache(cache) as opened:
        check_not_of_cache(output, opened, error=FeatxError)
        for head in read.values():
            first = find_comparable(opened, head)[0]
            embedding = embedding or first
        request = ReportRequest(
            heads=read,
            head_paths={name: _name_file(name, given) for name, given in named.items()},
            output=output,
            source=source,
            embedding=opened.get_info(embedding).name,
            split=split,
            map_method=map_method,
            audit=audit,
            explain=explain,
            seed=seed,
        )
        images = RowImages(opened, source)
        contents, shown = collect_report(opened, request, images)
        with stage("writing the page"):
            empty = replace(contents.rows, thumbnails=[EMPTY] * len(shown))
            rest = len(render_report(replace(contents, rows=empty)).encode())
            left = MAX_BYTES - RESERVE - rest + len(EMPTY) * len(shown)
            columns, images_note = shown.read(images, left)
            told = locate(opened, request).hide(images_note)
            contents = replace(contents, rows=columns, images_note=told)
            text = render_report(contents)
            write_html(output, text)
        n_missing = len(shown.list_missing(images))
        if n_missing:
            note(images_note)
        n_mistakes = {part.name: part.n_mistakes for part in contents.heads if part.scores}
        return Report(
            path=output,
            n_rows=len(opened),
            n_shown=len(shown),
            n_images=sum(one is not None for one in columns.thumbnails),
            n_missing=n_missing,
            n_points=0 if contents.points is None else len(contents.points.rows),
            heads=tuple(read),
            n_mistakes=tuple(n_mistakes.get(name) for name in read),
            n_bytes=len(text.encode()),
            seconds=round(time.perf_counter() - start, 1),
        )


def _check_page(output: PathLike) -> Path:
    """Refuse a file that is no page, or that another program wrote."""
    path = Path(output)
    if path.suffix.lower() not in PAGES:
        raise FeatxError(
            subject=str(path),
            expected=f"a file that ends in {PAGES[0]}",
            got=path.suffix or "no ending",
            remedy="Name the page report.html.",
        )
    check_output(path)
    return path


def _name_file(name: str, head: HeadLike) -> str:
    """Name the file of a head, or one that a head without a file may be saved in."""
    if not isinstance(head, Head):
        return name_location(head)
    return "-".join(re.findall(r"\w+", name)) + ".joblib"


def _name_heads(
    heads: HeadLike | Sequence[HeadLike] | Mapping[str, HeadLike],
) -> dict[str, HeadLike]:
    """Name the heads as shortly as they differ."""
    if isinstance(heads, Mapping):
        return dict(heads)
    return name_heads([heads] if isinstance(heads, str | os.PathLike | Head) else list(heads))
