"""Predict in one call: images, with an engine that is kept for the next call, or cache rows."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence
from typing import Any, Unpack

import numpy as np

from featx.cache.joined import open_cache
from featx.cache.open import is_cache_file
from featx.cache.tables import BLOCK_ROWS
from featx.core.errors import FeatxError
from featx.core.notes import note
from featx.core.progress import show_progress
from featx.core.recognise import check_order
from featx.core.rows import Row
from featx.core.typing import PathLike
from featx.embedding.options import RunKeywords, RunOptions
from featx.fitting.evaluate import describe_seen
from featx.fitting.inputs import HeadLike, find_comparable, read_head
from featx.heads.head import Head
from featx.images.sources.inputs import list_inputs, read_images
from featx.prediction.predictor import (
    Prediction,
    check_top,
    describe_prediction,
    note_failures,
    open_session,
    predict_entries,
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

    Examples
    --------
    >>> predictions = featx.predict("head.joblib", "ant.jpg", progress=False)
    >>> len(predictions)
    1
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
        found = list(_iter_from_caches(loaded, caches, top))
        note_failures(found)
        return found
    options = RunOptions(**run)
    entries = read_images(inputs)
    with (
        show_progress(options.progress),
        open_session(
            loaded, options, weights=weights, n_images=operator.length_hint(entries)
        ) as session,
    ):
        return predict_entries(loaded, session, entries, top)


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
        lacking = set(cache.ids[~has_vector].tolist()).difference(one.id for one in failures)
        if lacking:
            note(f"{path}: left out {len(lacking)} rows without a vector in embedding {name}")
        present = np.flatnonzero(has_vector)
        labelled = present[cache.labels[present] != ""]
        learnt = cache.read_learnt(name)[labelled]
        if learnt.any():
            seen = head.find_seen(cache.digests[labelled]) | learnt
            note(f"{path}: {describe_seen(seen, learnt)}: new images are harder")
        for start in range(0, len(present), BLOCK_ROWS):
            rows = present[start : start + BLOCK_ROWS]
            ranked = rank_classes(head, cache.read_vectors(name, rows), top)
            for number, best in zip(rows.tolist(), ranked, strict=True):
                row = Row(
                    id=cache.ids[number],
                    path=cache.paths[number],
                    label=cache.labels[number] or None,
                    split=cache.splits[number] or None,
                )
                yield describe_prediction(row, best)
        for failure in failures:
            yield Prediction(path=failure.path, id=failure.id, error=failure.reason)
