"""Predict in one call: images, with an engine that is kept for the next call, or cache rows."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Unpack

import numpy as np

from featx.cache.joined import open_cache
from featx.cache.open import is_cache_file
from featx.cache.reader import Cache
from featx.cache.side_by_side import read_joined, read_learnt_by
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import iter_blocks
from featx.core.errors import FeatxError
from featx.core.notes import note
from featx.core.progress import show_progress
from featx.core.recognise import check_order
from featx.core.rows import Row
from featx.core.typing import PathLike
from featx.embedding.options import RunKeywords, RunOptions
from featx.fitting.comparable import find_comparable
from featx.fitting.inputs import HeadLike, read_head
from featx.fitting.scored_rows import describe_seen
from featx.images.entries import Entry
from featx.images.sources.inputs import list_inputs, read_images
from featx.prediction.answerer import Answerer
from featx.prediction.answers import AnswerOptions, Prediction, describe_failure
from featx.prediction.networks import list_networks
from featx.prediction.predictor import iter_noted, iter_predicted, open_sessions


def predict(
    head: HeadLike,
    inputs: Any,
    *,
    top: int = 1,
    min_confidence: float | None = None,
    sets: float | None = None,
    unknown_rate: float | None = None,
    weights: str | None = None,
    **run: Unpack[RunKeywords],
) -> list[Prediction]:
    """Predict the classes of images, or of the rows of a cache.

    The engine stays open for the next call, see `featx.close_engines`.

    Parameters
    ----------
    head : path or Head
        The head, or its path.
    inputs : path, open file, bytes, PIL image, array, or iterable of these
        Images as `featx.embed` takes them; or paths of caches, for which no network is run.
    top : int
        Number of classes per image.
    min_confidence : float, optional
        Score below which the head abstains, from 0 to 1: the prediction has no label, but its
        score. Default: the head never abstains.
    sets : float, optional
        Coverage of a set of classes per image, above 0 and below 1: in the long run, at 0.9, the
        sets of 90 of 100 images like those that the head was fitted on hold their class. Default:
        no sets.
    unknown_rate : float, optional
        Rate of false alarms: share of images like those that the head was fitted on that are called
        unknown, below 1; 0 asks for nothing. Default: 0.01 or, if the head was fitted on fewer than
        99 units, the smallest rate that they bear out.
    weights : str, optional
        Current path or name of the backbone's weights. Default: the weights that the head records.
        Weights with another content are refused.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.

    Returns
    -------
    list of Prediction
        Predictions in the order of the inputs. An image that cannot be read, and a row of a cache
        without a vector, have an `error`.

    Warns
    -----
    FeatxWarning
        If an image has no prediction, the head abstains, the head's rows do not bear out what is
        asked, or the network has learnt from rows of the cache, whose labels are then no measure of
        the predictions.

    Raises
    ------
    FingerprintError
        If the weights, or the embeddings of the cache, differ from those of the head.
    HeadError, SourceError, WeightsError, DeviceError
        If head, inputs, weights or device are missing or unusable, or the head cannot answer what
        is asked.

    See Also
    --------
    featx.open_predictor : Keep the engine open for many calls.
    featx.iter_predictions : Take the predictions one after the other.

    Examples
    --------
    >>> predictions = featx.predict("head.joblib", "ant.jpg", progress=False)
    >>> len(predictions)
    1
    """
    asked = AnswerOptions(
        top=top, min_confidence=min_confidence, sets=sets, unknown_rate=unknown_rate
    )
    return list(_iter_answers(head, inputs, asked, weights=weights, run=run))


def iter_predictions(
    head: HeadLike,
    inputs: Any,
    *,
    top: int = 1,
    min_confidence: float | None = None,
    sets: float | None = None,
    unknown_rate: float | None = None,
    weights: str | None = None,
    **run: Unpack[RunKeywords],
) -> Iterator[Prediction]:
    """Predict the classes of images, or of the rows of a cache, one after the other.

    Memory holds a few batches, however many images there are. Arguments are checked at once; close
    the iterator to stop early.

    Parameters
    ----------
    head : path or Head
        The head, or its path.
    inputs : path, open file, bytes, PIL image, array, or iterable of these
        Images as `featx.embed` takes them; or the path of one cache, for which no network is run.
    top : int
        Number of classes per image.
    min_confidence : float, optional
        Score below which the head abstains, from 0 to 1: the prediction has no label, but its
        score. Default: the head never abstains.
    sets : float, optional
        Coverage of a set of classes per image, above 0 and below 1: in the long run, at 0.9, the
        sets of 90 of 100 images like those that the head was fitted on hold their class. Default:
        no sets.
    unknown_rate : float, optional
        Rate of false alarms: share of images like those that the head was fitted on that are called
        unknown, below 1; 0 asks for nothing. Default: 0.01 or, if the head was fitted on fewer than
        99 units, the smallest rate that they bear out.
    weights : str, optional
        Current path or name of the backbone's weights. Default: the weights that the head records.
        Weights with another content are refused.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.

    Yields
    ------
    Prediction
        Predictions in the order of the inputs. An image that cannot be read, and a row of a cache
        without a vector, have an `error`.

    Warns
    -----
    FeatxWarning
        As `featx.predict`, at the end.

    Raises
    ------
    FingerprintError
        If the weights, or the embeddings of the cache, differ from those of the head.
    HeadError, SourceError, WeightsError, DeviceError
        If head, inputs, weights or device are missing or unusable, or the head cannot answer what
        is asked.

    See Also
    --------
    featx.predict : List all predictions.

    Examples
    --------
    >>> for one in featx.iter_predictions("head.joblib", "photos.h5"):
    ...     print(one.id)
    ...     break
    train/ants/0.jpg
    """
    asked = AnswerOptions(
        top=top, min_confidence=min_confidence, sets=sets, unknown_rate=unknown_rate
    )
    return _iter_answers(head, inputs, asked, weights=weights, run=run)


def _iter_answers(
    head: HeadLike, inputs: Any, asked: AnswerOptions, *, weights: str | None, run: RunKeywords
) -> Iterator[Prediction]:
    """Check the arguments, then return the iterator."""
    check_order(
        ("head", "inputs"), (head, inputs), content="head", call="featx.predict({held!r}, {rest!r})"
    )
    answerer = Answerer(read_head(head), asked)
    caches = _find_caches(inputs, weights)
    if caches:
        for name in run.keys() - RunOptions.__dataclass_fields__.keys():  # no options are built
            raise TypeError(f"predict() got an unexpected keyword argument {name!r}")
        found = _iter_from_caches(answerer, caches)
    else:
        options = RunOptions(**run)
        found = _iter_images(answerer, read_images(inputs), options, weights=weights)
    answerer.note_limits()
    return iter_noted(found)


def _iter_images(
    answerer: Answerer, entries: Iterable[Entry], options: RunOptions, *, weights: str | None
) -> Iterator[Prediction]:
    """Predict images with an engine that is kept for the next call."""
    networks = list_networks(answerer.head)
    with ExitStack() as stack:
        with show_progress(options.progress):
            n_images = operator.length_hint(entries)
            sessions = stack.enter_context(
                open_sessions(networks, options, weights=weights, n_images=n_images)
            )
        yield from iter_predicted(answerer, networks, sessions, entries)


def _find_caches(inputs: Any, weights: str | None) -> list[PathLike]:
    """Find the caches among the inputs, which must be the only inputs; empty if there are none."""
    given = list_inputs(inputs)
    caches = [one for one in given if isinstance(one, str | os.PathLike) and is_cache_file(one)]
    if caches and (len(given) > len(caches) or weights is not None):
        raise FeatxError(
            subject=os.fspath(caches[0]),
            expected="caches alone, without weights",
            got="a cache with other inputs or weights",
            remedy="Predict for the cache in a call of its own.",
        )
    return caches


def _iter_from_caches(answerer: Answerer, paths: Sequence[PathLike]) -> Iterator[Prediction]:
    """Predict the rows of caches in blocks, then list the failures of what is no row.

    A row without a vector has a line too, at its place.
    """
    head = answerer.head
    with open_cache(paths) as cache:
        names = find_comparable(cache, head)
        present = {name: cache.read_present(name) for name in names}
        has_vector = np.logical_and.reduce([*present.values()])
        failures = [one for one in cache.failures if one.embedding in ("", *names)]
        reasons = {one.id: one.reason for one in failures}
        labels, splits = cache.labels, cache.splits
        labelled = np.flatnonzero(has_vector & (labels != ""))
        learnt = read_learnt_by(cache, names)[labelled]
        if learnt.any():
            seen = head.find_seen(cache.read_column("digest")[labelled]) | learnt
            note(f"{cache.path}: {describe_seen(seen, learnt)}: new images are harder")
        for block in iter_blocks(len(cache), BLOCK_ROWS):
            rows = block.start + np.flatnonzero(has_vector[block])
            answers = iter(answerer.answer(read_joined(cache, names, rows)) if len(rows) else [])
            named = cache.read_rows(("id", "path"), block.start, block.stop)
            for number, id_, image in zip(
                range(block.start, block.stop), named["id"], named["path"], strict=True
            ):
                label, split = labels[number] or None, splits[number] or None
                row = Row(id=id_, path=image, label=label, split=split)
                if has_vector[number]:
                    yield answerer.describe(row, next(answers))
                else:
                    lacking = next(name for name in names if not present[name][number])
                    reason = reasons.pop(id_, None) or _explain_lacking(cache, lacking)
                    yield describe_failure(row, reason)
        for failure in failures:
            if reasons.pop(failure.id, None) is not None:
                yield Prediction(path=failure.path, id=failure.id, error=failure.reason)


def _explain_lacking(cache: Cache, name: str) -> str:
    """Say why a row that did not fail has no vector, and what gives it one."""
    is_backbone = name == cache.get_info(name).fingerprint.backbone
    option = "--backbone" if is_backbone else "--embedding"
    return f"no {name} vector: run featx extract {option} {name}"
