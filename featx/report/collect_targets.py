"""Collect what a report shows of heads for several classes per image, or for a number."""

from __future__ import annotations

from featx.cache.reader import Cache
from featx.core.errors import FeatxError
from featx.core.text import count_noun
from featx.fitting.evaluate import find_evaluated
from featx.fitting.scored_targets import ScoredTargets
from featx.heads.several import SeveralScores
from featx.heads.target_head import TargetHead
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
            scored = ScoredTargets.read(cache, head, split=split)
            if scored.seen.all():
                n_seen = count_noun(len(scored.seen), "row")
                notes.append(
                    f"The head or its network has learnt from all {n_seen} of split {split}."
                )
            else:
                scores, rows = scored.score(), split
                notes = [f"{text}." for text in scored.list_notes()]
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
