"""What comes out: tuned weights with a head of their own, and whether they are better."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.backbones.metadata import METADATA_KEY, WeightsMetadata
from featx.backbones.registry import get_backbone_spec
from featx.backbones.spec import PENULTIMATE
from featx.cache.reader import Cache
from featx.embedding.embed import build_fingerprint, find_decode
from featx.embedding.loop import iter_embedded
from featx.finetune.advise import Advice
from featx.finetune.log import Epoch, write_whole
from featx.finetune.task import Task
from featx.finetune.trunk import TrunkRun, check_batch
from featx.heads.compare import PairedScores, compare_predictions
from featx.heads.head import Head, shorten_digests
from featx.heads.linear import build_linear, fold_linear
from featx.heads.splits import fill_groups


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
        Seconds of this call for the trunk, and for the epochs.
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
            f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f}, p = {scores.p_value:.2g})"
        )
        if scores.is_better:
            return f"Tuning helped: {gain}. Use {self.path} with {self.head_path}."
        if scores.gain_ci95[1] < 0:
            return f"Tuning did harm: {gain}. Stay with the frozen head."
        return f"Tuning did not help for certain: {gain}. Stay with the frozen head."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self) | {"scores": self.scores.to_dict(), "verdict": self.verdict}


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
    path: Path, network: nn.Module, classifier: nn.Linear, metadata: WeightsMetadata
) -> None:
    """Write network, classifier and what is to be known of them, whole or not at all.

    Raises
    ------
    TuningError
        If the disk is full or the like.
    """
    prefix = get_backbone_spec(metadata.backbone).classifier
    state = dict(network.state_dict())
    state |= {f"{prefix}.{name}": tensor for name, tensor in classifier.state_dict().items()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    write_whole(path, save(tensors, metadata={METADATA_KEY: metadata.to_json()}))


def build_pair(
    draft: Path, output: Path, classifier: nn.Linear, task: Task
) -> tuple[Backbone, Head]:
    """Read the tuned backbone back from its file, and make the head that belongs to it."""
    frozen = task.head.fingerprint
    tuned = load_backbone(frozen.backbone, weights=str(draft))
    fingerprint = build_fingerprint(
        tuned, PENULTIMATE, precision=frozen.precision, decode=find_decode(frozen)
    )
    weight = classifier.weight.detach().numpy()
    bias = classifier.bias.detach().numpy()
    head = Head(
        estimator=build_linear(weight, bias, task.head.classes),
        kind="logreg",
        params=task.head.params,
        fingerprint=fingerprint,
        origin=replace(tuned.origin, weights=str(output.resolve())),
        fitted_on=replace(
            task.head.fitted_on, split="train", n_rows=len(task.digests), fine_tuned=True
        ),
        cross_validation=None,
        seen=np.union1d(task.head.seen, shorten_digests(np.array(task.digests))),
    )
    return tuned, head


def compare(
    cache: Cache, task: Task, tuned: Backbone, tuned_head: Head, run: TrunkRun
) -> PairedScores:
    """Let the frozen head and the tuned pair predict the same images."""
    rows, n_seen = task.test_rows, 0
    engine = run.options.build_engine(tuned, run.precision, n_images=len(rows))
    digests = cache.digests[rows].tolist()
    parts = []
    with closing(
        iter_embedded(task.tested, tuned, engine, run.options, decode=run.decode)
    ) as batches:
        for batch in batches:
            check_batch(batch, digests[n_seen : n_seen + len(batch)])
            n_seen += len(batch)
            parts.append(batch.vectors[PENULTIMATE])
    return compare_predictions(
        cache.labels[rows],
        task.head.predict(cache.read_vectors(task.name, rows)),
        tuned_head.predict(np.concatenate(parts)),
        groups=fill_groups(cache.groups[rows]),
    )
