"""A head with the open engine of its backbone, which predicts in many calls."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, Unpack

import numpy as np

from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.core.errors import FeatxError
from featx.core.notes import note
from featx.core.progress import show_progress
from featx.core.rows import Row
from featx.core.text import show_text
from featx.core.typing import Array, Split
from featx.embedding.identity import find_decode, restore_backbone
from featx.embedding.named import is_named, load_named
from featx.embedding.options import RunKeywords, RunOptions
from featx.embedding.session import EmbeddingSession, open_for_call
from featx.fitting.inputs import HeadLike, read_head
from featx.heads.head import Head
from featx.images.entries import Entry
from featx.images.sources.inputs import read_images


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction of a head for one image.

    Attributes
    ----------
    path : str
        Path of the image; ``image N`` for an image without one, where N is its position in the
        result, from 0.
    id : str
        Identity of the image within its source or cache; its position for an image in memory.
    label : str or None
        The most likely class; None if the image cannot be read.
    score : float or None
        Probability of that class; for a head without probabilities, the signed distance of that
        class.
    top : tuple of (str, float)
        The most likely classes with their scores, best first.
    true_label : str or None
        Label that the source or the cache gives to the image; None if it gives none.
    split : {"train", "val", "test"} or None
        Split that the source or the cache gives to the image.
    error : str or None
        Reason why there is no prediction.
    """

    path: str
    id: str = ""
    label: str | None = None
    score: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    true_label: str | None = None
    split: Split | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


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

    def predict(self, images: Any, top: int = 1) -> list[Prediction]:
        """Predict the classes of images.

        Parameters
        ----------
        images : path, open file, bytes, PIL image, array, or iterable of these
            Images as `featx.embed` takes them.
        top : int
            Number of classes per image.

        Returns
        -------
        list of Prediction
            Predictions in the order of the images. An image that cannot be read has an `error`.

        Raises
        ------
        FeatxError
            If `top` is smaller than 1, or the predictor is closed.
        SourceError
            If something is no image, or a path does not exist or cannot be read as a source.
        """
        check_top(top)
        return [*iter_noted(iter_predicted(self.head, self._session, read_images(images), top))]

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
    backbone = _restore_backbone(head, options, weights, load=load_named)
    return open_for_call(
        backbone,
        options,
        precision=head.fingerprint.precision,
        decode=find_decode(head.fingerprint),
        n_images=n_images,
        is_kept=is_named(backbone),
    )


def _restore_backbone(
    head: Head,
    options: RunOptions,
    weights: str | None,
    load: Callable[..., Backbone] = load_backbone,
) -> Backbone:
    options.check_precision(head.fingerprint.precision)  # before any weights are downloaded
    return restore_backbone(
        head.fingerprint, head.origin, weights=weights, subject="the head", load=load
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


def iter_predicted(
    head: Head, session: EmbeddingSession, entries: Iterable[Entry], top: int
) -> Iterator[Prediction]:
    """Predict the classes of the entries of a manifest, in their order; memory holds few of them.

    Parameters
    ----------
    head : Head
        The head that scores the classes.
    session : EmbeddingSession
        An open engine over the backbone of the head.
    entries : iterable of Entry
        The images; those of a stream are taken when they are needed.
    top : int
        Number of classes per image.
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
                found[number] = describe_prediction(row, error=failure.reason)
            if batch.rows:
                ranked = rank_classes(head, batch.vectors[layer], top)
                for embedded, best in zip(batch.rows, ranked, strict=True):
                    number = int(embedded.id)
                    found[number] = describe_prediction(numbered.rows.pop(number), best)
            while n_done in found:
                yield found.pop(n_done)
                n_done += 1


def iter_noted(predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """Yield predictions, then tell the user how many images have none.

    Parameters
    ----------
    predictions : iterable of Prediction
        Predictions for all images.
    """
    n_images, n_failed, first = 0, 0, ""
    for one in predictions:
        n_images += 1
        if one.error:
            n_failed += 1
            first = first or show_text(f"{one.path}: {one.error}")
        yield one
    if n_failed:
        note(f"no prediction for {n_failed} of {n_images} images, such as {first}")


def check_top(top: int) -> None:
    """Refuse a number of classes below 1.

    Raises
    ------
    FeatxError
        If `top` is smaller than 1.
    """
    if top < 1:
        raise FeatxError(
            subject="top", expected="at least 1", got=str(top), remedy="Pass top=1 or more."
        )


Ranked = tuple[tuple[str, float], ...]
"""Classes with their scores, best first."""


def rank_classes(head: Head, X: Array, top: int) -> list[Ranked]:
    """Rank the classes of embedded images.

    Parameters
    ----------
    head : Head
        The head that scores the classes.
    X : ndarray
        Vectors ``(n_rows, dim)``.
    top : int
        Number of classes per image.
    """
    scores = head.predict_proba(X)  # (n_rows, n_classes)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]  # (n_rows, top)
    classes = head.classes
    return [
        tuple((str(classes[code]), float(line[code])) for code in codes)
        for line, codes in zip(scores, order, strict=True)
    ]


def describe_prediction(row: Row, best: Ranked = (), error: str | None = None) -> Prediction:
    """Put together what the source says of an image and what the head says.

    Parameters
    ----------
    row : Row
        The image.
    best : tuple of (str, float)
        The most likely classes with their scores; none for an image that cannot be read.
    error : str, optional
        Reason why there is no prediction.
    """
    label, score = best[0] if best else (None, None)
    return Prediction(
        path=row.path,
        id=row.id,
        label=label,
        score=score,
        top=best,
        true_label=row.label,
        split=row.split,
        error=error,
    )
