"""Collect what a report shows of heads: scores, mistakes, confusions, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featx.cache.reader import Cache
from featx.core.errors import CacheError, FeatxError, HeadError
from featx.core.text import count_noun, join_some
from featx.core.typing import IntArray
from featx.fitting.evaluate import find_evaluated
from featx.fitting.held_out import hold_out
from featx.fitting.inputs import list_single_classes
from featx.fitting.scored_rows import ScoredRows
from featx.heads.evaluate import Evaluation
from featx.heads.head import Head
from featx.report.contents import ConfusionCell, HeadPart, ShownRow
from featx.report.shown_rows import ShownRows

MAX_MATRIX = 25
"""Largest number of classes of a confusion matrix."""

MAX_PAIRS = 50
"""Largest number of pairs of classes that are listed for more classes."""

MAX_MISTAKES, MAX_UNSURE = 24, 12
"""Largest numbers of rows that are shown."""

MAX_CELL, MAX_CELLS = 24, 1200
"""Largest number of rows of a cell of the matrix that are shown, and of all cells of all heads."""

N_NAMED = 3
"""Number of classes that a note names."""

MAX_HELD_OUT = 20_000
"""Largest number of rows that heads are fitted on again, to hold each row out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredHead:
    """A head with the rows that it is judged by.

    Attributes
    ----------
    name : str
        Name that tells the heads of the report apart.
    head : Head
        The head.
    split : str
        The rows in words.
    scored : ScoredRows or None
        Rows that the head has not learnt from; None if there are none.
    scores : Evaluation or None
        Scores of these rows, or else the held-out scores that the head carries; None without
        either.
    notes : tuple of str
        Sentences about the rows.
    """

    name: str
    head: Head
    split: str
    scored: ScoredRows | None
    scores: Evaluation | None
    notes: tuple[str, ...]


def score_head(
    cache: Cache, name: str, head: Head, *, split: str | None, seed: int = 0
) -> ScoredHead:
    """Score a head on rows that it has not learnt from.

    If a cache has no other rows, the rows are dealt to folds, and each is predicted by a head that
    was fitted without its fold.

    Parameters
    ----------
    cache : Cache
        Open cache.
    name : str
        Name of the head.
    head : Head
        The head.
    split : str or None
        Rows to score. None for val, or else test, or else all.
    seed : int
        Seed of the folds.

    Raises
    ------
    FeatxError
        If the head cannot be used with the cache, or with the split that is asked for.
    """
    chosen = split or find_evaluated(cache.list_splits()) or "all"
    try:
        scored = ScoredRows.read(cache, head, split=chosen)
    except (CacheError, HeadError) as error:  # such as rows without labels
        if split is not None:
            raise
        return ScoredHead(
            name=name,
            head=head,
            split=chosen,
            scored=None,
            scores=None,
            notes=(f"Not scored: expected {error.expected}, got {error.got}.",),
        )
    unseen = scored.select_unseen()
    if unseen is not None:
        notes = scored.list_notes(scored.count_alike(cache))
        if len(unseen.rows) < len(scored.rows):
            n_others = len(unseen.rows)
            verb = "is" if n_others == 1 else "are"
            notes.append(
                f"Only the other {count_noun(n_others, 'row')} {verb} scored and shown here"
            )
        return ScoredHead(
            name=name,
            head=head,
            split=chosen,
            scored=unseen,
            scores=unseen.score(),
            notes=tuple(f"{text}." for text in notes),
        )
    return _hold_out(cache, name, head, scored, seed=seed)


