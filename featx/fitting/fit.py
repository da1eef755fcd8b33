"""Fit a head on the embeddings and labels of a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from featx.cache.joined import list_cache_files
from featx.cache.reader import Cache
from featx.core.errors import HeadError
from featx.core.files import check_destination
from featx.core.learnt import join_digests, shorten_digests
from featx.core.notes import note
from featx.core.progress import show_progress, stage
from featx.core.recognise import check_order
from featx.core.typing import PathLike, StrArray
from featx.fitting.evaluate import find_evaluated
from featx.fitting.fit_target import check_alone, fit_target
from featx.fitting.inputs import CacheLike, opened_cache
from featx.fitting.rows import FittingRows
from featx.fitting.target_rows import TargetColumns
from featx.heads.class_weights import ClassWeight, check_class_weight
from featx.heads.classifier import HeadClassifier
from featx.heads.evaluate import CrossValidation, score_predictions
from featx.heads.head import Head
from featx.heads.head_file import is_head_file
from featx.heads.kinds import check_strength, get_kind
from featx.heads.splits import check_seed


def fit_head(  # noqa: PLR0913
    cache: CacheLike,
    output: PathLike | None = None,
    *,
    kind: str = "logreg",
    split: str | None = None,
    embedding: str | None = None,
    C: float | Literal["auto"] = "auto",
    cv: int = 5,
    class_weight: ClassWeight = None,
    target: TargetColumns | None = None,
    several: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Head:
    """Fit a head on the embeddings of a cache.

    Parameters
    ----------
    cache : path, sequence of paths or Cache
        Cache with labels, or several caches as `featx.open_cache` takes them.
    output : path, optional
        File to save the head in. Default: the head is not saved.
    kind : str
        Kind of the head: ``"logreg"`` for logistic regression, with probabilities, or
        ``"linear-svm"`` for a linear support vector machine, which has no probabilities.
    split : str, optional
        Rows to fit on: ``"train"``, ``"val"``, ``"test"`` or ``"all"``. Default: ``"train"`` if the
        cache has splits, else all labelled rows. C is chosen on these rows alone.
    embedding : str, optional
        Name of the embedding to fit on. Default: the only one of the cache.
    C : float or "auto"
        Inverse strength of the L2 regularisation. ``"auto"`` chooses it by cross-validation.
    cv : int
        Number of folds of the cross-validation.
    class_weight : None, "balanced" or dict
        Weights of the classes, as scikit-learn takes them. If weights are given, the search
        compares balanced accuracies.
    target : str or sequence of str, optional
        Column of the cache, recorded by `featx.label_cache`, that holds what the head predicts: a
        number; or a column for each of several classes, which says whether an image has it.
        Default: the labels. The head is then a `featx.TargetHead`.
    several : bool
        Whether an image can have several classes: cells such as ``ant;bee``.
    seed : int
        Seed of the folds.
    overwrite : bool
        Whether to replace a file that exists at `output`. A file that holds exactly this head is
        left as it is in any case, so that a cell of a notebook can be run twice.
    progress : bool or None
        Whether to show progress on standard error; None shows bars on a terminal and in a
        notebook, and elsewhere a line now and then.

    Returns
    -------
    Head
        The head, with its held-out scores in ``cross_validation``. If the weights of the embedding
        were tuned on some of the rows, the scores are of the others, if they are enough.

    Warns
    -----
    FeatxWarning
        If rows were left out, for example because they have no label, or if the network of the
        embedding has learnt from some of the rows.

    Raises
    ------
    CacheError
        If the cache cannot be read, or has no such split or embedding.
    HeadError
        If the rows are not of at least two classes, an option is out of its range, or the output
        cannot be written.

    See Also
    --------
    featx.evaluate : Score a head on a cache. featx.split_cache : Record a split, so that some rows
    are kept for the evaluation. featx.HeadClassifier : The same head as a scikit-learn estimator.

    Examples
    --------
    >>> import featx
    >>> head = featx.fit_head("photos.h5", "new.joblib", C=0.01)
    >>> head.kind, head.params
    ('logreg', {'C': 0.01})
    """
    if output is not None:
        check_order(
            ("cache", "output"),
            (cache, output),
            content="cache",
            call="featx.fit_head({held!r}, output={rest!r})",
        )
        _check_output(Path(output), cache, overwrite=overwrite)
    if target is not None or several:
        check_alone(kind=kind != "logreg", class_weight=class_weight is not None)
        fitted = fit_target(
            cache,
            target,
            several=several,
            split=split,
            embedding=embedding,
            C=C,
            cv=cv,
            seed=seed,
            progress=progress,
        )
        if output is not None:
            fitted.save(output, overwrite=overwrite)
        return fitted
    head_kind = get_kind(kind)
    check_seed(seed)
    check_class_weight(class_weight)
    if C != "auto":
        check_strength(head_kind, float(C))
    with (
        show_progress(progress),
        stage("reading labels and vectors"),
        opened_cache(cache) as opened,
    ):
        n_folds = cv if C == "auto" else 0
        rows = FittingRows.read(opened, split=split, embedding=embedding, n_folds=n_folds)
        for text in rows.list_notes():
            note(text)
        elsewhere = find_evaluated(opened.list_splits())
    classifier = HeadClassifier(
        kind, C=C, cv=cv, class_weight=class_weight, random_state=seed, progress=progress
    ).fit(rows.X, rows.y, rows.units, learnt=rows.learnt)
    if C == "auto" and classifier.search_ is None:
        note(
            f"too few rows for a cross-validation: {head_kind.strength_name} is not chosen, but "
            f"the default {classifier.C_:g}"
        )
    if rows.fitted_on.n_learnt:
        note(_describe_learnt(rows, classifier, head_kind.strength_name, elsewhere))
    head = Head(
        estimator=classifier.pipeline_,
        kind=kind,
        params={head_kind.strength_name: classifier.C_},
        fingerprint=rows.info.fingerprint,
        origin=rows.info.provenance.origin,
        fitted_on=rows.fitted_on,
        cross_validation=summarise_search(classifier, rows.y, n_learnt=int(rows.learnt.sum())),
        seen=join_digests([shorten_digests(rows.digests), rows.learnt_digests]),
    )
    if output is not None:
        head.save(output, overwrite=overwrite)
    return head


def summarise_search(
    classifier: HeadClassifier, y: StrArray, *, n_learnt: int = 0
) -> CrossValidation | None:
    """Score each row by the prediction of a head that has not seen the row.

    Parameters
    ----------
    classifier : HeadClassifier
        Fitted classifier.
    y : ndarray of str
        ``(n_rows,)``, labels that the classifier was fitted on.
    n_learnt : int
        Number of rows that the network has learnt from, or whose group it has learnt from.

    Returns
    -------
    CrossValidation or None
        The scores of the rows that lie in a fold; None if the classifier did not search, or if the
        network has learnt from the rows.
    """
    search = classifier.search_
    if search is None or not classifier.is_held_out_:
        return None
    rows = np.flatnonzero(search.held_out >= 0)
    predicted = classifier.classes_[search.held_out[rows]]
    return CrossValidation(
        scores=score_predictions(y[rows], predicted, classes=classifier.classes_),
        n_folds=search.scores.shape[1],
        strengths=tuple(search.values.tolist()),
        mean_scores=tuple(search.scores.mean(axis=1).tolist()),
        n_learnt=n_learnt,
    )


def _describe_learnt(
    rows: FittingRows, classifier: HeadClassifier, strength_name: str, elsewhere: str | None
) -> str:
    """Say what it means that the network has learnt from rows that the head is fitted on."""
    n_rows = rows.fitted_on.n_rows
    told = f"{rows.fitted_on.n_learnt:,} of {n_rows:,} rows were learnt from by the network"
    if classifier.search_ is not None and classifier.is_held_out_:
        n_others = n_rows - int(rows.learnt.sum())
        return (
            f"{told}: {strength_name} and the held-out accuracy are of the {n_others:,} others only"
        )
    where = elsewhere if elsewhere != rows.fitted_on.split else None
    advice = f"score on {where or 'rows that it has not learnt from'}"
    if classifier.search_ is None:
        return f"{told}: {advice}"
    return (
        f"{told}: folds say nothing; {advice}. {strength_name} was chosen by such folds, for want "
        "of others"
    )


def _check_output(output: Path, cache: CacheLike, *, overwrite: bool) -> None:
    """Refuse, before any work is done, a path at which the head cannot be saved."""
    if isinstance(cache, Cache):
        files = [member.path for member in cache.members]
    else:
        files = list_cache_files(cache)
    if output.exists() and any(file.exists() and output.samefile(file) for file in files):
        raise HeadError(
            subject=str(output),
            expected="a file of its own for the head",
            got="the cache",
            remedy="Pass another path as output.",
        )
    # A head that may be the same one is compared when it is fitted.
    check_destination(output, overwrite=overwrite or is_head_file(output), error=HeadError)
