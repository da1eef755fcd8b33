"""featx predict."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from featx.cli.predictions import check_one_form, list_cells, name_pairs, print_csv
from featx.cli.printing import print_json_list, print_table
from featx.cli.register import register_networks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from featx.heads.head import Head
    from featx.prediction.answers import Prediction


def predict(
    head: HeadArgument,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Images, folders, a table or tars; or caches. Or their addresses.",
        ),
    ],
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Number of classes per image.")] = 1,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Give no label if its score is below P, such as 0.7.",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        float | None,
        typer.Option(
            metavar="COVERAGE",
            help="Give a set of classes: at 0.9, the sets of 90 of 100 images like those fitted on "
            "hold their class.",
            show_default=False,
        ),
    ] = None,
    unknown_rate: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Share of images like those fitted on that may be called unknown; 0 for none.",
            show_default="0.01",
        ),
    ] = None,
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

    An image is unknown if it is like nothing that the head was fitted on: its
    label means little then, whatever the score. Among images like those fitted
    on, 1 of 100 is called unknown by mistake.

    featx predict head.joblib new/*.jpg --top 3

    featx predict head.joblib new/ --csv > predictions.csv
    """
    check_one_form(as_csv=as_csv, as_json=as_json)
    register_networks(register)
    from featx.cache.open import is_cache_file
    from featx.cli.targets import load_if_head
    from featx.prediction.predict import iter_predictions

    n_rows, n_failures, n_abstained = 0, 0, 0

    def count(predictions: "Iterable[Prediction]") -> "Iterator[Prediction]":
        nonlocal n_rows, n_failures, n_abstained
        for prediction in predictions:
            n_rows, n_failures = n_rows + 1, n_failures + (prediction.error is not None)
            n_abstained += prediction.abstained is not None
            yield prediction

    loaded = load_if_head(head)
    predictions = count(
        iter_predictions(
            loaded,
            inputs,
            top=top,
            min_confidence=min_confidence,
            sets=sets,
            unknown_rate=unknown_rate,
            weights=weights,
            engine=engine,
            device=device,
            batch_size=batch_size,
            workers=workers,
        )
    )
    first = list(itertools.islice(predictions, 1))  # most errors come before anything is printed
    predictions = itertools.chain(first, predictions)
    if as_json:
        print_json_list(
            {"head": head},
            "predictions",
            (prediction.to_dict() for prediction in predictions),
            lambda: {"n_rows": n_rows, "n_failures": n_failures, "n_abstained": n_abstained},
        )
    elif as_csv:
        print_csv(predictions, _name_columns(loaded, top))
    else:
        columns = _name_columns(loaded, top)
        _print_columns(list(predictions), columns, is_cache=is_cache_file(inputs[0]))
    if n_rows == n_failures:
        raise typer.Exit(1)


def _print_columns(
    predictions: "Sequence[Prediction]", names: "Sequence[str]", *, is_cache: bool
) -> None:
    """Print the columns that say something: rows of a cache go by their ids, images by paths."""
    cells = zip(*(list_cells(one, names) for one in predictions), strict=True)
    columns = dict(zip(names, cells, strict=True))
    has_own_ids = any(not one.path.endswith(one.id) for one in predictions)
    if "unknown" in columns:
        unknown = columns["unknown"]
        columns["unknown"] = tuple("unknown" if cell == "true" else "" for cell in unknown)
    if not all(one.label_set is None for one in predictions):
        columns["label_set"] = tuple(cell or "(empty)" for cell in columns["label_set"])
    columns.pop("path" if is_cache else "id" if not has_own_ids else "", None)
    known = {label for prediction in predictions for label, _ in prediction.top}
    if not known.intersection(columns["true_label"]):
        columns.pop("true_label")  # names of folders that are no classes of the head
    shown = {
        name.replace("true_label", "true label").replace("label_set", "label set"): column
        for name, column in columns.items()
        if any(cell not in (None, "") for cell in column)
    }
    print_table(list(shown), list(zip(*shown.values(), strict=True)), cut=("path", "id"))


def _name_columns(head: "Head | Path", top: int) -> list[str]:
    """Name the columns that the predictions of a head can fill."""
    from featx.heads.target_head import TargetHead

    said = name_pairs(top)
    if isinstance(head, TargetHead):
        said = ["value"] if head.target.kind == "number" else ["labels", *said]
        said += ["unknown"]
    else:
        said += ["unknown", "label_set", "abstained"]
    return ["path", "id", "true_label", "split", *said, "error"]
