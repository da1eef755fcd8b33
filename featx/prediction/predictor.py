"""A head with the open engine of its backbone, which predicts in many calls."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from typing import Any, Self, Unpack

from featx.backbones.backbone import Backbone
from featx.core.notes import note
from featx.core.progress import show_progress
from featx.core.rows import Row
from featx.core.text import show_text
from featx.embedding.identity import find_decode, restore_backbone
from featx.embedding.options import RunKeywords, RunOptions
from featx.embedding.session import EmbeddingSession, open_restored
from featx.fitting.inputs import HeadLike, read_head
from featx.heads.head import Head
from featx.images.entries import Entry
from featx.images.sources.inputs import read_images
from featx.prediction.answerer import Answerer
from featx.prediction.answers import (
    AnswerOptions,
    Prediction,
    describe_failure,
)


class Predictor:
    """A head with the open engine of its backbone; see `featx.open_predictor`.

    The engine is built once, so that each call takes only the time of its images. A predictor may
    be shared by threads: calls run one after the other. Close the predictor to release the threads
    and memory of the engine, or use it as a context manager.

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
        with show_progress(options.progress):
            self._session = EmbeddingSession(
                _restore_backbone(head, options, weights),
                options,
                precision=head.fingerprint.precision,
                decode=find_decode(head.fingerprint),
            )

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
        return [*iter_noted(iter_predicted(answerer, self._session, read_images(images)))]

    def close(self) -> None:
        """Release the engine's threads and memory."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_predictor(
    head: HeadLike, *, weights: str | None = None, **run: Unpack[RunKeywords]
) -> Predictor:
    """Open a predictor: load a head, load its backbone and build an engine, once for many calls.

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


def open_session(
    head: Head, options: RunOptions, *, weights: str | None, n_images: int = 0
) -> AbstractContextManager[EmbeddingSession]:
    """Open a session for one call over the backbone of a head, which keeps its engine.

    Parameters
    ----------
    head : Head
        The head whose embeddings are needed.
    options : RunOptions
        Options of the engine and of the decoding threads.
    weights : str or None
        Current path or name of the backbone's weights; None for the weights that the head records.
    n_images : int
        Number of images to expect; the network is compiled if there are many.

    Returns
    -------
    context manager
        The block in which the session is open.
    """
    return open_restored(
        head.fingerprint,
        head.origin,
        options,
        subject="the head",
        weights=weights,
        n_images=n_images,
    )


def _restore_backbone(head: Head, options: RunOptions, weights: str | None) -> Backbone:
    options.check_precision(head.fingerprint.precision)  # before any weights are downloaded
    return restore_backbone(head.fingerprint, head.origin, weights=weights, subject="the head")


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


def iter_predicted(
    answerer: Answerer, session: EmbeddingSession, entries: Iterable[Entry]
) -> Iterator[Prediction]:
    """Predict the classes of the entries of a manifest, in their order; memory holds few of them.

    Parameters
    ----------
    answerer : Answerer
        The head, and what is asked of it.
    session : EmbeddingSession
        An open engine over the backbone of the head.
    entries : iterable of Entry
        The images; those of a stream are taken when they are needed.
    """
    (layer,) = session.backbone.layers
    numbered = _Numbered(entries)
    found: dict[int, Prediction] = {}
    n_done = 0
    # A stream is taken in this thread, a sequence in that of the network.
    given = numbered if isinstance(entries, Sequence) else iter(numbered)
    with closing(session.iter_batches(given)) as batches:
        for batch in batches:
            for failure in batch.failures:
                number = int(failure.id)
                row = numbered.rows.pop(number)
                found[number] = describe_failure(row, failure.reason)
            if batch.rows:
                answers = answerer.answer(batch.vectors[layer])
                for embedded, answer in zip(batch.rows, answers, strict=True):
                    number = int(embedded.id)
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
