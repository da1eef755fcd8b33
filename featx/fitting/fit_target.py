"""Fit a head for several classes per image, or for a number, on a cache."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from featx.cache.side_by_side import Names
from featx.core.errors import HeadError
from featx.core.learnt import join_digests
from featx.core.notes import note
from featx.core.progress import show_progress, stage
from featx.core.text import count_noun, join_some
from featx.core.typing import BoolArray, Float64Array, IntArray
from featx.fitting.comparable import choose_embeddings
from featx.fitting.inputs import CacheLike, opened_cache
from featx.fitting.memory import check_memory
from featx.fitting.rows import FittingRows
from featx.fitting.seen_rows import identify_rows
from featx.fitting.target_rows import TargetColumns, TargetRows, choose_target
from featx.heads.crossing import MIN_UNITS, Crossing
from featx.heads.kinds import check_strength, get_kind
from featx.heads.number import NumberFit, NumberScores, fit_number, score_number_folds
from featx.heads.one_vs_rest import SeveralFit, fit_several, score_several_folds
from featx.heads.repeats import check_repeats
from featx.heads.several import SeveralScores
from featx.heads.splits import check_seed
from featx.heads.target_head import TargetHead, TargetScores
from featx.heads.targets import MIN_ROWS, N_NAMED, Target, find_learnable
from featx.heads.unknown import LACKING, UnknownDetector

NAMES = {"several": "logreg", "number": "ridge"}
"""Kind of the head by the kind of its target."""

Fitted = tuple[Target, SeveralFit | NumberFit, TargetScores | None]


def fit_target(  # noqa: PLR0913
    cache: CacheLike,
    target: TargetColumns | None,
    *,
    several: bool,
    split: str | None = None,
    embedding: Names | None = None,
    C: float | Literal["auto"] = "auto",
    cv: int = 5,
    repeats: int = 1,
    seed: int = 0,
    progress: bool | None = None,
) -> TargetHead:
    """Fit a head for several classes per image, or for a number.

    Parameters
    ----------
    cache : path, sequence of paths or Cache
        Cache with the target, or several caches as `featx.open_cache` takes them.
    target : str or sequence of str or None
        Column that holds it; or a column for each of several classes; None for the labels.
    several : bool
        Whether one column holds several classes, such as ``ant;bee``.
    split : str, optional
        Rows to fit on. Default: ``"train"`` if the cache has splits, else all.
    embedding : str or sequence of str, optional
        Name of the embedding to fit on, or names of several. Default: the only one of the cache.
    C : float or "auto"
        Inverse strength of the L2 regularisation. ``"auto"`` chooses it by cross-validation.
    cv : int
        Number of folds of the cross-validation.
    repeats : int
        Number of dealings of the rows to folds that the held-out scores are averaged over.
    seed : int
        Seed of the folds.
    progress : bool or None
        Whether to show progress on standard error.

    Raises
    ------
    CacheError
        If the cache cannot be read, or has no such split, embedding or column.
    HeadError
        If cells cannot be read as the target, or nothing can be learnt from them.
    """
    kind, columns = choose_target(target, several=several)
    check_seed(seed)
    check_repeats(repeats)
    if C != "auto":
        check_strength(get_kind("logreg"), float(C))
    options: dict[str, Any] = {
        "C": None if C == "auto" else float(C),
        "n_folds": cv,
        "repeats": repeats,
        "seed": seed,
    }
    with (
        show_progress(progress),
        stage("reading targets and vectors"),
        opened_cache(cache) as opened,
    ):
        split = split or ("train" if opened.list_splits() else "all")
        infos = choose_embeddings(opened, embedding)
        names = [info.name for info in infos]
        found = TargetRows.read(opened, kind, columns, split=split, embeddings=names)
        for text in found.notes:
            note(text)
        subject = f"{opened.path}, split {split}"
        if kind == "several":
            flags, classes = _read_flags(found, subject)
        else:
            numbers = _read_numbers(found, subject)
        n_outputs = len(classes) if kind == "several" else 1
        dim = sum(info.fingerprint.dim for info in infos)
        check_memory(len(found.rows), dim, n_outputs, kind=NAMES[kind])
        rows = FittingRows.take(opened, found.rows, found.cells[:, 0], infos=infos, split=split)
        for text in rows.list_copied():
            note(text)
    with show_progress(progress), stage("fitting the head"):
        if kind == "several":
            made, fit, scores = _fit_several(rows, flags, columns, classes, **options)
        else:
            made, fit, scores = _fit_number(rows, numbers, columns, **options)
    if C == "auto" and fit.crossing is None:
        note(f"too few rows for a cross-validation: C is not chosen, but the default {fit.C:g}")
    n_learnt = rows.fitted_on.n_learnt
    if n_learnt:
        n_rows, n_scored = len(rows.y), int((~rows.learnt).sum())
        held = f"the held-out scores are of the {n_scored:,} others only"
        advice = held if scores else "score on rows that it has not learnt from"
        note(f"{n_learnt:,} of {n_rows:,} rows were learnt from by the network: {advice}")
    # Images of several classes, or of any number, are one kind: they have one mean.
    codes = np.zeros(len(rows.y), np.int64)
    unknown = UnknownDetector.fit(np.asarray(rows.X, np.float32), codes, rows.units, dims=rows.dims)
    if unknown is None:
        note(LACKING)
    return TargetHead(
        estimator=fit.pipeline,
        kind=NAMES[kind],
        params={"C": fit.C},
        options={"cv": cv, "seed": seed, "tried": [*fit.tried[:1], *fit.tried[-1:]]},
        embeddings=rows.embeddings,
        fitted_on=rows.fitted_on,
        cross_validation=None,
        seen=join_digests([identify_rows(rows.digests, rows.X), rows.learnt_digests]),
        unknown=unknown,
        target=made,
        held_out=scores,
    )


def check_alone(**given: bool) -> None:
    """Refuse options that heads for several classes or a number do not take.

    Parameters
    ----------
    **given : bool
        By name of an option: whether it was given.

    Raises
    ------
    HeadError
        If one of them was given.
    """
    names = [name for name, is_given in given.items() if is_given]
    if names:
        raise HeadError(
            subject=", ".join(names),
            expected="no such option beside target or several",
            got="both",
            remedy="Leave it out: several classes are fitted by logistic regression, and a number "
            "by ridge regression.",
        )


def _read_flags(found: TargetRows, subject: str) -> tuple[BoolArray, tuple[str, ...]]:
    """Read classes, and leave out those that cannot be learnt."""
    flags, classes = found.read_flags()
    learnable = find_learnable(flags)
    counts = flags.sum(axis=0).tolist()
    lacking = [
        f"{name} ({count_noun(n_rows, 'row')})"
        for name, n_rows, is_one in zip(classes, counts, learnable, strict=True)
        if not is_one
    ]
    if not learnable.any():
        raise HeadError(
            subject=subject,
            expected=f"classes that at least {MIN_ROWS} rows have and {MIN_ROWS} rows lack",
            got=f"{join_some(lacking, N_NAMED)} of {len(flags)}" if lacking else "no classes",
            remedy="Label more images, or pass split='all'.",
        )
    if lacking:
        note(
            f"{subject}: left out classes that fewer than {MIN_ROWS} of {len(flags)} rows have or "
            f"lack: {join_some(lacking, N_NAMED)}"
        )
    kept = tuple(name for name, is_one in zip(classes, learnable, strict=True) if is_one)
    return flags[:, learnable], kept


def _read_numbers(found: TargetRows, subject: str) -> Float64Array:
    """Read numbers, and refuse those that are all the same."""
    numbers = found.read_numbers()
    if (numbers == numbers[0]).all():
        raise HeadError(
            subject=f"{subject}, column {found.columns[0]}",
            expected="numbers that differ",
            got=f"only {numbers[0]:g} in {count_noun(len(numbers), 'row')}",
            remedy="Record the numbers of more images with featx.label_cache.",
        )
    return numbers


def _fit_several(
    rows: FittingRows,
    flags: BoolArray,
    columns: tuple[str, ...],
    classes: tuple[str, ...],
    **options: Any,
) -> Fitted:
    fit = fit_several(rows.X, flags, rows.units, **options)
    target = Target(
        kind="several",
        columns=columns if len(columns) == 1 else classes,
        classes=classes,
        thresholds=tuple(fit.thresholds.tolist()),
    )
    scores = [
        score_several_folds(flags, one, target, units=rows.units, scored=scored)
        for one, scored in _list_scored(rows, fit)
    ]
    return target, fit, SeveralScores.average(scores) if scores else None


def _fit_number(
    rows: FittingRows, numbers: Float64Array, columns: tuple[str, ...], **options: Any
) -> Fitted:
    fit = fit_number(rows.X, numbers, rows.units, **options)
    target = Target(
        kind="number",
        columns=columns,
        mean=float(numbers.mean()),
        median=float(np.median(numbers)),
    )
    scores = [
        score_number_folds(numbers, one, units=rows.units, scored=scored)
        for one, scored in _list_scored(rows, fit)
    ]
    return target, fit, NumberScores.average(scores) if scores else None


def _list_scored(rows: FittingRows, fit: SeveralFit | NumberFit) -> list[tuple[Crossing, IntArray]]:
    """List the dealings to score, each with the rows that are new to the network.

    There is none if rows were too few for folds, or too few of them are new.
    """
    scored = np.flatnonzero(~rows.learnt)
    if fit.crossing is None or len(scored) < MIN_UNITS:
        return []
    return [(one, scored) for one in (fit.crossing, *fit.more)]
