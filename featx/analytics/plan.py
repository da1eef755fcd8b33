"""Decide how rows to label are chosen: a value, before any vector is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.analytics.choosing import LABELS_PER_CLASS, LEAST_LABELS, choose_strategy
from featx.analytics.pool import Pool
from featx.core.errors import HeadError
from featx.core.text import count_noun
from featx.core.typing import StrArray, Strategy, StrategyChoice
from featx.heads.head import Head


@dataclass(frozen=True, kw_only=True)
class SuggestionPlan:
    """How rows are chosen, and why.

    Attributes
    ----------
    strategy : {"typical", "uncertain", "random"}
        Way in which rows are chosen.
    because : str
        Reason, in words.
    n_labels, n_classes : int
        Numbers of labels, one for each unit, and of classes that were counted.
    """

    strategy: Strategy
    because: str
    n_labels: int
    n_classes: int


def plan_suggestion(
    pool: Pool, labels: StrArray, head: Head | None, wanted: StrategyChoice
) -> SuggestionPlan:
    """Decide how rows are chosen.

    Parameters
    ----------
    pool : Pool
        Rows of the cache.
    labels : ndarray of str
        ``(n_learnt,)``, labels of the rows of the pool that are learnt from.
    head : Head or None
        Head that the user gave.
    wanted : {"auto", "typical", "uncertain", "random"}
        Strategy that the user asked for.

    Raises
    ------
    HeadError
        If uncertain rows are asked for without a head and without labels of two classes.
    """
    if head is not None:
        n_labels, n_classes = head.fitted_on.n_rows, len(head.classes)
    else:
        n_labels = len(labels) if pool.units is None else len(np.unique(pool.units))
        n_classes = len(np.unique(labels))
    have = f"{count_noun(n_labels, 'label')} of {count_noun(n_classes, 'class')}"
    strategy: Strategy
    if wanted != "auto":
        strategy, because = wanted, f"as asked for; {have}"
    else:
        strategy = choose_strategy(n_labels, n_classes)
        if n_classes < 2:
            because = have
        elif strategy == "typical":
            because = f"{have}, fewer than {LABELS_PER_CLASS} per class or {LEAST_LABELS} in all"
        else:
            because = f"{have}, at least {LABELS_PER_CLASS} per class and {LEAST_LABELS} in all"
    if strategy == "uncertain" and n_classes < 2:
        raise HeadError(
            subject="strategy",
            expected="typical or random rows while there is no head and no second class",
            got=f"'uncertain', {have}",
            remedy="Pass strategy='auto', or a head that knows the classes.",
        )
    return SuggestionPlan(
        strategy=strategy, because=because, n_labels=n_labels, n_classes=n_classes
    )
