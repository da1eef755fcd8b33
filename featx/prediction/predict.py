"""Images, or embeddings that are there already, and a head make predictions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from featx.cache.open import is_cache_file
from featx.cache.reader import open_cache
from featx.core.errors import FeatxError, SourceError
from featx.core.typing import PathLike
from featx.fitting.inputs import HeadLike, find_comparable
from featx.heads.head import Head, load_head
from featx.images.manifest import Entry
from featx.images.sources.read import list_entries

if TYPE_CHECKING:
    from featx.embedding.options import RunKeywords, RunOptions

Array = np.ndarray[Any, Any]

ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Prediction:
    """What a head says of one image.

    Attributes
    ----------
    path : str
        The image.
    label : str or None
        The likeliest class; None where the image could not be read.
    score : float or None
        Its probability; for a head without probabilities its signed distance.
    top : tuple of (str, float)
        The likeliest classes with their scores, best first.
    error : str or None
        Why there is no prediction.
    """

    path: str
    label: str | None
    score: float | None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def predict(
    head: HeadLike,
    inputs: PathLike | Sequence[PathLike],
    *,
    top: int = 1,
    weights: str | None = None,
    **run: Unpack[RunKeywords],
) -> list[Prediction]:
    """Predict the classes of images, or of the rows of a cache.

    Parameters
    ----------
    head : path or Head
    inputs : path or sequence of paths
        Images, folders, a table or tars; or one cache, for which no network is run.
    top : int
        How many classes to tell for each.
    weights : str, optional
        Where the backbone's weights are now. Default: where the head's embeddings had them from.
        Others than those are refused.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`.

    Returns
    -------
    list of Prediction
        In the order of the inputs; an image that cannot be read has its reason.

    Raises
    ------
    FingerprintError
        If the weights, or the cache's embeddings, are not those of the head.
    SourceError, WeightsError, DeviceError
        If the inputs, the weights or the device cannot be had.
    """
    head = head if isinstance(head, Head) else load_head(head)
    if top < 1:
        raise FeatxError(f"top: expected at least 1, got {top}. Pass --top 1 or more.")
    paths = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    if not paths:
        raise SourceError("inputs: expected at least one path, got none. Name images or a folder.")
    caches = [path for path in paths if is_cache_file(path)]
    if caches and (len(paths) > 1 or weights is not None):
        raise FeatxError(
            f"{caches[0]}: expected a cache alone, without weights, got it with others. "
            "Predict for it by itself."
        )
    if caches:
        return list(_iter_from_cache(head, caches[0], top))
    from featx.embedding.options import RunOptions  # a cache needs no torch

    return _predict_images(head, list_entries(paths), top, weights, RunOptions(**run))


def _predict_images(
    head: Head, entries: list[Entry], top: int, weights: str | None, options: RunOptions
) -> list[Prediction]:
    """Run the head's backbone, then the head."""
    from featx.embedding.embed import find_decode, restore_backbone
    from featx.embedding.loop import iter_embedded

    backbone = restore_backbone(head.fingerprint, head.origin, weights=weights, subject="the head")
    runs = options.build_engine(backbone, head.fingerprint.precision, n_images=len(entries))
    decode = find_decode(head.fingerprint)
    # The same image may be asked for twice: rows are told apart by their place.
    numbered = [
        replace(entry, row=replace(entry.row, id=str(number)))
        for number, entry in enumerate(entries)
    ]
    by_id: dict[str, Prediction] = {}
    for batch in iter_embedded(numbered, backbone, runs, options, decode=decode):
        for failure in batch.failures:
            by_id[failure.id] = Prediction(failure.path, None, None, error=failure.reason)
        if batch.rows:
            ranked = _rank(head, batch.vectors[backbone.layers[0]], top)
            for row, best in zip(batch.rows, ranked, strict=True):
                by_id[row.id] = Prediction(row.path, best[0][0], best[0][1], best)
    return [by_id[entry.row.id] for entry in numbered]


def _iter_from_cache(head: Head, path: PathLike, top: int) -> Iterator[Prediction]:
    with open_cache(path) as cache:
        name = find_comparable(cache, head)
        present = cache.select_rows(embedding=name)
        for start in range(0, len(present), ROWS_AT_A_TIME):
            rows = present[start : start + ROWS_AT_A_TIME]
            ranked = _rank(head, cache.read_vectors(name, rows), top)
            for number, best in zip(rows, ranked, strict=True):
                yield Prediction(cache.paths[number], best[0][0], best[0][1], best)
        for failure in cache.failures:
            if failure.embedding in ("", name):
                yield Prediction(failure.path, None, None, error=failure.reason)


def _rank(head: Head, X: Array, top: int) -> list[tuple[tuple[str, float], ...]]:
    """Return each row's best classes with their scores, best first."""
    scores = head.score_classes(X)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]  # (n_rows, top)
    classes = head.classes
    return [
        tuple((str(classes[code]), float(line[code])) for code in codes)
        for line, codes in zip(scores, order, strict=True)
    ]
