"""Decide how a cluster shares an extraction. Nothing is sent and nothing runs here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from featx.core.lookup import SeenDigests
from featx.core.rows import Row
from featx.core.typing import Count
from featx.embedding.batching import EmbeddedBatch

BLOCK_BATCHES = 16
"""Number of batches in a block: between two blocks, an actor is idle for about one batch."""

MIN_BLOCK = 256
"""Number of images of a block of small batches: a block costs Ray some milliseconds."""

BLOCKS_PER_ACTOR = 4
"""Smallest number of blocks for each actor, so that none has to wait long for the last one."""

LESS_MEMORY = (
    "Pass a smaller batch_size, or more cores for each actor (workers=N), so that fewer share the "
    "memory of a machine."
)
GO_ON = "Run the same again to go on."


@dataclass(frozen=True, kw_only=True)
class ActorPlan:
    """The actors that a cluster has space for.

    Attributes
    ----------
    n_actors : int
        Number of actors.
    n_cores : int
        Number of cores of each actor.
    n_gpus : int
        Number of GPUs of each actor: 0 or 1.
    """

    n_actors: int
    n_cores: int
    n_gpus: int


def plan_actors(
    nodes: Sequence[Mapping[str, float]], *, device: str, workers: Count
) -> ActorPlan | None:
    """Plan one actor per GPU, or else one per so many cores.

    Parameters
    ----------
    nodes : sequence of mapping of str to float
        Numbers of ``CPU`` and ``GPU`` of each machine.
    device : str
        Device as the caller named it. ``auto`` is the GPUs if any machine has one.
    workers : int or "auto"
        Number of cores of each actor. ``auto`` shares the cores of a machine among its GPUs; an
        actor without a GPU takes all cores of the smallest machine.

    Returns
    -------
    ActorPlan or None
        The plan; None if no machine has space for an actor.

    Examples
    --------
    >>> plan_actors([{"CPU": 16, "GPU": 2}, {"CPU": 4}], device="auto", workers="auto")
    ActorPlan(n_actors=2, n_cores=8, n_gpus=1)
    >>> plan_actors([{"CPU": 8}, {"CPU": 5}], device="cpu", workers=2)
    ActorPlan(n_actors=6, n_cores=2, n_gpus=0)
    """
    cores = [int(node.get("CPU", 0)) for node in nodes]
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    if device.startswith("cuda") or (device == "auto" and any(gpus)):
        shares = [n // m for n, m in zip(cores, gpus, strict=True) if m]
        n_cores = min(shares, default=0) if workers == "auto" else workers
        counts = [min(m, n // max(1, n_cores)) for n, m in zip(cores, gpus, strict=True)]
        n_gpus = 1
    else:
        n_cores = min(filter(None, cores), default=0) if workers == "auto" else workers
        counts = [n // max(1, n_cores) for n in cores]
        n_gpus = 0
    if not sum(counts):
        return None
    return ActorPlan(n_actors=sum(counts), n_cores=max(1, n_cores), n_gpus=n_gpus)


def choose_block_size(n_images: int, *, n_actors: int, batch_size: int) -> int:
    """Choose the number of images of a block: whole batches, so that few are padded.

    Parameters
    ----------
    n_images : int
        Number of all images.
    n_actors : int
        Number of actors.
    batch_size : int
        Number of images per batch.

    Examples
    --------
    >>> choose_block_size(100_000, n_actors=2, batch_size=8)
    256
    >>> choose_block_size(100, n_actors=2, batch_size=8)
    16
    """
    share = n_images / (n_actors * BLOCKS_PER_ACTOR)
    most = max(MIN_BLOCK, BLOCK_BATCHES * batch_size)
    return max(1, math.ceil(min(share, most) / batch_size)) * batch_size


LOSSES = (
    (
        ("OutOfMemoryError", "low on memory"),
        "an actor that was ended because its machine had no memory left",
        f"{LESS_MEMORY} {GO_ON}",
    ),
    (
        ("node has died", "node was terminated", "NodeDiedError", "node died"),
        "a machine that was lost",
        f"Look at the cluster with: ray status. {GO_ON}",
    ),
    (
        ("SIGKILL", "OOM", "worker died", "exits unexpectedly", "died unexpectedly"),
        "an actor that was killed, as the system does if no memory is left",
        f"{LESS_MEMORY} If machines were lost, add others. {GO_ON}",
    ),
)
"""Parts of Ray's messages about a loss, the most certain first, with what was lost and what to do.
A machine that is lost may at first look like an actor that was killed."""


def describe_loss(text: str) -> tuple[str, str]:
    """Say what a cluster has lost, and what to do.

    Parameters
    ----------
    text : str
        Name and message of the error that Ray raised.

    Returns
    -------
    got : str
        What was lost: a noun phrase.
    remedy : str
        Sentences in the imperative.
    """
    for parts, got, remedy in LOSSES:
        if any(part in text for part in parts):
            return got, remedy
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200], f"Look at the cluster with: ray status. {GO_ON}"


def settle_repeats(batch: EmbeddedBatch, seen: SeenDigests) -> EmbeddedBatch:
    """Turn contents that another actor has embedded already into repeats.

    Parameters
    ----------
    batch : EmbeddedBatch
        Results of an actor.
    seen : SeenDigests
        Digests of all contents that are done; those of the batch are added.
    """
    is_new = [_add(row.digest, seen) for row in batch.rows]
    is_told = [not one.digest or _add(one.digest, seen) for one in batch.failures]
    if all(is_new) and all(is_told):
        return batch
    again = [row for row, is_one in zip(batch.rows, is_new, strict=True) if not is_one]
    again += [
        Row(id=one.id, path=one.path, digest=one.digest, n_bytes=one.n_bytes, mtime_ns=one.mtime_ns)
        for one, is_one in zip(batch.failures, is_told, strict=True)
        if not is_one
    ]
    return EmbeddedBatch(
        rows=tuple(compress(batch.rows, is_new)),
        vectors={name: part[is_new] for name, part in batch.vectors.items()},
        failures=tuple(compress(batch.failures, is_told)),
        repeats=(*batch.repeats, *again),
    )


def _add(digest: str, seen: SeenDigests) -> bool:
    """Add a digest; return whether it is new."""
    if digest in seen:
        return False
    seen.add(digest)
    return True
