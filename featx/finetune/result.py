"""The result of a fine-tuning: tuned weights, the head that belongs to them, and their scores."""

from __future__ import annotations

import importlib.metadata
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from featx.backbones.backbone import Backbone
from featx.backbones.metadata import METADATA_KEY, WeightsMetadata
from featx.backbones.registry import get_backbone_spec
from featx.backbones.spec import PENULTIMATE
from featx.cache.reader import Cache
from featx.core.torch_state import plain_torch
from featx.embedding.identity import build_fingerprint, find_decode
from featx.embedding.loop import iter_embedded
from featx.finetune.advise import Advice
from featx.finetune.data import TuningData
from featx.finetune.log import Epoch, write_whole
from featx.finetune.train import Training
from featx.finetune.trunk import TrunkRun, check_batch
from featx.heads.compare import PairedScores, compare_predictions
from featx.heads.head import Head, shorten_digests
from featx.heads.linear import build_linear, fold_linear
from featx.heads.splits import fill_groups

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class TuningReport:
    """The report of a fine-tuning, with the verdict whether it helped.

    Attributes
    ----------
    path, head_path, log_path : Path
        Tuned weights, the head that belongs to them, and the log of epochs.
    backbone : str
        Name of the architecture.
    blocks : tuple of str
        Names of the unfrozen blocks, the one nearest to the classifier first.
    n_train, n_holdout : int
        Number of images to learn from, and number of images in the holdout.
    history : tuple of Epoch
        Epochs in their order; epoch 0 is the fitted head.
    best_epoch : int
        Number of the epoch whose weights are kept; 0 if no epoch was surely better than the head.
    stopped : str
        Sentence that says why training ended before its last epoch; empty if all epochs were run.
    split : str
        Split that the frozen head and the tuned model are compared on.
    scores : PairedScores
        Scores of the frozen head (``first``) and of the tuned model (``second``).
    advice : Advice or None
        Advice that chose the blocks; None if the caller chose them.
    trunk_path : Path or None
        Cache with the output of the trunk; None if the trunk was run in each epoch.
    trunk_excess : str
        Sentence that says why the output of the trunk is not kept; empty if it is kept.
    trunk_s, train_s : float
        Seconds that this call spent on the trunk, and on training.

    See Also
    --------
    fine_tune : Returns the report.
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
        """Sentences: the gain with its interval, the model to use, and the files of no use."""
        scores = self.scores
        low, high = scores.gain_ci95
        gain = (
            f"{100 * scores.gain:+.1f} points on {scores.n_rows} {self.split} images "
            f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f}, p = {scores.p_value:.2g})"
        )
        if scores.is_better:
            return f"Tuning helped: {gain}. Use {self.path} with {self.head_path}."
        files = [
            self.path,
            self.head_path,
            self.log_path,
            *([self.trunk_path] if self.trunk_path else []),
        ]
        names = f"{', '.join(map(str, files[:-1]))} and {files[-1]}"
        found = (
            "Tuning made the accuracy worse"
            if scores.gain_ci95[1] < 0
            else "Tuning did not help for certain"
        )
        unchanged = "" if self.best_epoch else "the network is unchanged, and "
        return f"{found}: {gain}. Stay with the frozen head: {unchanged}you may delete {names}."

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the verdict as plain values, for JSON."""
        return asdict(self) | {"scores": self.scores.to_dict(), "verdict": self.verdict}


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
        recipe=asdict(training.recipe),
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


def build_linear_layer(estimator: Pipeline) -> nn.Linear:
    """Build the layer whose logits are the decision function of a fitted head.

    Parameters
    ----------
    estimator : Pipeline
        Scaler and linear classifier, as `featx.heads.linear.fold_linear` takes them.

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
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def save_weights(
    path: Path,
    network: nn.Module,
    classifier: nn.Linear,
    metadata: WeightsMetadata,
    *,
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
    data = save(tensors, metadata={METADATA_KEY: metadata.to_json()})
    write_whole(path, data, overwrite=overwrite)


def build_tuned_head(
    tuned: Backbone, output: Path, classifier: nn.Linear, data: TuningData
) -> Head:
    """Build the head that belongs to tuned weights.

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

    Returns
    -------
    Head
        Logistic regression with the matrix of the classifier.
    """
    frozen, digests = data.head.fingerprint, data.train.digests
    fingerprint = build_fingerprint(
        tuned, PENULTIMATE, precision=frozen.precision, decode=find_decode(frozen)
    )
    weight = classifier.weight.detach().numpy()
    bias = classifier.bias.detach().numpy()
    fitted_on = replace(data.head.fitted_on, split="train", n_rows=len(digests), fine_tuned=True)
    return Head(
        estimator=build_linear(weight, bias, data.head.classes),
        kind="logreg",
        params=data.head.params,
        fingerprint=fingerprint,
        origin=replace(tuned.origin, weights=str(output.resolve())),
        fitted_on=fitted_on,
        cross_validation=None,
        seen=np.union1d(data.head.seen, shorten_digests(digests)),
    )


def compare(
    cache: Cache, data: TuningData, run: TrunkRun, *, tuned: Backbone, tuned_head: Head
) -> PairedScores:
    """Compare the frozen head and the tuned model on the same images.

    Parameters
    ----------
    cache : Cache
        Cache with the frozen embeddings.
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
        data.head.predict(cache.read_vectors(data.embedding, test.rows)),
        tuned_head.predict(np.concatenate(parts)),
        groups=fill_groups(test.groups),
    )
