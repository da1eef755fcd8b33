"""A head with the open engines of its backbones, which predicts in many calls."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any, Protocol, Self, Unpack

from featx.backbones.backbone import Backbone
from featx.core.notes import note
from featx.core.progress import show_progress
from featx.core.rows import Row
from featx.core.text import show_text
from featx.core.typing import Array
from featx.embedding.identity import find_decode, restore_backbone
from featx.embedding.options import RunKeywords, RunOptions
from featx.embedding.session import EmbeddingSession, open_restored
from featx.fitting.inputs import HeadLike, read_head
from featx.heads.head import Head
from featx.images.entries import Entry
from featx.images.sources.inputs import read_images
from featx.prediction.answerer import Answer, Answerer
from featx.prediction.answers import (
    AnswerOptions,
    Prediction,
    describe_failure,
)
from featx.prediction.networks import HeadNetwork, check_weights, iter_joined, list_networks


class Predictor:
    """A head with the open engine of its backbone; see `featx.open_predictor`.

    The engine is built once, so that each call takes only the time of its images; a head that reads
    several networks has an engine for each. A predictor may be shared by threads: calls run one
    after the other. Close the predictor to release the threads and memory of its engines, or use it
    as a context manager.

    Parameters
    ----------
    head : Head
        The head that scores the classes.
    weights : str, optional
        Current path or name of the backbone's weights. Default: the weights that the head records.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.
    """

    def __init__(
        self, head: Head, *, weights: str | None = None, **run: Unpack[RunKeywords]
    ) -> None:
        self.head = head
        options = RunOptions(**run)
        self._networks = list_networks(head)
        check_weights(self._networks, weights)
        with show_progress(options.progress), ExitStack() as stack:
            self._sessions = [
                stack.enter_context(
                    EmbeddingSession(
                        _restore_backbone(network, options, weights),
                        options,
                        precision=network.first.fingerprint.precision,
                        decode=find_decode(network.first.fingerprint),
                        several=True,
                    )
                )
                for network in self._networks
            ]
            stack.pop_all()  # if the engine of one network cannot be built, the others are closed

    def predict(
        self,
        images: Any,
        top: int = 1,
        *,
        min_confidence: float | None = None,
        sets: float | None = None,
        unknown_rate: float | None = None,
    ) -> list[Prediction]:
        """Predict the classes of images.

        Parameters
        ----------
        images : path, open file, bytes, PIL image, array, or iterable of these
            Images as `featx.embed` takes them.
        top : int
            Number of classes per image.
        min_confidence : float, optional
            Score below which the head abstains, from 0 to 1. Default: the head never abstains.
        sets : float, optional
            Coverage of a set of classes per image, above 0 and below 1. Default: no sets.
        unknown_rate : float, optional
            Rate of false alarms of `unknown`, below 1; 0 asks for nothing. Default: see
            `featx.AnswerOptions`.

        Returns
        -------
        list of Prediction
            Predictions in the order of the images. An image that cannot be read has an `error`.

        Raises
        ------
        FeatxError
            If `top` is smaller than 1, another option has no meaning, or the predictor is closed.
        HeadError
            If the head cannot answer what is asked.
        SourceError
            If something is no image, or a path does not exist or cannot be read as a source.
        """
        asked = AnswerOptions(
            top=top, min_confidence=min_confidence, sets=sets, unknown_rate=unknown_rate
        )
        answerer = Answerer(self.head, asked)
        answerer.note_limits()
        return [
            *iter_noted(
                iter_predicted(answerer, self._networks, self._sessions, read_images(images))
            )
        ]

    def close(self) -> None:
        """Release the threads and memory of the engines."""
        for session in self._sessions:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_predictor(
    head: HeadLike, *, weights: str | None = None, **run: Unpack[RunKeywords]
) -> Predictor:
    """Open a predictor: load a head and its backbone, and build an engine, once for many calls.

    Parameters
    ----------
    head : path or Head
        The head, or its path.
    weights : str, optional
        Current path or name of the backbone's weights. Default: the weights that the head records.
        Weights with another content are refused.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.

    Returns
    -------
    Predictor
        An open predictor; close it, or use it as a context manager.

    Raises
    ------
    HeadError
        If the head cannot be read.
    FingerprintError
        If the weights differ from those of the head.
    WeightsError, DeviceError
        If the weights or the device are missing.

    See Also
    --------
    featx.predict : Predict once.

    Examples
    --------
    >>> with featx.open_predictor("head.joblib", progress=False) as predictor:
    ...     predictions = predictor.predict(["ant.jpg", "bee.jpg"])
    >>> len(predictions)
    2
    """
    loaded = read_head(head)
    return Predictor(loaded, weights=weights, **run)


@contextmanager
def open_sessions(
    networks: Sequence[HeadNetwork],
    options: RunOptions,
    *,
    weights: str | None,
    n_images: int = 0,
) -> Iterator[list[EmbeddingSession]]:
    """Open a session for one call over each network of a head; the backbones keep their engines.

    Parameters
    ----------
    networks : sequence of HeadNetwork
        Networks of the head.
    options : RunOptions
        Options of the engine and of the decoding threads.
    weights : str or None
        Current path or name of the backbone's weights; None for the weights that the head records.
    n_images : int
        Number of images to expect; the network is compiled if there are many.

    Raises
    ------
    HeadError
        If weights are given for several networks.
    """
    check_weights(networks, weights)
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                open_restored(
                    network.first.fingerprint,
                    network.first.origin,
                    options,
                    subject="the head",
                    weights=weights,
                    n_images=n_images,
                    others=network.fingerprints[1:],
                )
            )
            for network in networks
        ]


def _restore_backbone(network: HeadNetwork, options: RunOptions, weights: str | None) -> Backbone:
    first, *others = network.fingerprints
    options.check_precision(first.precision)  # before any weights are downloaded
    return restore_backbone(
        first, network.first.origin, weights=weights, subject="the head", others=others
    )


class _Numbered(Sequence[Entry]):
    """Entries whose ids are their numbers: the same image may be given twice."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = entries
        self.rows: dict[int, Row] = {}  # of the images under way

    def __len__(self) -> int:
        return operator.length_hint(self._entries)

    def __getitem__(self, key: Any) -> Any:
        raise NotImplementedError  # entries are taken in their order

    def __iter__(self) -> Iterator[Entry]:
        for number, entry in enumerate(self._entries):
            self.rows[number] = entry.row
            yield replace(entry, row=replace(entry.row, id=str(number)))


