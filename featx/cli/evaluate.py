"""featx evaluate."""

from typing import Annotated

from featx.cli.options import AsJson, CacheArgument, Embedding, HeadArgument, choose
from featx.cli.printing import format_accuracy, print_json, print_note, print_table
from featx.core.typing import SplitChoice


def evaluate(
    head: HeadArgument,
    cache: CacheArgument,
    split: Annotated[
        SplitChoice | None,
        choose("split", SplitChoice, "Rows to score.  [default: val, or test without val]"),
    ] = None,
    embedding: Embedding = None,
    as_json: AsJson = False,
) -> None:
    """Score a head on the labelled rows of a cache.

    featx evaluate head.joblib photos.h5 --split val
    """
    from featx.fitting.evaluate import evaluate as evaluate_head

    scores = evaluate_head(head, cache, split=split, embedding=embedding)
    if scores.n_seen:
        print_note(
            f"{scores.n_seen} of {scores.n_rows} rows were used to fit the head: "
            "their scores are too high"
        )
    if scores.n_unknown:
        print_note(f"{scores.n_unknown} rows have a class that the head does not know")
    if as_json:
        print_json(scores.to_dict())
        return
    print(f"accuracy           {format_accuracy(scores)}, {scores.n_rows} rows")
    print(f"balanced accuracy  {scores.balanced_accuracy:.3f}")
    print(f"macro F1           {scores.macro_f1:.3f}")
    if scores.log_loss is not None:
        print(f"log loss           {scores.log_loss:.3f}")
    print()
    print_table(
        ["class", "rows", "precision", "recall", "F1"],
        [[c.label, c.n_rows, c.precision, c.recall, c.f1] for c in scores.per_class],
    )
    print()
    lines = [[name, *line] for name, line in zip(scores.classes, scores.confusion, strict=True)]
    print_table(["true \\ predicted", *scores.classes], lines)
