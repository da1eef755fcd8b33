"""featx fine-tune."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.advise import print_advice
from featx.cli.options import AsJson, Device, Embedding, Engine, WeightsNow, Workers
from featx.cli.printing import print_json, print_note, print_table
from featx.finetune.recipe import Recipe

if TYPE_CHECKING:
    from featx.finetune.result import TuningReport


def fine_tune(
    source: Annotated[
        list[Path], typer.Argument(help="What the cache was extracted from: folder, table, tars.")
    ],
    cache: Annotated[Path, typer.Option(help="The cache, with splits: featx split.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The tuned weights to write, .safetensors.")
    ],
    head: Annotated[
        Path | None, typer.Option(help="Fitted head to begin with.  [default: one is fitted]")
    ] = None,
    unfreeze: Annotated[
        str, typer.Option(help="Blocks, counted from the classifier; auto: as featx advise says.")
    ] = "auto",
    embedding: Embedding = None,
    split: Annotated[
        str | None, typer.Option(help="To compare on: val or test.  [default: val, else test]")
    ] = None,
    weights: WeightsNow = None,
    epochs: Annotated[int, typer.Option(help="At most.")] = Recipe.epochs,
    lr: Annotated[float, typer.Option(help="Learning rate of the topmost block.")] = Recipe.lr,
    lr_decay: Annotated[float, typer.Option(help="Of it, for each block below.")] = Recipe.lr_decay,
    optimizer: Annotated[str, typer.Option(help="adamw or sgd.")] = Recipe.optimizer,
    weight_decay: Annotated[
        float, typer.Option(help="Of matrices and kernels.")
    ] = Recipe.weight_decay,
    warmup: Annotated[
        float, typer.Option(help="Share of steps in which rates rise.")
    ] = Recipe.warmup,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = Recipe.batch_size,
    clip_norm: Annotated[
        float, typer.Option(help="Largest norm of the gradient.")
    ] = Recipe.clip_norm,
    label_smoothing: Annotated[
        float, typer.Option(help="Given to all classes alike.")
    ] = Recipe.label_smoothing,
    patience: Annotated[
        int, typer.Option(help="Epochs without a better holdout.")
    ] = Recipe.patience,
    views: Annotated[
        int, typer.Option(help="Augmented readings of each image; 0: images as they are.")
    ] = Recipe.views,
    train_batchnorm: Annotated[
        bool, typer.Option("--train-batchnorm", help="Let BatchNorm learn its statistics.")
    ] = False,
    precision: Annotated[
        str | None, typer.Option(help="fp32 or bf16.  [default: bf16 on a GPU that has it]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of holdout, order, views and dropout.")] = Recipe.seed,
    trunk: Annotated[
        Path | None,
        typer.Option(help="Where the trunk's output is kept.  [default: OUTPUT, .trunk.h5]"),
    ] = None,
    max_trunk: Annotated[
        float | None,
        typer.Option(min=0, help="GB that it may take; 0: run the trunk in each epoch."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="Write though another, dead, process seems to.")
    ] = False,
    engine: Engine = "auto",
    device: Device = "auto",
    workers: Workers = "auto",
    as_json: AsJson = False,
) -> None:
    """Let the top blocks of the cache's backbone go on learning, and see whether it helped.

    The frozen trunk runs once over every training image; each epoch runs the unfrozen blocks alone.
    Beside the tuned weights lie a head that belongs to them and the log of epochs. In the end the
    frozen head and the tuned model are compared on images that neither has seen.

    featx fine-tune photos/ --cache photos.h5 --head head.joblib --unfreeze 2 -o tuned.safetensors

    A run that was interrupted leaves OUTPUT.partial, and goes on with --resume.
    """
    from featx.finetune.tune import fine_tune as tune

    given: dict[str, Any] = dict(locals())
    recipe = Recipe(**{one.name: given[one.name] for one in fields(Recipe)})
    report = tune(
        source,
        cache,
        output,
        head=head,
        unfreeze=int(unfreeze) if unfreeze.isdecimal() else unfreeze,
        embedding=embedding,
        split=split,
        weights=weights,
        recipe=recipe,
        trunk=trunk,
        max_trunk_bytes=None if max_trunk is None else int(max_trunk * 1e9),
        resume=resume,
        overwrite=overwrite,
        break_lock=break_lock,
        engine=engine,
        device=device,
        workers=workers,
    )
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report)


def _print_report(report: TuningReport) -> None:
    if report.advice is not None:
        print_advice(report.advice)
        print()
    print(
        f"{report.backbone}: {', '.join(report.blocks)} unfrozen, {report.n_train} images to learn "
        f"from, {report.n_holdout} to stop by\n"
    )
    print_table(
        ["epoch", "train loss", "holdout loss", "holdout accuracy", "images/s", "seconds"],
        [
            [
                line.epoch,
                line.train_loss,
                line.holdout_loss,
                line.holdout_accuracy,
                round(line.images_per_s) if line.epoch else None,
                line.seconds if line.epoch else None,
            ]
            for line in report.history
        ],
    )
    train_s = sum(line.seconds for line in report.history)
    print(f"\nweights of epoch {report.best_epoch} kept, {train_s:.1f} s of training")
    if not report.best_epoch:
        print_note(
            "no epoch was better on the holdout than the head by more than a standard error: the "
            "network is as it was"
        )
    if report.stopped:
        print_note(f"stopped: {report.stopped}")
    if report.trunk_path is None:
        print_note(f"the trunk's output was not kept: {report.trunk_excess}")
    else:
        size = report.trunk_path.stat().st_size / 1e6
        print_note(
            f"the trunk's output is in {report.trunk_path} ({size:.0f} MB, "
            f"{report.trunk_s:.1f} s): the next run finds it there"
        )
    scores = report.scores
    print()
    print_table(
        ["model", f"accuracy on {report.split}", "from", "to"],
        [
            ["frozen head", scores.first, *scores.first_ci95],
            ["tuned", scores.second, *scores.second_ci95],
        ],
    )
    print(f"\n{report.verdict}")
