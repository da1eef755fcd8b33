"""A frozen network with all that is known of it; the network itself is loaded when it is run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from featx.backbones.preprocess import Preprocess
from featx.core.provenance import Origin

if TYPE_CHECKING:
    from featx.backbones.embedder import Embedder

PENULTIMATE = "penultimate"
"""The default layer: the input of the last Linear, or a user's network's own output."""


@dataclass(frozen=True)
class Backbone:
    """A frozen network that turns pictures into embeddings.

    Attributes
    ----------
    name : str
        Of the architecture.
    dims : mapping of str to int
        Length of the embedding, per layer that is read.
    preprocess : Preprocess
        What belongs to the weights.
    pixel_shape : tuple of int
        Of one prepared image.
    weights : str
        How they were asked for; a file as an absolute path.
    weights_digest : str
        SHA-256 over the tensors, the same for every layer of one network.
    preprocess_from : str or None
        The named weights whose preprocessing it is; None for a network's own.
    size : int or None
        Pixels per side, where others were asked for than belong to the weights.
    is_builtin : bool
        One of featx's own names: its code is told by the versions of featx and torchvision.
    """

    name: str
    dims: Mapping[str, int]
    preprocess: Preprocess
    pixel_shape: tuple[int, ...]
    weights: str
    weights_digest: str
    preprocess_from: str | None = None
    size: int | None = None
    is_builtin: bool = False
    _load: Callable[[], Embedder] = field(kw_only=True, repr=False, compare=False)

    @functools.cached_property
    def module(self) -> Embedder:
        """The network, in eval mode, without gradients.

        Takes float32 ``(n, 3, height, width)`` and returns one float32 ``(n, dim)`` per layer.
        """
        return self._load()

    @property
    def origin(self) -> Origin:
        """How to load this backbone again."""
        return Origin(weights=self.weights, preprocess_from=self.preprocess_from, size=self.size)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that are read."""
        return tuple(self.dims)
