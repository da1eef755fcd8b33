"""featx info and backbones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.options import AsJson
from featx.cli.printing import print_json, print_table
from featx.core.errors import WeightsError

if TYPE_CHECKING:
    from featx.backbones.registry import BackboneSpec
    from featx.cache.reader import Cache


FAILURE_COLUMNS = ("path", "lacks", "stage", "reason")


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("info")(info)
    app.command("backbones")(backbones)


def info(
    cache: Annotated[
        Path, typer.Argument(help="A file made by featx extract, or weights by featx fine-tune.")
    ],
    failures: Annotated[
        bool, typer.Option("--failures", help="List the images without an embedding.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a cache holds: rows, labels, splits, failures; or how tuned weights were made.

    featx info photos.h5

    featx info tuned.safetensors
    """
    from featx.cache.reader import open_cache

    if cache.suffix == ".safetensors":
        _print_weights(cache, as_json=as_json)
        return
    with open_cache(cache) as opened:
        summary = _summarise(opened)
        failed = [
            [f.path, f.embedding or "all", f.stage, f.reason]
            for f in (opened.failures if failures else ())
        ]
    if as_json:
        listed = [dict(zip(FAILURE_COLUMNS, line, strict=True)) for line in failed]
        print_json(summary | ({"failures": listed} if failures else {}))
    elif failures:
        print_table(FAILURE_COLUMNS, failed)
    else:
        _print_summary(summary)


def _print_weights(path: Path, *, as_json: bool) -> None:
    from featx.backbones.weights import read_record

    record = read_record(path)
    if record is None:
        raise WeightsError(
            f"{path}: expected weights made by featx fine-tune, got others. Nothing more is known "
            "of them."
        )
    if as_json:
        print_json(record)
        return
    for key, value in record.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {part}" for name, part in value.items())
        print(f"{key:20} {value}")


def _summarise(cache: Cache) -> dict[str, Any]:
    from collections import Counter
    from dataclasses import asdict

    return {
        "cache": str(cache.path),
        "digest": cache.digest,
        "source": cache.source,
        "n_rows": len(cache),
        "n_failures": len({failure.id for failure in cache.failures}),
        "labels": dict(sorted(Counter(cache.labels.tolist()).items())),
        "splits": dict(Counter(cache.splits.tolist())),
        "n_groups": len(set(cache.groups.tolist()) - {""}),
        "embeddings": {
            name: {
                "digest": cache.get_info(name).fingerprint.digest,
                "n_vectors": int(cache.read_present(name).sum()),
                "dtype": cache.get_dtype(name),
                "fingerprint": asdict(cache.get_info(name).fingerprint),
                "provenance": asdict(cache.get_info(name).provenance),
            }
            for name in cache.embeddings
        },
    }


def _print_summary(summary: dict[str, Any]) -> None:
    print(f"{summary['cache']}: {summary['n_rows']} rows, {summary['n_failures']} failures")
    print(f"digest  {summary['digest']}")
    print(f"source  {summary['source']}")
    for title in ("splits", "labels"):
        counts = {name or "(none)": count for name, count in summary[title].items()}
        shown = [f"{name} {count}" for name, count in list(counts.items())[:20]]
        more = f", and {len(counts) - 20} more" if len(counts) > 20 else ""
        print(f"{title}  {', '.join(shown)}{more}")
    if summary["n_groups"]:
        print(f"groups  {summary['n_groups']}")
    for name, embedding in summary["embeddings"].items():
        print(
            f"\nembedding {name}, fingerprint {embedding['digest']}, "
            f"{embedding['n_vectors']} vectors, {embedding['dtype']}"
        )
        for part in ("fingerprint", "provenance"):
            for key, value in embedding[part].items():
                if isinstance(value, dict):
                    value = ", ".join(f"{k} {v}" for k, v in value.items())
                elif isinstance(value, tuple):
                    value = f"{len(value)}, the last {value[-1]['time']}" if value else "none"
                print(f"  {key:15} {value}")


def backbones(
    pattern: Annotated[
        str, typer.Argument(help="Part of a name, or a pattern with *; a whole name shows all.")
    ] = "*",
    blocks: Annotated[
        bool, typer.Option("--blocks", help="List the blocks of one, from the classifier down.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List backbones; for one name, its weights with address and digest.

    featx backbones "resnet*"

    featx backbones resnet50 --blocks
    """
    from featx.backbones.registry import get_backbone_spec, list_backbones

    if blocks:
        _print_blocks(get_backbone_spec(pattern), as_json=as_json)
        return
    names = list_backbones(pattern)
    if pattern in names or not names:
        names = [pattern]  # a name that is not there is an error that shows the nearest
    records = [_describe(get_backbone_spec(name)) for name in names]
    if as_json:
        print_json(records)
    elif names == [pattern]:
        _print_record(records[0])
    else:
        lines = []
        for record in records:
            millions = [entry["n_parameters"] / 1e6 for entry in record["weights"][-1:]]
            lines.append(
                [
                    record["name"],
                    record["dim"],
                    record["input_size"],
                    *(millions or [None]),
                    ", ".join(
                        f"{entry['name']} {_format_top1(entry)}"
                        for entry in reversed(record["weights"])
                    ),
                ]
            )
        header = ["name", "dim", "input", "parameters (M)", "weights with top-1, default first"]
        print_table(header, lines)


def _print_blocks(spec: BackboneSpec, *, as_json: bool) -> None:
    from dataclasses import asdict

    from featx.backbones.blocks import list_blocks_of

    blocks = list_blocks_of(spec)
    if as_json:
        print_json([asdict(block) for block in blocks])
        return
    lines = [[n, block.name, block.n_parameters] for n, block in enumerate(blocks, 1)]
    print_table(["from the classifier", "block", "parameters"], lines)


def _describe(spec: BackboneSpec) -> dict[str, Any]:
    entries = [
        {
            "name": entry.name,
            "top1": entry.top1,
            "trained_on": entry.trained_on,
            "n_parameters": entry.n_parameters,
            "url": entry.url,
            "sha256_begins": entry.digest_prefix,
            "preprocess": entry.preprocess.describe(),
            "input_size": entry.preprocess.crop_size,
        }
        for entry in spec.list_weights()
    ]
    return {
        "name": spec.name,
        "dim": spec.dim,
        "input_size": entries[-1]["input_size"] if entries else None,
        "paper": spec.paper,
        "weights": entries,
    }


def _format_top1(entry: dict[str, Any]) -> str:
    """Write a published accuracy, and on what, where that is not ImageNet."""
    text = "not published" if math.isnan(entry["top1"]) else f"{entry['top1']:.1f} %"
    return text if entry["trained_on"] == "ImageNet-1K" else f"{text} on {entry['trained_on']}"


def _print_record(record: dict[str, Any]) -> None:
    print(f"{record['name']}: dim {record['dim']}, {record['paper']}")
    for entry in reversed(record["weights"]):
        print(f"\nweights {entry['name']}")
        millions = entry["n_parameters"] / 1e6
        print(f"  top-1 {_format_top1(entry)}, {millions:.2f} M parameters")
        print(f"  {entry['preprocess']}")
        print(f"  {entry['url'] or 'comes with featx'}")
        print(f"  SHA-256 begins with {entry['sha256_begins']}")
    if any(entry["url"] for entry in record["weights"]):
        print("\nOffline: put a file into a folder and name the folder in FEATX_WEIGHTS_DIR.")
    if not record["weights"]:
        print("\nNo weights are published: pass --weights FILE or random:SEED.")
