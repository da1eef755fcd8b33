"""How results look on a terminal."""

from __future__ import annotations

import json
import math
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import typer

from featx.cli.settings import get_settings
from featx.cli.streams import is_terminal, use_utf8
from featx.cli.table import TextTable
from featx.core.errors import FeatxWarning
from featx.core.progress import hide_progress
from featx.core.text import count_noun, escape_text, show_text

if TYPE_CHECKING:
    from featx.heads.evaluate import CrossValidation, Evaluation
    from featx.heads.head import Head
    from featx.heads.repeats import RepeatedScores

MAX_NAME = 60
"""Length in characters of the name of a class in a line or a table, so that lines fit a screen."""


def print_json(value: Mapping[str, Any]) -> None:
    """Print an object as JSON; NaN becomes null, because JSON has no NaN.

    Parameters
    ----------
    value : dict of str to object
        The object. ``docs/reference/json.md`` says what its keys mean; one thing has one key in all
        commands.
    """
    is_ascii = not use_utf8()
    text = json.dumps(_without_nan(value), indent=2, ensure_ascii=is_ascii, default=str)
    print(_UNSEEN.sub(_escape_unseen, text))


def print_json_list(
    start: Mapping[str, Any],
    name: str,
    items: Iterable[Mapping[str, Any]],
    build_end: Callable[[], Mapping[str, Any]],
) -> None:
    """Print an object as JSON with one long list, whose items are printed when they are known.

    Parameters
    ----------
    start : mapping of str to object
        Keys before the list.
    name : str
        Key of the list.
    items : iterable of mapping
        Objects of the list.
    build_end : callable
        Function that returns the keys behind the list, called after the last item.
    """
    is_ascii = not use_utf8()

    def write(value: Any) -> str:
        text = json.dumps(_without_nan(value), ensure_ascii=is_ascii, default=str)
        return _UNSEEN.sub(_escape_unseen, text)

    keys = "".join(f"  {write(key)}: {write(value)},\n" for key, value in start.items())
    print(f"{{\n{keys}  {write(name)}: [", end="")
    separator = "\n    "
    for item in items:
        print(separator + write(item), end="")
        separator = ",\n    "
    keys = "".join(f",\n  {write(key)}: {write(value)}" for key, value in build_end().items())
    print(f"\n  ]{keys}\n}}")


_UNSEEN = re.compile(r"[^\n -~]")
"""Characters beyond ASCII: of these, `print_json` escapes those that do not print."""


def _escape_unseen(match: re.Match[str]) -> str:
    return match.group() if match.group().isprintable() else json.dumps(match.group())[1:-1]


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(
    header: Sequence[str], lines: Sequence[Sequence[Any]], *, cut: Collection[str] = ()
) -> None:
    """Print a table: aligned text, or on a terminal a table that fits its width.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    lines : sequence of sequence
        Cells; numbers are aligned to the right, None and NaN are shown as ``-``.
    cut : collection of str
        Names of columns, such as paths, whose middle may be left out on a narrow terminal. Other
        texts are wrapped.
    """
    table = TextTable.build(header, lines, cut)
    if is_terminal(sys.stdout):
        from featx.cli.terminal import print_fitting

        print_fitting(table)
    else:
        print(table.format())


