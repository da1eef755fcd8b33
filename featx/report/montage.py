"""Montages: the images of rows, by class or in a given order, on one sheet or page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.analytics.row_images import RowImages
from featx.cache.joined import open_cache
from featx.cache.open import is_cache_file, refuse_split
from featx.core.address import list_paths, name_caches
from featx.core.columns import Table, Texts
from featx.core.errors import FeatxError
from featx.core.lookup import TextIndex
from featx.core.notes import note
from featx.core.text import count_noun
from featx.core.typing import CachePaths, IntArray, PathLike, Split, SplitChoice, list_choices
from featx.images.manifest import order_label
from featx.images.sources.read import read_manifest
from featx.report.gallery import (
    PAGES,
    SIDE,
    Card,
    Section,
    check_output,
    encode_thumbnail,
    write_images,
)
from featx.report.locations import shorten_paths

NO_LABEL = "(no label)"

MAX_COLUMNS = 10
"""Largest number of images in a line of a sheet."""


@dataclass(frozen=True, kw_only=True)
class Montage:
    """What a montage shows.

    Attributes
    ----------
    path : Path
        The file that was written.
    n_rows : int
        Number of rows to choose from.
    n_shown : int
        Number of rows that are shown.
    n_missing : int
        Number of shown rows without an image: gone, changed or damaged.
    n_classes : int
        Number of classes with at least one row, of a montage by class.
    """

    path: Path
    n_rows: int
    n_shown: int
    n_missing: int
    n_classes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as objects that ``json.dumps`` takes."""
        return asdict(self) | {"path": str(self.path)}


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """Rows that are shown under one heading.

    Attributes
    ----------
    title, text : str
        Heading, and sentences below it.
    rows : sequence of int
        Numbers of the rows.
    lines : sequence of sequence of str
        Caption of each row.
    first : Card or None
        Card that stands before the rows, such as that of a query.
    """

    title: str
    text: str = ""
    rows: Sequence[int]
    lines: Sequence[Sequence[str]]
    first: Card | None = None


def montage(
    inputs: CachePaths,
    output: PathLike,
    *,
    source: PathLike | Sequence[PathLike] | None = None,
    ids: Sequence[str] | None = None,
    split: SplitChoice | None = None,
    per_class: int = 8,
    seed: int = 0,
) -> Montage:
    """Show images of a cache or of a source by class, or those of given rows, on a sheet or page.

    Parameters
    ----------
    inputs : path or sequence of paths
        One cache or several, as `featx.open_cache` takes them; or images without a
        cache, as `featx.extract` takes them.
    output : path
        File to write: ``.png``, ``.jpg`` or ``.webp`` for a contact sheet, ``.html`` for a page. A
        page or sheet of featx there is replaced.
    source : path or sequence of paths, optional
        Source of the images of a cache. Default: the source that the cache names.
    ids : sequence of str, optional
        Ids of the rows to show, in this order. Default: a sample of each class.
    split : {"train", "val", "test", "all"}, optional
        Split of the rows to choose from. Default: all rows, also those without a split.
    per_class : int
        Largest number of rows to show of each class.
    seed : int
        Seed of the random sample.

    Returns
    -------
    Montage
        Numbers of rows.

    Warns
    -----
    FeatxWarning
        If images of rows are gone, were changed after they were embedded, or cannot be read.

    Raises
    ------
    FeatxError
        If an id is unknown, a split has no rows, or the file cannot be written.
    SourceError, CacheError
        If the source or the cache cannot be read.

    See Also
    --------
    featx.search : Find the rows that are like an image.

    Examples
    --------
    >>> shown = featx.montage("photos.h5", "classes.png", per_class=2)
    >>> shown.n_shown, shown.n_classes, shown.n_missing
    (4, 2, 0)
    """
    check_output(output)
    if per_class < 1:
        raise FeatxError(
            subject="per_class",
            expected="a number of at least 1",
            got=str(per_class),
            remedy="Pass per_class=8.",
        )
    images, rows = _open(inputs, source)
    subject = name_caches(inputs)
    chosen = _choose_split(rows, split, subject)
    if ids is not None:
        groups = [_choose_ids(rows, ids, chosen, subject)]
    else:
        groups = _choose_by_class(rows, chosen, per_class, seed)
    n_columns = MAX_COLUMNS if ids is not None else per_class
    write_rows(output, f"Montage of {shorten_paths(subject)}", images, groups, n_columns=n_columns)
    n_shown = sum(len(group.rows) for group in groups)
    return Montage(
        path=Path(output),
        n_rows=len(chosen),
        n_shown=n_shown,
        n_missing=len(images.missing),
        n_classes=0 if ids is not None else sum(group.title != NO_LABEL for group in groups),
    )


