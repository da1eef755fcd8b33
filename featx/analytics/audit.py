"""Audit a cache: duplicates, leaks, label errors, outliers, blank images and failures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TypeVar

import numpy as np

from featx.analytics.audit_report import AuditReport
from featx.analytics.blank import find_blank
from featx.analytics.duplicates import find_near_duplicates
from featx.analytics.label_errors import LabelErrors, LabelledRows, find_label_errors
from featx.analytics.outliers import find_outliers
from featx.analytics.row_images import RowImages
from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.core.digests import is_known
from featx.core.notes import note
from featx.core.progress import show_progress, stage
from featx.core.same_files import find_conflicts
from featx.core.text import show_text
from featx.core.typing import BoolArray, CachePaths, IntArray, PathLike, UInt8Array, Vectors
from featx.heads.targets import SEPARATOR
from featx.heads.units import find_parted, find_units, renumber_units, spread_over_units

MAX_LABEL = 40
"""Length in characters of a label in a note."""

Found = TypeVar("Found")


def audit(
    cache: Cache | CachePaths,
    *,
    source: PathLike | Sequence[PathLike] | None = None,
    embedding: str | None = None,
    progress: bool | None = False,
) -> AuditReport:
    """Look for what is wrong with the images and labels of a cache.

    Nothing is changed. featx chooses all thresholds itself, and the report says how sure it is.

    Parameters
    ----------
    cache : Cache or path or sequence of paths
        Open cache, or the path of one, or several as `featx.open_cache` takes them.
    source : path or sequence of paths, optional
        Source of the images, as `featx.extract` takes it. Default: the source that the cache names.
        Without images, near-duplicates are found by embeddings alone, and blank images not at all.
    embedding : str, optional
        Name of the embedding. Default: the only one.
    progress : bool or None
        Whether to show progress on standard error; None shows bars on a terminal and in a
        notebook, and elsewhere a line now and then.

    Returns
    -------
    AuditReport
        The findings. A part that could not be measured is None, with the reason.

    Warns
    -----
    FeatxWarning
        If labels hold ``;``: several classes per image are judged as one class.

    Raises
    ------
    CacheError
        If the cache cannot be read or has no such embedding, or if the source has none of its rows.
    SourceError
        If the source cannot be read.

    See Also
    --------
    featx.label_cache : Record the labels of a reviewed table.
    featx.read_failures : Read the ledger of failures alone.

    Examples
    --------
    >>> report = featx.audit("photos.h5")
    >>> report.n_rows, len(report.near_duplicates), len(report.conflicts)
    (12, 0, 0)
    >>> report.not_measured["label_errors"]
    '12 labelled rows are too few; 100 can be judged'
    """
    with nullcontext(cache) if isinstance(cache, Cache) else open_cache(cache) as opened:
        name = opened.get_info(embedding).name
        return audit_opened(opened, RowImages(opened, source), embedding=name, progress=progress)


def audit_opened(
    cache: Cache,
    images: RowImages,
    *,
    embedding: str,
    max_classes: int | None = None,
    progress: bool | None,
) -> AuditReport:
    """Audit an open cache; of many classes, without its labels if need be.

    Parameters
    ----------
    cache : Cache
        Open cache.
    images : RowImages
        Images of its rows.
    embedding : str
        Name of the embedding.
    max_classes : int, optional
        Largest number of classes whose labels are judged: the time grows with them. Default: any.
    progress : bool or None
        Whether to show progress.

    Returns
    -------
    AuditReport
        The findings.
    """
    cache.check_ids()
    joined = next((label for label in cache.labels if SEPARATOR in label), None)
    if joined is not None:
        named = show_text(joined, MAX_LABEL)
        note(f"labels with {SEPARATOR!r}, such as {named}, are judged as classes of their own")
    not_measured: dict[str, str] = {}

    def keep(part: str, found: Found | str) -> Found | None:
        if not isinstance(found, str):
            return found
        not_measured[part] = found
        return None

    digests, present = cache.read_column("digest"), cache.read_present(embedding)
    splits = sorted({name for name in cache.splits if name})
    if len(splits) < 2:
        only = f"all rows with a split are in {splits[0]}" if splits else "no row has a split"
        not_measured["leaks"] = only
    known = is_known(digests)
    if not (known & (cache.labels != "")).any():
        has_any = "no row with a digest has a label" if known.any() else "no row has a digest"
        not_measured["two_classes"] = has_any
    blank = keep("blank", find_blank(images, np.arange(len(cache)), progress=progress))
    near = find_near_duplicates(
        cache, images=None if blank is None else images, embedding=embedding, progress=progress
    )
    clusters = np.where(near.cluster < 0, "", near.cluster.astype(str)).astype(object)
    units = find_units(cache.groups, digests, clusters)
    with show_progress(progress):
        vectors = cache.read_vectors(embedding, present)
        label_errors: LabelErrors | str
        n_classes = len({label for label, _ in cache.count_labels() if label})
        if max_classes is not None and n_classes > max_classes:
            label_errors = f"{n_classes:,} classes take long; featx.audit judges them"
        else:
            label_errors = find_label_errors(
                _take_labelled(cache, vectors, embedding=embedding, units=units), progress=progress
            )
        with stage("looking for outliers"):
            classes = np.unique(cache.labels[present].astype(str), return_inverse=True)
            outliers = find_outliers(
                vectors,
                classes[1] - int((classes[0] == "").any()),
                None if units is None else units[present],
                np.flatnonzero(present),
            )
    return AuditReport(
        cache=str(cache.path),
        embedding=embedding,
        ids=cache.ids,
        labels=cache.labels,
        splits=cache.splits,
        groups=cache.groups,
        parted=keep("groups", _find_parted(cache, digests, present)),
        n_without_vector=int((~present).sum()),
        failures=cache.failures,
        near_duplicates=near,
        conflicts=find_conflicts(digests, cache.labels),
        label_errors=keep("label_errors", label_errors),
        outliers=keep("outliers", outliers),
        blank=blank,
        not_measured=not_measured,
    )


def _find_parted(cache: Cache, digests: UInt8Array, present: BoolArray) -> IntArray | str:
    """Find the rows that are held out from their group; or say why none can be."""
    has_group, has_split = cache.groups != "", cache.splits != ""
    for name, has_one in (("group", has_group), ("split", has_split)):
        if not has_one.any():
            return f"no row has a {name}"
    if not (has_group & has_split).any():
        return "no row with a group has a split"
    usable = present & (cache.labels != "")
    is_train = cache.splits == "train"
    for name, of_side in (("row of train", is_train), ("held-out row", has_split & ~is_train)):
        if not (usable & of_side).any():
            return f"no {name} has a label and a vector"
    return find_parted(cache.groups, digests, cache.splits, usable)


def _take_labelled(
    cache: Cache, vectors: Vectors, *, embedding: str, units: IntArray | None
) -> LabelledRows:
    """Take the labelled rows of those that have a vector."""
    present = np.flatnonzero(cache.read_present(embedding))
    is_labelled = cache.labels[present] != ""
    rows = present[is_labelled]
    return LabelledRows(
        numbers=rows,
        X=vectors[is_labelled],
        labels=cache.labels[rows],
        units=None if units is None else renumber_units(units[rows]),
        learnt=spread_over_units(cache.read_learnt(embedding), units)[rows],
    )
