"""Compare a head with an earlier one: what the labels between them gained."""

from __future__ import annotations

from featx.analytics.gain import LabellingGain
from featx.cache.reader import Cache
from featx.core.errors import HeadError
from featx.core.text import count_noun
from featx.fitting.common_rows import choose_unseen, list_all_names
from featx.fitting.comparable import find_comparable
from featx.fitting.evaluate import choose_evaluated
from featx.fitting.same_vectors import find_units_of
from featx.fitting.scored_rows import predict_rows
from featx.heads.compare import compare_predictions
from featx.heads.head import Head


def measure_gain(cache: Cache, before: Head, after: Head, *, seed: int) -> LabellingGain:
    """Compare a head with an earlier one on the labelled rows of val, or of test without val.

    Parameters
    ----------
    cache : Cache
        Open cache.
    before, after : Head
        The earlier head and the later one.
    seed : int
        Seed of the bootstrap.

    Raises
    ------
    HeadError
        If the later head has not learnt from more rows.
    """
    n_before, n_after = before.fitted_on.n_rows, after.fitted_on.n_rows
    if n_after <= n_before:
        raise HeadError(
            subject="previous",
            expected=f"a head of fewer labels than the {n_after:,} of the later one",
            got=f"one of {count_noun(n_before, 'label')}",
            remedy="Pass the earlier head as previous, and the later one as head.",
        )
    heads = {"previous": before, "head": after}
    embeddings = {name: find_comparable(cache, head) for name, head in heads.items()}
    rows, _, _ = choose_unseen(cache, heads, embeddings, choose_evaluated(cache))
    first, second = (
        predict_rows(head, cache, embeddings[name], rows)[0] for name, head in heads.items()
    )
    return LabellingGain(
        n_more=n_after - n_before,
        scores=compare_predictions(
            cache.labels[rows],
            first,
            second,
            measure=after.measure,
            units=find_units_of(cache, rows, list_all_names(embeddings)),
            seed=seed,
        ),
    )