def _hold_out(cache: Cache, name: str, head: Head, scored: ScoredRows, *, seed: int) -> ScoredHead:
    """Judge a head by rows in folds, or by the scores that it carries: it has learnt from all."""
    learner = "The head or its network" if scored.learnt.any() else "The head"
    told = (
        f"{learner} has learnt from all {count_noun(len(scored.rows), 'row')} of {scored.subject}"
    )
    held_out, reason = None, ""
    if len(scored.rows) > MAX_HELD_OUT:
        reason = "they are too many to fit the head again without each of them"
    else:
        try:
            held_out = hold_out(cache, head, scored, seed=seed)
            reason = "they are too few to hold some out, or the network has learnt from them"
        except FeatxError as error:
            reason = f"the head cannot be fitted again: {error}".removesuffix(".")
    if held_out is None:
        search = head.cross_validation
        return ScoredHead(
            name=name,
            head=head,
            split=f"{head.fitted_on.split}, held out" if search else scored.split,
            scored=None,
            scores=None if search is None else search.scores,
            notes=(f"{told}, and no mistakes are shown: {reason}.",),
        )
    notes = [
        *(f"{text}." for text in scored.left_out.list_notes()),
        f"{told}: each row that is shown is predicted by a head of the same kind that was fitted "
        f"without its fold. {_describe_way_out(cache)}",
    ]
    n_others = len(scored.rows) - len(held_out.rows)
    if n_others:
        notes.append(
            f"{n_others:,} of them could not be held out, and are not scored: the network has "
            "learnt from them, or from rows that belong to them."
        )
    single = list_single_classes(held_out.y, held_out.units)
    if single:
        notes.append(
            f"{len(single)} of {len(np.unique(held_out.y)):,} classes cannot be held out, and "
            f"count as wrong: all rows of {join_some(single, N_NAMED)} belong together."
        )
    return ScoredHead(
        name=name,
        head=head,
        split=f"{scored.split}, held out in {held_out.n_folds} folds",
        scored=held_out,
        scores=held_out.score(),
        notes=tuple(notes),
    )


def _describe_way_out(cache: Cache) -> str:
    """Say how to judge a head itself that has learnt from all rows."""
    if find_evaluated(cache.list_splits()):
        return "Fit it on the split train alone to judge the head itself."
    return "Record a split with val rows, and fit it on train, to judge the head itself."


