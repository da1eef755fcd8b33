"""Collect what a report shows of heads for several classes per image, or for a number."""

from __future__ import annotations

import warnings

from featx.cache.reader import Cache
from featx.cache.side_by_side import read_learnt_by
from featx.core.errors import FeatxError, FeatxWarning
from featx.core.text import count_noun
from featx.fitting.comparable import find_comparable
from featx.fitting.evaluate import find_evaluated
from featx.fitting.evaluate_target import evaluate_target
from featx.fitting.seen_rows import find_seen_rows
from featx.fitting.target_rows import TargetRows
from featx.heads.several import SeveralScores
from featx.heads.target_head import TargetHead, TargetScores
from featx.heads.target_words import describe_target, list_target_scores
from featx.report.collect_heads import list_head_facts
from featx.report.contents import TargetPart
from featx.report.render import show_number

COLUMNS = ("class", "rows", "average precision", "precision", "recall", "F1")

MAX_LINES = 100
"""Largest number of classes that are listed."""


def collect_target(cache: Cache, name: str, head: TargetHead, *, split: str | None) -> TargetPart:
    """Score a head, or take the held-out scores that it carries.

    Parameters
    ----------
    cache : Cache
        Open cache.
    name : str
        Name of the head.
    head : TargetHead
        The head.
    split : str or None
        Rows to score. None for val, or else test, or else those that were held out in the fit.
    """
    split = split or find_evaluated(cache.list_splits())
    scores, notes = head.held_out, []
    rows = f"{head.fitted_on.split}, held out"
    if split is not None:
        try:
            if n_seen := _count_if_all_seen(cache, head, split):
                notes.append(
                    f"The head or its network has learnt from all {count_noun(n_seen, 'row')} of "
                    f"split {split}."
                )
            else:
                scores, told = _score(cache, head, split)
                rows, notes = split, [f"{text}." for text in told]
        except FeatxError as error:
            notes.append(f"Not scored on split {split}: {error}")
    if scores is None:
        notes.append("No row was scored.")
    lines: list[list[str]] = []
    if isinstance(scores, SeveralScores):
        known = sorted(scores.per_class, key=lambda one: one.average_precision or 0.0)
        lines = [
            [
                one.label,
                f"{one.n_rows:,}",
                *map(show_number, (one.average_precision, one.precision, one.recall, one.f1)),
            ]
            for one in known[:MAX_LINES]
        ]
        if len(known) > MAX_LINES:
            notes.append(f"The {MAX_LINES} classes of {len(known)} that are found worst are shown.")
    return TargetPart(
        name=name,
        facts=[("Predicts", describe_target(head)), *list_head_facts(head)],
        split=rows,
        scores=[]
        if scores is None
        else [("Rows scored", f"{scores.n_rows:,}"), *list_target_scores(scores)],
        columns=COLUMNS if lines else (),
        lines=lines,
        notes=notes,
    )


def _count_if_all_seen(cache: Cache, head: TargetHead, split: str) -> int:
    """Count the rows of a split if all of them were learnt from, else return 0."""
    names, target = find_comparable(cache, head), head.target
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FeatxWarning)  # of rows that are left out: told once
        rows = TargetRows.read(
            cache, target.kind, target.columns, split=split, embeddings=names
        ).rows
    seen = (find_seen_rows(cache, head) | read_learnt_by(cache, names))[rows]
    return len(rows) if seen.all() else 0


def _score(cache: Cache, head: TargetHead, split: str) -> tuple[TargetScores, list[str]]:
    """Score a head on rows that it has not learnt from, and list what was said of the others."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", FeatxWarning)
        scores = evaluate_target(head, cache, split=split)
    return scores, [str(one.message) for one in told if issubclass(one.category, FeatxWarning)]