def write_rows(
    path: PathLike,
    title: str,
    images: RowImages,
    groups: Sequence[RowGroup],
    *,
    n_columns: int = MAX_COLUMNS,
) -> None:
    """Write the images of rows as a page or as a contact sheet, and tell which cannot be shown.

    Parameters
    ----------
    path : path
        File to write, as `write_images` takes it.
    title : str
        Title of the page.
    images : RowImages
        Images of the rows.
    groups : sequence of RowGroup
        Rows with their headings and captions.
    n_columns : int
        Number of images in a line of a sheet, `MAX_COLUMNS` at most.
    """
    names = {
        row: line[0] for group in groups for row, line in zip(group.rows, group.lines, strict=True)
    }
    is_page = Path(path).suffix.lower() in PAGES
    decoded = images.decode([row for group in groups for row in group.rows], side=SIDE)
    sections = []
    for group in groups:
        cards = [] if group.first is None else [group.first]
        for lines in group.lines:
            _, image = next(decoded)
            # Of a page with thousands of images, memory holds the bytes of their thumbnails.
            shown = encode_thumbnail(image) if image and is_page else image
            cards.append(Card(images=[shown], lines=lines))
        sections.append(Section(title=group.title, text=group.text, cards=cards))
    if images.missing:
        row, reason = next(iter(images.missing.items()))
        note(
            f"{count_noun(len(images.missing), 'image')} cannot be shown, such as that of "
            f"{names[row]}: {reason}"
        )
    write_images(path, title, sections, n_columns=min(n_columns, MAX_COLUMNS))


def _open(
    inputs: CachePaths, source: PathLike | Sequence[PathLike] | None
) -> tuple[RowImages, Table]:
    """Open a cache or a source: the images, and columns id, label and split of the rows."""
    columns = ("id", "label", "split")
    if all(map(is_cache_file, list_paths(inputs))):
        with open_cache(inputs) as cache:
            return RowImages(cache, source), cache.read_rows(columns)
    if source is not None:
        raise FeatxError(
            subject="source",
            expected="a cache beside it",
            got=f"{name_caches(inputs)}, which is no cache",
            remedy="Leave source out: the inputs hold their images.",
        )
    manifest = read_manifest(inputs)
    return RowImages.from_manifest(manifest), manifest.rows.select(columns)


def _choose_split(rows: Table, split: str | None, subject: str) -> IntArray:
    if split in (None, "all"):
        return np.arange(len(rows))
    chosen = np.flatnonzero(rows["split"].mask(split))
    if not len(chosen):
        found = rows["split"].count()
        raise refuse_split(
            Path(subject), str(split), [s for s in list_choices(Split) if s in found]
        )
    return chosen


def _choose_ids(rows: Table, ids: Sequence[str], chosen: IntArray, subject: str) -> RowGroup:
    """Choose rows by their ids, in their order."""
    found = TextIndex(rows["id"]).find(Texts.from_list(ids))
    unknown = np.flatnonzero(~np.isin(found, chosen))
    if len(unknown) or not len(ids):
        raise FeatxError(
            subject=subject,
            expected=f"all of {count_noun(len(ids), 'id')}" if ids else "at least one id",
            got=f"{len(unknown)} unknown, such as {ids[unknown[0]]!r}" if ids else "none",
            remedy="Pass ids as cache.ids has them, of rows in the split.",
        )
    labels = rows["label"][found]
    lines = [[id_, label or NO_LABEL] for id_, label in zip(ids, labels, strict=True)]
    return RowGroup(title=count_noun(len(ids), "row"), rows=found.tolist(), lines=lines)


def _choose_by_class(rows: Table, chosen: IntArray, per_class: int, seed: int) -> list[RowGroup]:
    """Choose a random sample of each class, in the order of the classes and of the rows."""
    rng = np.random.default_rng(seed)
    labels = rows["label"].to_array()[chosen]
    shuffled = rng.permutation(len(chosen))
    groups = []
    for label in sorted(set(labels.tolist()), key=lambda name: (not name, order_label(name))):
        members = shuffled[labels[shuffled] == label]
        sample = chosen[np.sort(members[:per_class])]
        shown = f"{len(sample):,} of {count_noun(len(members), 'row')}"
        lines = [[id_] for id_ in rows["id"][sample]]
        groups.append(
            RowGroup(title=label or NO_LABEL, text=shown, rows=sample.tolist(), lines=lines)
        )
    return groups
