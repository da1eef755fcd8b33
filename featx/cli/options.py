"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from featx.core.typing import EngineName


def parse_count(text: str) -> int | None:
    """Read a number, or auto, which is None."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"expected auto or a number of at least 1, got {text!r}.")
    return int(text)


def _count(text: str) -> Any:
    """Build an option whose default is auto."""
    return typer.Option(parser=parse_count, metavar="auto|N", help=f"{text}  [default: auto]")


CacheArgument = Annotated[Path, typer.Argument(help="A file made by featx extract.")]
HeadArgument = Annotated[Path, typer.Argument(help="A file made by featx fit-head.")]
Engine = Annotated[EngineName, typer.Option(help="Engine that runs the network.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda (all GPUs), cuda:N (one) or mps.")]
BatchSize = Annotated[int | None, _count("Images run through the network at a time.")]
Workers = Annotated[int | None, _count("Threads that read and decode.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Embedding = Annotated[
    str | None, typer.Option(help="Which embedding, where the cache has several.")
]
WeightsNow = Annotated[str | None, typer.Option(help="Where the backbone's weights are now.")]
