"""featx predict."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.options import (
    AsJson,
    BatchSize,
    Device,
    Engine,
    HeadArgument,
    Register,
    WeightsNow,
    Workers,
)
from featx.cli.printing import print_json, print_table
from featx.cli.register import register_networks
from featx.cli.streams import use_utf8
from featx.core.errors import FeatxError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featx.prediction.predictor import Prediction


def predict(
    head: HeadArgument,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT", help="Images, folders, a table or tars; or caches."),
    ],
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Number of classes per image.")] = 1,
    weights: WeightsNow = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a CSV table.")] = False,
    as_json: AsJson = False,
    engine: Engine = "auto",
    device: Device = "auto",
    batch_size: BatchSize = "auto",
    workers: Workers = "auto",
    register: Register = None,
) -> None:
    """Predict the classes of images.

    featx predict head.joblib new/*.jpg --top 3

    featx predict head.joblib new/ --csv > predictions.csv
    """
    if as_csv and as_json:
        raise FeatxError(
            subject="as_csv, as_json",
            expected="one of them",
            got="both",
            remedy="Choose one.",
        )
    register_networks(register)
    from featx.cache.open import is_cache_file
    from featx.prediction.predict import predict as predict_images

    predictions = predict_images(
        head,
        inputs,
        top=top,
        weights=weights,
        engine=engine,
        device=device,
        batch_size=batch_size,
        workers=workers,
    )
    if as_json:
        print_json(
            {
                "head": head,
                "n_rows": len(predictions),
                "n_failures": sum(prediction.error is not None for prediction in predictions),
                "predictions": [prediction.to_dict() for prediction in predictions],
            }
        )
    elif as_csv:
        _print_csv(predictions)
    else:
        _print_columns(predictions, is_cache=is_cache_file(inputs[0]))
    if all(prediction.error for prediction in predictions):
        raise typer.Exit(1)


def _print_csv(predictions: "Sequence[Prediction]") -> None:
    """Print all columns, empty ones too, for a program to read."""
    import csv

    from featx.core.text import escape_text, guard_cell

    def write_cell(cell: Any) -> Any:
        return guard_cell(escape_text(cell)) if isinstance(cell, str) else cell

    use_utf8()
    columns = _list_columns(predictions)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(map(write_cell, column) for column in columns.values()), strict=True))


def _print_columns(predictions: "Sequence[Prediction]", *, is_cache: bool) -> None:
    """Print the columns that say something: rows of a cache go by their ids, images by paths."""
    columns = _list_columns(predictions)
    has_own_ids = any(not one.path.endswith(one.id) for one in predictions)
    columns.pop("path" if is_cache else "id" if not has_own_ids else "", None)
    known = {label for prediction in predictions for label, _ in prediction.top}
    if not known.intersection(columns["true_label"]):
        columns.pop("true_label")  # names of folders that are no classes of the head
    shown = {
        name.replace("true_label", "true label"): column
        for name, column in columns.items()
        if any(cell not in (None, "") for cell in column)
    }
    print_table(list(shown), list(zip(*shown.values(), strict=True)), cut=("path", "id"))


def _list_columns(predictions: "Sequence[Prediction]") -> dict[str, list[Any]]:
    """List the cells by column: ``label_2`` and ``score_2`` are those of the second class."""
    columns: dict[str, list[Any]] = {
        name: [getattr(prediction, name) for prediction in predictions]
        for name in ("path", "id", "true_label", "split")
    }
    for number in range(max(1, *(len(prediction.top) for prediction in predictions))):
        ending = f"_{number + 1}" if number else ""
        pairs = [one.top[number] if number < len(one.top) else (None, None) for one in predictions]
        columns[f"label{ending}"] = [label for label, _ in pairs]
        columns[f"score{ending}"] = [score for _, score in pairs]
    columns["error"] = [prediction.error for prediction in predictions]
    return columns
