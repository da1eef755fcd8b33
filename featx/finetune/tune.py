"""A cache, its source and a head make a fine-tuned backbone with a head of its own."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from featx.backbones.backbone import PENULTIMATE, Backbone
from featx.backbones.records import recall_backbone
from featx.backbones.registry import get_backbone_spec
from featx.backbones.weights import RECORD
from featx.cache.reader import Cache, open_cache
from featx.embedding import build_fingerprint, find_decode, restore_backbone
from featx.engines.choose import check_precision, choose_device
from featx.errors import TuningError
from featx.files import check_destination, explain_errors, name_partial, replace_file
from featx.finetune.advise import Advice, advise
from featx.finetune.recipe import Recipe
from featx.finetune.train import LOG, Epoch, Examples, Training
from featx.finetune.trunk import (
    CutNetwork,
    KeptFeatures,
    LiveFeatures,
    TrunkRun,
    cut_backbone,
    describe_excess,
)
from featx.fitting import ORIGIN, choose_evaluated, find_comparable, fit_head
from featx.heads.compare import PairedScores, compare_predictions
from featx.heads.linear import build_linear, fold_linear
from featx.heads.persist import Head, load_head, shorten_digests
from featx.heads.splits import assign_splits, fill_groups
from featx.images.manifest import Entry
from featx.images.sources import PathLike, read_manifest
from featx.loop import RunOptions, iter_embedded

Array = np.ndarray[Any, Any]

HOLDOUT = 0.1
HOLDOUT_OF_FEW = 0.2
FEW_ROWS = 1000
"""Below so many rows a tenth of them tells too little."""


@dataclass(frozen=True)
class TuningReport:
    """What a fine-tuning did, and whether it helped.

    Attributes
    ----------
    path, head_path, log_path : Path
        The tuned weights, the head that belongs to them, and the log of epochs.
    backbone : str
    blocks : tuple of str
        That were unfrozen, the one nearest to the classifier first.
    n_train, n_holdout : int
        Images learnt from, and those of the split train that said when to stop.
    history : tuple of Epoch
        Epoch 0 is the fitted head.
    best_epoch : int
        Whose weights are kept.
    stopped : str
        Why training ended before its last epoch; empty if it did not.
    split : str
        That frozen and tuned were compared on.
    scores : PairedScores
        The frozen head is the first, the tuned model the second.
    advice : Advice or None
        What ``auto`` went by.
    trunk_path : Path or None
        Where the trunk's output is kept; None where it was run in each epoch.
    trunk_excess : str
        Why it is not kept.
    trunk_s, train_s : float
        Seconds for the trunk, and for all epochs.
    """

    path: Path
    head_path: Path
    log_path: Path
    backbone: str
    blocks: tuple[str, ...]
    n_train: int
    n_holdout: int
    history: tuple[Epoch, ...]
    best_epoch: int
    stopped: str
    split: str
    scores: PairedScores
    advice: Advice | None
    trunk_path: Path | None
    trunk_excess: str
    trunk_s: float
    train_s: float

    @property
    def verdict(self) -> str:
        """What to use from now on, and why."""
        scores = self.scores
        low, high = scores.gain_ci95
        gain = (
            f"{100 * scores.gain:+.1f} points on {scores.n_rows} {self.split} images "
            f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
        )
        if scores.is_better:
            return f"Tuning helped: {gain}. Use {self.path} with {self.head_path}."
        if scores.gain_ci95[1] < 0:
            return f"Tuning did harm: {gain}. Stay with the frozen head."
        return f"Tuning did not help for certain: {gain}. Stay with the frozen head."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self) | {"scores": self.scores.to_dict(), "verdict": self.verdict}


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
    engine: str = "auto",
    device: str = "auto",
    workers: int | None = None,
    progress: bool | None = None,
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
        epochs (``.csv``). Unfinished work lies in ``OUTPUT.partial``.
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
    engine, device, workers, progress
        As in `featx.loop.RunOptions`.

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
    CacheError, FingerprintError, SourceError, WeightsError, DeviceError
        If a part that is needed cannot be had.
    """
    recipe = recipe or Recipe()
    paths = _Paths.build(output, trunk)
    paths.check(cache, overwrite=overwrite, resume=resume)
    options = RunOptions(engine, device, None, workers, progress)
    place = _choose_place(device, recipe)
    with open_cache(cache) as opened:
        task = _Task.build(opened, source, head, embedding, split, recipe, progress)
        advice = None
        if unfreeze == "auto":
            advice = advise(opened, embedding=task.name, seed=recipe.seed)
            unfreeze = advice.unfreeze
        if isinstance(unfreeze, str):
            raise TuningError(
                f"unfreeze: expected a number of blocks or auto, got {unfreeze!r}. "
                "Pass --unfreeze 1."
            )
        if advice is not None and not unfreeze:
            raise TuningError(
                f"{cache}: expected data that can pay for it, got advice to stay frozen: "
                f"{advice.reasons[-1]} Pass --unfreeze 1 to try it all the same."
            )
        info = opened.get_info(task.name)
        backbone = restore_backbone(
            info.fingerprint, info.provenance, subject=str(cache), weights=weights
        )
        cut = cut_backbone(backbone, unfreeze)
        run = TrunkRun(
            cut.trunk,
            opened.source,
            task.entries,
            task.digests,
            options,
            info.fingerprint.precision,
            find_decode(info.fingerprint),
            recipe.seed,
        )
        start = time.perf_counter()
        excess = describe_excess(run, paths.trunk, recipe.views, max_trunk_bytes)
        features: KeptFeatures | LiveFeatures
        if excess:
            features = LiveFeatures(run)
        else:
            features = KeptFeatures(run, paths.trunk, recipe.views)
            features.fill()
        trunk_s = time.perf_counter() - start
        paths.folder.mkdir(exist_ok=True)
        classifier = build_classifier(task.start)
        training = Training(
            cut,
            classifier,
            features,
            task.examples,
            recipe,
            device=place,
            folder=paths.folder,
            plan={
                "backbone": backbone.name,
                "weights_digest": backbone.weights_digest,
                "preprocess": backbone.preprocess.describe(),
                "blocks": [block.name for block in cut.blocks],
                "classes": task.head.classes.tolist(),
                "images": _digest_rows(task),
            },
        )
        start = time.perf_counter()
        training.run(resume=resume, progress=progress)
        train_s = time.perf_counter() - start
        record = _describe(backbone, cut, task, training)
        draft = paths.folder / "tuned.safetensors"
        save_weights(draft, cut.network, classifier, record)
        tuned, tuned_head = _build_pair(draft, paths.output, backbone, classifier, task)
        scores = _compare(opened, task, tuned, tuned_head, run)
    save_weights(paths.output, cut.network, classifier, record | {"scores": scores.to_dict()})
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


