"""Doubts about a layout: what speaks against the folders that are read as classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from featx.core.text import join_some
from featx.images.names import quote_name
from featx.images.split_words import NEUTRAL, WORDS, find_splits

PART_WORDS = NEUTRAL.union(
    ["camera", "chunk", "clip", "day", "export", "roll", "session", "shard", "video"]
)
"""Words of names such as ``images_001`` and ``day2``, which are parts of a data set."""

PARTS = re.compile(r"\d{3}[A-Z_]{5}|(?:19|20)\d\d(?:[-_. ]?\d\d){0,2}")
"""Folder of a camera, such as ``100APPLE``, or of a year, a month or a day."""

N_SHOWN = 4
"""Number of folders that one note names."""


def list_doubts(
    labels: Sequence[str], pattern: str, inside: Collection[tuple[str, str | None]]
) -> list[str]:
    """List what is doubtful about the classes of a layout.

    Parameters
    ----------
    labels : sequence of str
        Names of the class folders, sorted.
    pattern : str
        The folders that are common to all images, as in `featx.images.layout.Layout`.
    inside : collection of (str, str or None)
        Each class with each folder in it that may be a class itself; None for a class that holds
        images outside such folders. Empty if the classes lie in split folders.

    Returns
    -------
    list of str
        Sentences; none if the layout is clear.

    Examples
    --------
    >>> list_doubts(["day1", "day2"], "LABEL", [("day1", None), ("day2", None)])[0]
    "the classes 'day1' and 'day2' differ only by numbers. If they are parts of one data set, pass \
them as sources of their own."
    """
    doubts = []
    like_splits = [] if "SPLIT" in pattern else sorted(find_splits(labels))
    if like_splits and 2 * len(like_splits) >= len(labels):
        are = "class {} is" if len(like_splits) == 1 else "classes {} are"
        doubts.append(
            f"the {are.format(join_names(like_splits))} named like a split. If you mean a split, "
            "keep no other folders beside it."
        )
    found = Counter(name for _, name in inside if name)
    names = sorted(found)
    are_all_deep = all(name for _, name in inside)
    common = [name for name in names if found[name] > 1]
    if len(labels) < 2:
        if pattern == "LABEL" and len(names) > 1:
            doubts.append(
                f"all images have the label {quote_name(labels[0])}, the name of the folder "
                f"around them. If {join_names(names)} are the classes, name that folder as the "
                "source."
            )
        return doubts
    for label in labels:
        copies = [name for name in labels if (label, name) in inside]
        if copies and label not in copies:
            doubts.append(
                f"the class {quote_name(label)} holds folders named like classes beside it "
                f"({join_names(copies)}). If it is a copy, move it away."
            )
    what = ""
    if len(common) > 1:
        what = f"folders of the same names, such as {join_names(common)}"
    elif (not common and are_all_deep and len(names) > len(labels)) or (
        pattern.endswith("LABEL/SPLIT") and len(names) > 1
    ):
        what = f"folders, such as {join_names(names)}"
    if what:
        doubts.append(
            f"the classes hold {what}. If those are the classes, pass {join_names(labels)} as "
            "sources of their own."
        )
    elif _are_parts(labels):
        doubts.append(
            f"the classes {join_names(labels)} differ only by numbers. If they are parts of one "
            "data set, pass them as sources of their own."
        )
    return doubts


def _are_parts(names: Sequence[str]) -> bool:
    """Tell names such as ``images_001``, which differ only by numbers, from codes of classes."""
    if all(map(PARTS.fullmatch, names)):
        return True
    stems = {re.sub(r"\d+", "", name) for name in names}
    words = {word.lower() for word in WORDS.findall(names[0])}
    return len(stems) == 1 and not words.isdisjoint(PART_WORDS)


def join_names(names: Sequence[str]) -> str:
    """Write the names of folders for a sentence.

    Parameters
    ----------
    names : sequence of str
        At least one name.
    """
    return join_some([quote_name(name) for name in names], N_SHOWN)
