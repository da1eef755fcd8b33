"""Keep the backbones that were given by name last, each with the engine of its last call."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence

from featx.backbones.backbone import Backbone
from featx.backbones.load import load_backbone
from featx.backbones.spec import PENULTIMATE
from featx.core.process import renew_in_children
from featx.engines.kept import release_engines

MAX_NAMED = 4
"""Number of backbones to keep: enough for a few heads side by side; each holds its weights twice
and the memory of its batches."""

UNSAFE_S = 2.0
"""Seconds after a change of a file in which another change may leave the same times."""

FileIdentity = tuple[int, ...]
"""Device, number, size and times of a file."""

JUST_CHANGED: FileIdentity = (-1,)

_lock = threading.RLock()
_named: OrderedDict[Hashable, Backbone] = OrderedDict()

renew_in_children(lambda: _lock._at_fork_reinit())  # type: ignore[attr-defined]


def load_named(
    name: str,
    *,
    weights: str = "DEFAULT",
    layers: Sequence[str] = (PENULTIMATE,),
    preprocess: str | None = None,
    size: int | None = None,
) -> Backbone:
    """Load a backbone by name, or return the one that an earlier call with equal options loaded.

    Parameters
    ----------
    name, weights, layers, preprocess, size
        Arguments of `featx.load_backbone`.

    Returns
    -------
    Backbone
        The backbone, which must not be changed. One of the user's networks is loaded at each call,
        because the user may have changed it, and so are weights from a file that has just changed.

    Raises
    ------
    BackboneError, WeightsError
        As `featx.load_backbone` raises them.
    """
    file = _identify_file(weights)
    key = (name, weights, tuple(layers), preprocess, size, file)
    with _lock:
        if key in _named:
            _named.move_to_end(key)
            return _named[key]
    backbone = load_backbone(name, weights=weights, layers=layers, preprocess=preprocess, size=size)
    if file == JUST_CHANGED or not backbone.is_builtin:
        return backbone
    dropped = []  # freed without the lock: an engine takes its time to close
    with _lock:
        backbone = _named.setdefault(key, backbone)  # another thread may have loaded the same one
        while len(_named) > MAX_NAMED:
            dropped.append(_named.popitem(last=False))
    return backbone


def is_named(backbone: Backbone) -> bool:
    """Return whether a backbone is one of those that are kept for the next call.

    Parameters
    ----------
    backbone : Backbone
        The backbone.
    """
    with _lock:
        return any(one is backbone for one in _named.values())


def _identify_file(weights: str) -> FileIdentity:
    """Identify the content of a file of weights without reading it; nothing for other weights."""
    try:
        found = os.stat(os.path.expanduser(weights))
    except (OSError, ValueError):
        return ()
    if not stat.S_ISREG(found.st_mode):
        return ()
    if time.time() - max(found.st_mtime, found.st_ctime) < UNSAFE_S:
        return JUST_CHANGED
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def close_engines() -> None:
    """Close the engines that `featx.embed` and `featx.predict` have kept for the next call.

    The threads and memory of an engine that another call uses are released when that call ends.
    Predictors stay open.

    Examples
    --------
    >>> X = featx.embed("ant.jpg", backbone="mini")
    >>> featx.close_engines()
    """
    with _lock:
        dropped = [*_named.values()]  # freed without the lock
        _named.clear()
    release_engines()
    del dropped
