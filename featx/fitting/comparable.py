"""The embeddings of a cache that a head is fitted on, and those that it can read."""

from __future__ import annotations

import re

from featx.cache.format import EmbeddingInfo
from featx.cache.reader import Cache
from featx.cache.side_by_side import Names, list_names
from featx.core.errors import CacheError
from featx.core.fingerprint import check_comparable
from featx.heads.head import Head


def choose_embeddings(cache: Cache, embedding: Names | None) -> tuple[EmbeddingInfo, ...]:
    """Choose the embeddings of a cache that a head is fitted on.

    Parameters
    ----------
    cache : Cache
        Open cache.
    embedding : str, sequence of str, or None
        Name of the embedding, or names of several; None for the only one of the cache.

    Raises
    ------
    CacheError
        If the cache has no such embedding, has several and none is named, or one is named twice.
    """
    names = (None,) if embedding is None else list_names(embedding)
    if not names or len(set(names)) < len(names):
        raise CacheError(
            subject="embedding",
            expected="names of embeddings, each once",
            got=" and ".join(map(repr, names)) or "none",
            remedy="Pass embedding=NAME, or several names, each once.",
        )
    for name in names:
        joined = re.split(r"[+,]", name) if isinstance(name, str) else []
        if name not in cache.embeddings and set(joined) <= set(cache.embeddings) and joined:
            raise CacheError(
                subject="embedding",
                expected="one name at a time",
                got=repr(name),
                remedy=f"Pass each name alone: {' and '.join(joined)}.",
            )
    return tuple(cache.get_info(name) for name in names)


def find_comparable(cache: Cache, head: Head, *, embedding: Names | None = None) -> tuple[str, ...]:
    """Find the embeddings of a cache that a head can take.

    Parameters
    ----------
    cache : Cache
        Open cache.
    head : Head
        Head that will read the embedding.
    embedding : str or sequence of str, optional
        Names of the embeddings to choose from. Default: all of the cache.

    Returns
    -------
    tuple of str
        Name of the embedding for each one that the head reads: the one that differs least.

    Raises
    ------
    FingerprintError
        If an embedding is not comparable with the one that the head was fitted on.
    """
    names = cache.embeddings if embedding is None else list_names(embedding)
    infos = choose_embeddings(cache, names)
    found = []
    for read in head.embeddings:
        expected = read.fingerprint
        info = min(infos, key=lambda info: len(info.fingerprint.list_differences(expected)))
        several = f" ({read.name})" if len(head.embeddings) > 1 else ""
        check_comparable(
            expected,
            info.fingerprint,
            subject=f"{cache.path}, embedding {info.name}",
            because=f"as the head was fitted on{several}",
            remedy="Extract with the backbone and weights of the head, or fit a head on these "
            "embeddings with featx.fit_head(cache).",
        )
        found.append(info.name)
    return tuple(found)
