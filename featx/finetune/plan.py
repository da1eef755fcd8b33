"""The decisions of a fine-tuning; no network is run here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featx.backbones.backbone import Backbone
from featx.core.errors import TuningError
from featx.engines.choose import check_precision, choose_device
from featx.finetune.advise import Advice
from featx.finetune.checkpoint import TrainingIdentity, digest_arrays
from featx.finetune.cut import CutNetwork
from featx.finetune.data import TuningData
from featx.finetune.recipe import Recipe
from featx.finetune.request import TuningRequest
from featx.finetune.space import FreeSpace, describe_excess
from featx.finetune.trunk import TrunkRun
from featx.heads.linear import fold_linear


@dataclass(frozen=True, kw_only=True)
class TuningPlan:
    """The decisions of a fine-tuning, made before the trunk is run.

    Attributes
    ----------
    identity : TrainingIdentity
        Everything that decides the result of the training.
    device : str
        Device to train on.
    trunk_path : Path or None
        Cache for the output of the trunk; None to run the trunk in each epoch.
    trunk_excess : str
        Sentence that says why the output of the trunk is not kept; empty if it is kept.
    """

    identity: TrainingIdentity
    device: str
    trunk_path: Path | None
    trunk_excess: str


@dataclass(frozen=True, kw_only=True)
class TuningNetwork:
    """The backbone of a cache, cut in two, and the run of its trunk.

    Attributes
    ----------
    backbone : Backbone
        The whole backbone.
    cut : CutNetwork
        The backbone, cut in two.
    run : TrunkRun
        The trunk and its images.
    advice : Advice or None
        Advice that chose the cut; None if the user chose it.
    """

    backbone: Backbone
    cut: CutNetwork
    run: TrunkRun
    advice: Advice | None


def plan_tuning(
    request: TuningRequest,
    data: TuningData,
    network: TuningNetwork,
    *,
    device: str,
    limit: int | FreeSpace,
) -> TuningPlan:
    """Decide what is trained, where, and whether the output of the trunk is kept.

    Parameters
    ----------
    request : TuningRequest
        The request of the user.
    data : TuningData
        The data to learn from.
    network : TuningNetwork
        The backbone, cut in two.
    device : str
        Device to train on.
    limit : int or FreeSpace
        Largest size in bytes of the output of the trunk, or the free space that limits it.

    Returns
    -------
    TuningPlan
        The decisions.

    Raises
    ------
    TuningError
        If a number of the recipe can do nothing in this training.
    """
    check_effect(
        request.recipe,
        n_blocks=len(network.cut.blocks),
        n_epochs=request.recipe.count_epochs(len(data.examples.train)),
    )
    excess = describe_excess(
        network.run.count_bytes(1),
        network.run.count_bytes(request.recipe.views + 1),
        limit=limit,
    )
    return TuningPlan(
        identity=build_identity(network.backbone, network.cut, data, request.recipe),
        device=device,
        trunk_path=None if excess else request.paths.trunk,
        trunk_excess=excess,
    )


def check_effect(recipe: Recipe, *, n_blocks: int, n_epochs: int) -> None:
    """Refuse numbers of a recipe that can do nothing in a training.

    Parameters
    ----------
    recipe : Recipe
        Numbers of the training.
    n_blocks : int
        Number of blocks to train.
    n_epochs : int
        Number of epochs.

    Raises
    ------
    TuningError
        If there are more views than epochs, or the learning rate is to fall from block to block but
        there is only one.
    """
    if recipe.views > n_epochs:
        raise TuningError(
            subject="views",
            expected=f"at most {n_epochs}, because each of {n_epochs} epochs takes one view",
            got=str(recipe.views),
            remedy=f"Pass views={n_epochs}, or more epochs.",
        )
    if n_blocks == 1 and recipe.lr_decay != Recipe.lr_decay:
        raise TuningError(
            subject="lr_decay",
            expected="several blocks, from one to the next of which the learning rate falls",
            got="one block",
            remedy="Leave lr_decay out, or pass unfreeze=2 or more.",
        )


def build_identity(
    backbone: Backbone, cut: CutNetwork, data: TuningData, recipe: Recipe
) -> TrainingIdentity:
    """Collect everything that decides the result of a training.

    Parameters
    ----------
    backbone : Backbone
        The whole backbone.
    cut : CutNetwork
        The backbone, cut in two.
    data : TuningData
        The data to learn from.
    recipe : Recipe
        Numbers of the training.

    Returns
    -------
    TrainingIdentity
        Names, digests and numbers.
    """
    return TrainingIdentity(
        backbone=backbone.name,
        weights=backbone.weights_digest,
        preprocessing=backbone.preprocess.identify(),
        blocks=tuple(block.name for block in cut.blocks),
        classes=tuple(data.head.classes.tolist()),
        class_weights=data.class_weights,
        measure=data.head.measure,
        images=digest_arrays(np.array(data.train.digests, str)),
        labels=digest_arrays(data.examples.y),
        holdout=digest_arrays(data.examples.holdout, data.examples.units),
        head=digest_arrays(*fold_linear(data.start)),
        recipe=recipe,
    )


def choose_n_blocks(unfreeze: int | str, advice: Advice | None, subject: str) -> int:
    """Choose the number of blocks to unfreeze.

    Parameters
    ----------
    unfreeze : int or "auto"
        Number that the user named, or ``"auto"``.
    advice : Advice or None
        Advice for the cache; only needed for ``"auto"``.
    subject : str
        Name of the cache, for the error.

    Returns
    -------
    int
        The number that the user named, or that the advice names.

    Raises
    ------
    TuningError
        If `unfreeze` is another word, or if the advice is to stay frozen.
    """
    if isinstance(unfreeze, int):
        return unfreeze
    if unfreeze != "auto" or advice is None:
        raise TuningError(
            subject="unfreeze",
            expected="a number of blocks or auto",
            got=repr(unfreeze),
            remedy="Pass a number such as unfreeze=1.",
        )
    if not advice.unfreeze:
        raise TuningError(
            subject=subject,
            expected="data for which fine-tuning is worth its cost",
            got="no advice" if math.isnan(advice.gain_more.mean) else "the advice to stay frozen",
            remedy=f"{' '.join(advice.reasons)} Pass unfreeze=1 to tune anyway.",
        )
    return advice.unfreeze


def choose_train_device(device: str, recipe: Recipe) -> str:
    """Choose the device that trains; the trunk may run on several devices.

    Parameters
    ----------
    device : str
        Device that the user named.
    recipe : Recipe
        Numbers of the training, its precision among them.

    Returns
    -------
    str
        Name of a device such as ``"cpu"`` or ``"cuda:0"``.

    Raises
    ------
    TuningError
        If the precision is bf16 on a device without a GPU.
    DeviceError
        If this machine lacks the device, or the device lacks the precision.
    """
    chosen = choose_device(device)
    chosen = "cuda:0" if chosen == "cuda" else chosen
    if recipe.precision == "bf16" and not chosen.startswith("cuda"):
        raise TuningError(
            subject="precision",
            expected="fp32, because PyTorch trains more slowly in bf16 without a GPU",
            got=f"bf16 on {chosen}",
            remedy="Leave precision out.",
        )
    if recipe.precision is not None:
        check_precision(recipe.precision, "torch", chosen)
    return chosen
