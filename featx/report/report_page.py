"""The page of a report: one file that holds its images, its style and its script."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from featx.core.errors import FeatxError
from featx.heads.class_scores import ClassScores
from featx.heads.evaluate import Evaluation
from featx.report.contents import HeadPair, HeadPart, ReportContents
from featx.report.render import render_template, show_name, show_number
from featx.report.report_charts import draw_calibration, draw_learning, draw_tuning

MAX_BYTES = 10_000_000
"""Largest size of a page: most mail servers take it."""

MAX_LINES = 30
"""Largest number of classes or failures that stand on the page before a search asks for others."""

MAX_PAIRED = 20
"""Largest number of classes that the comparison of two heads lists."""

N_SHADES = 6
"""Number of shades of a confusion matrix."""

NO_LABEL = "no label"
"""Stands for the class of rows without one."""

UNITS = 10_000
"""Number of steps of each axis of the map."""


class PageImages:
    """Thumbnails of rows, each of which the page holds once.

    Attributes
    ----------
    repeated : dict of int to str
        Addresses of those that several parts show, by row: the page draws them by reference.
    """

    def __init__(self, contents: ReportContents) -> None:
        self._thumbnails = contents.rows.thumbnails
        self._n_shown = Counter(int(row) for row in _iter_shown(contents))
        self.repeated = {
            row: source
            for row, n_shown in self._n_shown.items()
            if n_shown > 1 and (source := self._thumbnails[row]) is not None
        }

    def get(self, row: int) -> str | None:
        """Return the address of a thumbnail; None if there is none.

        Parameters
        ----------
        row : int
            Position of the row.
        """
        return self._thumbnails[row]

    def list_others(self) -> dict[int, str]:
        """List the thumbnails that no part shows before the script does, by row."""
        return {
            row: source
            for row, source in enumerate(self._thumbnails)
            if source is not None and row not in self._n_shown
        }


def _iter_shown(contents: ReportContents) -> Iterator[int]:
    """Yield the rows whose images are on the page before a script runs, once for each image."""
    for rows in contents.samples.values():
        yield from rows
    for head in contents.heads:
        yield from (one.row for one in (*head.mistakes, *head.unsure))
    for finding in contents.findings:
        for rows, _ in finding.cards:
            yield from rows


def render_report(contents: ReportContents) -> str:
    """Render a report as one page.

    Parameters
    ----------
    contents : ReportContents
        What the page shows. All texts are shown as text, whatever they hold.

    Returns
    -------
    str
        The page. It opens without a network, and runs no script but its own.

    Raises
    ------
    FeatxError
        If the page would be larger than 10 MB.
    """
    images = PageImages(contents)
    columns = [*contents.splits]
    counts = contents.counts.tolist()
    if any(line[-1] for line in counts):
        columns.append("no split")
    names = [*contents.classes, *([NO_LABEL] if any(counts[-1]) else [])]
    heads = [_show_head(head, number) for number, head in enumerate(contents.heads)]
    text = render_template(
        "report.html",
        title=contents.title,
        contents=contents,
        sections=_list_sections(contents),
        images=images,
        ids=contents.rows.ids,
        limit=MAX_LINES,
        columns=columns,
        counts=[
            {"name": name, "counts": line[: len(columns)]}
            for name, line in zip(names, counts, strict=False)
        ],
        totals=[sum(line[column] for line in counts) for column in range(len(columns))],
        samples=[
            {"name": [*contents.classes, NO_LABEL][code], "rows": rows}
            for code, rows in contents.samples.items()
            if rows
        ],
        heads=heads,
        pairs=[_show_pair(pair) for pair in contents.pairs],
        learning=contents.curve and draw_learning(contents.curve),
        tuning=draw_tuning(contents.tuning) if contents.tuning else [],
        island=_build_island(contents, images),
    )
    n_bytes = len(text.encode())
    if n_bytes > MAX_BYTES:
        raise FeatxError(
            subject="report",
            expected=f"a page of at most {MAX_BYTES // 1_000_000} MB",
            got=f"{n_bytes / 1e6:.1f} MB",
            remedy="Show fewer or smaller images.",
        )
    return text


def _list_sections(contents: ReportContents) -> list[tuple[str, str]]:
    """List the key and the title of each section."""
    heads = [(f"head-{n + 1}", show_name(head.name)) for n, head in enumerate(contents.heads)]
    heads += [(f"target-{n + 1}", show_name(one.name)) for n, one in enumerate(contents.targets)]
    found = [
        ("summary", "Summary", True),
        ("data", "Data", True),
        ("map", "Map", contents.points is not None),
        *((key, name, True) for key, name in heads),
        ("pairs", "Heads compared", bool(contents.pairs)),
        ("learning", "Learning curve", contents.curve is not None or bool(contents.curve_note)),
        ("tuning", "Fine-tuning", bool(contents.tuning or contents.tuning_note)),
        ("audit", "Audit", bool(contents.findings)),
        ("failures", "Failures", contents.n_failures > 0),
        ("provenance", "How this was made", bool(contents.provenance or contents.commands)),
    ]
    return [(key, name) for key, name, is_there in found if is_there]


def _show_head(head: HeadPart, number: int) -> SimpleNamespace:
    """Return what the template shows of a head."""
    in_line: dict[int, int] = {}
    for cell in head.cells:
        in_line[cell.true] = in_line.get(cell.true, 0) + cell.n_rows
    cells = [
        SimpleNamespace(
            true=cell.true,
            predicted=cell.predicted,
            n_rows=cell.n_rows,
            rows=cell.rows.tolist(),
            shade=math.ceil(N_SHADES * cell.n_rows / in_line[cell.true]),
        )
        for cell in head.cells
    ]
    scores = _list_scores(head.scores) if head.scores else []
    by_place = {(cell.true, cell.predicted): cell for cell in cells}
    places = range(len(head.classes)) if head.is_matrix else ()
    return SimpleNamespace(
        number=number,
        key=f"head-{number + 1}",
        name=head.name,
        facts=[*scores, *_show_held_out(head), *head.facts],
        notes=head.notes,
        split=head.split,
        scores=head.scores,
        classes=head.classes,
        cells=cells,
        is_matrix=head.is_matrix,
        matrix=[[by_place.get((true, said)) for said in places] for true in places],
        mistakes=head.mistakes,
        n_mistakes=head.n_mistakes,
        unsure=head.unsure,
        map_note=head.map_note,
        per_class=sorted(head.scores.per_class, key=_get_rank) if head.scores else [],
        calibration=head.calibration and draw_calibration(head.calibration),
    )


def _get_rank(one: ClassScores) -> tuple[bool, float, int]:
    """Sort classes by their recall, then the large ones first; those without rows last."""
    return one.recall is None, one.recall or 0.0, -one.n_rows


def _list_scores(scores: Evaluation) -> list[tuple[str, str]]:
    """List the scores of a head as texts."""
    shown = [
        ("Accuracy", _show_score(scores.accuracy, scores.accuracy_ci95)),
        ("Balanced accuracy", _show_score(scores.balanced_accuracy, scores.balanced_accuracy_ci95)),
        ("Macro F1", show_number(scores.macro_f1)),
        ("Log loss", show_number(scores.log_loss)),
        ("Calibration error", show_number(scores.calibration_error)),
        ("Always the most frequent class", show_number(scores.majority_accuracy)),
    ]
    if scores.n_seen:
        unseen = _show_score(scores.unseen_accuracy, scores.unseen_accuracy_ci95)
        shown.insert(1, (f"Accuracy without {scores.n_seen} rows learnt from", unseen))
    return shown


def _show_held_out(head: HeadPart) -> list[tuple[str, str]]:
    if head.held_out is None:
        return []
    accuracy, *interval = head.held_out
    return [("Held-out accuracy of the rows fitted on", _show_score(accuracy, interval))]


def _show_score(score: float | None, interval: Sequence[float] | None) -> str:
    if score is None or interval is None:
        return show_number(score)
    return f"{score:.3f} (95 % interval {interval[0]:.3f} to {interval[1]:.3f})"


def _show_pair(pair: HeadPair) -> SimpleNamespace:
    """Return what the template shows of two heads."""
    scores, measure = pair.scores, pair.scores.measure.replace("_", " ")
    gain = "{:+.3f} (95 % interval {:+.3f} to {:+.3f})".format(scores.gain, *scores.gain_ci95)
    apart = sorted(scores.per_class, key=lambda one: -abs(one.second - one.first))
    listed = [one for one in apart if one.first != one.second][:MAX_PAIRED]
    n_classes = len(scores.per_class)
    return SimpleNamespace(
        first=pair.first,
        second=pair.second,
        verdict=pair.verdict,
        measure=measure,
        bars=[
            (pair.first, scores.first, scores.first_ci95),
            (pair.second, scores.second, scores.second_ci95),
        ],
        facts=[
            ("Rows that both predicted", str(scores.n_rows)),
            ("Gain", gain),
            ("p-value", f"{scores.p_value:.2g}"),
            (f"Rows that only {pair.first} has right", str(scores.n_only_first)),
            (f"Rows that only {pair.second} has right", str(scores.n_only_second)),
        ],
        classes=listed,
        caption=f"Recall of the {len(listed)} of {n_classes} classes that differ most.",
    )


def _build_island(contents: ReportContents, images: PageImages) -> dict[str, Any]:
    """Build the values that the script of the page reads."""
    rows, points = contents.rows, contents.points
    codes = {name: code for code, name in enumerate(contents.classes)}
    return {
        "classes": [show_name(name) for name in contents.classes],
        "splits": [show_name(name) for name in contents.splits],
        "ids": [show_name(name) for name in rows.ids],
        "labels": rows.labels.tolist(),
        "rowSplits": rows.splits.tolist(),
        "images": images.list_others(),
        "map": points
        and {
            "rows": points.rows.tolist(),
            "x": (points.xy[:, 0] * UNITS).round().astype(int).tolist(),
            "y": ((1 - points.xy[:, 1]) * UNITS).round().astype(int).tolist(),
            "units": UNITS,
        },
        "heads": [
            {
                "name": show_name(head.name),
                "classes": [show_name(name) for name in head.classes],
                "labels": [codes.get(name, -1) for name in head.classes],
                "predicted": head.predicted.tolist(),
                "scores": [
                    None if math.isnan(score) else round(score, 3)
                    for score in head.predicted_scores.tolist()
                ],
            }
            for head in contents.heads
        ],
    }
