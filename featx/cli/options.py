"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from featx.core.typing import Count, EngineName


def parse_count(text: str) -> Count:
    """Read a number of at least 1, or ``auto``."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"expected auto or a number of at least 1, got {text!r}.")
    return int(text)


def parse_strength(text: str) -> float | None:
    """Read a number; ``auto`` is None."""
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"expected auto or a number, got {text!r}.") from None


def _count(text: str) -> Any:
    """Build an option with the default ``auto``."""
    return typer.Option(parser=parse_count, metavar="auto|N", help=text)


CacheArgument = Annotated[Path, typer.Argument(help="Cache written by featx extract.")]
HeadArgument = Annotated[Path, typer.Argument(help="Head written by featx fit-head.")]
Engine = Annotated[EngineName, typer.Option(help="Engine that runs the network.")]
Device = Annotated[
    str,
    typer.Option(help="Device: auto, cpu, cuda (all GPUs, experimental), cuda:N (one GPU) or mps."),
]
BatchSize = Annotated[Any, _count("Number of images per batch.")]
Workers = Annotated[Any, _count("Number of threads that read and decode.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Embedding = Annotated[
    str | None, typer.Option(help="Name of the embedding; needed only if the cache has several.")
]
WeightsNow = Annotated[
    str | None, typer.Option(help="Current path of the backbone's weights, if they were moved.")
]