def measure_table(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> int:
    """Count the columns that a table needs."""
    widths = TextTable.build(header, lines).list_widths()
    return sum(widths) + 2 * (len(widths) - 1)


def print_text(text: str = "") -> None:
    """Print lines of a result; what names and labels hold beside printable letters is escaped.

    Parameters
    ----------
    text : str
        One or more lines.
    """
    print("\n".join(map(escape_text, text.split("\n"))))


def print_note(text: str) -> None:
    """Print a note, which is not part of the result, on standard error; ``--quiet`` hides it."""
    if not get_settings().quiet:
        print_error(text)


def print_error(text: str) -> None:
    """Print why a command failed on standard error; if that takes no text, the exit code tells."""
    hide_progress()
    with suppress(OSError, ValueError):
        print(f"featx: {escape_text(text)}", file=sys.stderr)


@contextmanager
def show_notes(context: typer.Context) -> Iterator[None]:
    """Print the library's notes while a command runs, with flags in place of arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", FeatxWarning)
        show = warnings.showwarning

        def show_note(
            message: Warning | str, category: type[Warning], *place: Any, **more: Any
        ) -> None:
            from featx.cli.flags import translate_for

            if issubclass(category, FeatxWarning):
                print_note(translate_for(context, str(message)))
            else:
                show(message, category, *place, **more)

        warnings.showwarning = show_note
        yield


def cut_name(label: str) -> str:
    """Leave out the middle of a long name, so that lines fit a screen; --json has it whole."""
    return show_text(label, MAX_NAME)


def format_params(head: Head) -> str:
    """Write the parameters of a head, each strength with the range that the search tried."""
    return ", ".join(
        f"{name} {value:.3g}{_format_range(head.cross_validation, value)}"
        for name, value in head.params.items()
    )


def _format_range(search: CrossValidation | None, value: float) -> str:
    """Write between which values a strength was chosen; empty if it was not chosen."""
    if search is None or len(search.strengths) < 2 or value != search.chosen:
        return ""
    low, high = search.strengths[0], search.strengths[-1]
    end = "smallest" if value == low else "largest"
    return f" of {low:.3g} to {high:.3g}" + f" (the {end})" * search.stands_at_end


def format_accuracy(scores: Evaluation) -> str:
    """Write the accuracy of rows that were not learnt from, beside what it is to be compared with.

    Its interval and the number of rows stand behind it, then the accuracy of always predicting the
    most frequent class; "-" if there are no such rows.
    """
    if scores.unseen_accuracy is None or scores.unseen_accuracy_ci95 is None:
        return "-"
    shown = _format_score(scores.unseen_accuracy, scores.unseen_accuracy_ci95, scores)
    return f"{shown}, {format_majority(scores)}"


def _format_score(score: float, interval: tuple[float, float], scores: Evaluation) -> str:
    """Write a score with its interval, and with the rows that it is of."""
    rows = count_noun(scores.n_rows - scores.n_seen, "row") + " not learnt from" * bool(
        scores.n_seen
    )
    units = f"{scores.n_units} units in " if scores.n_units and not scores.n_seen else ""
    low, high = interval
    return f"{score:.3f} (95 % interval {low:.3f} to {high:.3f}; {units}{rows})"


def format_majority(scores: Evaluation) -> str:
    """Write the accuracy of always predicting the most frequent class."""
    share = scores.unseen_majority_accuracy
    name = "the same" if scores.n_seen else cut_name(scores.majority_class)
    return f"always {name}: {'-' if share is None else f'{share:.3f}'}"


def format_joined(head: Head) -> str:
    """Name the embeddings that a head reads side by side; empty if it reads one."""
    names = [one.name for one in head.embeddings]
    return f", {' and '.join(names)} side by side" if len(names) > 1 else ""


def format_held_out(head: Head) -> str:
    """Write the held-out accuracy of a head, or why there is none; empty if it was not folded.

    If the search went by the balanced accuracy, this comes first.
    """
    held_out, fitted = head.cross_validation, head.fitted_on
    if held_out is not None:
        scores, where = held_out.scores, f"in {held_out.n_folds} folds"
        if held_out.n_learnt:
            where += f" of {scores.n_rows:,} of {fitted.n_rows:,} rows"
        if held_out.repeated is not None:
            return _format_repeated(held_out, held_out.repeated, where)
        if held_out.measure == "accuracy":
            return f"accuracy {where}: {format_accuracy(scores)}"
        shown = _format_score(scores.balanced_accuracy, scores.balanced_accuracy_ci95, scores)
        return (
            f"balanced accuracy {where}: {shown}, accuracy {scores.accuracy:.3f}, "
            f"{format_majority(scores)}"
        )
    if not fitted.n_learnt:
        return ""
    return f"accuracy: - (the network learnt from {fitted.n_learnt:,} of {fitted.n_rows:,} rows)"


def _format_repeated(held_out: CrossValidation, repeated: RepeatedScores, where: str) -> str:
    """Write the mean over several dealings of the folds, and between which scores they lie."""
    is_balanced = held_out.measure == "balanced_accuracy"
    score, interval, single = (
        (repeated.balanced_accuracy, repeated.balanced_accuracy_ci95, repeated.balanced_accuracies)
        if is_balanced
        else (repeated.accuracy, repeated.accuracy_ci95, repeated.accuracies)
    )
    shown = _format_score(score, interval, held_out.scores)
    more = f", accuracy {repeated.accuracy:.3f}" * is_balanced
    return (
        f"{held_out.measure.replace('_', ' ')} {where}, dealt {repeated.n_repeats} times: {shown}, "
        f"of single dealings {min(single):.3f} to {max(single):.3f}{more}, "
        f"{format_majority(held_out.scores)}"
    )
