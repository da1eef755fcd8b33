"""All backbones by name: those that the zoos list, and those that the user registered."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterable, Mapping

from featx.backbones import torchvision_zoo
from featx.backbones.bundled import specs as bundled_specs
from featx.backbones.spec import BackboneSpec
from featx.core.errors import BackboneError, suggest

ZOOS: tuple[Callable[[], Iterable[BackboneSpec]], ...] = (
    torchvision_zoo.list_specs,
    bundled_specs.list_specs,
)
"""Functions that list the backbones of one zoo each."""

_registered: dict[str, BackboneSpec] = {}
"""Backbones that the user registered in this process."""


def collect_specs(specs: Iterable[BackboneSpec]) -> dict[str, BackboneSpec]:
    """Collect backbones by name.

    Parameters
    ----------
    specs : iterable of BackboneSpec
        Backbones with different names.

    Returns
    -------
    dict of str to BackboneSpec
        The backbones by name.

    Raises
    ------
    BackboneError
        If a name comes twice.
    """
    by_name: dict[str, BackboneSpec] = {}
    taken: set[str] = set()
    for spec in specs:
        if spec.name.lower() in taken:  # names may be typed in any case
            raise BackboneError(
                subject=f"backbone {spec.name!r}",
                expected="a new name",
                got="a name that is taken",
                remedy="Choose another name.",
            )
        by_name[spec.name] = spec
        taken.add(spec.name.lower())
    return by_name


@functools.cache
def _collect_zoos() -> Mapping[str, BackboneSpec]:
    return collect_specs(spec for list_specs in ZOOS for spec in list_specs())


def add_spec(spec: BackboneSpec) -> None:
    """Add a backbone of the user, for this process.

    Parameters
    ----------
    spec : BackboneSpec
        The backbone.

    Raises
    ------
    BackboneError
        If its name is taken.
    """
    collect_specs([*_collect_zoos().values(), *_registered.values(), spec])
    _registered[spec.name] = spec


def list_backbones(pattern: str = "*") -> list[str]:
    """List the names of backbones.

    Parameters
    ----------
    pattern : str
        Pattern with ``*`` and ``?`` as in a shell, in upper or lower case. A word without them
        matches any part of a name.

    Returns
    -------
    list of str
        Matching names, sorted.

    See Also
    --------
    get_backbone_spec : Describe one backbone.
    load_backbone : Load a backbone with its weights.
    register_backbone : Add a network of your own.

    Examples
    --------
    >>> import featx
    >>> featx.list_backbones("resnet*")
    ['resnet101', 'resnet152', 'resnet18', 'resnet34', 'resnet50']
    >>> featx.list_backbones("alex")
    ['alexnet']
    """
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    names = [*_collect_zoos(), *_registered]
    return sorted(name for name in names if fnmatch.fnmatchcase(name.lower(), pattern.lower()))


def normalise_name(name: str) -> str:
    """Return the name of a backbone as it is registered: it may be typed in any case.

    Parameters
    ----------
    name : str
        Name as typed. A name that no backbone has is returned in lower case.
    """
    by_lower = {registered.lower(): registered for registered in _registered}
    return name if name in _registered else by_lower.get(name.lower(), name.lower())


def get_backbone_spec(name: str) -> BackboneSpec:
    """Describe a backbone without building it.

    Parameters
    ----------
    name : str
        Name of the backbone, one of `list_backbones`, in upper or lower case.

    Returns
    -------
    BackboneSpec
        Length of the embedding, publication, named weights and more.

    Raises
    ------
    BackboneError
        If there is no backbone of this name; the error shows the nearest names.

    See Also
    --------
    list_backbones : List all names.
    load_backbone : Load a backbone with its weights.

    Examples
    --------
    >>> import featx
    >>> spec = featx.get_backbone_spec("mini")
    >>> spec.dim
    768
    >>> [entry.name for entry in spec.list_weights()]
    ['CIFAR10_V1']
    """
    own = normalise_name(name)
    spec = _registered.get(own) or _collect_zoos().get(own)
    if spec is None:
        names = list_backbones()
        raise BackboneError(
            subject="backbone",
            expected=f"one of {len(names)} names",
            got=repr(name),
            remedy=f"{suggest(name, names)} List all names with featx.list_backbones(), or add a "
            "network of your own with featx.register_backbone(name, network).",
        )
    return spec