class _Answering(Protocol):
    """What answers for embedded images: a head, or a network's own classifier."""

    def answer(self, X: Array) -> list[Answer]:
        """Answer for vectors ``(n_rows, dim)``."""

    def describe(self, row: Row, answer: Answer) -> Prediction:
        """Put together what the source says of an image and its answer."""


def iter_predicted(
    answerer: _Answering,
    networks: Sequence[HeadNetwork],
    sessions: Sequence[EmbeddingSession],
    entries: Iterable[Entry],
) -> Iterator[Prediction]:
    """Predict the classes of the entries of a manifest, in their order; memory holds few of them.

    Parameters
    ----------
    answerer : object with the methods of `Answerer`
        The head, and what is asked of it; or a network's own classifier.
    networks : sequence of HeadNetwork
        Networks of the head.
    sessions : sequence of EmbeddingSession
        An open engine over each network.
    entries : iterable of Entry
        The images; those of a stream are taken when they are needed.
    """
    numbered = _Numbered(entries)
    found: dict[int, Prediction] = {}
    n_done = 0
    # A stream is taken in this thread, a sequence in that of the network.
    given = numbered if isinstance(entries, Sequence) else iter(numbered)
    with closing(iter_joined(networks, sessions, given)) as batches:
        for batch in batches:
            for number, reason in batch.failures.items():
                found[number] = describe_failure(numbered.rows.pop(number), reason)
            answers = answerer.answer(batch.X)
            for number, answer in zip(batch.numbers, answers, strict=True):
                found[number] = answerer.describe(numbered.rows.pop(number), answer)
            while n_done in found:
                yield found.pop(n_done)
                n_done += 1


def iter_noted(predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """Yield predictions, then tell the user how many images have none, or no label.

    Parameters
    ----------
    predictions : iterable of Prediction
        Predictions for all images.
    """
    n_images, n_failed, n_abstained, first = 0, 0, 0, ""
    for one in predictions:
        n_images += 1
        n_abstained += one.abstained is not None
        if one.error:
            n_failed += 1
            first = first or show_text(f"{one.path}: {one.error}")
        yield one
    if n_failed:
        note(f"no prediction for {n_failed} of {n_images} images, such as {first}")
    if n_abstained:
        note(f"the head abstained for {n_abstained} of {n_images} images")