@dataclass(frozen=True)
class _Paths:
    """Where everything goes."""

    output: Path
    head: Path
    log: Path
    folder: Path
    trunk: Path

    @classmethod
    def build(cls, output: str | os.PathLike[str], trunk: str | os.PathLike[str] | None) -> _Paths:
        output = Path(output)
        if output.suffix != ".safetensors":
            raise TuningError(
                f"{output}: expected a name that ends in .safetensors, got another. Rename it."
            )
        return cls(
            output,
            output.with_suffix(".joblib"),
            output.with_suffix(".csv"),
            output.with_name(output.name + ".partial"),
            Path(trunk) if trunk is not None else output.with_suffix(".trunk.h5"),
        )

    def check(self, cache: str | os.PathLike[str], *, overwrite: bool, resume: bool) -> None:
        """Refuse, before any work is done, what would fail after it."""
        for path in (self.output, self.head, self.log):
            check_destination(path, overwrite=overwrite, error=TuningError)
        check_destination(self.trunk, overwrite=True, error=TuningError)
        if self.trunk.exists() and self.trunk.samefile(cache):
            raise TuningError(f"{self.trunk}: expected a file of its own, got the cache.")
        if self.folder.exists() and not resume:
            if not overwrite:
                raise TuningError(
                    f"{self.folder}: expected no unfinished run, got one. Pass --resume to go on "
                    "with it, or --overwrite to begin anew."
                )
            shutil.rmtree(self.folder)


