"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CacheArgument = Annotated[Path, typer.Argument(help="A file made by featx extract.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images run through the network at a time.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Threads that read and decode.  [default: one per core]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Embedding = Annotated[
    str | None, typer.Option(help="Which embedding, where the cache has several.")
]
WeightsNow = Annotated[str | None, typer.Option(help="Where the backbone's weights are now.")]
