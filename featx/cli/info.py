"""featx info."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.options import AsJson
from featx.cli.printing import print_json, print_table
from featx.core.errors import WeightsError

if TYPE_CHECKING:
    from featx.cache.reader import Cache


FAILURE_COLUMNS = ("path", "lacks", "stage", "reason")


def info(
    cache: Annotated[
        Path, typer.Argument(help="Cache written by featx extract, or weights by featx fine-tune.")
    ],
    failures: Annotated[
        bool,
        typer.Option(
            "--failures",
            help="List the images that failed in the last extraction, also if it was refused.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the content of a cache (rows, labels, splits, failures), or the origin of tuned weights.

    featx info photos.h5

    featx info tuned.safetensors
    """
    from featx.cache.reader import open_cache

    if cache.suffix == ".safetensors":
        _print_weights(cache, as_json=as_json)
        return
    failed = _list_failures(cache) if failures else []
    if failures and not as_json:
        print_table(FAILURE_COLUMNS, failed)
        return
    summary: dict[str, Any] = {}
    if cache.exists() or not failures:  # a refused extraction leaves failures without a cache
        with open_cache(cache) as opened:
            summary = _summarise(opened)
    if as_json:
        listed = [dict(zip(FAILURE_COLUMNS, line, strict=True)) for line in failed]
        print_json(summary | ({"failures": listed} if failures else {}))
    else:
        _print_summary(summary)


def _list_failures(cache: Path) -> list[list[str]]:
    from featx.extraction.ledger import read_failures

    return [[f.path, f.embedding or "all", f.stage, f.reason] for f in read_failures(cache)]


def _print_weights(path: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    from featx.backbones.metadata import read_metadata

    metadata = read_metadata(path)
    if metadata is None:
        raise WeightsError(
            subject=str(path),
            expected="weights written by featx.fine_tune",
            got="weights without its metadata",
            remedy="Pass tuned weights, or a cache.",
        )
    fields = asdict(metadata)
    if as_json:
        print_json(fields)
        return
    for key, value in fields.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {part}" for name, part in value.items())
        elif isinstance(value, tuple):
            value = ", ".join(map(str, value))
        print(f"{key:20} {value}")


def _summarise(cache: "Cache") -> dict[str, Any]:
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
