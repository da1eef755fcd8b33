"""featx extract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featx.cli.options import BatchSize, Device, Workers
from featx.cli.printing import print_note


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("extract")(extract)


def extract(
    source: Annotated[
        list[Path],
        typer.Argument(help="A folder, a .csv or .parquet table, or one or several .tar files."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The HDF5 file to make.")],
    backbone: Annotated[str, typer.Option(help="See: featx backbones.")] = "resnet50",
    weights: Annotated[
        str, typer.Option(help="DEFAULT, a name, a .pth or .safetensors file, or random:SEED.")
    ] = "DEFAULT",
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Layer to read, may be repeated.  [default: penultimate]"),
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(help="Named weights whose preprocessing is taken.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float16, of the stored vectors.")] = (
        "float32"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    device: Device = "auto",
    batch_size: BatchSize = 32,
    workers: Workers = None,
) -> None:
    """Embed every image of a source into one HDF5 file.

    Class folders become labels, and train/, val/, test/ above them splits. A table has a column
    path, and id, label, split, group if you like. Images that cannot be read are listed in the
    file with the reason, and do not stop the run.

    featx extract photos/ -o photos.h5 --backbone resnet50

    featx extract train.tar val.tar -o photos.h5 --backbone mobilenet_v2 --weights mobilenet.pth
    """
    from featx.extraction import extract as extract_to_cache

    report = extract_to_cache(
        source,
        output,
        backbone=backbone,
        weights=weights,
        layers=layer or ["penultimate"],
        preprocess=preprocess,
        dtype=dtype,
        overwrite=overwrite,
        device=device,
        batch_size=batch_size,
        workers=workers,
    )
    if report.n_ignored:
        print_note(f"passed over {report.n_ignored} files that are no images")
    if report.n_failures:
        print_note(f"{report.n_failures} images failed: featx info {output} --failures")
    dims = ", ".join(f"{name} (dim {dim})" for name, dim in report.dims.items())
    rate = report.n_rows / report.elapsed_s
    print(f"{output}: {report.n_rows} rows, {dims}, {report.elapsed_s:.1f} s, {rate:.0f} images/s")
