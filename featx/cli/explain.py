"""featx explain."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.options import (
    AsJson,
    BatchSize,
    Device,
    HeadArgument,
    Register,
    WeightsNow,
    Workers,
    choose,
)
from featx.cli.printing import print_json, print_table, print_text
from featx.cli.register import register_networks
from featx.core.text import count_noun
from featx.core.typing import Approximation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from featx.explanation.class_map import ClassMap


def explain(
    head: HeadArgument,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE", help="Images, folders, a table or tars. Or their addresses."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Contact sheet (.png, .jpg, .webp), page (.html) or arrays (.npz) to write.",
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Class to show; may be repeated.  [default: the predicted one]",
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Number of most probable classes to show, without --class."
        ),
    ] = 1,
    approximation: Annotated[
        Approximation | None,
        choose(
            "approximation",
            Approximation,
            "Approximation for networks that do not end in an average.  [default: exact maps only]",
        ),
    ] = None,
    weights: WeightsNow = None,
    as_json: AsJson = False,
    device: Device = "auto",
    batch_size: BatchSize = "auto",
    workers: Workers = "auto",
    register: Register = None,
) -> None:
    """Show where in images the evidence for a class lies.

    For a network that ends in an average, and a linear head, a class map is
    exact: its mean plus the bias is the logit of the class.

    featx explain head.joblib new/*.jpg -o maps.html

    featx explain head.joblib bee.jpg -o maps.png --class ants --class bees
    """
    register_networks(register)
    from featx.explanation.explain import check_inputs
    from featx.explanation.explainer import Explainer
    from featx.report.class_maps import check_maps_output, write_maps

    check_inputs(head, images)
    if output is not None:
        check_maps_output(output)
    found: list[dict[str, Any]] = []

    def note_each(maps: "Iterable[ClassMap]") -> "Iterator[ClassMap]":
        for one in maps:
            found.append(one.to_dict())
            yield one

    with Explainer(
        head,
        weights=weights,
        approximation=approximation,
        device=device,
        batch_size=batch_size,
        workers=workers,
    ) as explainer:
        maps = note_each(explainer.iter_maps(images, classes or None, top=top))
        if output is not None:
            write_maps(maps, output)
        else:
            for _ in maps:
                pass
    n_images = len({one["number"] for one in found})
    n_failures = sum(one["error"] is not None for one in found)
    if as_json:
        print_json(
            {
                "head": head,
                "path": output,
                "method": explainer.method,
                "n_images": n_images,
                "n_failures": n_failures,
                "maps": found,
            }
        )
    else:
        _print_maps(found)
        failed = f", {n_failures:,} of them without a map" if n_failures else ""
        print_text(f"{count_noun(n_images, 'image')}{failed}. {explainer.text}")
        if output is not None:
            print_text(f"written to {output}")
    if n_failures == n_images:
        raise typer.Exit(1)


def _print_maps(found: "Sequence[dict[str, Any]]") -> None:
    """Print a line for each map; the columns that are empty are left out."""
    lines = [
        [
            one["path"],
            one["label"],
            *(
                None if one[name] is None else f"{one[name]:.{digits}f}"
                for name, digits in (("probability", 3), ("logit", 2), ("mean", 2), ("bias", 2))
            ),
            one["peak"] and "{}, {}".format(*one["peak"]),
            one["error"],
        ]
        for one in found
    ]
    header = ["path", "class", "probability", "logit", "mean", "bias", "strongest at", "error"]
    if not any(line[-1] for line in lines):
        header, lines = header[:-1], [line[:-1] for line in lines]
    print_table(header, lines, cut=("path",))
