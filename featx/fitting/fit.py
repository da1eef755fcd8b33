"""A cache's embeddings and labels make a head, or test one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from featx.cache.reader import RECORD_SPLITS, Cache, open_cache
from featx.cache.writer import write_splits
from featx.core.errors import CacheError, HeadError
from featx.core.files import check_destination
from featx.core.fingerprint import check_comparable
from featx.core.typing import Split, list_choices
from featx.heads.classifier import HeadClassifier
from featx.heads.evaluate import Evaluation, score_predictions
from featx.heads.head import (
    Head,
    load_head,
    shorten_digests,
)
from featx.heads.kinds import build_classifier
from featx.heads.splits import assign_splits, check_seed, fill_groups

CacheLike = str | os.PathLike[str] | Cache
HeadLike = str | os.PathLike[str] | Head


def fit_head(
    cache: CacheLike,
    output: str | os.PathLike[str] | None = None,
    *,
    kind: str = "logreg",
    split: str | None = None,
    embedding: str | None = None,
    C: float | str = "auto",
    cv: int = 5,
    class_weight: Any = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Head:
    """Fit a head on the embeddings of a cache.

    Parameters
    ----------
    cache : path or Cache
    output : path, optional
        Where to save the head.
    kind : {"logreg", "linear-svm"}
        Logistic regression, or a linear support vector machine (no probabilities).
    split : str, optional
        Rows to fit on: ``train``, ``val``, ``test`` or ``all``. Default: ``train`` where the
        cache has splits, else all labelled rows. C is chosen within these rows.
    embedding : str, optional
        Which one, where the cache has several.
    C, cv, class_weight
        As `featx.HeadClassifier` takes them.
    seed : int
        Of the cross-validation.
    overwrite : bool
        Replace a file that is at `output`.
    progress : bool, optional
        Show a progress bar on standard error. Default: where that is a terminal.

    Returns
    -------
    Head
        With its held-out scores in ``cross_validation``.

    Raises
    ------
    CacheError
        If the cache cannot be read, or has no such split or embedding.
    HeadError
        If the rows do not make two classes, an option is out of its range, or the output's folder
        is missing.
    """
    if output is not None:
        _check_apart(Path(output), cache)
        check_destination(Path(output), overwrite=overwrite, error=HeadError)
    check_seed(seed)
    build_classifier(kind, C=1.0 if C == "auto" else float(C), class_weight=class_weight)
    with opened_cache(cache) as opened:
        if split is None:
            split = "train" if opened.list_splits() else "all"
        info = opened.get_info(embedding)
        rows = opened.select_rows(split, labelled=True, embedding=info.name)
        X, y = opened.read_vectors(info.name, rows), opened.labels[rows]
        groups, digests = fill_groups(opened.groups[rows]), opened.digests[rows]
        _check_labels(y, f"{opened.path}, split {split}")
        path = str(opened.path)
    classifier = HeadClassifier(
        kind, C=C, cv=cv, class_weight=class_weight, random_state=seed, progress=progress
    ).fit(X, y, groups)
    head = Head(
        estimator=classifier.pipeline_,
        kind=kind,
        C=classifier.C_,
        fingerprint=info.fingerprint,
        origin=info.provenance.origin,
        fitted_on={"cache": path, "split": split, "n_rows": len(y)},
        cross_validation=_summarise_search(classifier, y),
        seen=np.unique(shorten_digests(digests)),
    )
    if output is not None:
        head.save(output, overwrite=overwrite)
    return head


def evaluate(
    head: HeadLike,
    cache: CacheLike,
    *,
    split: str | None = None,
    embedding: str | None = None,
) -> Evaluation:
    """Score a head on the labelled rows of a cache.

    Parameters
    ----------
    head : path or Head
    cache : path or Cache
    split : str, optional
        ``train``, ``val``, ``test`` or ``all``. Default: ``val``, or ``test`` where there is none.
    embedding : str, optional
        Which one. Default: the one that the head was fitted for.

    Returns
    -------
    Evaluation

    Raises
    ------
    FingerprintError
        If the embeddings are not comparable with those that the head was fitted on.
    CacheError
        If the cache has no such split, or no labelled rows in it.
    """
    head = head if isinstance(head, Head) else load_head(head)
    with opened_cache(cache) as opened:
        split = split or choose_evaluated(opened)
        name = find_comparable(opened, head, embedding=embedding)
        rows = opened.select_rows(split, labelled=True, embedding=name)
        if len(rows) == 0:
            raise CacheError(
                f"{opened.path}, split {split}: expected labelled rows, got none. "
                "Extract from class folders, or from a table with a column label."
            )
        X = opened.read_vectors(name, rows)
        y, n_seen = opened.labels[rows], head.count_seen(opened.digests[rows])
    return score_predictions(
        y, head.predict(X), classes=head.classes, probabilities=head.predict_proba(X), n_seen=n_seen
    )


def split_cache(
    cache: str | os.PathLike[str],
    *,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, int]:
    """Record a stratified split in a cache, with groups kept together.

    Parameters
    ----------
    cache : path
        Rows without a label stay without a split.
    val, test : float
        Fractions of the labelled rows; the rest is train.
    seed : int
        Of the shuffle.
    overwrite : bool
        Replace splits that are there.

    Returns
    -------
    dict of str to int
        Rows per split.

    Raises
    ------
    CacheError
        If the cache has splits already, or no labels.
    HeadError
        If rows or groups are too few for the fractions.
    """
    with open_cache(cache) as opened:
        have = opened.list_splits()
        if have and not overwrite:
            raise CacheError(
                f"{opened.path}: expected a cache without splits, got {', '.join(have)}. "
                "Pass --overwrite to record another split."
            )
        rows = opened.select_rows(labelled=True)
        _check_labels(opened.labels[rows], str(opened.path))
        groups = fill_groups(opened.groups[rows])
        splits = np.full(len(opened), "", dtype=object)
        splits[rows] = assign_splits(opened.labels[rows], groups, val=val, test=test, seed=seed)
        digest = opened.digest
    write_splits(cache, list(splits), digest=digest)
    return {name: int((splits == name).sum()) for name in list_choices(Split) if name in splits}


def find_comparable(cache: Cache, head: Head, *, embedding: str | None = None) -> str:
    """Name the embedding of a cache that a head may take.

    Raises
    ------
    FingerprintError
        If the cache has none.
    """
    expected = head.fingerprint
    if embedding is None:  # the one that differs least: none at all where it is there
        info = min(
            (cache.get_info(name) for name in cache.embeddings),
            key=lambda info: len(info.fingerprint.list_differences(expected)),
        )
    else:
        info = cache.get_info(embedding)
    check_comparable(
        expected,
        info.fingerprint,
        subject=f"{cache.path}, embedding {info.name}, for a head of {expected.backbone}",
        remedy=f"Extract again with --backbone {expected.backbone} and the head's weights, "
        "or fit a head on these embeddings.",
    )
    return info.name


def choose_evaluated(cache: Cache) -> str:
    """Return the split to evaluate on where none was named: val, else test.

    Raises
    ------
    CacheError
        If the cache has neither.
    """
    have = cache.list_splits()
    for name in ("val", "test"):
        if name in have:
            return name
    raise CacheError(
        f"{cache.path}: expected a split val or test to evaluate on, got "
        f"{', '.join(have) or 'no splits'}. {RECORD_SPLITS}"
    )


def _check_apart(output: Path, cache: CacheLike) -> None:
    """Refuse to put the head where the cache is."""
    path = cache.path if isinstance(cache, Cache) else Path(cache)
    if output.exists() and path.exists() and output.samefile(path):
        raise HeadError(f"{output}: expected a file of its own, got the cache. Name another.")


def _check_labels(y: np.ndarray[Any, Any], subject: str) -> None:
    classes = np.unique(y)
    if len(classes) < 2:
        got = f"only {classes[0]!r}" if len(classes) else "no labelled rows"
        raise HeadError(
            f"{subject}: expected rows of at least 2 classes, got {got}. "
            "Extract from class folders, or from a table with a column label."
        )


def _summarise_search(classifier: HeadClassifier, y: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Score each row as predicted by a head that has not seen it."""
    search = classifier.search_
    if search is None:
        return {}
    rows = np.flatnonzero(search.held_out >= 0)
    predicted = classifier.classes_[search.held_out[rows]]
    scores = score_predictions(y[rows], predicted, classes=classifier.classes_)
    return asdict(scores) | {
        "search": {"C": search.values.tolist(), "score": search.scores.mean(axis=1).tolist()},
        "n_folds": search.scores.shape[1],
    }


@contextmanager
def opened_cache(cache: CacheLike) -> Iterator[Cache]:
    """Open a cache given by its path; leave one that is open to its owner."""
    if isinstance(cache, Cache):
        yield cache
    else:
        with open_cache(cache) as opened:
            yield opened
