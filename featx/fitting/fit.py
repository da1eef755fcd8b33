"""Fit a head on the embeddings and labels of a cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from featx.cache.joined import list_cache_files
from featx.cache.reader import Cache
from featx.cache.side_by_side import Names
from featx.core.errors import HeadError
from featx.core.files import check_destination
from featx.core.learnt import Digests, join_digests
from featx.core.notes import note
from featx.core.progress import show_progress, stage
from featx.core.recognise import check_order
from featx.core.typing import IntArray, PathLike, Scaling, StrArray
from featx.fitting.comparable import find_comparable
from featx.fitting.evaluate import find_evaluated
from featx.fitting.fit_target import check_alone, fit_target
from featx.fitting.growing import describe_growth
from featx.fitting.inputs import CacheLike, HeadLike, are_all_single, opened_cache, read_head
from featx.fitting.rows import FittingRows
from featx.fitting.seen_rows import identify_rows
from featx.fitting.target_rows import TargetColumns
from featx.heads.class_weights import ClassWeight, check_class_weight
from featx.heads.classifier import HeadClassifier, check_options
from featx.heads.conformal import ConformalSets
from featx.heads.evaluate import CrossValidation, score_predictions
from featx.heads.head import Head
from featx.heads.head_file import is_head_file
from featx.heads.kinds import AUTO, KINDS, choose_measure, get_kind
from featx.heads.repeats import score_repeats
from featx.heads.side_by_side import prepare_rows
from featx.heads.unknown import LACKING, UnknownDetector


def fit_head(  # noqa: PLR0913
    cache: CacheLike,
    output: PathLike | None = None,
    *,
    kind: str | None = None,
    split: str | None = None,
    embedding: Names | None = None,
    C: float | Literal["auto"] = "auto",
    cv: int | Literal["auto"] = "auto",
    class_weight: ClassWeight = None,
    target: TargetColumns | None = None,
    several: bool = False,
    scaling: Scaling | None = None,
    pca: int | None = None,
    previous: HeadLike | None = None,
    repeats: int = 1,
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
    kind : str, optional
        Kind of the head: ``"logreg"``, ``"linear-svm"``, ``"rbf-svm"``, ``"ridge"``, ``"lda"``,
        ``"knn"`` or ``"nearest-mean"``; or ``"auto"`` to compare them on the same folds. Default:
        ``"logreg"``, or the kind of `previous`.
    split : str, optional
        Rows to fit on: ``"train"``, ``"val"``, ``"test"`` or ``"all"``. Default: ``"train"`` if the
        cache has splits, else all labelled rows. C is chosen on these rows alone.
    embedding : str or sequence of str, optional
        Name of the embedding to fit on; or names of several, which the head reads side by side in
        this order. Default: the only one of the cache.
    C : float or "auto"
        Strength of the kind: the inverse strength of the L2 regularisation, for ``"ridge"`` 1 / (2
        alpha), for ``"lda"`` the shrinkage, for ``"knn"`` the number of neighbours. ``"auto"``
        chooses it by cross-validation.
    cv : int or "auto"
        Number of folds of the cross-validation, at least 3. ``"auto"`` makes 5, and more for 250
        rows at most.
    class_weight : None, "balanced" or dict
        Weights of the classes, as scikit-learn takes them. If weights are given, the search
        compares balanced accuracies.
    target : str or sequence of str, optional
        Column of the cache, recorded by `featx.label_cache`, that holds what the head predicts: a
        number; or a column for each of several classes, which says whether an image has it.
        Default: the labels. The head is then a `featx.TargetHead`.
    several : bool
        Whether an image can have several classes: cells such as ``ant;bee``.
    scaling : {"standard", "l2", "none"}, optional
        Scaling of the embeddings: each channel to mean 0 and variance 1, each embedding of each
        row to length 1, or none. Default: ``"standard"``, or the scaling of `previous`.
    pca : int, optional
        Number of principal components that the head reads. Default: all channels.
    previous : path or Head, optional
        Head that was fitted before the rows grew: its kind and options are used again, and the
        search begins at its C. What has changed is told.
    repeats : int
        Number of different dealings of the rows to folds, over which the held-out score is averaged
        for each row. The fitted head is the same for any number.
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
        check_alone(
            kind=kind is not None,
            class_weight=class_weight is not None,
            scaling=scaling is not None,
            pca=pca is not None,
            previous=previous is not None,
        )
        fitted = fit_target(
            cache,
            target,
            several=several,
            split=split,
            embedding=embedding,
            C=C,
            cv=5 if cv == "auto" else cv,
            repeats=repeats,
            seed=seed,
            progress=progress,
        )
        if output is not None:
            fitted.save(output, overwrite=overwrite)
        return fitted
    before = None if previous is None else read_head(previous)
    classifier = HeadClassifier(
        **_inherit(before, kind=kind, class_weight=class_weight, scaling=scaling, pca=pca, C=C),
        C=C,
        cv=cv,
        repeats=repeats,
        random_state=seed,
        progress=progress,
    )
    check_options(classifier)
    with (
        show_progress(progress),
        stage("reading labels and vectors"),
        opened_cache(cache) as opened,
    ):
        if before is not None and embedding is None:
            embedding = find_comparable(opened, before)
        rows = FittingRows.read(
            opened, split=split, embedding=embedding, kind=classifier.kind, pca=classifier.pca
        )
        check_class_weight(classifier.class_weight, np.unique(rows.y))
        for text in rows.list_notes():
            note(text)
        elsewhere = find_evaluated(opened.list_splits())
    seen = join_digests([identify_rows(rows.digests, rows.X), rows.learnt_digests])
    rows = replace(rows, X=prepare_rows(rows.X, rows.dims, classifier.scaling))
    classifier.fit(rows.X, rows.y, rows.units, learnt=rows.learnt)
    head = build_head(classifier, rows, seen)
    _note_result(classifier, head, rows, elsewhere)
    if before is not None:
        note(describe_growth(before, head))
    if output is not None:
        head.save(output, overwrite=overwrite)
    return head


def _inherit(before: Head | None, *, C: object, **options: Any) -> dict[str, Any]:
    """Take options that were not given from a head that was fitted before."""
    defaults = {"kind": KINDS[0].name, "class_weight": None, "scaling": "standard", "pca": None}
    given = {name: value for name, value in options.items() if value is not None}
    if before is None:
        return defaults | given
    options = dict(before.options) | {"kind": before.kind, "class_weight": before.class_weight}
    found = defaults | {name: one for name, one in options.items() if name in defaults} | given
    is_same = found["kind"] == before.kind and not before.fitted_on.fine_tuned
    if C == "auto" and is_same and before.params:
        found["near"] = next(iter(before.params.values()))
    return found


def build_head(classifier: HeadClassifier, rows: FittingRows, seen: Digests) -> Head:
    """Build the head of a fitted classifier, with all that was learnt beside it.

    Parameters
    ----------
    classifier : HeadClassifier
        Classifier that was fitted on the rows.
    rows : FittingRows
        The rows.
    seen : ndarray of uint64
        ``(n_images,)``, shortened digests of all that was learnt from.
    """
    codes = np.searchsorted(classifier.classes_, rows.y)
    search = classifier.search_ if classifier.is_held_out_ else None
    conformal = None
    if search is not None:
        scored = np.flatnonzero(search.held_out >= 0)
        conformal = ConformalSets.fit(
            search.held_out_probabilities[scored],
            codes[scored],
            None if rows.units is None else rows.units[scored],
        )
    return Head(
        estimator=classifier.pipeline_,
        kind=classifier.kind_,
        params=get_kind(classifier.kind_).list_params(classifier.C_),
        options={
            "class_weight": classifier.class_weight,
            "scaling": classifier.scaling,
            "pca": classifier.pca,
        },
        temperature=classifier.temperature_,
        embeddings=rows.embeddings,
        fitted_on=rows.fitted_on,
        cross_validation=summarise_search(
            classifier, rows.y, rows.units, n_learnt=int(rows.learnt.sum())
        ),
        seen=seen,
        unknown=UnknownDetector.fit(
            np.asarray(rows.X, np.float32), codes, rows.units, dims=rows.dims
        ),
        conformal=conformal,
    )


def _note_result(
    classifier: HeadClassifier, head: Head, rows: FittingRows, elsewhere: str | None
) -> None:
    """Tell the user what was not chosen or not measured, and what was learnt from before."""
    kind = get_kind(classifier.kind_)
    name = kind.strength_name or "nothing"
    if classifier.search_ is None:
        is_chosen = classifier.C != "auto" or kind.strength_name is None
        chosen = (
            "" if is_chosen else f"{name} is not chosen, but the default {classifier.C_:g}, and "
        )
        if classifier.kind == AUTO:
            chosen = f"no kinds are compared, {chosen}"
        cause = "too few rows for a cross-validation"
        if are_all_single(rows.y, rows.units):
            cause = "each class lies in one group, so that none can be held out"
        note(f"{cause}: {chosen}nothing is scored")
    elif head.cross_validation is not None and head.cross_validation.stands_at_end:
        values = classifier.search_.values
        if kind.is_open:
            note(
                f"{name} {classifier.C_:.3g} is an end of what was tried, {values[0]:.0e} to "
                f"{values[-1]:.0e}: beyond it may be better"
            )
    if head.unknown is None:
        note(LACKING)
    if rows.fitted_on.n_learnt:
        note(_describe_learnt(rows, classifier, name, elsewhere))


def summarise_search(
    classifier: HeadClassifier, y: StrArray, units: IntArray | None, *, n_learnt: int = 0
) -> CrossValidation | None:
    """Score each row by the prediction of a head that has not seen the row.

    Parameters
    ----------
    classifier : HeadClassifier
        Fitted classifier.
    y : ndarray of str
        ``(n_rows,)``, labels that the classifier was fitted on.
    units : ndarray of int64 or None
        ``(n_rows,)``, the unit of each row; None if each is alone.
    n_learnt : int
        Number of rows that the network has learnt from, or whose unit it has learnt from.

    Returns
    -------
    CrossValidation or None
        The scores of the rows that lie in a fold; None if there were no folds, or if the network
        has learnt from the rows.
    """
    search = classifier.search_
    if search is None or not classifier.is_held_out_:
        return None
    rows = np.flatnonzero(search.held_out >= 0)
    has_strength = get_kind(search.kind).strength_name is not None
    told: dict[str, Any] = {
        "units": None if units is None else units[rows],
        "n_folds": len(search.folds),
        "n_dims": classifier.n_features_in_ if get_kind(search.kind).is_linear else None,
    }
    repeated = None
    if classifier.repeats > 1 and classifier.held_out_ is not None:
        codes = np.searchsorted(classifier.classes_, y[rows])
        repeated = score_repeats(codes, classifier.held_out_[:, rows], **told)
    return CrossValidation(
        scores=score_predictions(
            y[rows],
            classifier.classes_[search.held_out[rows]],
            classes=classifier.classes_,
            probabilities=search.held_out_probabilities[rows],
            **told,
        ),
        n_folds=len(search.folds),
        measure=choose_measure(classifier.class_weight),
        strengths=tuple(search.values.tolist()) if has_strength else (),
        mean_scores=tuple(np.nanmean(search.scores, axis=1).tolist()) if has_strength else (),
        chosen=search.best if has_strength else None,
        n_learnt=n_learnt,
        compared=search.compared,
        repeated=repeated,
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
    told = f"{told}: folds say nothing; {advice}"
    if classifier.C != "auto":
        return told
    return f"{told}. {strength_name} was chosen by such folds, for want of others"


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
