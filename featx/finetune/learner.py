"""The part of a network that learns: its logits, its losses and their gradients."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import joblib
import torch
from torch import nn
from torch.nn import functional

from featx.core.torch_state import FULL_FLOAT32
from featx.core.typing import TrainPrecision
from featx.engines.choose import list_precisions
from featx.engines.threads import open_pool
from featx.finetune.cut import CutNetwork
from featx.finetune.normalisation import check_statistics, set_train
from featx.finetune.recipe import Recipe


class Learner(nn.Module):
    """The unfrozen blocks and the classifier.

    On a CPU, each thread computes the gradients of one part of a batch: threads that share a layer
    wait for each other at every layer, and wait several times longer if other programs are busy.

    Parameters
    ----------
    cut : CutNetwork
        Network whose upper part is trained in place.
    classifier : nn.Linear
        Last layer, trained in place.
    recipe : Recipe
        Numbers of the training.
    device : torch.device
        Device to train on.
    class_weights : Tensor, optional
        Weight ``(n_classes,)`` of each class in the loss. Default: all images weigh alike.

    Attributes
    ----------
    precision : {"fp32", "bf16"}
        Arithmetic of training.
    n_parts : int
        Number of parts of a batch.
    """

    def __init__(
        self,
        cut: CutNetwork,
        classifier: nn.Linear,
        recipe: Recipe,
        device: torch.device,
        *,
        class_weights: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        if recipe.train_batchnorm:
            check_statistics(cut.top, cut.trunk.name)
        self.top, self.classifier = cut.top, classifier
        self.precision = recipe.precision or choose_precision(device)
        self._recipe, self._device, self._shape = recipe, device, cut.shape
        self._class_weights = None if class_weights is None else class_weights.to(device)
        self._chance = threading.local()
        _seed_dropout(cut.top, self._chance)
        self.requires_grad_(True).to(device)
        self.to(memory_format=torch.channels_last)
        # Normalisation layers that learn must see the whole batch.
        is_whole = device.type != "cpu" or recipe.train_batchnorm
        self.set_parts(1 if is_whole else int(joblib.cpu_count()))

    def set_parts(self, n_parts: int) -> None:
        """Set the number of parts of a batch, on which dropout and the last bits of sums depend."""
        self.n_parts = n_parts
        self._pool = open_pool(n_parts) if n_parts > 1 else None

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Compute logits.

        Parameters
        ----------
        maps : Tensor
            Flattened feature maps float32 ``(n, dim)``.

        Returns
        -------
        Tensor
            float32 ``(n, n_classes)``.
        """
        maps = maps.to(self._device, non_blocking=True).reshape(-1, *self._shape)
        if maps.ndim == 4:
            maps = maps.contiguous(memory_format=torch.channels_last)
        reduced = self.precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16) if reduced else nullcontext():
            logits: torch.Tensor = self.classifier(self.top(maps))
        return logits.float()

    def predict(self, maps: torch.Tensor) -> torch.Tensor:
        """Compute logits in eval mode.

        Parameters
        ----------
        maps : Tensor
            Flattened feature maps float32 ``(n, dim)``.

        Returns
        -------
        Tensor
            float32 ``(n, n_classes)``, on the CPU.
        """
        self.eval()

        def run(part: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                logits: torch.Tensor = self(part).cpu()
                return logits

        with FULL_FLOAT32:
            return torch.cat(self._map(run, [(part,) for part in maps.chunk(self.n_parts)]))

    def compute_gradients(self, maps: torch.Tensor, y: torch.Tensor, *, step: int) -> float:
        """Compute the mean loss of a batch, and set the gradients of all parameters.

        Parameters
        ----------
        maps : Tensor
            Flattened feature maps float32 ``(n, dim)``.
        y : Tensor
            Class codes ``(n,)``.
        step : int
            Number of the step since the beginning. Dropout is drawn from this number and the seed.

        Returns
        -------
        float
            Cross-entropy with label smoothing and class weights, in nats.
        """
        # BatchNorm cannot learn a variance from a single image.
        set_train(self, train_batchnorm=self._recipe.train_batchnorm and len(maps) > 1)
        parameters = list(self.parameters())

        def run(
            number: int, part: torch.Tensor, labels: torch.Tensor
        ) -> tuple[float, Sequence[torch.Tensor | None]]:
            generator = torch.Generator(self._device)
            generator.manual_seed(hash((self._recipe.seed, step, number)) & 0xFFFF_FFFF_FFFF)
            self._chance.generator = generator
            loss = self._sum_losses(self(part), labels.to(self._device)) / len(maps)
            return loss.item(), torch.autograd.grad(loss, parameters, allow_unused=True)

        parts = zip(maps.chunk(self.n_parts), y.chunk(self.n_parts), strict=True)
        with FULL_FLOAT32:
            results = self._map(run, [(number, *part) for number, part in enumerate(parts)])
        per_part = [gradients for _, gradients in results]
        for parameter, *gradients in zip(parameters, *per_part, strict=True):
            present = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = functools.reduce(torch.add, present) if present else None
        return math.fsum(loss for loss, _ in results)

    def _sum_losses(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Add up the losses of images, each with the weight of its class.

        The weights of PyTorch's function would also weigh the classes that smoothing spreads a
        label over: each image of a frequent class would pull towards the rare ones.
        """
        losses = functional.cross_entropy(
            logits, y, reduction="none", label_smoothing=self._recipe.label_smoothing
        )
        if self._class_weights is not None:
            losses = losses * self._class_weights[y]
        return losses.sum()

    def _map(self, function: Any, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        if self._pool is None:
            return [function(*one) for one in arguments]
        return list(self._pool.map(function, *zip(*arguments, strict=True)))


class _Dropout(nn.Module):
    """Dropout with one generator per thread: threads that share one draw in a random order."""

    def __init__(self, p: float, chance: threading.local) -> None:
        super().__init__()
        self._p, self._chance = p, chance

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self._p:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self._p, generator=self._chance.generator)
        return x * kept / (1 - self._p)


def _seed_dropout(top: nn.Module, chance: threading.local) -> None:
    """Replace every dropout layer by one that draws from a seeded generator."""
    for path, module in list(top.named_modules()):
        if isinstance(module, nn.Dropout):
            top.set_submodule(path, _Dropout(module.p, chance))


def choose_precision(device: torch.device) -> TrainPrecision:
    """Choose bf16 on a GPU that supports it: its range is that of fp32, so no loss is scaled."""
    supports = device.type == "cuda" and "bf16" in list_precisions("torch", str(device))
    return "bf16" if supports else "fp32"
