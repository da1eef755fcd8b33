"""featx plot."""

from pathlib import Path
from typing import Annotated

import typer

from featx.cli.options import AsJson, Embedding, choose, complete_from
from featx.cli.printing import print_json, print_text
from featx.core.typing import MapMethod, PlotKind, SplitChoice, find_choice, list_choices


def plot(
    kind: Annotated[
        PlotKind,
        typer.Argument(
            parser=lambda word: find_choice("kind", word, list_choices(PlotKind)),
            metavar="|".join(list_choices(PlotKind)),
            autocompletion=complete_from(lambda: list_choices(PlotKind)),
            help="Figure to draw.",
        ),
    ],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="HEAD CACHE for confusion, calibration and classes; CACHE for curve and map; the "
            "log of featx fine-tune for log. Several caches are one.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Figure to write: .pdf, .svg or .png."),
    ],
    split: Annotated[
        SplitChoice | None,
        choose(
            "split",
            SplitChoice,
            "Rows to draw.  [default: val, or test without val; train for curve; all for map]",
        ),
    ] = None,
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize", help="Write shares of the true class in place of rows (confusion)."
        ),
    ] = False,
    method: Annotated[
        MapMethod | None,
        choose("method", MapMethod, "Method that arranges the rows (map).  [default: pca]"),
    ] = None,
    max_rows: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Largest number of rows; of more, a random sample (map).  [default: all for pca, "
            "5,000 for tsne, 10,000 for umap]",
        ),
    ] = None,
    embedding: Embedding = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Seed of the folds or of the map (curve, map).  [default: 0]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a figure for a paper: PDF, SVG or PNG.

    confusion is the confusion matrix of a head, classes the recall of each class, and calibration
    how often the head is right where it claims to be sure, all with 95 % intervals. curve is the
    accuracy by the number of labelled rows, map the rows in two dimensions, and log the training
    log of featx fine-tune. It needs the extra plot; --method umap needs the extra umap.

    featx plot confusion head.joblib photos.h5 -o confusion.pdf

    featx plot map photos.h5 --method tsne -o map.svg

    featx plot log tuned.log.csv -o log.png
    """
    from featx.report.plot import plot as write_plot

    drawn = write_plot(
        kind,
        inputs,
        output,
        split=split,
        normalize=normalize or None,
        method=method,
        max_rows=max_rows,
        embedding=embedding,
        seed=seed,
    )
    if as_json:
        print_json(drawn.to_dict())
        return
    print_text(f"{drawn.path}: {drawn.title}")
