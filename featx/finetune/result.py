"""The result of a fine-tuning: tuned weights, the head that belongs to them, and their scores."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.backbones.metadata import WeightsMetadata, build_texts
from featx.backbones.registry import get_backbone_spec
from featx.backbones.spec import PENULTIMATE
from featx.core.files import remove_work_dir
from featx.core.learnt import Digests, join_digests
from featx.core.notes import note
from featx.core.progress import stage
from featx.core.torch_state import plain_torch
from featx.embedding.identity import build_fingerprint, find_decode
from featx.embedding.loop import iter_embedded
from featx.finetune.data import TuningData
from featx.finetune.finished import describe_plan
from featx.finetune.log import write_log, write_whole
from featx.finetune.plan import TuningNetwork, TuningPlan
from featx.finetune.report import TuningReport
from featx.finetune.request import TuningRequest
from featx.finetune.train import Training
from featx.finetune.trunk import TrunkRun, check_batch
from featx.heads.compare import PairedScores, compare_predictions
from featx.heads.head import Head
from featx.heads.linear import build_linear, fold_linear
from featx.heads.side_by_side import HeadEmbedding
from featx.heads.units import join_units
from featx.heads.versions import find_versions

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


TRAINED_KIND = "logreg"
"""Kind of a head that was trained with cross-entropy."""


def write_results(
    request: TuningRequest,
    data: TuningData,
    network: TuningNetwork,
    *,
    plan: TuningPlan,
    training: Training,
    seconds: Mapping[str, float],
) -> TuningReport:
    """Write weights, head and log, with the scores of the model in the weights file.

    Parameters
    ----------
    request : TuningRequest
        The request of the user.
    data : TuningData
        The data of the fine-tuning.
    network : TuningNetwork
        The backbone, cut in two.
    plan : TuningPlan
        The decisions.
    training : Training
        The finished training.
    seconds : mapping of str to float
        Seconds of the trunk and of the training, as the report has them.

    Returns
    -------
    TuningReport
        Epochs, scores and verdict.

    Raises
    ------
    TuningError
        If a file cannot be written, or an image to compare on changed.
    """
    paths, classifier = request.paths, training.request.classifier
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    metadata = build_metadata(network.backbone, data, training, time=now)
    learnt = list_learnt(network.backbone, data, training.best_epoch)
    # The compared file is the final one, except for the scores in its metadata.
    draft = paths.folder / paths.output.name
    save_weights(draft, network.cut.network, classifier, metadata, learnt=learnt, overwrite=True)
    with stage(f"comparing on {data.split}"):
        tuned = load_backbone(network.backbone.name, weights=str(draft))
        tuned_head = build_tuned_head(
            tuned, paths.output, classifier, data, is_trained=training.best_epoch > 0
        )
        scores = compare(data, network.run, tuned=tuned, tuned_head=tuned_head)
    report = TuningReport(
        path=paths.output,
        head_path=paths.head,
        log_path=paths.log,
        backbone=network.backbone.name,
        blocks=plan.identity.blocks,
        n_train=len(data.examples.train),
        n_holdout=len(data.examples.holdout),
        schedule=training.recipe.describe_schedule(len(data.examples.train)),
        history=tuple(training.history),
        best_epoch=training.best_epoch,
        n_epochs=training.n_epochs,
        stopped=training.stopped,
        is_cut_short=training.is_cut_short,
        split=data.split,
        scores=scores,
        advice=network.advice,
        trunk_path=plan.trunk_path,
        trunk_excess=plan.trunk_excess,
        **seconds,
    )
    metadata = replace(
        metadata,
        scores=scores.to_dict(),
        plan=describe_plan(plan.identity, data),
        report=report.to_record(),
    )
    # A killed run may have left some of the files; a file that came meanwhile is not replaced.
    overwrite = request.overwrite or request.resume
    save_weights(
        paths.output, network.cut.network, classifier, metadata, learnt=learnt, overwrite=overwrite
    )
    tuned_head.save(paths.head, overwrite=overwrite)
    write_log(paths.log, training.history, overwrite=overwrite)
    remove_work_dir(paths.folder, paths.is_work)
    if tuned_head.kind != data.head.kind:
        note(
            f"{paths.head}: training with cross-entropy made a {tuned_head.kind} of the "
            f"{data.head.kind} head; its scores are probabilities"
        )
    return report


def build_metadata(
    backbone: Backbone, data: TuningData, training: Training, *, time: str
) -> WeightsMetadata:
    """Collect the metadata of tuned weights: the data, the recipe and the epochs.

    Parameters
    ----------
    backbone : Backbone
        The backbone that training began with.
    data : TuningData
        The data of the fine-tuning.
    training : Training
        The finished training.
    time : str
        End of the training, ISO 8601, UTC.

    Returns
    -------
    WeightsMetadata
        The metadata, without scores.
    """
    best = training.history[training.best_epoch]
    return WeightsMetadata(
        backbone=backbone.name,
        preprocess_from=backbone.origin.preprocess_from,
        size=backbone.origin.size,
        classes=tuple(data.head.classes.tolist()),
        from_weights=backbone.origin.weights,
        from_weights_digest=backbone.weights_digest,
        blocks=training.request.identity.blocks,
        recipe=asdict(training.recipe) | {"epochs": training.n_epochs},
        precision=training.learner.precision,
        device=str(training.device),
        n_train=len(data.examples.train),
        n_holdout=len(data.examples.holdout),
        best_epoch=training.best_epoch,
        holdout_loss=best.holdout_loss,
        holdout_accuracy=best.holdout_accuracy,
        stopped=training.stopped,
        time=time,
        versions={name: importlib.metadata.version(name) for name in ("featx", "torch")},
    )


def list_learnt(backbone: Backbone, data: TuningData, best_epoch: int) -> Digests:
    """List the images that a tuned network has learnt from.

    These are all rows of the split train, because the holdout chose the epoch, and whatever the
    head and the weights that training began with had learnt from. If no epoch was kept, the network
    is as it was, and has learnt nothing new.

    Parameters
    ----------
    backbone : Backbone
        The backbone that training began with.
    data : TuningData
        The data of the fine-tuning.
    best_epoch : int
        Number of the epoch whose weights are kept, 0 for none.

    Returns
    -------
    ndarray of uint64
        Shortened digests.
    """
    return join_digests([backbone.learnt, data.seen if best_epoch else data.learnt])


def build_linear_layer(estimator: Pipeline, *, temperature: float = 1.0) -> nn.Linear:
    """Build the layer whose logits are the decision function of a fitted head.

    Parameters
    ----------
    estimator : Pipeline
        Scaler and linear classifier, as `featx.heads.linear.fold_linear` takes them.
    temperature : float
        Number that the logits are divided by: with that of the head, a softmax of them gives its
        probabilities.

    Returns
    -------
    nn.Linear
        Layer from ``(n, dim)`` to ``(n, n_classes)``.

    Raises
    ------
    HeadError
        If no single layer equals the head.
    """
    weight, bias = fold_linear(estimator)
    with plain_torch(), torch.no_grad():
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.copy_(torch.from_numpy(weight / temperature))
        layer.bias.copy_(torch.from_numpy(bias / temperature))
    return layer


def save_weights(
    path: Path,
    network: nn.Module,
    classifier: nn.Linear,
    metadata: WeightsMetadata,
    *,
    learnt: Digests,
    overwrite: bool,
) -> None:
    """Write a network, its classifier and its metadata: the whole file, or nothing.

    Parameters
    ----------
    path : Path
        File to write, ``.safetensors``.
    network : nn.Module
        The whole network without its classifier.
    classifier : nn.Linear
        Last layer.
    metadata : WeightsMetadata
        Metadata that says how the weights were made.
    learnt : ndarray of uint64
        Shortened digests of the images that the network has learnt from.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    TuningError
        If the file cannot be written.
    """
    prefix = get_backbone_spec(metadata.backbone).classifier
    state = dict(network.state_dict())
    state |= {f"{prefix}.{name}": tensor for name, tensor in classifier.state_dict().items()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    data = save(tensors, metadata=build_texts(metadata, learnt))
    write_whole(path, data, overwrite=overwrite)


def build_tuned_head(
    tuned: Backbone, output: Path, classifier: nn.Linear, data: TuningData, *, is_trained: bool
) -> Head:
    """Build the head that belongs to tuned weights.

    Cross-entropy makes a logistic regression of every head. A head that training did not change
    stays what it is: the distances of a support vector machine are no probabilities.

    Parameters
    ----------
    tuned : Backbone
        The tuned backbone.
    output : Path
        Final path of the tuned weights.
    classifier : nn.Linear
        Last layer after training.
    data : TuningData
        The data of the fine-tuning.
    is_trained : bool
        Whether training changed the classifier.

    Returns
    -------
    Head
        The frozen head with the fingerprint of the tuned weights, if no epoch was better than it;
        else a logistic regression with the matrix of the classifier.
    """
    frozen, digests = data.head, data.train.digests
    unchanged = replace(
        frozen,
        embeddings=(
            HeadEmbedding(
                name=data.embedding,
                fingerprint=build_fingerprint(
                    tuned,
                    PENULTIMATE,
                    precision=frozen.fingerprint.precision,
                    decode=find_decode(frozen.fingerprint),
                ),
                origin=replace(tuned.origin, weights=str(output.resolve())),
            ),
        ),
    )
    if not is_trained:
        return unchanged
    weight = classifier.weight.detach().numpy()
    bias = classifier.bias.detach().numpy()
    return replace(
        unchanged,
        estimator=build_linear(weight, bias, frozen.classes),
        kind=TRAINED_KIND,
        fitted_on=replace(
            frozen.fitted_on,
            split="train",
            n_rows=len(digests),
            fine_tuned=True,
            n_learnt=len(digests),
        ),
        cross_validation=None,
        seen=data.seen,
        temperature=1.0,
        unknown=None,
        conformal=None,
        versions=find_versions(),
    )


def compare(data: TuningData, run: TrunkRun, *, tuned: Backbone, tuned_head: Head) -> PairedScores:
    """Compare the frozen head and the tuned model on the same images.

    Parameters
    ----------
    data : TuningData
        The data of the fine-tuning; its test rows are predicted.
    run : TrunkRun
        Options, precision and decoding of the network.
    tuned : Backbone
        The tuned backbone.
    tuned_head : Head
        The head that belongs to it.

    Returns
    -------
    PairedScores
        Scores of the frozen head (``first``) and of the tuned model (``second``).

    Raises
    ------
    TuningError
        If an image cannot be read, or changed after it was extracted.
    """
    test = data.test
    digests = test.digests.tolist()
    parts, n_seen = [], 0
    with (
        run.options.build_engine(tuned, run.precision, n_images=len(test)) as engine,
        closing(
            iter_embedded(data.test_entries, tuned, engine, run.options, decode=run.decode)
        ) as batches,
    ):
        for batch in batches:
            check_batch(batch, digests[n_seen : n_seen + len(batch)])
            n_seen += len(batch)
            parts.append(batch.vectors[PENULTIMATE])
    return compare_predictions(
        test.labels,
        data.predicted,
        tuned_head.predict(np.concatenate(parts)),
        measure=data.head.measure,
        units=join_units(test.groups, test.digests),
    )
