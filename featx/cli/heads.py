"""featx split, fit-head, evaluate and predict."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.options import (
    AsJson,
    BatchSize,
    CacheArgument,
    Device,
    Embedding,
    Engine,
    WeightsNow,
    Workers,
)
from featx.cli.printing import print_json, print_note, print_table

if TYPE_CHECKING:
    from featx.prediction.predict import Prediction


HeadArgument = Annotated[Path, typer.Argument(help="A file made by featx fit-head.")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("split")(split)
    app.command("fit-head")(fit_head)
    app.command("evaluate")(evaluate)
    app.command("predict")(predict)


def split(
    cache: CacheArgument,
    val: Annotated[float, typer.Option(help="Fraction of the labelled rows.")] = 0.2,
    test: Annotated[float, typer.Option(help="Fraction of the labelled rows.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the shuffle.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace splits.")] = False,
) -> None:
    """Record a stratified train/val/test split in a cache; groups stay together.

    featx split photos.h5 --val 0.2
    """
    from featx.fitting.fit import split_cache

    counts = split_cache(cache, val=val, test=test, seed=seed, overwrite=overwrite)
    print(f"{cache}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


def fit_head(
    cache: CacheArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The head to write.")],
    kind: Annotated[str, typer.Option(help="logreg or linear-svm.")] = "logreg",
    split: Annotated[
        str | None,
        typer.Option(help="Rows to fit on.  [default: train, or all where there is no split]"),
    ] = None,
    embedding: Embedding = None,
    c: Annotated[
        float | None, typer.Option("--C", help="Regularisation.  [default: by cross-validation]")
    ] = None,
    cv: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5,
    class_weight: Annotated[
        str | None, typer.Option(help="'balanced' to count classes alike.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fit a scikit-learn head on the embeddings of a cache.

    featx fit-head photos.h5 -o head.joblib --kind logreg
    """
    from featx.fitting.fit import fit_head as fit

    head = fit(
        cache,
        output,
        kind=kind,
        split=split,
        embedding=embedding,
        C="auto" if c is None else c,
        cv=cv,
        class_weight=class_weight,
        seed=seed,
        overwrite=overwrite,
    )
    scores = head.cross_validation
    if as_json:
        print_json(
            {
                "head": str(output),
                "kind": head.kind,
                "C": head.C,
                "classes": list(head.classes),
                "fitted_on": head.fitted_on,
                "fingerprint": head.fingerprint.digest,
                "cross_validation": scores,
            }
        )
        return
    fitted = head.fitted_on
    print(
        f"{output}: {kind}, C {head.C:.3g}, {len(head.classes)} classes, "
        f"{fitted['n_rows']} rows (split {fitted['split']})"
    )
    if scores:
        print(f"held-out accuracy in {scores['n_folds']} folds: {_format_accuracy(scores)}")


def evaluate(
    head: HeadArgument,
    cache: CacheArgument,
    split: Annotated[
        str | None, typer.Option(help="train, val, test or all.  [default: val, else test]")
    ] = None,
    embedding: Embedding = None,
    as_json: AsJson = False,
) -> None:
    """Score a head on the labelled rows of a cache.

    featx evaluate head.joblib photos.h5 --split val
    """
    from featx.fitting.fit import evaluate as evaluate_head

    scores = evaluate_head(head, cache, split=split, embedding=embedding)
    if scores.n_seen:
        print_note(f"{scores.n_seen} of {scores.n_rows} rows were fitted on: their scores flatter")
    if scores.n_unknown:
        print_note(f"{scores.n_unknown} rows have classes that the head does not know")
    if as_json:
        print_json(scores.to_dict())
        return
    print(f"accuracy           {_format_accuracy(scores.to_dict())}, {scores.n_rows} rows")
    print(f"balanced accuracy  {scores.balanced_accuracy:.3f}")
    print(f"macro F1           {scores.macro_f1:.3f}")
    if scores.log_loss is not None:
        print(f"log loss           {scores.log_loss:.3f}")
    print()
    print_table(
        ["class", "rows", "precision", "recall", "F1"],
        [[c.label, c.n_rows, c.precision, c.recall, c.f1] for c in scores.per_class],
    )
    print()
    lines = [[name, *line] for name, line in zip(scores.classes, scores.confusion, strict=True)]
    print_table(["true \\ predicted", *scores.classes], lines)


def predict(
    head: HeadArgument,
    inputs: Annotated[
        list[Path], typer.Argument(help="Images, folders, a table, tars; or one cache.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes to tell for each image.")] = 1,
    weights: WeightsNow = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a CSV table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    engine: Engine = "auto",
    device: Device = "auto",
    batch_size: BatchSize = None,
    workers: Workers = None,
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
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerows([header, *lines])
        else:
            print_table(header, lines)
    if all(prediction.error for prediction in predictions):
        print_note("not one image could be read")
        raise typer.Exit(1)


def _name_columns(width: int) -> list[str]:
    names = [["label", "score"], *([f"label_{i}", f"score_{i}"] for i in range(2, width + 1))]
    return [name for pair in names for name in pair]


def _list_cells(prediction: Prediction, width: int) -> list[Any]:
    pairs = [*prediction.top, *[("", None)] * (width - len(prediction.top))]
    return [prediction.path, *(cell for pair in pairs for cell in pair), prediction.error or ""]


def _format_accuracy(scores: dict[str, Any]) -> str:
    low, high = scores["accuracy_ci95"]
    return f"{scores['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f})"
