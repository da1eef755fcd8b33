"""featx backbones."""

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.options import AsJson, Register, complete_from, list_backbone_names
from featx.cli.printing import print_json, print_table, print_text
from featx.cli.register import register_networks

if TYPE_CHECKING:
    from featx.backbones.spec import BackboneSpec


def backbones(
    backbone: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            autocompletion=complete_from(list_backbone_names),
            help="Part of a name, or a pattern with *; a whole name shows details.",
        ),
    ] = "*",
    blocks: Annotated[
        bool,
        typer.Option("--blocks", help="List the blocks of one network, from the classifier down."),
    ] = False,
    register: Register = None,
    as_json: AsJson = False,
) -> None:
    """List networks; for one name, show its weights with address and digest.

    featx backbones "resnet*"

    featx backbones resnet50 --blocks
    """
    register_networks(register)
    from featx.backbones.registry import get_backbone_spec, list_backbones

    if blocks:
        _print_blocks(get_backbone_spec(backbone), as_json=as_json)
        return
    names = list_backbones(backbone)
    if backbone in names or not names:
        names = [backbone]  # an unknown name is an error that shows the nearest names
    records = [_describe(get_backbone_spec(name)) for name in names]
    if as_json:
        print_json({"backbones": records})
    elif names == [backbone]:
        _print_record(records[0])
    else:
        lines = []
        for record in records:
            millions = [entry["n_parameters"] / 1e6 for entry in record["named_weights"][-1:]]
            lines.append(
                [
                    record["backbone"],
                    record["dim"],
                    record["input_size"],
                    *(millions or [None]),
                    ", ".join(
                        f"{entry['weights']} {_format_top1(entry)}"
                        for entry in reversed(record["named_weights"])
                    ),
                ]
            )
        header = ["name", "dim", "input", "parameters (M)", "weights with top-1, default first"]
        print_table(header, lines)


def _print_blocks(spec: "BackboneSpec", *, as_json: bool) -> None:
    from featx.backbones.blocks import list_blocks_of

    blocks = list_blocks_of(spec)
    if as_json:
        print_json(
            {
                "backbone": spec.name,
                "n_parameters_by_block": {block.name: block.n_parameters for block in blocks},
            }
        )
        return
    lines = [[n, block.name, block.n_parameters] for n, block in enumerate(blocks, 1)]
    print_table(["from the classifier", "block", "parameters"], lines)


def _describe(spec: "BackboneSpec") -> dict[str, Any]:
    entries = [
        {
            "weights": entry.name,
            "top1": entry.top1,
            "trained_on": entry.trained_on,
            "n_parameters": entry.n_parameters,
            "url": entry.url,
            "sha256_begins": entry.digest_prefix,
            "summary": entry.preprocess.describe(),
            "input_size": entry.preprocess.crop_size,
        }
        for entry in spec.list_weights()
    ]
    return {
        "backbone": spec.name,
        "dim": spec.dim,
        "input_size": entries[-1]["input_size"] if entries else None,
        "paper": spec.paper,
        "named_weights": entries,
    }


def _format_top1(entry: dict[str, Any]) -> str:
    """Format a published accuracy, with its data set if that is not ImageNet."""
    text = "not published" if math.isnan(entry["top1"]) else f"{entry['top1']:.1f} %"
    return text if entry["trained_on"] == "ImageNet-1K" else f"{text} on {entry['trained_on']}"


def _print_record(record: dict[str, Any]) -> None:
    print_text(f"{record['backbone']}: dim {record['dim']}, {record['paper']}")
    for entry in reversed(record["named_weights"]):
        print_text(f"\nweights {entry['weights']}")
        millions = entry["n_parameters"] / 1e6
        print_text(f"  top-1 {_format_top1(entry)}, {millions:.2f} M parameters")
        print_text(f"  {entry['summary']}")
        print_text(f"  {entry['url'] or 'comes with featx'}")
        print_text(f"  SHA-256 begins with {entry['sha256_begins']}")
    if any(entry["url"] for entry in record["named_weights"]):
        print_text("\nOffline: put a file into a folder and name the folder in FEATX_WEIGHTS_DIR.")
    if not record["named_weights"]:
        print_text("\nNo weights are published: pass --weights FILE or random:SEED.")
