"""The description of a backbone before it is built."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featx.backbones.preprocess import Preprocess
from featx.backbones.weights import WeightsEntry
from featx.core.errors import BackboneError

if TYPE_CHECKING:
    from torch import nn

PENULTIMATE = "penultimate"
"""Name of the default layer: the input of the last Linear, or the output of a user's network."""

LOGITS = "logits"
"""Name of the layer that is the output of a network whose classifier is kept."""

Rename = Callable[[str], str]
"""Function that turns a tensor's name in older files into the current name."""


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """The description of a backbone before it is built.

    Attributes
    ----------
    name : str
        Name of the backbone: letters, digits and ``. _ + -``.
    dim : int or None
        Length of the penultimate embedding; None if it is known only after the network ran.
    paper : str
        Publication of the architecture.
    build : callable
        Function without arguments that returns the network, freshly initialised.
    list_weights : callable
        Function without arguments that returns the named weights, the default last.
    classifier : str
        Path of the module to remove; empty to remove none.
    pool : bool
        Whether the module to remove also pools (as in SqueezeNet), so that average pooling takes
        its place.
    preprocess : Preprocess or None
        Preprocessing for weights without their own; None for the preprocessing of the named
        weights.
    has_own_weights : bool
        Whether the network that `build` returns has its weights already.
    rename : callable or None
        Function that turns a tensor's name in older files into the current name; None if names
        never changed.
    is_builtin : bool
        Whether the code of the network belongs to featx or torchvision.
    blocks : str
        Regular expression that groups modules into the blocks of fine-tuning by the beginnings of
        their paths; empty if the blocks are not known.

    Raises
    ------
    BackboneError
        If the name has other characters.
    """

    name: str
    dim: int | None
    paper: str
    build: Callable[[], nn.Module]
    list_weights: Callable[[], tuple[WeightsEntry, ...]] = tuple
    classifier: str = ""
    pool: bool = False
    preprocess: Preprocess | None = None
    has_own_weights: bool = False
    rename: Rename | None = None
    is_builtin: bool = False
    blocks: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.+-]+", self.name):
            raise BackboneError(
                subject=f"backbone {self.name!r}",
                expected="a name of letters, digits and . _ + -",
                got="other characters",
                remedy="Choose another name.",
            )
