"""A cache, its source and a head make a fine-tuned backbone with a head of its own."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Unpack

import numpy as np

from featx.backbones.backbone import Backbone
from featx.backbones.metadata import WeightsMetadata
from featx.cache.lock import CacheLock
from featx.cache.reader import Cache, open_cache
from featx.core.errors import TuningError
from featx.core.files import check_destination, explain_errors
from featx.core.typing import PathLike
from featx.embedding.embed import find_decode, restore_backbone
from featx.embedding.options import RunOptions, SharedRunKeywords
from featx.engines.choose import check_precision, choose_device
from featx.finetune.advise import Advice, advise
from featx.finetune.cut import CutNetwork, cut_backbone
from featx.finetune.paths import Paths
from featx.finetune.recipe import Recipe
from featx.finetune.result import TuningReport, build_classifier, build_pair, compare, save_weights
from featx.finetune.space import describe_excess
from featx.finetune.task import Task
from featx.finetune.train import LOG, Training
from featx.finetune.trunk import KeptFeatures, LiveFeatures, TrunkRun
from featx.heads.head import Head
from featx.heads.linear import fold_linear

Array = np.ndarray[Any, Any]


def fine_tune(
    source: PathLike | Sequence[PathLike],
    cache: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    head: str | os.PathLike[str] | Head | None = None,
    unfreeze: int | str = "auto",
    embedding: str | None = None,
    split: str | None = None,
    weights: str | None = None,
    recipe: Recipe | None = None,
    trunk: str | os.PathLike[str] | None = None,
    max_trunk_bytes: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    break_lock: bool = False,
    **run: Unpack[SharedRunKeywords],
) -> TuningReport:
    """Let the top blocks of a cache's backbone go on learning, from a fitted head on.

    The frozen trunk below them runs once over every training image; its output is kept in a file,
    and each epoch runs the unfrozen blocks alone. A part of the split train is held out to say when
    to stop. In the end the frozen head and the tuned model are compared on rows that neither has
    seen.

    Parameters
    ----------
    source : path or sequence of paths
        What the cache was extracted from.
    cache : path
        With labels, a split ``train``, and ``val`` or ``test``.
    output : path
        Tuned weights, ``.safetensors``; beside them are put a head (``.joblib``) and the log of
        epochs (``.log.csv``). Unfinished work lies in ``OUTPUT.partial``.
    head : path or Head, optional
        To begin with, and to compare with. Default: one is fitted.
    unfreeze : int or "auto"
        How many blocks, counted from the classifier; ``"auto"``: as `featx.advise` says.
    embedding : str, optional
        Which one, where the cache has several.
    split : str, optional
        To compare on. Default: ``val``, or ``test`` where there is none.
    weights : str, optional
        Where the backbone's weights are now. Default: where the cache had them from.
    recipe : Recipe, optional
        How to train.
    trunk : path, optional
        Where the trunk's output is kept, and found again by the next run. Default: beside the
        output, ``.trunk.h5``.
    max_trunk_bytes : int, optional
        What it may take; more, and the trunk is run in each epoch. Default: half of the free disk,
        and of the free memory for one view.
    resume : bool
        Go on with a run that was interrupted. On a CPU the result is that of an undisturbed run.
    overwrite : bool
        Replace what is at the output, and drop an unfinished run.
    break_lock : bool
        Write although another process seems to: only if it is dead.
    **run
        Options that change the speed, not the result: see `featx.RunOptions`. All of them except
        ``batch_size``.

    Returns
    -------
    TuningReport

    Raises
    ------
    TuningError
        If the blocks cannot be parted, the source is another, an unfinished run is in the way, or
        ``auto`` finds that it would not pay.
    HeadError
        If the head is none that one layer of a network can stand for.
    CacheLockedError
        If another process tunes to the same output.
    CacheError, FingerprintError, SourceError, WeightsError, DeviceError
        If a part that is needed cannot be had.
    """
    recipe = recipe or Recipe()
    paths = Paths.build(output, trunk)
    options = RunOptions(**run)
    place = _choose_place(options.device, recipe)
    check_destination(paths.output, overwrite=True, error=TuningError)
    with CacheLock(paths.output, break_lock=break_lock), open_cache(cache) as opened:
        sources = [source] if isinstance(source, str | os.PathLike) else list(source)
        heads = [head] if isinstance(head, str | os.PathLike) else []
        paths.check([opened.path, *sources, *heads], overwrite=overwrite, resume=resume)
        task = Task.build(opened, source, head, embedding, split, recipe, options.progress)
        unfreeze, advice = _settle_blocks(opened, unfreeze, task.name, recipe.seed)
        info = opened.get_info(task.name)
        backbone = restore_backbone(
            info.fingerprint, info.provenance.origin, subject=str(cache), weights=weights
        )
        paths.check_apart([backbone.origin.weights])
        cut = cut_backbone(backbone, unfreeze)
        trunk_run = TrunkRun(
            cut.trunk,
            opened.source,
            task.entries,
            task.digests,
            options,
            info.fingerprint.precision,
            find_decode(info.fingerprint),
            recipe.seed,
        )
        excess = describe_excess(trunk_run, paths.trunk, recipe.views, max_trunk_bytes)
        kept = None if excess else KeptFeatures(trunk_run, paths.trunk, recipe.views)
        # What it refuses, it refuses before the trunk is run.
        training = Training(
            cut,
            build_classifier(task.start),
            kept or LiveFeatures(trunk_run),
            task.examples,
            recipe,
            device=place,
            folder=paths.folder,
            plan=_plan(backbone, cut, task),
        )
        start = time.perf_counter()
        if kept is not None:
            kept.fill(break_lock=break_lock)
        trunk_s = time.perf_counter() - start
        paths.folder.mkdir(exist_ok=True)
        start = time.perf_counter()
        training.run(resume=resume, progress=options.progress)
        train_s = time.perf_counter() - start
        if training.best_epoch == 0:  # the head itself then, with all its rows
            training.classifier.load_state_dict(build_classifier(task.head.estimator).state_dict())
        metadata = _describe(backbone, cut, task, training)
        # The very file that is compared, but for what the comparison found.
        draft = paths.folder / paths.output.name
        save_weights(draft, cut.network, training.classifier, metadata)
        tuned, tuned_head = build_pair(draft, paths.output, training.classifier, task)
        scores = compare(opened, task, tuned, tuned_head, trunk_run)
        metadata = replace(metadata, scores=scores.to_dict())
        save_weights(paths.output, cut.network, training.classifier, metadata)
        tuned_head.save(paths.head, overwrite=True)
        with explain_errors(paths.log, error=TuningError):
            os.replace(paths.folder / LOG, paths.log)
        shutil.rmtree(paths.folder)
    return TuningReport(
        path=paths.output,
        head_path=paths.head,
        log_path=paths.log,
        backbone=backbone.name,
        blocks=tuple(block.name for block in cut.blocks),
        n_train=len(task.examples.train),
        n_holdout=len(task.examples.holdout),
        history=tuple(training.history),
        best_epoch=training.best_epoch,
        stopped=training.stopped,
        split=task.split,
        scores=scores,
        advice=advice,
        trunk_path=None if excess else paths.trunk,
        trunk_excess=excess,
        trunk_s=trunk_s,
        train_s=train_s,
    )


def _settle_blocks(
    cache: Cache, unfreeze: int | str, embedding: str, seed: int
) -> tuple[int, Advice | None]:
    """Decide how many blocks: those asked for, or those that pay."""
    if isinstance(unfreeze, int):
        return unfreeze, None
    if unfreeze != "auto":
        raise TuningError(
            f"unfreeze: expected a number of blocks or auto, got {unfreeze!r}. Pass --unfreeze 1."
        )
    advice = advise(cache, embedding=embedding, seed=seed)
    if not advice.unfreeze:
        raise TuningError(
            f"{cache.path}: expected data that can pay for fine-tuning, got advice to stay frozen. "
            f"{' '.join(advice.reasons)} Pass --unfreeze 1 to tune all the same."
        )
    return advice.unfreeze, advice


def _choose_place(device: str, recipe: Recipe) -> str:
    """Decide where training runs: one device, though the trunk may take several."""
    place = choose_device(device)
    place = "cuda:0" if place == "cuda" else place
    if recipe.precision == "bf16" and not place.startswith("cuda"):
        raise TuningError(
            f"precision bf16 on {place}: expected a GPU, got a device on which PyTorch trains more "
            "slowly in it. Leave it out."
        )
    if recipe.precision is not None:
        check_precision(recipe.precision, "torch", place)
    return place


def _plan(backbone: Backbone, cut: CutNetwork, task: Task) -> dict[str, Any]:
    """Name all that decides what comes out, beside the recipe; a run goes on only with the same."""
    return {
        "backbone": backbone.name,
        "weights": backbone.weights_digest,
        "preprocessing": dict(backbone.preprocess.identify()),
        "blocks": [block.name for block in cut.blocks],
        "classes": task.head.classes.tolist(),
        "images": _digest(np.array(task.digests)),
        "labels": _digest(task.examples.y),
        "holdout": _digest(task.examples.holdout),
        "head": _digest(*fold_linear(task.start)),
    }


def _digest(*arrays: Array) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _describe(
    backbone: Backbone, cut: CutNetwork, task: Task, training: Training
) -> WeightsMetadata:
    """Describe how the weights were made."""
    best = training.history[training.best_epoch]
    return WeightsMetadata(
        backbone=backbone.name,
        preprocess_from=backbone.origin.preprocess_from,
        size=backbone.origin.size,
        classes=tuple(task.head.classes.tolist()),
        from_weights=backbone.origin.weights,
        from_weights_digest=backbone.weights_digest,
        blocks=tuple(block.name for block in cut.blocks),
        recipe=asdict(training.recipe),
        precision=training.learner.precision,
        device=str(training.device),
        n_train=len(task.examples.train),
        n_holdout=len(task.examples.holdout),
        best_epoch=training.best_epoch,
        holdout_loss=best.holdout_loss,
        holdout_accuracy=best.holdout_accuracy,
        stopped=training.stopped,
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions={name: importlib.metadata.version(name) for name in ("featx", "torch")},
    )
