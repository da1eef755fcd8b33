"""The networks that a head needs, and their vectors side by side as the head reads them."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import numpy as np

from featx.core.errors import HeadError
from featx.core.fingerprint import Fingerprint
from featx.core.typing import Float32Array
from featx.embedding.batching import EmbeddedBatch
from featx.embedding.session import EmbeddingSession
from featx.heads.head import Head
from featx.heads.side_by_side import HeadEmbedding
from featx.images.entries import Entry


@dataclass(frozen=True, kw_only=True)
class HeadNetwork:
    """A network that a head needs.

    Attributes
    ----------
    embeddings : tuple of HeadEmbedding
        Embeddings that one run of the network computes: one for each layer.
    positions : tuple of int
        Position of each among the embeddings of the head.
    """

    embeddings: tuple[HeadEmbedding, ...]
    positions: tuple[int, ...]

    @property
    def first(self) -> HeadEmbedding:
        """The first of the embeddings."""
        return self.embeddings[0]

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        """Identity of each embedding."""
        return tuple(one.fingerprint for one in self.embeddings)


@dataclass(frozen=True, kw_only=True)
class JoinedBatch:
    """Images that all networks of a head are done with.

    Attributes
    ----------
    numbers : list of int
        Number of each image that has vectors.
    X : ndarray of float32
        ``(n_images, dim)``, their vectors, side by side.
    failures : dict of int to str
        Reason by the number of each image that a network failed on.
    """

    numbers: list[int]
    X: Float32Array
    failures: dict[int, str]


def list_networks(head: Head) -> list[HeadNetwork]:
    """List the networks that a head needs: several layers of one network are run once.

    Parameters
    ----------
    head : Head
        The head.
    """
    found: dict[str, list[int]] = {}
    for position, one in enumerate(head.embeddings):
        network = replace(one.fingerprint, layer="", dim=0)
        found.setdefault(network.to_json(), []).append(position)
    return [
        HeadNetwork(
            embeddings=tuple(head.embeddings[position] for position in positions),
            positions=tuple(positions),
        )
        for positions in found.values()
    ]


def check_weights(networks: Sequence[HeadNetwork], weights: str | None) -> None:
    """Refuse one file of weights for several networks.

    Parameters
    ----------
    networks : sequence of HeadNetwork
        Networks of a head.
    weights : str or None
        Current path or name of the weights; None for those that the head records.

    Raises
    ------
    HeadError
        If there are weights, and the head needs several networks.
    """
    if weights is not None and len(networks) > 1:
        named = " and ".join(network.first.name for network in networks)
        raise HeadError(
            subject="weights",
            expected=f"none beside a head of several networks ({named})",
            got=repr(weights),
            remedy="Leave weights out. If the files were moved, put them into one folder, and set "
            "FEATX_WEIGHTS_DIR to it.",
        )


def iter_joined(
    networks: Sequence[HeadNetwork],
    sessions: Sequence[EmbeddingSession],
    entries: Iterable[Entry],
) -> Generator[JoinedBatch]:
    """Embed the entries of a manifest with each network of a head; close the generator to stop.

    The networks run side by side, a few batches apart, so that memory holds few images.

    Parameters
    ----------
    networks : sequence of HeadNetwork
        Networks of the head.
    sessions : sequence of EmbeddingSession
        An open engine over each network.
    entries : iterable of Entry
        The images, whose ids are their numbers.
    """
    if isinstance(entries, Sequence):
        given: Sequence[Iterable[Entry]] = [entries] * len(sessions)
    else:
        given = itertools.tee(entries, len(sessions))
    waiting = _Waiting(networks)
    with ExitStack() as stack:
        streams: list[Iterator[EmbeddedBatch] | None] = [
            stack.enter_context(closing(session.iter_batches(part)))
            for session, part in zip(sessions, given, strict=True)
        ]
        n_done = [0] * len(streams)
        while True:
            running = [at for at, stream in enumerate(streams) if stream is not None]
            if not running:
                return
            at = min(running, key=n_done.__getitem__)  # the one that is behind, or else the first
            stream = streams[at]
            batch = None if stream is None else next(stream, None)
            if batch is None:
                streams[at] = None
                continue
            n_done[at] += len(batch.rows) + len(batch.failures)
            yield waiting.take(at, batch)


class _Waiting:
    """Images that some of the networks are done with, and others are not.

    Parameters
    ----------
    networks : sequence of HeadNetwork
        Networks of the head.
    """

    def __init__(self, networks: Sequence[HeadNetwork]) -> None:
        self._networks = networks
        self._n_left: dict[int, int] = {}
        self._parts: dict[int, dict[int, Float32Array]] = {}  # by number, then by position
        self._failures: dict[int, str] = {}

    def take(self, at: int, batch: EmbeddedBatch) -> JoinedBatch:
        """Take a batch of the network `at`; return the images that no network has to do."""
        network = self._networks[at]
        done = []
        for failure in batch.failures:
            number = int(failure.id)
            self._failures.setdefault(number, failure.reason)
            done.append(number)
        for row, embedded in enumerate(batch.rows):
            number = int(embedded.id)
            parts = self._parts.setdefault(number, {})
            for position, one in zip(network.positions, network.embeddings, strict=True):
                parts[position] = batch.vectors[one.fingerprint.layer][row]
            done.append(number)
        ready = []
        for number in done:
            left = self._n_left.pop(number, len(self._networks)) - 1
            if left:
                self._n_left[number] = left
            else:
                ready.append(number)
        return self._join(ready)

    def _join(self, ready: Sequence[int]) -> JoinedBatch:
        failures = {one: self._failures.pop(one) for one in ready if one in self._failures}
        numbers = [one for one in ready if one not in failures]
        rows = {one: self._parts.pop(one, {}) for one in ready}
        joined = [
            np.concatenate([part for _, part in sorted(rows[one].items())]) for one in numbers
        ]
        X = np.stack(joined) if joined else np.empty((0, 0), np.float32)
        return JoinedBatch(numbers=numbers, X=X, failures=failures)