@dataclass(frozen=True)
class _Task:
    """What is to be learnt.

    Attributes
    ----------
    name : str
        The embedding.
    split : str
        To compare on.
    head : Head
        The frozen one.
    start : estimator
        What the classifier is set from: the head's, or the same fitted without the holdout.
    entries, digests
        Images of the split train, and their digests.
    examples : Examples
    tested : tuple of Entry
        Images of the other split.
    """

    name: str
    split: str
    head: Head
    start: Any
    entries: tuple[Entry, ...]
    digests: tuple[str, ...]
    examples: Examples
    tested: tuple[Entry, ...]
    test_rows: Array

    @classmethod
    def build(
        cls,
        cache: Cache,
        source: PathLike | Sequence[PathLike],
        head: str | os.PathLike[str] | Head | None,
        embedding: str | None,
        split: str | None,
        recipe: Recipe,
        progress: bool | None,
    ) -> _Task:
        split = split or choose_evaluated(cache)
        if split not in ("val", "test"):
            raise TuningError(
                f"split: expected val or test, which no model has seen, got {split!r}. Pass one."
            )
        if head is None:
            head = fit_head(
                cache, embedding=embedding, split="train", seed=recipe.seed, progress=progress
            )
        head = head if isinstance(head, Head) else load_head(head)
        fold_linear(head.estimator)  # refuses before the trunk is run
        name = find_comparable(cache, head, embedding=embedding)
        layer = cache.get_info(name).fingerprint.layer
        if layer != PENULTIMATE:
            raise TuningError(
                f"{cache.path}, embedding {name}: expected the input of the classifier "
                f"({PENULTIMATE}), got layer {layer}. Extract without --layer."
            )
        rows = cache.select_rows("train", labelled=True, name=name)
        test_rows = cache.select_rows(split, labelled=True, name=name)
        by_id = {entry.row.id: entry for entry in read_manifest(source).entries}
        entries, tested = (_find_entries(cache, by_id, part) for part in (rows, test_rows))
        labels = cache.labels[rows]
        _check_labels(cache, labels, head)
        groups = fill_groups(cache.groups[rows])
        few = len(rows) < FEW_ROWS
        parts = assign_splits(
            labels, groups, val=HOLDOUT_OF_FEW if few else HOLDOUT, test=0, seed=recipe.seed
        )
        train, holdout = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")
        start = head.estimator
        if head.count_seen(cache.digests[rows[holdout]]):
            # A head that knows the holdout by heart would look better there than anything that
            # is learnt after it, and training would stop at once.
            start = head.refit(cache.read_vectors(name, rows[train]), labels[train])
            if len(start.classes_) < len(head.classes):
                raise TuningError(
                    f"{cache.path}: expected rows of each class beside the holdout, got none of "
                    f"{sorted(set(head.classes) - set(start.classes_))[0]!r}. Label more rows."
                )
        codes = np.searchsorted(head.classes, labels)
        return cls(
            name=name,
            split=split,
            head=head,
            start=start,
            entries=entries,
            digests=tuple(cache.digests[rows].tolist()),
            examples=Examples(train, holdout, codes),
            tested=tested,
            test_rows=test_rows,
        )


def _find_entries(cache: Cache, by_id: dict[str, Entry], rows: Array) -> tuple[Entry, ...]:
    """Find the images of rows in the source."""
    ids = cache.ids[rows].tolist()
    missing = [row for row in ids if row not in by_id]
    if missing or not ids:
        raise TuningError(
            f"{cache.path}: expected all of its {len(ids)} rows in the source, got none of "
            f"{len(missing)}, such as {missing[0] if missing else 'any'}. Name the source that it "
            f"was extracted from: {cache.source}."
        )
    return tuple(by_id[row] for row in ids)


def _check_labels(cache: Cache, labels: Array, head: Head) -> None:
    unknown = sorted(set(labels) - set(head.classes))
    if unknown:
        raise TuningError(
            f"{cache.path}: expected labels that the head knows, got {unknown[0]!r}. "
            "Fit a head on this cache: featx fit-head."
        )


def _choose_place(device: str, recipe: Recipe) -> str:
    """Decide where training runs: one device, though the trunk may take several."""
    place = choose_device(device)
    place = "cuda:0" if place == "cuda" else place
    if recipe.precision is not None:
        check_precision(recipe.precision, "torch", place)
    return place


def _digest_rows(task: _Task) -> str:
    """Name the images, their labels and the holdout."""
    import hashlib

    digest = hashlib.sha256("".join(task.digests).encode())
    for part in (task.examples.train, task.examples.holdout, task.examples.y):
        digest.update(np.asarray(part, np.int64).tobytes())
    return digest.hexdigest()


