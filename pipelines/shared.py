"""Where the pipelines find the photos and weights that lie beside the project."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

DEFAULT = Path(os.environ.get("FEATX_SHARED", Path(__file__).parents[2] / "shared"))
"""The folder with ``data/`` and ``weights/``: ``FEATX_SHARED``, else beside the project."""


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """Build a parser with the option that all pipelines take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data",
        type=Path,
        default=DEFAULT,
        help="folder with data/ and weights/ (default: the folder that FEATX_SHARED names, else "
        "one named shared beside the clone)",
    )
    return parser


def check_there(path: Path) -> Path:
    """Return a path that is there; otherwise end with one line."""
    if not path.exists():
        sys.exit(f"{path}: expected the shared photos and weights, got nothing. Pass --data DIR.")
    return path
