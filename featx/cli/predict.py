"""featx predict."""

import csv
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
    WeightsNow,
    Workers,
)
from featx.cli.printing import print_json, print_note, print_table
from featx.cli.streams import use_utf8

if TYPE_CHECKING:
    from featx.prediction.predictor import Prediction


def predict(
    head: HeadArgument,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT", help="Images, folders, a table or tars; or one cache."),
    ],
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Number of classes per image.")] = 1,
    weights: WeightsNow = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a CSV table.")] = False,
    as_json: AsJson = False,
    engine: Engine = "auto",
    device: Device = "auto",
    batch_size: BatchSize = "auto",
    workers: Workers = "auto",
) -> None:
    """Predict the classes of images.

    featx predict head.joblib new/*.jpg --top 3

    featx predict head.joblib new/ --csv > predictions.csv
    """
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
        print_json([prediction.to_dict() for prediction in predictions])
    else:
        width = max(1, *(len(prediction.top) for prediction in predictions))
        header = ["path", *_name_columns(width), "error"]
        lines = [_list_cells(prediction, width) for prediction in predictions]
        if as_csv:
            use_utf8()
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerows([header, *lines])
        else:
            print_table(header, lines)
    if all(prediction.error for prediction in predictions):
        print_note("no image could be read")
        raise typer.Exit(1)


def _name_columns(width: int) -> list[str]:
    names = [["label", "score"], *([f"label_{i}", f"score_{i}"] for i in range(2, width + 1))]
    return [name for pair in names for name in pair]


def _list_cells(prediction: "Prediction", width: int) -> list[Any]:
    pairs = [*prediction.top, *[("", None)] * (width - len(prediction.top))]
    return [prediction.path, *(cell for pair in pairs for cell in pair), prediction.error or ""]
