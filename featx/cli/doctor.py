"""featx doctor."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featx.cli.options import AsJson, Device, Register, backbone_option
from featx.cli.printing import print_json, print_table, print_text
from featx.cli.register import register_networks

if TYPE_CHECKING:
    from featx.doctor.diagnose import Diagnosis


def doctor(
    context: typer.Context,
    source: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SOURCE", help="Images to sample.  [default: generated images]"),
    ] = None,
    backbone: Annotated[str, backbone_option()] = "resnet50",
    device: Device = "auto",
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder in which writing is measured.")
    ] = Path(),
    thorough: Annotated[
        bool,
        typer.Option("--thorough", help="Measure longer, and PyTorch beside OpenVINO: minutes."),
    ] = False,
    register: Register = None,
    as_json: AsJson = False,
) -> None:
    """Measure how fast this machine is, and recommend options.

    Decoding, the network and writing are measured alone. That takes about 15 seconds; a network
    that featx has not run before takes as long again. Other programs make the speeds lower bounds.

    featx doctor photos/ --backbone mobilenet_v2
    """
    register_networks(register)
    from featx.cli.flags import translate_for
    from featx.doctor.diagnose import diagnose

    found = diagnose(source, backbone=backbone, device=device, folder=folder, thorough=thorough)
    if as_json:
        print_json(_list_measures(found))
        return
    others = "" if found.others is None else f", {found.others:.1f} used by other programs"
    print_text(f"{found.n_cores} cores{others}; networks run on {found.device}\n")
    rates = " and ".join(f"{rate:.0f} ({name})" for name, rate in _list_rates(found).items())
    n_decoded, n_images = found.n_images - len(found.failures), found.n_images
    lacking = f"; {n_decoded} of {n_images} images could be decoded" if found.failures else ""
    print_text(f"decode   {rates} images/s with {found.workers} threads{lacking}")
    print_text(f"write    {found.write_mb_per_s:.0f} MB/s\n")
    print_table(
        ["engine", "precision", "decode", "network alone (images/s)", "extraction (images/s)"],
        [
            [engine, precision, name, round(found.network[engine, precision]), round(rate)]
            for (engine, precision, name), rate in found.expected.items()
        ],
    )
    print_text("\nFor featx extract:")
    for line in found.advice:
        print_text(f"  {translate_for(context, line)}")


def _list_rates(found: "Diagnosis") -> dict[str, float]:
    """List the speeds of decoding with the default number of threads."""
    return {
        decode: rate for (decode, workers), rate in found.decode.items() if workers == found.workers
    }


def _list_measures(found: "Diagnosis") -> dict[str, object]:
    """Convert a diagnosis to JSON types."""
    return {
        "n_cores": found.n_cores,
        "others": found.others,
        "device": found.device,
        "n_images": found.n_images,
        "n_failures": len(found.failures),
        "n_workers": found.workers,
        "decode_images_per_s": _list_rates(found),
        "write_mb_per_s": found.write_mb_per_s,
        "speeds": [
            {
                "engine": engine,
                "precision": precision,
                "decode": decode,
                "network_images_per_s": found.network[engine, precision],
                "images_per_s": rate,
            }
            for (engine, precision, decode), rate in found.expected.items()
        ],
        "advice": list(found.advice),
    }
