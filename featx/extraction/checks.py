"""Checks of an extraction: which embeddings may be mixed, and how many images may fail."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from featx.cache.format import EmbeddingInfo
from featx.cache.reader import Cache
from featx.core.errors import CacheError, FeatxError, FingerprintError, SourceError
from featx.core.fingerprint import check_comparable
from featx.core.lookup import TextIndex
from featx.extraction.inventory import match_ids
from featx.images.content import Content
from featx.images.entries import as_columns
from featx.images.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class FailureLimit:
    """The number of images of one source that may fail.

    Attributes
    ----------
    source : str
        Name of the source, for the error.
    n_images : int
        Number of images in the source.
    n_allowed : int
        Number of images that may fail.
    may_all_fail : bool
        Whether the source may be one of which all images fail: a part may have one image only, or
        none.
    """

    source: str
    n_images: int
    n_allowed: int
    may_all_fail: bool = False

    def is_exceeded(self, n_failed: int) -> bool:
        """Return whether more images failed than allowed, or all of them.

        Parameters
        ----------
        n_failed : int
            Number of images that failed.
        """
        all_failed = n_failed >= self.n_images and not self.may_all_fail
        return n_failed > self.n_allowed or all_failed


def count_allowed(max_failures: int | str, n_images: int) -> int:
    """Count how many images may fail.

    Parameters
    ----------
    max_failures : int or str
        Number of images, or a percentage of all images such as ``"5%"``. A percentage is rounded
        up: above 0%, one image may always fail.
    n_images : int
        Number of all images.

    Raises
    ------
    FeatxError
        If `max_failures` is neither a number nor a percentage up to 100%.

    Examples
    --------
    >>> count_allowed("5%", 59), count_allowed("5%", 2)
    (3, 1)
    """
    match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)%", str(max_failures).strip())
    if match is None or float(match.group(2) or 0) > 100:
        raise FeatxError(
            subject="max_failures",
            expected="a number such as 10, or a percentage such as 5%",
            got=repr(max_failures),
            remedy="Pass one of these.",
        )
    if match.group(1):
        return int(match.group(1))
    return math.ceil(n_images * Fraction(match.group(2)) / 100)


def is_other_source(base: Cache, manifest: Manifest) -> bool:
    """Tell whether a cache was made from another source: another name, and no image in common."""
    if base.source == manifest.source or not len(base):
        return False
    return bool((match_ids(manifest.rows["id"], base.read_column("id")) < 0).all())


def check_extracted(base: Cache) -> None:
    """Refuse to extend a cache of imported vectors: its rows need not be images that are known.

    Raises
    ------
    CacheError
        If another program computed an embedding of the cache.
    """
    for name in base.embeddings:
        fingerprint = base.get_info(name).fingerprint
        if fingerprint.is_imported:
            raise CacheError(
                subject=str(base.path),
                expected="a cache whose vectors featx computed",
                got=fingerprint.describe(),
                remedy="Name another output.",
            )


def check_same_source(base: Cache, manifest: Manifest) -> None:
    """Refuse a source that has no image in common with the cache that it would be added to.

    Raises
    ------
    CacheError
        If the cache was made from another source.
    """
    if is_other_source(base, manifest):
        raise CacheError(
            subject=str(base.path),
            expected=f"the source that it was made from, {base.source}",
            got=f"{manifest.source}, which has no image in common with it",
            remedy="Name another output, or pass overwrite=True to start a new cache.",
        )


def check_manifest(manifest: Manifest) -> None:
    """Refuse a manifest of the caller that cannot become a cache.

    Raises
    ------
    SourceError
        If there is no row, if two rows have the same id, or if an image lies in memory: such an
        image has no digest to identify it by.
    """
    columns = as_columns(manifest.entries)
    if not len(columns):
        raise SourceError(
            subject=manifest.source,
            expected="at least one row",
            got="none",
            remedy="Pass a manifest that has rows.",
        )
    ids = columns.rows["id"]
    for row, content in sorted(columns.contents.others.items()):
        if not isinstance(content, Content):
            raise SourceError(
                subject=f"{manifest.source}, row {ids[row]!r}",
                expected="an image in a file",
                got="an image in memory",
                remedy="Save the images to files, or embed them with featx.embed(images).",
            )
    repeat = TextIndex(ids).find_repeat()
    if repeat is not None:
        raise SourceError(
            subject=manifest.source,
            expected="each id once",
            got=f"{ids[repeat]!r} {sum(one == ids[repeat] for one in ids)} times",
            remedy="Give each row an id of its own.",
        )


def check_fingerprints(base: Cache, infos: Sequence[EmbeddingInfo]) -> None:
    """Refuse to add vectors to an embedding that was made differently.

    Raises
    ------
    FingerprintError
        If the cache holds an embedding of the same name with another fingerprint.
    """
    for info in infos:
        if info.name in base.embeddings:
            check_comparable(
                base.get_info(info.name).fingerprint,
                info.fingerprint,
                subject=f"{base.path}, embedding {info.name}",
                remedy="Pass the options that it was made with, embedding=NAME to store another "
                "embedding beside it, or overwrite=True to start a new cache.",
            )


def check_same_embeddings(sibling: Cache, infos: Sequence[EmbeddingInfo]) -> None:
    """Refuse to begin a part with an embedding that another part of the source lacks.

    Raises
    ------
    FingerprintError
        If an embedding of this run is none of the other part.
    """
    others = [info.name for info in infos if info.name not in sibling.embeddings]
    if others:
        raise FingerprintError(
            subject=f"{sibling.path}, another part of the source",
            expected=f"its embeddings ({', '.join(sibling.embeddings)})",
            got=", ".join(others),
            remedy="Embed all parts with one of these first, then add the other to each part; or "
            "name another folder.",
        )
