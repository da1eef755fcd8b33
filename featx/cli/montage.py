"""featx montage."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from featx.cli.options import AsJson, ImageSource, choose
from featx.cli.printing import print_json, print_text
from featx.core.text import count_noun
from featx.core.typing import SplitChoice


def montage(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="CACHE|SOURCE", help="Cache, or folder of images, table or tars without one."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Sheet (.png, .jpg, .webp) or page (.html)."
        ),
    ],
    per_class: Annotated[
        int, typer.Option(min=1, metavar="N", help="Largest number of images of each class.")
    ] = 8,
    split: Annotated[
        SplitChoice | None, choose("split", SplitChoice, "Rows to choose from.  [default: all]")
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Ids of the rows to show, one a line or the column id of a CSV table; - reads "
            "standard input.",
        ),
    ] = None,
    source: ImageSource = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sample.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show images by class, or those of a list of rows, on one sheet or page.

    A page holds its images: it can be mailed, and it opens without a network.

    featx montage photos.h5 -o classes.png

    featx montage photos/ -o classes.html --split val --per-class 20

    featx montage photos.h5 -o mistakes.png --ids mistakes.csv
    """
    from featx.report.montage import montage as write_montage

    shown = write_montage(
        inputs,
        output,
        source=source or None,
        ids=None if ids is None else read_ids(ids),
        split=split,
        per_class=per_class,
        seed=seed,
    )
    if as_json:
        print_json(shown.to_dict())
        return
    classes = f" of {count_noun(shown.n_classes, 'class')}"
    missing = f", {shown.n_missing:,} of them without an image" if shown.n_missing else ""
    print_text(
        f"{shown.path}: {shown.n_shown:,} of {count_noun(shown.n_rows, 'row')}"
        f"{classes * (ids is None)}{missing}"
    )


def read_ids(file: str) -> list[str]:
    """Read ids, one a line, or the column ``id`` of a CSV table, such as featx writes.

    Parameters
    ----------
    file : str
        Path of the file; ``-`` for standard input.
    """
    import csv

    from featx.core.errors import FeatxError
    from featx.core.files import explain_reading
    from featx.core.text import unguard_cell
    from featx.images.sources.delimited import DELIMITERS, find_encoding

    try:
        if file == "-":
            text = sys.stdin.read()
        else:
            path = Path(file)
            with explain_reading(path, error=FeatxError):
                text = path.read_text(encoding=find_encoding(path))
    except UnicodeError as error:
        raise FeatxError(
            subject=file, expected="UTF-8 text", got=str(error), remedy="Save the list as UTF-8."
        ) from error
    lines = text.splitlines()
    headers = [next(csv.reader(lines[:1], delimiter=sign), []) for sign in DELIMITERS]
    for sign, header in zip(DELIMITERS, headers, strict=True):
        if "id" in header and len(header) == max(map(len, headers)):
            rows = csv.DictReader(lines, delimiter=sign)
            return [unguard_cell(row["id"]) for row in rows if row["id"]]
    return [line for line in lines if line]
