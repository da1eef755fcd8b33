"""Find the tensors of a network among the names in a file, whatever wrapped the network there.

A wrapper puts a prefix before the names: ``module.`` (data-parallel training), ``model.`` or
``backbone.`` (a training framework), several of them, or the key of a checkpoint. None of them is
known by name: a network lies wherever all of its names stand behind one prefix.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featx.backbones.spec import Rename
from featx.core.errors import WeightsError, suggest
from featx.core.text import show_text

if TYPE_CHECKING:
    import torch

TOP = "."
"""Key of the network whose names have no prefix."""

INNER = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts that torch puts into names for itself, at any place: they are taken out."""

COUNTER = "num_batches_tracked"
"""Last part of the name of a tensor that counts batches. It changes nothing in eval mode, and
older files lack it."""

MAX_DEPTH = 16
"""Largest number of mappings within each other that are looked into."""

MAX_VALUES = 1_000_000
"""Largest number of values in a file."""

N_SHOWN = 3
"""Number of names that an error shows of each side."""

MAX_SHOWN = 70
"""Largest length of a name in an error, in characters."""

NEARLY = 0.5
"""Share of a network's names that must stand behind a prefix for the others to be called missing.
With fewer, another network lies there."""


def flatten(loaded: Mapping[Any, Any]) -> dict[str, Any]:
    """Flatten nested mappings: the names of inner values are joined by dots.

    Parameters
    ----------
    loaded : mapping
        A state dict, or a checkpoint with state dicts in it.

    Returns
    -------
    dict of str to object
        The values that are no mappings, by name.

    Raises
    ------
    ValueError
        If there are more than `MAX_VALUES`.

    Examples
    --------
    >>> flatten({"epoch": 3, "model": {"fc.bias": 1.0}})
    {'epoch': 3, 'model.fc.bias': 1.0}
    """
    flat: dict[str, Any] = {}

    def add(values: Mapping[Any, Any], prefix: str, depth: int) -> None:
        for key, value in values.items():
            name = f"{prefix}{key if isinstance(key, str | int) else type(key).__name__}"
            if not isinstance(value, Mapping):
                flat[name] = value
            elif depth < MAX_DEPTH:
                add(value, f"{name}.", depth + 1)
            if len(flat) > MAX_VALUES:
                raise ValueError(f"more than {MAX_VALUES} values")

    add(loaded, "", 1)
    return flat


def find_network(
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    *,
    key: str = "",
    rename: Rename | None = None,
    subject: str,
) -> dict[str, torch.Tensor]:
    """Find the tensors of a network among those of a file.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        All tensors of the file by name, as `flatten` names them.
    expected : mapping of str to Tensor
        Tensors of the network, in the shapes that it needs.
    key : str
        Beginning of the names of the network that the user chose; empty if there is to be one.
    rename : callable, optional
        Function that turns a name of older files into the current one. Default: names never
        changed.
    subject : str
        Path of the file, for errors.

    Returns
    -------
    dict of str to Tensor
        The tensors behind the prefix of the network, without the prefix. Some may be missing, or
        have another shape, or be none of the network's.

    Raises
    ------
    WeightsError
        If the file holds another network, or several networks that fit, or nothing by that key.
    """
    by_name = {_take_out_inner(name): tensor for name, tensor in tensors.items()}
    found = list_prefixes(by_name, expected, rename)
    root = "" if key in ("", TOP) else f"{_take_out_inner(key)}."
    inside = [name for name in by_name if name.startswith(root)]
    complete = [prefix for prefix in found if not list_missing(found[prefix], expected)]
    if not inside:
        networks = [_name_key(prefix) for prefix in complete]
        first_parts = dict.fromkeys(name.split(".")[0] for name in by_name)
        raise _refuse_key(key, networks or list(first_parts), subject)
    behind = [p for p in found if p.startswith(root) and (key != TOP or not p)]
    whole = [p for p in complete if p in behind]
    fitting = [
        p
        for p in whole
        if all(by_name[own].shape == expected[name].shape for name, own in found[p].items())
    ]
    networks = _drop_equal(fitting or whole, found, by_name)
    if len(networks) > 1:
        raise _refuse_several([_name_key(prefix) for prefix in networks], subject)
    nearly = [p for p in behind[:1] if len(found[p]) >= NEARLY * len(expected)]
    for prefix in networks or nearly:
        others = tuple(p for p in complete if p != prefix and p.startswith(prefix))
        return {
            rename(own) if rename else own: tensor
            for name, tensor in by_name.items()
            if name.startswith(prefix) and not name.startswith(others)
            for own in [name.removeprefix(prefix)]
        }
    raise WeightsError(
        subject=subject,
        expected=f"the {len(expected)} tensors of the backbone, such as {show_names(expected)}",
        got=f"{len(inside)} tensors, such as {show_names(inside)}",
        remedy="Check that the file belongs to this backbone.",
    )


