"""Run a network with PyTorch in float32, and compute the maps of its logits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from featx.backbones.averaged import build_map_network
from featx.backbones.backbone import Backbone
from featx.backbones.embedder import Embedder
from featx.backbones.last_map import cut_at_last_map
from featx.core.process import use_torch
from featx.core.torch_state import DEFAULT_FLOAT32, FULL_FLOAT32, plain_torch, plain_torch_thread
from featx.core.typing import Array, Float32Array, Float64Array
from featx.engines.limits import explain_failures
from featx.explanation.decompose import LogitWeights, decompose

Choose = Callable[[Float32Array], Sequence[Sequence[int]]]
"""Function that chooses the numbers of the classes to explain from embeddings ``(n, dim)``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """One image with the maps of some classes.

    Attributes
    ----------
    embedding : ndarray of float32
        ``(dim,)``.
    codes : sequence of int
        Numbers of the classes.
    maps : sequence of (ndarray of float64, float or None)
        Map ``(h, w)`` of each class, with its bias; None for an approximation, which has none.
    """

    embedding: Float32Array
    codes: Sequence[int]
    maps: Sequence[tuple[Float64Array, float | None]]


class Runner(Protocol):
    """A way to compute maps."""

    def run(self, pixels: Array, choose: Choose) -> list[Explained]:
        """Compute the maps of a batch of images.

        Parameters
        ----------
        pixels : ndarray
            Images as the preprocessing returns them, stacked.
        choose : callable
            Function that chooses the classes.
        """


class ExactRunner:
    """Decompose logits of a network whose embedding is an average; see `decompose`.

    Parameters
    ----------
    backbone : Backbone
        The network, which is read at one layer.
    weights : LogitWeights
        The head.
    device : str
        Device that runs the network, such as ``"cpu"``.

    Raises
    ------
    BackboneError
        If the embedding is no average of feature maps.
    """

    def __init__(self, backbone: Backbone, weights: LogitWeights, device: str) -> None:
        self._backbone, self._weights, self._device = backbone, weights, device
        module = get_embedder(backbone)
        with plain_torch():
            example = build_noise(backbone)
            self._network = build_map_network(module, example, name=backbone.name)
            if device != "cpu":
                self._network = copy.deepcopy(self._network).to(device)

    def run(self, pixels: Array, choose: Choose) -> list[Explained]:
        """Compute exact maps; see `Runner`."""
        with _running(self._device), torch.inference_mode():
            batch = _normalise(self._backbone, pixels, self._device)
            output, maps = self._network(batch)
            embeddings = output.cpu().numpy()
            features = [one.cpu().numpy() for one in maps]
        parts, norm = self._network.parts, self._network.norm
        return [
            Explained(
                embedding=embeddings[number],
                codes=codes,
                maps=decompose(
                    [one[number] for one in features], self._weights, codes, parts=parts, norm=norm
                )
                if len(codes)
                else [],
            )
            for number, codes in enumerate(choose(embeddings))
        ]


class GradCamRunner:
    """Approximate maps by Grad-CAM: feature maps weighted by the mean gradient of the logit.

    Source: Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based
    localization (2017), arXiv:1610.02391. The maps are those of the last layer that has any.
    Negative values are 0, as in the paper.

    Parameters
    ----------
    backbone, weights, device
        As `ExactRunner` takes them.

    Raises
    ------
    BackboneError
        If the network has no feature map, or its graph is not known.
    """

    def __init__(self, backbone: Backbone, weights: LogitWeights, device: str) -> None:
        self._backbone, self._device = backbone, device
        module = get_embedder(backbone)
        with plain_torch():
            cut = cut_at_last_map(module, build_noise(backbone), name=backbone.name)
            self._weight = torch.from_numpy(weights.weight).float().to(device)
            # The parts share modules, which are copied once.
            both = (cut.lower, cut.upper)
            self._lower, self._upper = both if device == "cpu" else copy.deepcopy(both)
            self._lower.to(device)
            self._upper.to(device)
        self._channel_axis, self._is_normalised = cut.channel_axis, weights.is_normalised

    def run(self, pixels: Array, choose: Choose) -> list[Explained]:
        """Compute approximate maps; see `Runner`."""
        with _running(self._device):
            with torch.no_grad():
                lower = self._lower(_normalise(self._backbone, pixels, self._device))
            features = lower.detach().clone().requires_grad_()
            output = self._upper(features.clone())  # modules may write into what they get
            embeddings = output.detach().cpu().numpy()
            codes = choose(embeddings)
            logits = (functional.normalize(output) if self._is_normalised else output) @ (
                self._weight.T
            )
            maps: list[list[Float64Array]] = [[] for _ in codes]
            for turn in range(max(map(len, codes), default=0)):
                rows = [row for row, chosen in enumerate(codes) if len(chosen) > turn]
                # In eval mode, no image changes the logits of another one.
                total = sum((logits[row, codes[row][turn]] for row in rows), logits.new_zeros(()))
                (gradient,) = torch.autograd.grad(total, features, retain_graph=True)
                axes = (1, 2) if self._channel_axis == 3 else (2, 3)
                alphas = gradient.mean(axes, keepdim=True)
                found = (alphas * features.detach()).sum(self._channel_axis).relu()
                for row in rows:
                    maps[row].append(found[row].double().cpu().numpy())
        return [
            Explained(embedding=embedding, codes=chosen, maps=[(one, None) for one in found])
            for embedding, chosen, found in zip(embeddings, codes, maps, strict=True)
        ]


def build_noise(backbone: Backbone) -> torch.Tensor:
    """Build one input of noise, as a batch: all channels of a network answer to it.

    Parameters
    ----------
    backbone : Backbone
        The network, whose preprocessing is applied.
    """
    black = backbone.preprocess.build_example()
    rng = np.random.default_rng(0)
    if black.dtype == np.uint8:
        noise: Array = rng.integers(0, 256, black.shape, np.uint8)
    else:
        noise = rng.standard_normal(black.shape, np.float32)
    return backbone.preprocess.normalise(torch.from_numpy(noise[None]))


def get_embedder(backbone: Backbone) -> Embedder:
    """Return the network of a backbone that has a name.

    Parameters
    ----------
    backbone : Backbone
        The backbone.
    """
    module = backbone.module
    assert isinstance(module, Embedder), "backbones that have a name are read by an Embedder"
    return module


def _normalise(backbone: Backbone, pixels: Array, device: str) -> torch.Tensor:
    return backbone.preprocess.normalise(torch.from_numpy(pixels).to(device))


@contextmanager
def _running(device: str) -> Iterator[None]:
    """Run a network in the block: in full float32, whatever the caller has set."""
    with ExitStack() as stack:
        stack.enter_context(use_torch())
        stack.enter_context(explain_failures(f"device {device}", "Pass a smaller batch_size."))
        stack.enter_context(plain_torch_thread())
        stack.enter_context(FULL_FLOAT32)
        stack.enter_context(DEFAULT_FLOAT32)
        yield
