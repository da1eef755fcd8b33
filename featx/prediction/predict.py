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
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import Texts, iter_blocks
from featx.core.errors import FeatxError
from featx.core.lookup import TextIndex
from featx.core.notes import note
from featx.core.progress import show_progress
from featx.core.recognise import check_order
from featx.core.rows import Row
from featx.core.typing import PathLike
from featx.embedding.options import RunKeywords, RunOptions
from featx.fitting.evaluate import describe_seen
from featx.fitting.inputs import HeadLike, find_comparable, read_head
from featx.heads.head import Head
from featx.images.entries import Entry
from featx.images.sources.inputs import list_inputs, read_images
from featx.prediction.predictor import (
    Prediction,
    check_top,
    describe_prediction,
    iter_noted,
    iter_predicted,
    open_session,
    rank_classes,
)


def predict(
    head: HeadLike,
    inputs: Any,
    *,
    top: int = 1,
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
    weights : str, optional
        Current path or name of the backbone's weights. Default: the weights that the head records.
        Weights with another content are refused.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.

    Returns
    -------
    list of Prediction
        Predictions in the order of the inputs. An image that cannot be read has an `error`.

    Warns
    -----
    FeatxWarning
        If an image has no prediction, a row of the cache has no vector, or the network has learnt
        from rows of the cache, whose labels are then no measure of the predictions.

    Raises
    ------
    FingerprintError
        If the weights, or the embeddings of the cache, differ from those of the head.
    HeadError, SourceError, WeightsError, DeviceError
        If head, inputs, weights or device are missing or unusable.

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
    return list(iter_predictions(head, inputs, top=top, weights=weights, **run))


def iter_predictions(
    head: HeadLike,
    inputs: Any,
    *,
    top: int = 1,
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
    weights : str, optional
        Current path or name of the backbone's weights. Default: the weights that the head records.
        Weights with another content are refused.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.

    Yields
    ------
    Prediction
        Predictions in the order of the inputs. An image that cannot be read has an `error`.

    Warns
    -----
    FeatxWarning
        As `featx.predict`, at the end.

    Raises
    ------
    FingerprintError
        If the weights, or the embeddings of the cache, differ from those of the head.
    HeadError, SourceError, WeightsError, DeviceError
        If head, inputs, weights or device are missing or unusable.

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
    check_order(
        ("head", "inputs"), (head, inputs), content="head", call="featx.predict({held!r}, {rest!r})"
    )
    loaded = read_head(head)
    check_top(top)
    caches = _find_caches(inputs, weights)
    if caches:
        for name in run.keys() - RunOptions.__dataclass_fields__.keys():  # no options are built
            raise TypeError(f"predict() got an unexpected keyword argument {name!r}")
        return iter_noted(_iter_from_caches(loaded, caches, top))
    options = RunOptions(**run)
    return iter_noted(_iter_images(loaded, read_images(inputs), options, top=top, weights=weights))


def _iter_images(
    head: Head, entries: Iterable[Entry], options: RunOptions, *, top: int, weights: str | None
) -> Iterator[Prediction]:
    """Predict images with an engine that is kept for the next call."""
    with ExitStack() as stack:
        with show_progress(options.progress):
            n_images = operator.length_hint(entries)
            session = stack.enter_context(
                open_session(head, options, weights=weights, n_images=n_images)
            )
        yield from iter_predicted(head, session, entries, top)


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


def _iter_from_caches(head: Head, paths: Sequence[PathLike], top: int) -> Iterator[Prediction]:
    """Predict the rows of caches in blocks, then list their failures."""
    with open_cache(paths) as cache:
        path = cache.path
        name = find_comparable(cache, head)
        has_vector = cache.read_present(name)
        failures = [one for one in cache.failures if one.embedding in ("", name)]
        lacking = cache.read_column("id")[~has_vector]
        known = TextIndex(Texts.from_list(one.id for one in failures)).find(lacking)
        n_lacking = int((known < 0).sum())
        if n_lacking:
            note(f"{path}: left out {n_lacking} rows without a vector in embedding {name}")
        labels, splits = cache.labels, cache.splits
        labelled = np.flatnonzero(has_vector & (labels != ""))
        learnt = cache.read_learnt(name)[labelled]
        if learnt.any():
            seen = head.find_seen(cache.read_column("digest")[labelled]) | learnt
            note(f"{path}: {describe_seen(seen, learnt)}: new images are harder")
        for block in iter_blocks(len(cache), BLOCK_ROWS):
            rows = block.start + np.flatnonzero(has_vector[block])
            ranked = rank_classes(head, cache.read_vectors(name, rows), top) if len(rows) else []
            named = cache.read_rows(("id", "path"), block.start, block.stop)[has_vector[block]]
            for number, id_, image, best in zip(
                rows.tolist(), named["id"], named["path"], ranked, strict=True
            ):
                label, split = labels[number] or None, splits[number] or None
                yield describe_prediction(Row(id=id_, path=image, label=label, split=split), best)
        for failure in failures:
            yield Prediction(path=failure.path, id=failure.id, error=failure.reason)