def list_prefixes(
    names: Iterable[str], expected: Collection[str], rename: Rename | None = None
) -> dict[str, dict[str, str]]:
    """List the prefixes behind which names of a network stand.

    Parameters
    ----------
    names : iterable of str
        Names in a file.
    expected : collection of str
        Names of the network.
    rename : callable, optional
        Function that turns a name of older files into the current one.

    Returns
    -------
    dict of str to dict of str to str
        By prefix, which is empty or ends in a dot: the name in the file of each name of the network
        that stands behind it. The prefix with the most names comes first, then the shorter one.

    Examples
    --------
    >>> list_prefixes(["module.conv.weight", "module.fc.weight"], ["conv.weight"])
    {'module.': {'conv.weight': 'module.conv.weight'}}
    """
    known = set(expected)
    found: dict[str, dict[str, str]] = {}
    for name in names:
        start = 0
        while True:
            own = rename(name[start:]) if rename else name[start:]
            if own in known:
                found.setdefault(name[:start], {})[own] = name
            start = name.find(".", start) + 1
            if not start:
                break
    order = sorted(found, key=lambda prefix: (-len(found[prefix]), len(prefix), prefix))
    return {prefix: found[prefix] for prefix in order}


def list_missing(found: Collection[str], expected: Iterable[str]) -> list[str]:
    """List the names of a network that are not found; counters of batches may be missing.

    Parameters
    ----------
    found : collection of str
        Names that were found.
    expected : iterable of str
        Names of the network.
    """
    return [name for name in expected if name not in found and not name.endswith(COUNTER)]


def show_names(names: Iterable[str]) -> str:
    """Write the first names of several, and how many more there are.

    Parameters
    ----------
    names : iterable of str
        Names, which strangers may have chosen.
    """
    listed = list(names)
    shown = ", ".join(show_text(name, MAX_SHOWN) for name in listed[:N_SHOWN])
    return shown + (f" and {len(listed) - N_SHOWN} more" if len(listed) > N_SHOWN else "")


def _take_out_inner(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in INNER)


def _name_key(prefix: str) -> str:
    return prefix.removesuffix(".") or TOP


def _drop_equal(
    prefixes: Sequence[str],
    found: Mapping[str, Mapping[str, str]],
    tensors: Mapping[str, torch.Tensor],
) -> list[str]:
    """Leave out networks whose tensors are those of one before: a module may have two names."""
    import torch

    kept: list[str] = []
    for prefix in prefixes:
        own = found[prefix]
        is_new = not any(
            all(
                torch.equal(tensors[own[name]], tensors[found[other][name]])
                for name in own.keys() & found[other].keys()
                if not name.endswith(COUNTER)
            )
            for other in kept
        )
        kept += [prefix] if is_new else []
    return kept


def _refuse_several(keys: Sequence[str], subject: str) -> WeightsError:
    choices = " or ".join(f"weights={f'{subject}:{key}'!r}" for key in keys[:N_SHOWN])
    return WeightsError(
        subject=subject,
        expected="one network that fits the backbone",
        got=f"{len(keys)}: {show_names(keys)}",
        remedy=f"Choose one: {choices}.",
    )


def _refuse_key(key: str, known: Sequence[str], subject: str) -> WeightsError:
    return WeightsError(
        subject=subject,
        expected=f"a key of a network in it: {show_names(known)}",
        got=repr(show_text(key, MAX_SHOWN)),
        remedy=suggest(key, known),
    )
