"""Embed the images that a plan lists: the part of an extraction that runs the network."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace

from featx.cache.shards import Shards
from featx.core.rows import Failure
from featx.embedding.batching import EmbeddedBatch
from featx.extraction.plan import Plan


def embed_missing(
    plan: Plan,
    batches: Generator[EmbeddedBatch],
    shards: Shards,
    embeddings: Mapping[str, str],
    *,
    shard_seconds: float,
) -> dict[str, Failure]:
    """Store the output of the network for the planned images.

    Finished batches become durable even if an error or a signal ends the run.

    Parameters
    ----------
    plan : Plan
        Images to embed, and the failures that are allowed.
    batches : generator of EmbeddedBatch
        Output of the network for these images; closed at the end.
    shards : Shards
        Store of finished work.
    embeddings : mapping of str to str
        Name of each layer's embedding.
    shard_seconds : float
        Seconds after which finished batches become durable.

    Returns
    -------
    dict of str to Failure
        Failures by id of files that could not be read.

    Raises
    ------
    TooManyFailuresError
        If more images fail than allowed.
    """
    n_failed = len(plan.failures)
    plan.limit.check(n_failed, plan.failures)
    unread: dict[str, Failure] = {}
    try:
        with closing(batches):
            for batch in batches:
                failures = [part for one in batch.failures for part in _list_lacks(one, embeddings)]
                unread.update((one.id, one) for one in batch.failures if not one.digest)
                vectors = {embeddings[layer]: part for layer, part in batch.vectors.items()}
                shards.append(batch.rows, vectors, repeats=batch.repeats, failures=failures)
                shards.seal_when_due(shard_seconds)
                n_failed += len(batch.failures)
                plan.limit.check(n_failed, failures)
    finally:
        shards.seal()
    return unread


def _list_lacks(failure: Failure, embeddings: Mapping[str, str]) -> list[Failure]:
    """List one failure per embedding that an image lacks, or one for all if no network saw it."""
    if failure.stage in ("read", "decode"):
        return [failure]
    return [replace(failure, embedding=name) for name in embeddings.values()]
