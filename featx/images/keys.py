"""Keys: the part of a file's name by which WebDataset groups an image with what describes it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection

import numpy as np


def find_key(name: str) -> str:
    """Return the key of a file: its path up to the first dot of its last part.

    Parameters
    ----------
    name : str
        Path within the source, with ``/`` between its parts.

    Examples
    --------
    >>> find_key("a/0001.seg.png")
    'a/0001'
    """
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".", 1)[0]


def describe_shared_keys(names: Collection[str]) -> str:
    """Say that some keys have several images, such as a photo and its mask.

    Parameters
    ----------
    names : collection of str
        Paths of the images within the source.

    Returns
    -------
    str
        A sentence; empty if each key has one image. Names with dots of their own, such as dates,
        share no key.

    Examples
    --------
    >>> describe_shared_keys(["1.jpg", "1.seg.png", "2.jpg"])
    '1 key has 2 images (jpg, seg.png): each of them is a row. Leave out masks and copies.'
    """
    hashes = np.fromiter((hash(find_key(name)) for name in names), np.int64, len(names))
    ordered = np.sort(hashes)
    shared = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not shared:  # as in nearly every source: no list of all names is made
        return ""
    names = sorted(itertools.compress(names, (one in shared for one in hashes.tolist())))
    kinds: Counter[tuple[str, ...]] = Counter()
    for key, group in itertools.groupby(names, key=find_key):
        suffixes = tuple(name[len(key) + 1 :] for name in group)
        if len(suffixes) > 1 and any("." not in suffix for suffix in suffixes):
            kinds[suffixes] += 1
    if not kinds:
        return ""
    n_keys = kinds.total()
    (suffixes, _), *others = kinds.most_common()
    shown = f"{', '.join(suffixes[:4])}{', …' if others or len(suffixes) > 4 else ''}"
    n_images = "several" if others else str(len(suffixes))
    have = "key has" if n_keys == 1 else "keys have"
    return (
        f"{n_keys} {have} {n_images} images ({shown}): each of them is a row. "
        "Leave out masks and copies."
    )
