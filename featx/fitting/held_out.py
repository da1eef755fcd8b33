"""Predict rows that a head was fitted on by heads that have not seen them: in folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from featx.cache.reader import Cache
from featx.cache.side_by_side import read_joined
from featx.fitting.memory import check_memory
from featx.fitting.same_vectors import digest_blocks, find_all_units
from featx.fitting.scored_rows import ScoredRows
from featx.heads.classifier import HeadClassifier
from featx.heads.head import REFITTED, Head
from featx.heads.side_by_side import prepare_rows
from featx.heads.units import renumber_units, spread_over_units


def hold_out(cache: Cache, head: Head, scored: ScoredRows, *, seed: int = 0) -> ScoredRows | None:
    """Predict rows again, each by a head of the same kind that was fitted without its fold.

    The strength of each of these heads is chosen without the row's fold, too.

    Parameters
    ----------
    cache : Cache
        The open cache.
    head : Head
        Head that was fitted on the rows.
    scored : ScoredRows
        The rows.
    seed : int
        Seed of the folds.

    Returns
    -------
    ScoredRows or None
        The rows that could be held out, none of which counts as learnt from; None if there are too
        few rows, or the network has learnt from them.

    Raises
    ------
    HeadError
        If there is not as much memory as the fits take.
    """
    if len(np.unique(scored.y)) < 2:
        return None
    rows = scored.rows
    dims = head.dims
    options = {name: head.options[name] for name in REFITTED if name in head.options}
    check_memory(len(rows), sum(dims), len(head.classes), kind=head.kind, pca=options.get("pca"))
    network = np.zeros(len(cache), bool)
    network[rows] = scored.learnt
    vectors = read_joined(cache, scored.embeddings, rows)
    units = find_all_units(cache, rows, digest_blocks([vectors]))
    X = prepare_rows(vectors, dims, options.get("scaling", "standard"))
    classifier = HeadClassifier(
        head.kind, class_weight=head.class_weight, random_state=seed, progress=False, **options
    ).fit(
        X,
        scored.y,
        None if units is None else renumber_units(units[rows]),
        learnt=spread_over_units(network, units)[rows],
    )
    search = classifier.search_
    if search is None or not classifier.is_held_out_:
        return None
    kept = np.flatnonzero(search.held_out >= 0)
    if not len(kept):
        return None
    chosen = scored.select(kept)
    return replace(
        chosen,
        classes=classifier.classes_,
        predicted=classifier.classes_[search.held_out[kept]],
        probabilities=search.held_out_probabilities[kept],
        seen=np.zeros(len(kept), bool),
        learnt=np.zeros(len(kept), bool),
        related=None,
        n_folds=len(search.folds),
        n_dims=sum(dims),
    )
