"""featx extract."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import BatchSize, Device, Engine, Workers, backbone_option, choose
from featx.cli.printing import print_note
from featx.core.typing import Decode, Precision, VectorDtype

if TYPE_CHECKING:
    from featx.embedding.timings import Timings
    from featx.extraction.report import ExtractionReport

NETWORK = "Network"
RERUNS = "Reruns and failures"


def extract(
    context: typer.Context,
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE", help="Folder, .csv or .parquet table, or one or several .tar files."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="CACHE", help="HDF5 file to write.")
    ],
    backbone: Annotated[str, backbone_option(section=NETWORK)] = "resnet50",
    weights: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="DEFAULT, a name, a .pth or .safetensors file, or random:SEED.",
            rich_help_panel=NETWORK,
        ),
    ] = "DEFAULT",
    layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Layer to read; may be repeated.  [default: penultimate]",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the weights whose preprocessing is used.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Pixels per side of an image.  [default: the size of the weights]",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    precision: Annotated[
        Precision,
        choose(
            "precision",
            Precision,
            "Arithmetic; bf16 and fp16 need a device that supports them.",
            section=NETWORK,
        ),
    ] = "fp32",
    decode: Annotated[
        Decode,
        choose(
            "decode",
            Decode,
            "Way to decode; fast reads large JPEGs at a reduced size.",
            section=NETWORK,
        ),
    ] = "exact",
    embedding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the embedding in the file.  [default: the backbone]"
        ),
    ] = None,
    dtype: Annotated[
        VectorDtype | None,
        choose("dtype", VectorDtype, "Dtype of the stored vectors.  [default: float32]"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start a new file in place of the existing one.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Drop rows whose image is no longer in the source.",
            rich_help_panel=RERUNS,
        ),
    ] = False,
    rehash: Annotated[
        bool,
        typer.Option(
            "--rehash",
            help="Read files again even if size and time are the same.",
            rich_help_panel=RERUNS,
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Retry unchanged images that failed before.",
            rich_help_panel=RERUNS,
        ),
    ] = False,
    max_failures: Annotated[
        str,
        typer.Option(
            metavar="N|P%", help="Number or share of images that may fail.", rich_help_panel=RERUNS
        ),
    ] = "5%",
    shard_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Largest number of seconds of work that a crash can lose.",
            rich_help_panel=RERUNS,
        ),
    ] = 30.0,
    break_lock: Annotated[
        bool,
        typer.Option(
            "--break-lock", help="Take over the lock of a dead process.", rich_help_panel=RERUNS
        ),
    ] = False,
    engine: Engine = "auto",
    device: Device = "auto",
    batch_size: BatchSize = "auto",
    workers: Workers = "auto",
) -> None:
    """Embed every image of a source into one HDF5 file, or update that file.

    Only new and changed images are embedded. An interrupted run continues when it is called again;
    its finished work lies in OUTPUT.partial. Another backbone is stored beside the first one.

    Class folders become labels; train/, val/ and test/ folders above them become splits. A table
    has a column path, and optionally id, label, split and group. Images that cannot be read are
    listed in the file with the reason, and do not stop the run.

    featx extract photos/ -o photos.h5 --backbone resnet50

    featx extract train.tar val.tar -o photos.h5 --weights resnet50.pth

    Exit codes: 0 done, 1 error, 2 wrong usage, 3 more images failed than --max-failures, 130
    interrupted, 143 terminated. The file changes only if the code is 0.
    """
    from featx.extraction.extract import extract as extract_to_cache

    report = extract_to_cache(
        source,
        output,
        backbone=backbone,
        weights=weights,
        layers=layers or ["penultimate"],
        preprocess=preprocess,
        size=size,
        embedding=embedding,
        dtype=dtype,
        overwrite=overwrite,
        prune=prune,
        rehash=rehash,
        retry_failed=retry_failed,
        max_failures=max_failures,
        break_lock=break_lock,
        shard_seconds=shard_seconds,
        precision=precision,
        decode=decode,
        engine=engine,
        device=device,
        batch_size=batch_size,
        workers=workers,
    )
    _print_notes(report, prune=prune)
    dims = ", ".join(f"{name} (dim {dim})" for name, dim in report.dims.items())
    summary = f"{output}: {report.n_rows} rows, {dims}"
    if not report.is_changed:
        print(f"{summary}, up to date")
        return
    rate = report.n_embedded / report.elapsed_s
    print(
        f"{summary}, {report.n_embedded} embedded in {report.elapsed_s:.1f} s, {rate:.0f} images/s"
    )
    _print_verdict(context, report.timings)


def _print_notes(report: "ExtractionReport", *, prune: bool) -> None:
    """Print notes about the run on standard error."""
    if report.taken_from:
        print_note(f"took over the lock of {report.taken_from}, which is dead")
    if report.n_resumed:
        print_note(f"continued after {report.n_resumed} images of an interrupted run")
    if report.n_damaged:
        print_note(f"{report.n_damaged} shards of that run were damaged and embedded again")
    if report.n_removed:
        what = "and were dropped" if prune else "but were kept; --prune drops them"
        print_note(f"{report.n_removed} images are no longer in the source {what}")
    if report.n_ignored:
        print_note(f"ignored {report.n_ignored} files that are not images")
    if report.n_failures:
        print_note(
            f"failed images: {report.n_failures}; list them: featx info {report.path} --failures"
        )


def _print_verdict(context: typer.Context, timings: "Timings") -> None:
    """Print the time of each stage, and advice."""
    from featx.cli.flags import translate_for

    if not timings.n_images:
        return
    shares = ", ".join(f"{name} {share:.0%}" for name, share in timings.list_shares().items())
    where = f"{timings.engine} {timings.precision} on {timings.device}"
    print_note(f"{where}: ready after {timings.start_s:.1f} s; CPU time: {shares}")
    print_note(translate_for(context, timings.advise()))
