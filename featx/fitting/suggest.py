"""Suggest which rows of a cache to label next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from featx.analytics.chooser import MAX_CONSIDERED, PER_WANTED, Chooser, draw_rows
from featx.analytics.plan import plan_suggestion
from featx.analytics.pool import Pool
from featx.analytics.suggestions import Suggestions
from featx.cache.side_by_side import Names
from featx.core.errors import CacheError, HeadError
from featx.core.notes import note
from featx.core.progress import show_progress, stage
from featx.core.recognise import check_order
from featx.core.typing import StrategyChoice, check_choice
from featx.fitting.comparable import choose_embeddings, find_comparable
from featx.fitting.gain import measure_gain
from featx.fitting.inputs import (
    CacheLike,
    HeadLike,
    opened_cache,
    read_class_head,
)
from featx.heads.splits import check_seed


def suggest(
    cache: CacheLike,
    head: HeadLike | None = None,
    n: int = 50,
    *,
    embedding: Names | None = None,
    strategy: StrategyChoice = "auto",
    previous: HeadLike | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Suggestions:
    """Suggest which rows of a cache to label next.

    While labels are few, these are typical rows: the densest row of each of the largest clusters
    without labels. From 8 labels per class on, and 64 in all, these are rows that a
    head is uncertain of, and that differ from each other. Both are no sample of the cache, and a
    head must not be scored on them: pass ``strategy="random"`` for rows to score on, and label
    these first.

    Rows in val and test are never suggested, and of each unit (rows of one group, copies of one
    image) only one row. Of more than 20,000 rows, 20,000 are drawn at random, and looked at.

    Parameters
    ----------
    cache : path, sequence of paths or Cache
        Cache with rows without a label, or several caches as `featx.open_cache` takes them.
    head : path or Head, optional
        Head whose uncertainty counts. Default: a logistic regression, fitted on the labels of the
        cache outside val and test if they are enough.
    n : int
        Number of rows to suggest.
    embedding : str or sequence of str, optional
        Name of the embedding, or names of several, which are read side by side. Default: those that
        the head can take, or the only one.
    strategy : {"auto", "typical", "uncertain", "random"}
        Way to choose rows. ``"auto"`` chooses typical or uncertain ones by the number of labels
        and of classes that the head has learnt from.
    previous : path or Head, optional
        Head of two batches before, to compare `head` with on the labelled rows of val, or of test
        without val: what the last labels gained says whether to go on.
    seed : int
        Seed of all that is random. The same call gives the same rows.
    progress : bool or None
        Whether to show progress on standard error; None shows it on a terminal and in a notebook.

    Returns
    -------
    Suggestions
        The rows, with their scores and reasons; ``write`` makes a table to fill in.

    Warns
    -----
    FeatxWarning
        If there are fewer rows than were asked for.

    Raises
    ------
    CacheError
        If the cache cannot be read, or no row may be labelled next.
    HeadError
        If an option is out of its range, if uncertain rows are asked for without a head and without
        labels of two classes, or if an earlier head is given alone.
    FingerprintError
        If the head takes none of the embeddings.

    See Also
    --------
    featx.label_cache : Record the labels. featx.fit_head : Fit a head on them.
    featx.compare_heads : Compare the head with an earlier one.

    Examples
    --------
    >>> import featx
    >>> cache = "photos.h5"
    >>> ids = featx.open_cache(cache).ids
    >>> report = featx.label_cache(cache, dict.fromkeys(ids, ""), author="ada")  # none is labelled
    >>> found = featx.suggest(cache, n=2)
    >>> found.strategy, len(found), found.n_open
    ('typical', 2, 8)
    """
    check_choice("strategy", strategy, StrategyChoice, error=HeadError)
    check_seed(seed)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise HeadError(
            subject="n",
            expected="a number of rows, at least 1",
            got=repr(n),
            remedy="Pass n=50 or another number.",
        )
    if head is not None:
        check_order(
            ("cache", "head"),
            (cache, head),
            content="cache",
            call="featx.suggest({held!r}, {rest!r})",
        )
    given = None if head is None else read_class_head(head)
    if given is None and previous is not None:
        raise HeadError(
            subject="previous",
            expected="a later head beside it",
            got="none",
            remedy="Pass head=PATH.",
        )
    before = None if previous is None else read_class_head(previous)
    rng = np.random.default_rng(seed)
    with show_progress(progress), opened_cache(cache) as opened:
        if given is None:
            names = tuple(info.name for info in choose_embeddings(opened, embedding))
        else:
            names = find_comparable(opened, given, embedding=embedding)
        with stage("reading labels"):
            pool = Pool.read(opened, names)
        if not len(pool.rows):
            raise CacheError(
                subject=str(opened.path),
                expected="rows that may be labelled next",
                got=f"none: {pool.describe()}",
                remedy="Add images without a label to the cache, or pass another one.",
            )
        plan = plan_suggestion(pool, opened.labels[pool.learnt], given, strategy)
        n_wanted = min(n, len(pool.rows))
        if n_wanted < n:
            note(f"{opened.path}: {pool.describe()}; {n:,} were asked for")
        considered = pool.rows
        if plan.strategy != "random":
            considered = draw_rows(considered, max(MAX_CONSIDERED, PER_WANTED * n_wanted), rng)
        chooser = Chooser(cache=opened, embeddings=names, pool=pool, considered=considered, rng=rng)
        if plan.strategy == "random":
            choice, reasons = chooser.find_random(n_wanted)
        elif plan.strategy == "typical":
            choice, reasons = chooser.find_typical(n_wanted)
        else:
            found = chooser.find_uncertain(
                n_wanted, given or chooser.fit_head(seed), unless_sure=strategy == "auto"
            )
            if found is None:
                because = f"{plan.because}, but the head is sure of nearly all rows"
                plan = replace(plan, strategy="typical", because=because)
                found = chooser.find_typical(n_wanted)
            choice, reasons = found
        gain = None
        if given is not None and before is not None:
            gain = measure_gain(opened, before, given, seed=seed)
        table = opened.read_rows(("id", "path"))
        return Suggestions(
            rows=choice.rows,
            ids=np.array(table["id"][choice.rows].to_list(), object),
            paths=np.array(table["path"][choice.rows].to_list(), object),
            scores=choice.scores,
            reasons=tuple(reasons),
            strategy=plan.strategy,
            because=plan.because,
            split="val" if plan.strategy == "random" else "train",
            n_labels=plan.n_labels,
            n_classes=plan.n_classes,
            n_rows=pool.n_rows,
            n_labelled=pool.n_labelled,
            n_held_out=pool.n_held_out,
            n_without_vector=pool.n_without_vector,
            n_alike=pool.n_alike,
            n_open=len(pool.rows),
            n_considered=len(considered),
            gain=gain,
        )
