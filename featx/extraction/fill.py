"""Embed the images that a plan lists: the part of an extraction that runs the network."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from featx.cache.shards import Shards
from featx.core.notes import note
from featx.core.rows import Failure
from featx.embedding.batching import EmbeddedBatch
from featx.extraction.checks import FailureLimit
from featx.extraction.plan import Plan

MAX_LISTED = 100_000
"""Number of failures beyond which a run that will be refused ends at once."""


@dataclass(frozen=True)
class Filled:
    """The failures of a run.

    Attributes
    ----------
    failures : list of Failure
        Failures of the plan and of the run.
    unread : dict of str to Failure
        Failures by id of files that could not be read.
    """

    failures: list[Failure]
    unread: dict[str, Failure] = field(default_factory=dict)

    def is_hopeless(self, limit: FailureLimit) -> bool:
        """Return whether so many images failed that the run must not go on to list the others."""
        return len(self.failures) > max(limit.n_allowed, MAX_LISTED)


def embed_missing(
    plan: Plan,
    batches: Generator[EmbeddedBatch, None, object],
    shards: Shards,
    embeddings: Mapping[str, str],
    *,
    shard_seconds: float,
) -> Filled:
    """Store the output of the network for the planned images.

    Finished batches become durable even if an error or a signal ends the run. A run in which more
    images fail than allowed goes on, so that all failures can be listed; what it embeds is kept for
    the next run.

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
    Filled
        The failures.
    """
    filled = Filled(list(plan.failures))
    n_allowed, is_told = plan.limit.n_allowed, False
    try:
        with closing(batches):
            for batch in batches:
                failures = [part for one in batch.failures for part in _list_lacks(one, embeddings)]
                filled.failures.extend(batch.failures)
                filled.unread.update((one.id, one) for one in batch.failures if not one.digest)
                vectors = {embeddings[layer]: part for layer, part in batch.vectors.items()}
                shards.append(batch.rows, vectors, repeats=batch.repeats, failures=failures)
                shards.seal_when_due(shard_seconds)
                if filled.is_hopeless(plan.limit):
                    break
                if len(filled.failures) > n_allowed and not is_told:
                    is_told = True
                    note(
                        f"more images failed than the {n_allowed} that may: no cache will be "
                        "written. The run goes on to list all failures, and keeps what it embeds "
                        "for the next run."
                    )
    finally:
        shards.seal()
    return filled


def _list_lacks(failure: Failure, embeddings: Mapping[str, str]) -> list[Failure]:
    """List one failure per embedding that an image lacks, or one for all if no network saw it."""
    if failure.stage in ("read", "decode"):
        return [failure]
    return [replace(failure, embedding=name) for name in embeddings.values()]
