"""Names that stand for splits: ``train``, ``Testing``, ``training_set``, ``seg_train``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from featx.core.rows import SPLIT_NAMES
from featx.core.typing import Split

NEUTRAL = frozenset(
    re.findall(
        r"\S+",
        "all batch crop cropped data dataset datasets dir final fold folder for full hq image "
        "images img imgs jpeg jpg large mini new orig original part partition photo photos pic "
        "pics picture pictures png private public raw resized sample samples set sets "
        "single small split subset tiny to",
    )
)
"""Words that say nothing about the class: ``training_set`` and ``train_images`` are splits."""

UNLABELLED = frozenset(["pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled"])
"""Words for images beside the splits that belong to none of them."""

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+|\d+")
"""Words and numbers in a name: ``TrainingSet-2017`` has three."""


def find_splits(names: Iterable[str]) -> Mapping[str, Split | None]:
    """Find which of several folders that lie beside each other are splits.

    A name stands for a split if exactly one of its words does (``train``, ``Testing``) and the
    others are numbers, single letters or words that say nothing (``training_set``, ``val2017``).
    Any other words have to be the same in several names that stand for different splits:
    ``seg_train`` and ``seg_test`` are splits, ``train_station`` and ``bus_station`` are classes.

    Parameters
    ----------
    names : iterable of str
        Names of folders.

    Returns
    -------
    mapping of str to str or None
        The split of each name that stands for one; None for images that belong to no split
        (``seg_pred`` beside ``seg_train`` and ``seg_test``).

    Examples
    --------
    >>> find_splits(["training_set", "test_set", "notes"])
    {'training_set': 'train', 'test_set': 'test'}
    """
    by_rest: dict[tuple[str, ...], dict[str, Split | None]] = {}
    for name in dict.fromkeys(names):
        words = [word.lower() for word in WORDS.findall(name)]
        found = [word for word in words if _find_split(word) or word in UNLABELLED]
        if len(found) == 1:
            rest = tuple(
                word
                for word in words
                if word not in (found[0], *NEUTRAL) and len(word) > 1 and not word.isdigit()
            )
            by_rest.setdefault(rest, {})[name] = _find_split(found[0])
    splits: dict[str, Split | None] = {}
    for rest, group in by_rest.items():
        # Images of no split lie beside those of a split; alone, they may be a class.
        n_needed = 2 if rest else 1
        if len(set(group.values()) - {None}) >= n_needed:
            splits |= group
    return splits


def find_split_in(name: str) -> Split | None:
    """Find the split that the name of an archive names, such as ``photos-train``.

    Parameters
    ----------
    name : str
        Name without its suffix.

    Returns
    -------
    str or None
        The split, if exactly one word of the name stands for one.
    """
    words = [word.lower() for word in WORDS.findall(name)]
    found = [split for split in map(_find_split, words) if split]
    return found[0] if len(found) == 1 else None


def _find_split(word: str) -> Split | None:
    """Find the split of one word, which may have a neutral word at its end (``trainset``)."""
    for name, split in SPLIT_NAMES.items():
        if word == name or (word.startswith(name) and word[len(name) :] in NEUTRAL):
            return split
    return None
