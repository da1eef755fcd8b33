"""featx classify."""

from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import (
    AsJson,
    BatchSize,
    Device,
    Engine,
    Workers,
    backbone_option,
    choose,
)
from featx.cli.predictions import check_one_form, name_pairs, print_csv
from featx.cli.printing import print_json, print_table, print_text
from featx.core.text import count_noun
from featx.core.typing import Decode, Precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featx.prediction.answers import Prediction


def classify(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE", help="Images, folders, a table or tars. Or their addresses."
        ),
    ],
    backbone: Annotated[str, backbone_option()] = "resnet50",
    weights: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="DEFAULT, a name, or a .pth or .safetensors file that holds the classifier too.",
        ),
    ] = "DEFAULT",
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Number of classes per image.")] = 5,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS", help="Pixels per side of an image.  [default: that of the weights]"
        ),
    ] = None,
    precision: Annotated[
        Precision,
        choose(
            "precision", Precision, "Arithmetic; bf16 and fp16 need a device that supports them."
        ),
    ] = "fp32",
    decode: Annotated[
        Decode,
        choose("decode", Decode, "Way to decode; fast reads large JPEGs at a reduced size."),
    ] = "exact",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a CSV table.")] = False,
    as_json: AsJson = False,
    engine: Engine = "auto",
    device: Device = "auto",
    batch_size: BatchSize = "auto",
    workers: Workers = "auto",
) -> None:
    """Show what a pretrained network itself takes images for, such as classes of ImageNet.

    These are the classes that the weights were trained on, not yours: the probabilities sum to 1
    over them, whatever an image shows. Fit a head for your own classes.

    featx classify ant.jpg --backbone resnet50

    featx classify photos/val --backbone squeezenet1_1 --top 1 --csv > own.csv
    """
    check_one_form(as_csv=as_csv, as_json=as_json)
    from featx.prediction.classify import classify as classify_images

    predictions = classify_images(
        images,
        backbone=backbone,
        weights=weights,
        top=top,
        size=size,
        precision=precision,
        decode=decode,
        engine=engine,
        device=device,
        batch_size=batch_size,
        workers=workers,
    )
    n_failures = sum(one.error is not None for one in predictions)
    if as_json:
        print_json(
            {
                "backbone": backbone,
                "weights": weights,
                "predictions": [one.to_dict() for one in predictions],
                "n_rows": len(predictions),
                "n_failures": n_failures,
            }
        )
    elif as_csv:
        names = ["path", "id", "true_label", "split", *name_pairs(top), "error"]
        print_csv(predictions, names)
    else:
        _print_answers(predictions)
        counted = count_noun(len(predictions), "image")
        failed = f", {n_failures:,} without an answer" if n_failures else ""
        print_text(f"{backbone}, weights {weights}: {counted}{failed}")
    if n_failures == len(predictions):
        raise typer.Exit(1)


def _print_answers(predictions: "Sequence[Prediction]") -> None:
    """Print a line for each class; the first of an image names the image."""
    lines: list[list[str | None]] = []
    for one in predictions:
        named = [(f"{score:.4f}", label) for label, score in one.top]
        said: list[tuple[str | None, str | None]] = [*named] or [(None, one.error)]
        lines += [["" if number else one.path, *cells] for number, cells in enumerate(said)]
    print_table(["path", "score", "label"], lines, cut=("path",))