def build_head_part(one: ScoredHead, shown: ShownRows, *, n_heads: int) -> HeadPart:
    """Build what the page says of a head, without class maps and predictions of other rows.

    Parameters
    ----------
    one : ScoredHead
        The head.
    shown : ShownRows
        Rows of the page, to which those of the head are added.
    n_heads : int
        Number of heads of the page.
    """
    scores, scored = one.scores, one.scored
    search = one.head.cross_validation
    classes = scores.classes if scores is not None else tuple(map(str, one.head.classes))
    is_matrix = len(classes) <= MAX_MATRIX
    part = HeadPart(
        name=one.name,
        facts=list_head_facts(one.head),
        split=one.split,
        scores=scores,
        held_out=None if search is None else (search.scores.accuracy, *search.scores.accuracy_ci95),
        notes=one.notes,
        classes=classes,
        cells=[],
        is_matrix=is_matrix,
        mistakes=[],
        n_mistakes=0 if scores is None else _count_mistakes(scores),
        unsure=[],
        map_note="",
        calibration=None,
        predicted=np.zeros(0, np.int64),
        predicted_scores=np.zeros(0, np.float32),
    )
    if scores is None:
        return part
    codes = {name: code for code, name in enumerate(classes)}
    if scored is None:
        return replace(part, cells=_list_cells(scores, {}, is_matrix=is_matrix))
    top = scored.top_scores
    right = scored.predicted == scored.y
    sure_first = np.argsort(-top, kind="stable")
    wrong_first = sure_first[~right[sure_first]]
    mistakes = _show_rows(scored, wrong_first[:MAX_MISTAKES], shown)
    n_unsure = 0 if scored.probabilities is None else MAX_UNSURE
    unsure = _show_rows(scored, sure_first[::-1][:n_unsure], shown)
    cells: dict[tuple[int, int], list[int]] = {}
    for position in sure_first.tolist():
        pair = codes[scored.y[position]], codes[scored.predicted[position]]
        if is_matrix or pair[0] != pair[1]:
            cells.setdefault(pair, []).append(position)
    listed = _list_cells(scores, cells, is_matrix=is_matrix)
    limit = max(1, min(MAX_CELL, MAX_CELLS // max(1, len(listed) * n_heads)))
    return replace(
        part,
        cells=[replace(cell, rows=shown.place(scored.rows[cell.rows[:limit]])) for cell in listed],
        mistakes=mistakes,
        unsure=unsure,
        calibration=None if scored.probabilities is None else scored.measure_calibration(),
    )


def _count_mistakes(scores: Evaluation) -> int:
    return scores.n_rows - sum(line[code] for code, line in enumerate(scores.confusion))


def _list_cells(
    scores: Evaluation, positions: Mapping[tuple[int, int], Sequence[int]], *, is_matrix: bool
) -> list[ConfusionCell]:
    """List the cells with rows: all of a matrix, or the worst pairs of classes."""
    confusion = np.array(scores.confusion)
    if not is_matrix:
        np.fill_diagonal(confusion, 0)
    cells = [
        ConfusionCell(
            true=true,
            predicted=predicted,
            n_rows=int(confusion[true, predicted]),
            rows=np.array(positions.get((true, predicted), []), np.int64),
        )
        for true, predicted in np.argwhere(confusion).tolist()
    ]
    return cells if is_matrix else sorted(cells, key=lambda cell: -cell.n_rows)[:MAX_PAIRS]


def _show_rows(
    scored: ScoredRows, positions: IntArray | Sequence[int], shown: ShownRows
) -> list[ShownRow]:
    """Build what the page says of single rows."""
    columns = {str(name): code for code, name in enumerate(scored.classes)}
    found = []
    for position in np.asarray(positions, np.int64).tolist():
        true, predicted = str(scored.y[position]), str(scored.predicted[position])
        shares = None if scored.probabilities is None else scored.probabilities[position]
        found.append(
            ShownRow(
                row=int(shown.place([scored.rows[position]], as_cards=True)[0]),
                true=true,
                predicted=predicted,
                score=None if shares is None else float(shares[columns[predicted]]),
                true_score=None
                if shares is None or true not in columns
                else float(shares[columns[true]]),
            )
        )
    return found


def add_predictions(part: HeadPart, one: ScoredHead, rows: IntArray) -> HeadPart:
    """Add what the head says of each row that the page shows.

    Parameters
    ----------
    part : HeadPart
        What the page says of the head.
    one : ScoredHead
        The head.
    rows : ndarray of int64
        ``(n_shown,)``, numbers of the rows in the cache, in the order of the page.
    """
    predicted = np.full(len(rows), -1, np.int64)
    tops = np.full(len(rows), np.nan, np.float32)
    if one.scored is not None and len(rows):
        codes = {name: code for code, name in enumerate(part.classes)}
        order = np.searchsorted(one.scored.rows, rows).clip(max=len(one.scored.rows) - 1)
        is_asked = one.scored.rows[order] == rows
        asked = order[is_asked]
        predicted[is_asked] = [codes[name] for name in one.scored.predicted[asked].tolist()]
        tops[is_asked] = one.scored.top_scores[asked]
    return replace(part, predicted=predicted, predicted_scores=tops)


def list_head_facts(head: Head) -> list[tuple[str, str]]:
    """List what a head is and what it was fitted on.

    Parameters
    ----------
    head : Head
        The head.

    Returns
    -------
    list of (str, str)
        Names and values.
    """
    fitted = head.fitted_on
    tuned = ", by fine-tuning" if fitted.fine_tuned else ""
    strength = [f"{name} {value:.3g}" for name, value in head.params.items()]
    chosen = {name: value for name, value in head.options.items() if value is not None}
    return [
        ("Kind", ", ".join([head.kind, *strength])),
        *(("Embedding", f"{one.name}: {one.fingerprint.describe()}") for one in head.embeddings),
        ("Fitted on", f"{fitted.n_rows:,} rows of {fitted.cache}, split {fitted.split}{tuned}"),
        ("Classes", f"{len(head.classes):,}"),
        *((name.replace("_", " ").capitalize(), str(value)) for name, value in chosen.items()),
    ]
