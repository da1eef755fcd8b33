"""featx fit-head."""

from pathlib import Path
from typing import Annotated

import typer

from featx.cli.options import AsJson, CacheArgument, Embedding, choose, parse_strength
from featx.cli.printing import format_held_out, format_params, print_json, print_text
from featx.cli.records import describe_head
from featx.core.typing import SplitChoice
from featx.heads.class_weights import ClassWeighting
from featx.heads.kinds import KINDS

KIND_HELP = " or ".join(f"{kind.name} ({kind.title})" for kind in KINDS)


def fit_head(
    cache: CacheArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="HEAD", help="Head to write, .joblib.")
    ],
    kind: Annotated[
        str, choose("kind", [kind.name for kind in KINDS], f"Kind of head: {KIND_HELP}.")
    ] = KINDS[0].name,
    split: Annotated[
        SplitChoice | None,
        choose("split", SplitChoice, "Rows to fit on.  [default: train, or all without splits]"),
    ] = None,
    embedding: Embedding = None,
    C: Annotated[
        float | None,
        typer.Option(
            "--C",
            parser=parse_strength,
            metavar="auto|C",
            help="Inverse regularisation strength; auto: chosen by cross-validation.  "
            "[default: auto]",
        ),
    ] = None,
    cv: Annotated[
        int, typer.Option(min=2, metavar="N", help="Number of folds of the cross-validation.")
    ] = 5,
    class_weight: Annotated[
        ClassWeighting | None,
        choose("class_weight", ClassWeighting, "balanced: weigh all classes equally."),
    ] = None,
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
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the folds.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the existing output.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fit a scikit-learn head on the embeddings of a cache.

    featx fit-head photos.h5 -o head.joblib --kind logreg

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
        embedding=embedding,
        C="auto" if C is None else C,
        cv=cv,
        class_weight=class_weight,
        target=target and (target if len(target) > 1 else target[0]),
        several=several,
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
    params = format_params(head)
    print_text(
        f"{output}: {kind}, {params}, {len(head.classes)} classes, "
        f"{fitted.n_rows} rows (split {fitted.split})"
    )
    if held_out := format_held_out(head):
        print_text(f"held-out {held_out}")
