"""featx fine-tune."""

import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.advise import print_advice
from featx.cli.options import (
    AsJson,
    Device,
    Embedding,
    Engine,
    Register,
    WeightsNow,
    Workers,
    choose,
)
from featx.cli.printing import print_json, print_note, print_table, print_text
from featx.cli.records import describe_advice, rename_keys
from featx.cli.register import register_networks
from featx.core.address import name_caches
from featx.core.typing import HeldOutSplit, OptimizerName, TrainPrecision
from featx.finetune.recipe import Recipe

if TYPE_CHECKING:
    from featx.finetune.report import TuningReport
    from featx.heads.compare import PairedScores


TRAINING = "Training"
TRUNK = "Trunk and interrupted runs"

MAX_EPOCHS = 24
"""Largest number of epochs of which each is printed."""

MAX_CLASSES = 12
"""Largest number of classes whose recalls are printed."""


def _train(metavar: str, text: str) -> Any:
    """Build an option of the recipe that takes a number."""
    return typer.Option(metavar=metavar, help=text, rich_help_panel=TRAINING)


def fine_tune(
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            help="Source that the cache was extracted from: a folder, a table or tars.",
        ),
    ],
    cache: Annotated[
        list[Path],
        typer.Option(metavar="CACHE", help="Cache with labels and splits; may be repeated."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Tuned weights to write, .safetensors."
        ),
    ],
    head: Annotated[
        Path | None,
        typer.Option(metavar="HEAD", help="Fitted head to begin with.  [default: fit one]"),
    ] = None,
    unfreeze: Annotated[
        str,
        typer.Option(
            metavar="auto|N",
            help="Number of blocks to train, counted from the classifier; auto follows the advice "
            "of featx advise.",
        ),
    ] = "auto",
    embedding: Embedding = None,
    split: Annotated[
        HeldOutSplit | None,
        choose("split", HeldOutSplit, "Split to compare on.  [default: val, else test]"),
    ] = None,
    weights: WeightsNow = None,
    epochs: Annotated[
        int | None,
        _train("N", "Number of epochs.  [default: 10, or as many as make 400 steps]"),
    ] = Recipe.epochs,
    lr: Annotated[float, _train("RATE", "Largest learning rate of the topmost block.")] = Recipe.lr,
    lr_decay: Annotated[
        float, _train("FACTOR", "Learning rate of a block, relative to the block above it.")
    ] = Recipe.lr_decay,
    optimizer: Annotated[
        OptimizerName,
        choose("optimizer", OptimizerName, "Optimizer that updates the weights.", section=TRAINING),
    ] = Recipe.optimizer,
    weight_decay: Annotated[
        float,
        _train(
            "NUMBER",
            "Weight decay of matrices and kernels; with adam and sgd, an L2 penalty in gradients.",
        ),
    ] = Recipe.weight_decay,
    warmup: Annotated[
        float, _train("SHARE", "Share of all steps in which the learning rates rise, up to 0.5.")
    ] = Recipe.warmup,
    train_batch_size: Annotated[
        int, _train("N", "Number of images in one training step.")
    ] = Recipe.train_batch_size,
    clip_norm: Annotated[
        float, _train("NUMBER", "Largest norm of the gradient.")
    ] = Recipe.clip_norm,
    label_smoothing: Annotated[
        float, _train("SHARE", "Share of each label that is spread over all classes.")
    ] = Recipe.label_smoothing,
    patience: Annotated[
        int | None,
        _train(
            "N",
            "Epochs without improvement on the holdout after which training ends, counted from "
            "where rates have fallen to a third.  [default: all epochs are run]",
        ),
    ] = Recipe.patience,
    views: Annotated[
        int,
        _train("N", "Augmented views of each image; 0 trains on the images as they are."),
    ] = Recipe.views,
    train_batchnorm: Annotated[
        bool,
        typer.Option(
            "--train-batchnorm",
            help="Update the statistics of BatchNorm layers.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    precision: Annotated[
        TrainPrecision | None,
        choose(
            "precision",
            TrainPrecision,
            "Arithmetic of training.  [default: bf16 on a GPU that supports it, else fp32]",
            section=TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int, _train("N", "Seed of the holdout, the order, the views and dropout.")
    ] = Recipe.seed,
    trunk: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Cache for the output of the trunk.  [default: OUTPUT, .trunk.h5]",
            rich_help_panel=TRUNK,
        ),
    ] = None,
    max_trunk_gb: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="GB",
            help="Largest size of the output of the trunk in gigabytes; 0 runs the trunk in each "
            "epoch.  [default: half of the free disk and memory]",
            rich_help_panel=TRUNK,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue an interrupted run; a finished one is left as it is.",
            rich_help_panel=TRUNK,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace the output, and drop an unfinished run.",
            rich_help_panel=TRUNK,
        ),
    ] = False,
    break_lock: Annotated[
        bool,
        typer.Option(
            "--break-lock", help="Take over the lock of a dead process.", rich_help_panel=TRUNK
        ),
    ] = False,
    engine: Engine = "auto",
    device: Device = "auto",
    workers: Workers = "auto",
    register: Register = None,
    as_json: AsJson = False,
) -> None:
    """Train the top blocks of a network, and measure whether that helped.

    The network is that of the cache. The frozen trunk below its top blocks runs once over every
    training image; each epoch runs the top blocks alone. A head that belongs to the tuned weights
    and the log of epochs are written beside them. In the end, the frozen head and the tuned model
    are compared on images that neither has seen.

    featx fine-tune photos/ --cache photos.h5 -o tuned.safetensors

    An interrupted run leaves OUTPUT.partial; --resume continues it.
    """
    register_networks(register)
    from featx.finetune.tune import fine_tune as tune

    given: dict[str, Any] = dict(locals())
    report = tune(
        source,
        cache,
        output,
        head=head,
        unfreeze=int(unfreeze) if unfreeze.isdecimal() else unfreeze.lower(),
        embedding=embedding,
        split=split,
        weights=weights,
        recipe=Recipe(**{number.name: given[number.name] for number in fields(Recipe)}),
        trunk=trunk,
        max_trunk_gb=max_trunk_gb,
        resume=resume,
        overwrite=overwrite,
        break_lock=break_lock,
        engine=engine,
        device=device,
        workers=workers,
    )
    if as_json:
        record = rename_keys(
            report.to_dict(),
            path="weights",
            head_path="head",
            log_path="log",
            trunk_path="trunk",
            scores="comparison",
            advice="estimate",
        )
        estimate = None if report.advice is None else describe_advice(report.advice)
        print_json({"cache": name_caches(cache), **record, "estimate": estimate})
    else:
        _print_report(report)


