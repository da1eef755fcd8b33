"""The cells of predictions: a line for each image, for featx predict and featx classify."""

import sys
from typing import TYPE_CHECKING, Any

from featx.cli.streams import use_utf8
from featx.core.errors import FeatxError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from featx.prediction.answers import Prediction


def check_one_form(*, as_csv: bool, as_json: bool) -> None:
    """Refuse to print in two forms at once.

    Parameters
    ----------
    as_csv, as_json : bool
        Forms that are asked for.
    """
    if as_csv and as_json:
        raise FeatxError(
            subject="as_csv, as_json",
            expected="one of them",
            got="both",
            remedy="Choose one.",
        )


def name_pairs(top: int) -> list[str]:
    """Name the columns of classes: ``label_2`` and ``score_2`` are those of the second class.

    Parameters
    ----------
    top : int
        Number of classes per image.

    Examples
    --------
    >>> name_pairs(2)
    ['label', 'score', 'label_2', 'score_2']
    """
    pairs = [["label", "score"], *([f"label_{n}", f"score_{n}"] for n in range(2, top + 1))]
    return [name for pair in pairs for name in pair]


def print_csv(predictions: "Iterable[Prediction]", names: "Sequence[str]") -> None:
    """Print all columns, empty ones too, for a program to read; each line when it is known.

    Parameters
    ----------
    predictions : iterable of Prediction
        Predictions for all images.
    names : sequence of str
        Names of the columns.
    """
    import csv

    from featx.core.text import escape_text, guard_cell

    def write_cell(cell: Any) -> Any:
        return guard_cell(escape_text(cell)) if isinstance(cell, str) else cell

    use_utf8()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([*map(write_cell, list_cells(one, names))] for one in predictions)


def list_cells(one: "Prediction", names: "Sequence[str]") -> list[Any]:
    """List the cells of one prediction, in the order of the columns.

    Parameters
    ----------
    one : Prediction
        The prediction.
    names : sequence of str
        Names of the columns.
    """
    cells: dict[str, Any] = {}
    for number, (label, score) in enumerate(one.top, 1):
        end = f"_{number}" * (number > 1)
        cells |= {f"label{end}": label, f"score{end}": score}
    cells |= {
        "path": one.path,
        "id": one.id,
        "true_label": one.true_label,
        "split": one.split,
        "label": one.label,
        "labels": None if one.labels is None else ";".join(one.labels) or ";",
        "value": one.value,
        "unknown": None if one.unknown is None else str(one.unknown).lower(),
        "label_set": None if one.label_set is None else ";".join(one.label_set),
        "abstained": one.abstained,
        "error": one.error,
    }
    return [cells.get(name) for name in names]
