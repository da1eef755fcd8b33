"""featx fit-head."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.options import (
    AsJson,
    CacheArgument,
    ClassWeights,
    Embeddings,
    HeadScaling,
    choose,
    parse_count,
    parse_strength,
)
from featx.cli.printing import (
    format_held_out,
    format_joined,
    format_params,
    print_json,
    print_table,
    print_text,
)
from featx.cli.records import describe_head
from featx.core.typing import SplitChoice
from featx.heads.kinds import AUTO, KINDS

if TYPE_CHECKING:
    from featx.heads.evaluate import CrossValidation


KIND_HELP = ", ".join(f"{kind.name} ({kind.title})" for kind in KINDS)


def fit_head(
    cache: CacheArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="HEAD", help="Head to write, .joblib.")
    ],
    kind: Annotated[
        str | None,
        choose(
            "kind",
            [*(kind.name for kind in KINDS), AUTO],
            f"Kind of head: {KIND_HELP}; auto compares them.  [default: {KINDS[0].name}]",
        ),
    ] = None,
    split: Annotated[
        SplitChoice | None,
        choose("split", SplitChoice, "Rows to fit on.  [default: train, or all without splits]"),
    ] = None,
    embedding: Embeddings = None,
    C: Annotated[
        float | None,
        typer.Option(
            "--C",
            parser=parse_strength,
            metavar="auto|C",
            help="Inverse regularisation strength, or the strength of the kind; auto: chosen by "
            "cross-validation.  [default: auto]",
        ),
    ] = None,
    cv: Annotated[
        Any,
        typer.Option(
            parser=parse_count,
            metavar="auto|N",
            help="Number of folds, 3 at least; auto: 5, more for few rows.",
        ),
    ] = "auto",
    class_weight: ClassWeights = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Recorded column that holds a number to predict; given several times, a column "
            "for each class.  [default: the labels]",
        ),
    ] = None,
    several: Annotated[
        bool,
        typer.Option("--several", help="Images can have several classes: labels such as ant;bee."),
    ] = False,
    scaling: HeadScaling = None,
    pca: Annotated[
        int | None,
        typer.Option(metavar="N", help="Principal components to read.  [default: all channels]"),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="HEAD",
            help="Head of fewer rows: use its kind and options, search near its C.",
        ),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(metavar="N", help="Dealings of the folds to average the held-out score over."),
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the folds.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the existing output.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fit a scikit-learn head on the embeddings of a cache.

    featx fit-head photos.h5 -o head.joblib --kind logreg

    featx fit-head photos.h5 -o two.joblib --embedding resnet50 --embedding vgg16

    featx fit-head photos.h5 -o price.joblib --target price
    """
    from featx.cli.targets import print_target_head
    from featx.fitting.fit import fit_head as fit
    from featx.heads.target_head import TargetHead

    head = fit(
        cache,
        output,
        kind=kind,
        split=split,
        embedding=embedding or None,
        C="auto" if C is None else C,
        cv=cv,
        class_weight=class_weight,
        target=target and (target if len(target) > 1 else target[0]),
        several=several,
        scaling=scaling,
        pca=pca,
        previous=previous,
        repeats=repeats,
        seed=seed,
        overwrite=overwrite,
    )
    if as_json:
        print_json(describe_head(output, head))
        return
    if isinstance(head, TargetHead):
        print_target_head(output, head)
        return
    fitted = head.fitted_on
    described = ", ".join(filter(None, [head.kind, format_params(head)]))
    print_text(
        f"{output}: {described}, {len(head.classes)} classes, "
        f"{fitted.n_rows} rows (split {fitted.split}){format_joined(head)}"
    )
    if held_out := format_held_out(head):
        print_text(f"held-out {held_out}")
    if head.cross_validation is not None and head.cross_validation.compared:
        print_compared(head.cross_validation)


def print_compared(held_out: "CrossValidation") -> None:
    """Print the kinds that were compared on the same folds, and whether one is better."""
    from featx.heads.gains import ALPHA

    print_text()
    print_table(
        ["kind", f"held-out {held_out.measure.replace('_', ' ')}", "p"],
        [[one.kind, one.score, one.p_value] for one in held_out.compared],
    )
    first, *others = held_out.compared
    apart = [
        one.kind
        for one in others
        if one.p_value is not None and one.p_value < ALPHA and one.score < first.score
    ]
    if len(apart) == len(others):
        verdict = f"{first.kind} is better than all others"
    else:
        alike = [one.kind for one in others if one.kind not in apart]
        verdict = f"{first.kind} cannot be told from {', '.join(alike)}"
    print_text(f"\n{verdict} (by signs of rows or units, corrected for {len(others)} comparisons)")
