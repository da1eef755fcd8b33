"""A frozen network and everything that is known about it; the network is loaded on first use."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from featx.backbones.preprocess import Preprocess
from featx.core.learnt import Digests
from featx.core.progress import stage
from featx.core.provenance import Origin

if TYPE_CHECKING:
    from featx.backbones.embedder import FrozenNetwork


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A frozen network that turns images into embeddings.

    `featx.load_backbone` builds it. The network itself is loaded on the first use of `module`.

    Attributes
    ----------
    name : str
        Name of the architecture.
    dims : mapping of str to int
        Length of the embedding of each layer that is read, by the name of the layer.
    preprocess : Preprocess
        Preprocessing of the images.
    pixel_shape : tuple of int
        Shape of one prepared image.
    weights_digest : str
        SHA-256 over the tensors, hexadecimal; the same for every layer of one network, except
        ``logits``, whose digest covers the classifier too.
    origin : Origin
        Values that are needed to load this backbone again: weights, preprocessing and size.
    is_builtin : bool
        Whether the code of the network belongs to featx or torchvision, so that their versions
        identify it.
    learnt : ndarray of uint64
        ``(n_images,)``, ascending: the first 16 hexadecimal digits of the SHA-256 of each image
        that the network was tuned on; none for weights that `featx.fine_tune` did not write.
    load_module : callable
        Function without arguments that returns the network; `module` calls it once.
    """

    name: str
    dims: Mapping[str, int]
    preprocess: Preprocess
    pixel_shape: tuple[int, ...]
    weights_digest: str
    origin: Origin
    is_builtin: bool = False
    learnt: Digests = field(
        default_factory=lambda: np.empty(0, np.uint64), repr=False, compare=False
    )
    load_module: Callable[[], FrozenNetwork] = field(repr=False, compare=False)

    @functools.cached_property
    def module(self) -> FrozenNetwork:
        """The network, in eval mode and without gradients.

        It takes float32 ``(n, 3, height, width)`` and returns one float32 ``(n, dim)`` per layer.
        """
        if isinstance(self.load_module, functools.partial):  # another backbone loads it
            loaded: FrozenNetwork = self.load_module()
            return loaded
        with stage(f"loading {self.name}"):
            return self.load_module()

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that are read."""
        return tuple(self.dims)

    def with_module(
        self, module: FrozenNetwork, *, dims: Mapping[str, int] | None = None
    ) -> Backbone:
        """Return this backbone with a network that is loaded already.

        Parameters
        ----------
        module : FrozenNetwork
            The network.
        dims : mapping of str to int, optional
            Length of the embedding of each layer of `module`. Default: as before.

        Returns
        -------
        Backbone
            A backbone that can be pickled if its network and its preprocessing can.
        """
        load_module = functools.partial(_return, module)
        return replace(self, load_module=load_module, dims=self.dims if dims is None else dims)

    def describe(self) -> Backbone:
        """Return an equal backbone that does not keep this one, or its network, in memory.

        Its network is that of this backbone, as long as this backbone exists.
        """
        return replace(self, load_module=functools.partial(_load_from, weakref.ref(self)))


def _load_from(reference: weakref.ref[Backbone]) -> FrozenNetwork:
    backbone = reference()
    assert backbone is not None, "the network is needed only while its engine is built"
    return backbone.module


def _return(module: FrozenNetwork) -> FrozenNetwork:
    return module