def build_classifier(estimator: Any) -> nn.Linear:
    """Build the layer whose logits are a fitted head's decision function.

    Parameters
    ----------
    estimator : Pipeline
        As `featx.heads.linear.fold_linear` takes it.

    Returns
    -------
    nn.Linear
        From ``(n, dim)`` to ``(n, n_classes)``.

    Raises
    ------
    HeadError
        If a step is none that one layer can stand for.
    """
    weight, bias = fold_linear(estimator)
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def save_weights(
    path: Path, network: nn.Module, classifier: nn.Linear, record: dict[str, Any]
) -> None:
    """Write network, classifier and what is to be known of them, whole or not at all.

    Raises
    ------
    TuningError
        If the disk is full or the like.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    prefix = get_backbone_spec(record["backbone"]).classifier
    state = dict(network.state_dict())
    state |= {f"{prefix}.{name}": tensor for name, tensor in classifier.state_dict().items()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    partial = name_partial(path)
    try:
        with explain_errors(path, error=TuningError):
            try:
                save_file(tensors, partial, metadata={RECORD: json.dumps(record)})
            except SafetensorError as error:  # its word for a full disk
                raise OSError(str(error)) from error
            replace_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _describe(
    backbone: Backbone, cut: CutNetwork, task: _Task, training: Training
) -> dict[str, Any]:
    """Say how the weights were made, in JSON's types."""
    return {
        "backbone": backbone.name,
        "preprocess_from": backbone.preprocess_from,
        "size": backbone.size,
        "classes": task.head.classes.tolist(),
        "from_weights": backbone.weights,
        "from_weights_digest": backbone.weights_digest,
        "blocks": [block.name for block in cut.blocks],
        "recipe": asdict(training.recipe),
        "precision": training.precision,
        "device": str(training.device),
        "n_train": len(task.examples.train),
        "n_holdout": len(task.examples.holdout),
        "best_epoch": training.best_epoch,
        "holdout_loss": training.history[training.best_epoch].holdout_loss,
        "holdout_accuracy": training.history[training.best_epoch].holdout_accuracy,
        "stopped": training.stopped,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {name: importlib.metadata.version(name) for name in ("featx", "torch")},
    }


def _build_pair(
    draft: Path, output: Path, backbone: Backbone, classifier: nn.Linear, task: _Task
) -> tuple[Backbone, Head]:
    """Read the tuned backbone back from its file, and make the head that belongs to it."""
    tuned = recall_backbone(backbone.name, weights=str(draft))
    frozen = task.head.fingerprint
    fingerprint = build_fingerprint(
        tuned, PENULTIMATE, precision=frozen.precision, decode=find_decode(frozen)
    )
    origin = {name: getattr(tuned, name) for name in ORIGIN}
    weight = classifier.weight.detach().numpy()
    bias = classifier.bias.detach().numpy()
    head = Head(
        estimator=build_linear(weight, bias, task.head.classes),
        kind="logreg",
        C=task.head.C,
        fingerprint=fingerprint,
        origin=origin | {"weights": str(output.resolve())},
        fitted_on=task.head.fitted_on
        | {"split": "train", "n_rows": len(task.digests), "fine_tuned": True},
        cross_validation={},
        seen=np.unique(shorten_digests(np.array(task.digests))),
    )
    return tuned, head


def _compare(
    cache: Cache, task: _Task, tuned: Backbone, tuned_head: Head, run: TrunkRun
) -> PairedScores:
    """Let the frozen head and the tuned pair predict the same images."""
    engine = run.options.build_engine(tuned, run.precision, n_images=len(task.tested))
    entries = [
        replace(entry, row=replace(entry.row, id=str(number)))
        for number, entry in enumerate(task.tested)
    ]
    numbers: list[int] = []
    parts = []
    with closing(iter_embedded(entries, tuned, engine, run.options, decode=run.decode)) as batches:
        for batch in batches:
            for failure in batch.failures:
                raise TuningError(
                    f"{failure.path}: expected an image, got {failure.reason}. Mend it, or bring "
                    "the cache up to date: featx extract."
                )
            numbers += [int(row.id) for row in batch.rows]
            parts.append(batch.vectors[PENULTIMATE])
    rows = task.test_rows[numbers]
    return compare_predictions(
        cache.labels[rows],
        task.head.predict(cache.read_vectors(task.name, rows)),
        tuned_head.predict(np.concatenate(parts)),
        groups=fill_groups(cache.groups[rows]),
    )
