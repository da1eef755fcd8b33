"""One record per backbone, found by name."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from featx.backbones.weights import WeightsEntry
from featx.core.errors import BackboneError, suggest

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class BackboneSpec:
    """All that is known of a backbone before it is built.

    Attributes
    ----------
    name : str
        As torchvision calls it.
    dim : int or None
        Length of its penultimate embedding; None where it is known only once the network ran.
    paper : str
        Where the architecture comes from.
    build : callable
        Returns the network, freshly initialised.
    list_weights : callable
        Returns its named weights, the default last.
    classifier : str
        Path of the module that is taken off; empty where nothing is.
    pool : bool
        The classifier holds the pooling too (SqueezeNet), so pooling takes its place.
    preprocess : Preprocess or None
        For weights that bring none of their own; None: that of the first named weights.
    own_weights : bool
        The network that `build` returns has the weights it is to have.
    rename : callable or None
        Brings tensor names of older weight files to the present ones.
    is_builtin : bool
        Its code comes with featx or torchvision.
    blocks : str
        Regular expression by which its modules make up blocks, see `list_blocks`; empty: they are
        not known.
    """

    name: str
    dim: int | None
    paper: str
    build: Callable[[], nn.Module]
    list_weights: Callable[[], tuple[WeightsEntry, ...]] = tuple
    classifier: str = ""
    pool: bool = False
    preprocess: Any = None
    own_weights: bool = False
    rename: Callable[[str], str] | None = None
    is_builtin: bool = False
    blocks: str = ""


_REGISTRY: dict[str, BackboneSpec] = {}


def register_spec(spec: BackboneSpec) -> None:
    """Add a backbone.

    Raises
    ------
    BackboneError
        If its name is taken, or cannot stand in a cache.
    """
    if not re.fullmatch(r"[\w.+-]+", spec.name):
        raise BackboneError(
            f"backbone {spec.name!r}: expected a name of letters, digits and . _ + -, got others. "
            "Rename it."
        )
    if spec.name in _REGISTRY:
        raise BackboneError(
            f"backbone {spec.name!r}: expected a new name, got one that is registered. Rename it."
        )
    _REGISTRY[spec.name] = spec


def list_backbones(pattern: str = "*") -> list[str]:
    """List the names of all backbones that match a pattern, sorted.

    Parameters
    ----------
    pattern : str
        With ``*`` and ``?`` as in a shell; a word without them matches anywhere in the name.

    Examples
    --------
    >>> list_backbones("resnet*")
    ['resnet101', 'resnet152', 'resnet18', 'resnet34', 'resnet50']
    """
    load_zoo()
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    return sorted(fnmatch.filter(_REGISTRY, pattern))


def get_backbone_spec(name: str) -> BackboneSpec:
    """Return the record of a backbone.

    Raises
    ------
    BackboneError
        If there is none of that name, with the closest.
    """
    load_zoo()
    if name not in _REGISTRY:
        raise BackboneError(
            f"backbone: expected one of {len(_REGISTRY)} names, got {name!r}. "
            f"{suggest(name, sorted(_REGISTRY))} List them: featx backbones."
        )
    return _REGISTRY[name]


def load_zoo() -> None:
    """Register the built-in backbones, whose modules know this one and not the reverse."""
    from featx.backbones import torchvision_zoo
    from featx.backbones.bundled import specs

    torchvision_zoo.register_zoo()
    specs.register_embedded()