def _print_report(report: "TuningReport") -> None:
    if report.advice is not None:
        print_advice(report.advice)
        print_text()
    print_text(
        f"{report.backbone}: {', '.join(report.blocks)} unfrozen, {report.n_train} images to learn "
        f"from, {report.n_holdout} to decide when to stop"
    )
    print_text(f"{report.schedule}\n")
    measure = report.scores.measure.replace("_", " ")
    every = math.ceil(len(report.history) / MAX_EPOCHS)
    print_table(
        ["epoch", "train loss", "holdout loss", f"holdout {measure}", "images/s", "seconds"],
        [
            [
                line.epoch,
                line.train_loss,
                line.holdout_loss,
                line.get_score(report.scores.measure),
                round(line.images_per_s) if line.epoch else None,
                line.seconds if line.epoch else None,
            ]
            for line in report.history
            if line.epoch % every == 0 or line.epoch in (report.best_epoch, len(report.history) - 1)
        ],
    )
    if every > 1:
        print_text(f"(one epoch of {every}; all are in {report.log_path})")
    train_s = sum(line.seconds for line in report.history)
    print_text(f"\nkept the weights of epoch {report.best_epoch}; {train_s:.1f} s of training")
    if not report.best_epoch:
        print_note(
            "the network was not better than the head on the holdout for certain: "
            "the tuned weights are those of the frozen network"
        )
    if report.stopped:
        print_note(f"stopped: {report.stopped}")
    if report.trunk_excess:
        print_note(f"the output of the trunk was not kept: {report.trunk_excess}")
    elif report.trunk_path is not None:
        size = report.trunk_path.stat().st_size / 1e6
        print_note(
            f"the output of the trunk is in {report.trunk_path} ({size:.0f} MB, "
            f"{report.trunk_s:.1f} s); the next run reads it again"
        )
    print_text()
    _print_scores(report.scores, report.split, measure)
    print_text(f"\n{report.verdict}")


def _print_scores(scores: "PairedScores", split: str, measure: str) -> None:
    """Print both scores of both models, and the recalls of the classes unless there are many."""
    intervals = (scores.first_ci95, scores.second_ci95)
    names = ("frozen head", "tuned")
    print_table(
        ["model", f"accuracy on {split}", "balanced accuracy", f"95 % interval of {measure}"],
        [
            [name, accuracy, balanced, f"{low:.3f} to {high:.3f}"]
            for name, accuracy, balanced, (low, high) in zip(
                names, scores.accuracies, scores.balanced_accuracies, intervals, strict=True
            )
        ],
    )
    if len(scores.per_class) <= MAX_CLASSES:
        print_text()
        print_table(
            ["class", "rows", *(f"recall, {name}" for name in names)],
            [[one.label, one.n_rows, one.first, one.second] for one in scores.per_class],
        )
