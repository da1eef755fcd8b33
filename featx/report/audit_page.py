"""Show what an audit found: one page of images."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from featx.analytics.audit_report import AuditReport
from featx.analytics.audit_words import describe_parts
from featx.analytics.row_images import RowImages
from featx.cache.inputs import check_not_of_cache
from featx.cache.reader import Cache
from featx.core.errors import FeatxError
from featx.core.notes import note
from featx.core.text import count_noun
from featx.core.typing import PathLike
from featx.report.contents import Finding
from featx.report.gallery import PAGES, SIDE, Card, Section, check_output, write_images
from featx.report.locations import shorten_paths

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_CARDS = 60
"""Largest number of cards of a section; the table has all findings."""

TITLES = {
    "leaks": "Leaks between splits",
    "groups": "Groups in several splits",
    "duplicates": "Duplicates in one split",
    "two classes": "Files in two classes",
    "label errors": "Label errors",
    "outliers": "Outliers",
    "blank": "Blank images",
    "failures": "Failures",
}

Cell = tuple[Sequence[int], Sequence[str]]
"""Rows of the images of a card, and its caption."""


def write_audit(
    cache: Cache,
    report: AuditReport,
    output: PathLike,
    *,
    source: PathLike | Sequence[PathLike] | None = None,
) -> Path | None:
    """Write a page of the images that an audit found.

    Parameters
    ----------
    cache : Cache
        The open cache that was audited.
    report : AuditReport
        Return value of `featx.audit`.
    output : path
        File to write: ``.html`` for a page, ``.png``, ``.jpg`` or ``.webp`` for a contact sheet. A
        page or sheet of featx there is replaced.
    source : path or sequence of paths, optional
        Source of the images. Default: the source that the cache names.

    Returns
    -------
    Path or None
        The file; None if nothing was found that a contact sheet could show. A page is written then,
        too, with the sentences alone.

    Warns
    -----
    FeatxWarning
        If no contact sheet is written.

    Raises
    ------
    FeatxError
        If the file cannot be written, or is the cache or one of its images.
    SourceError, CacheError
        If the source that is passed cannot be read, or has none of the rows.

    See Also
    --------
    featx.audit : Audit a cache.

    Examples
    --------
    >>> with featx.open_cache("photos.h5") as cache:
    ...     print(featx.write_audit(cache, featx.audit(cache), "audit.html"))
    audit.html
    """
    check_output(output)
    check_not_of_cache(Path(output), cache, error=FeatxError)
    found = list_findings(report, MAX_CARDS)
    rows = sorted({row for one in found for of, _ in one.cards for row in of})
    if not rows and Path(output).suffix.lower() not in PAGES:
        note(f"{output} is not written: nothing was found that a contact sheet could show")
        return None
    images: dict[int, Image | None] = dict(RowImages(cache, source).decode(rows, side=SIDE))
    sections = [
        Section(
            title=one.title,
            text=one.text,
            cards=[
                Card(images=[images[row] for row in of], lines=lines) for of, lines in one.cards
            ],
        )
        for one in found
    ]
    title = f"Audit of {shorten_paths(report.cache)}, {count_noun(report.n_rows, 'row')}"
    write_images(output, title, sections)
    return Path(output)


def list_findings(report: AuditReport, max_cards: int) -> list[Finding]:
    """List the parts of an audit in words, with the rows of their images.

    Parameters
    ----------
    report : AuditReport
        Return value of `featx.audit`.
    max_cards : int
        Largest number of cards of a part.

    Returns
    -------
    list of Finding
        The most important part first. The rows of the cards are numbers of rows in the cache.
    """
    reasons = {name.replace("_", " "): text for name, text in report.not_measured.items()}
    texts = describe_parts(report) | {
        part: f"not measured: {text}" for part, text in reasons.items()
    }
    cells = _list_cells(report)
    findings = []
    for part, told in texts.items():
        cards = list(cells.get(part, []))
        cut = f" The first {max_cards} are shown." if len(cards) > max_cards else ""
        text = f"{told[0].upper()}{told[1:]}.{cut}"
        findings.append(Finding(title=TITLES[part], text=text, cards=cards[:max_cards]))
    return findings


def _list_cells(report: AuditReport) -> dict[str, Iterable[Cell]]:
    """List the rows and the caption of each card, by part."""
    ids, labels, near = report.ids, report.labels, report.near_duplicates
    pairs = list(zip(near.a.tolist(), near.b.tolist(), near.score, near.crosses, strict=True))

    def name_split(row: int) -> str:
        return f"{ids[row]} ({report.splits[row]})" if report.splits[row] else str(ids[row])

    cells: dict[str, Iterable[Cell]] = {
        part: [
            ((a, b), (name_split(a), name_split(b), f"certainty {score:.2f}"))
            for a, b, score, crosses in pairs
            if crosses == (part == "leaks")
        ]
        for part in ("leaks", "duplicates")
    }
    cells["groups"] = [
        ((a, b), (name_split(a), name_split(b), f"group {report.name_group(a, b)}"))
        for a, b in ([] if report.parted is None else report.parted.tolist())
    ]
    cells["two classes"] = [
        ((a, b), (f"{ids[a]} and {ids[b]}", f"{labels[a]} or {labels[b]}"))
        for a, b in report.conflicts.tolist()
    ]
    wrong, far, blank = report.label_errors, report.outliers, report.blank
    if wrong is not None:
        cells["label errors"] = [
            ((row,), (str(ids[row]), f"{label} → {suggested}", f"wrong: {score:.0%}"))
            for row, label, suggested, score in itertools.islice(
                zip(wrong.rows.tolist(), wrong.labels, wrong.suggested, wrong.scores, strict=True),
                wrong.n_listed,
            )
        ]
    if far is not None:
        cells["outliers"] = [
            ((row,), (str(ids[row]), labels[row] or "no label", f"distance {score:.1f}"))
            for row, score in zip(far.rows.tolist(), far.scores, strict=True)
        ]
    if blank is not None:
        cells["blank"] = [
            ((row,), (str(ids[row]), reason))
            for row, reason in zip(blank.rows.tolist(), blank.reasons, strict=True)
        ]
    return cells
