"""featx extract."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import (
    SPEED,
    AsJson,
    BatchSize,
    Device,
    Engine,
    Register,
    Workers,
    backbone_option,
    choose,
)
from featx.cli.printing import print_json, print_note, print_text
from featx.cli.records import rename_keys
from featx.cli.register import register_networks
from featx.core.typing import Decode, Precision, VectorDtype

if TYPE_CHECKING:
    from featx.embedding.timings import Timings

NETWORK = "Network"
RERUNS = "Reruns and failures"


def extract(
    context: typer.Context,
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Folder, table (.csv, .parquet, …), or one or several .tar files; or their "
            "address, such as s3://bucket/photos.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="CACHE",
            help="HDF5 file to write; with --part, a folder. Or its address.",
        ),
    ],
    backbone: Annotated[
        str | None, backbone_option(section=NETWORK, default="that of CACHE, or else resnet50")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="DEFAULT, a name, a .pth or .safetensors file (FILE:KEY chooses a network in a "
            "checkpoint), or random:SEED.  "
            "[default: those of CACHE, or else DEFAULT]",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Layer to read; may be repeated.  [default: those of CACHE, or else penultimate]",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the weights whose preprocessing is used.  "
            "[default: that of CACHE, or else that of the weights]",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Pixels per side of an image.  "
            "[default: that of CACHE, or else that of the weights]",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    precision: Annotated[
        Precision | None,
        choose(
            "precision",
            Precision,
            "Arithmetic; bf16 and fp16 need a device that supports them.  "
            "[default: that of CACHE, or else fp32]",
            section=NETWORK,
        ),
    ] = None,
    decode: Annotated[
        Decode | None,
        choose(
            "decode",
            Decode,
            "Way to decode; fast reads large JPEGs at a reduced size.  "
            "[default: that of CACHE, or else exact]",
            section=NETWORK,
        ),
    ] = None,
    embedding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the embedding in the file.  "
            "[default: the backbone, or else that of CACHE]",
        ),
    ] = None,
    dtype: Annotated[
        VectorDtype | None,
        choose(
            "dtype",
            VectorDtype,
            "Dtype of the stored vectors.  [default: that of CACHE, or else float32]",
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Embed part K of N only, as one of N machines; featx merge joins the parts.",
        ),
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
            metavar="N|P%",
            help="Number or share of images that may fail; a share is rounded up.",
            rich_help_panel=RERUNS,
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
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ray[://HOST:PORT]",
            help="Embed on a Ray cluster: one process per GPU, or else per --workers cores. ray "
            "starts Ray on this machine for this run; ray://auto is the cluster that runs here.",
            rich_help_panel=SPEED,
        ),
    ] = None,
    engine: Engine = "auto",
    device: Device = "auto",
    batch_size: BatchSize = "auto",
    workers: Workers = "auto",
    register: Register = None,
    as_json: AsJson = False,
) -> None:
    """Embed every image of a source into one HDF5 file, or update that file.

    Only new and changed images are embedded. An interrupted run continues when it is called again;
    its finished work lies in CACHE.partial. Another backbone is stored beside the first one.

    CACHE remembers its settings: featx extract SOURCE -o CACHE is enough the next time. If it holds
    several embeddings, --backbone or --embedding says which one to extend; without them, it is the
    one that was extended last.

    Class folders become labels; train/, val/ and test/ folders above them become splits. A table
    has a column path, and optionally id, label, split and group. Images that cannot be read are
    listed in the file with the reason, and do not stop the run.

    featx extract photos/ -o photos.h5 --backbone resnet50

    featx extract train.tar val.tar -o photos.h5 --weights resnet50.pth

    featx extract photos/ -o parts/ --part 3/16

    Exit codes: 0 done, 1 error, 2 wrong usage, 3 more images failed than --max-failures, 129 hung
    up, 130 interrupted, 143 terminated. The file changes only if the code is 0. After code 3, featx
    info CACHE --failures lists all images that failed.
    """
    register_networks(register)
    from featx.extraction.extract import extract as extract_to_cache

    report = extract_to_cache(
        source,
        output,
        backbone=backbone,
        weights=weights,
        layers=layers or None,
        preprocess=preprocess,
        size=size,
        embedding=embedding,
        dtype=dtype,
        part=part,
        overwrite=overwrite,
        prune=prune,
        rehash=rehash,
        retry_failed=retry_failed,
        max_failures=max_failures,
        break_lock=break_lock,
        shard_seconds=shard_seconds,
        cluster=cluster,
        precision=precision,
        decode=decode,
        engine=engine,
        device=device,
        batch_size=batch_size,
        workers=workers,
    )
    if as_json:
        record = rename_keys(report.to_dict(), path="cache")
        print_json(record | {"advice": [record["advice"]]})
        return
    if report.n_resumed:
        print_note(f"continued after {report.n_resumed} images of an interrupted run")
    print_text(report.summary)
    if report.n_embedded:
        _print_verdict(context, report.timings)


def _print_verdict(context: typer.Context, timings: "Timings") -> None:
    """Print the time of each stage, and advice."""
    from featx.cli.flags import translate_for

    if not timings.n_images:
        return
    shares = ", ".join(f"{name} {share:.0%}" for name, share in timings.list_shares().items())
    where = f"{timings.engine} {timings.precision} on {timings.device}"
    print_note(f"{where}: ready after {timings.start_s:.1f} s; CPU time: {shares}")
    print_note(translate_for(context, timings.advise()))
