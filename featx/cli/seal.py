"""featx seal."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from featx.cli.options import AsJson
from featx.cli.printing import print_json, print_text


def seal(
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Cache written by featx extract.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what differs, and seal nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Accept a cache that another program has changed, and seal it anew.

    First shows which parts of the file lie in blocks of 64 KiB that differ from what was sealed.
    No program can tell a wanted change from damage: seal only what you changed.

    featx seal photos.h5 --dry-run

    featx seal photos.h5
    """
    from featx.cache.vouch import seal_after

    def show(changes: tuple[str, ...]) -> None:
        if as_json:
            return
        print_text(f"{cache}: {'differs from what was sealed' if changes else 'nothing differs'}")
        for line in changes:
            print_text(f"  {line}")

    report = seal_after(cache, show, dry_run=dry_run)
    if as_json:
        record = asdict(report)
        record["cache"] = record.pop("path")
        print_json(record)
    elif report.is_sealed:
        print_text(f"sealed anew, digest {report.digest}")
    elif report.changes:
        print_text("nothing was sealed")
