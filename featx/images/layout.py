"""The meaning of folders: split folders, class folders, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featx.core.errors import SourceError
from featx.core.rows import parse_split
from featx.core.typing import Split


@dataclass(frozen=True, slots=True)
class FolderMeaning:
    """The meaning of the folders in the path of one image.

    Attributes
    ----------
    label : str or None
        Name of the class folder; None if there is no class folder.
    split : str or None
        Split that the split folder stands for; None if there is no split folder.
    """

    label: str | None = None
    split: Split | None = None


def read_layout(paths: Sequence[Sequence[str]], subject: str) -> list[FolderMeaning]:
    """Decide what the folders of a source mean.

    If every top folder is named like a split (``train``, ``valid``, ``test``), top folders are
    splits, and the folders below them are classes. Otherwise the top folders are classes.

    Parameters
    ----------
    paths : sequence of sequences of str
        Path of each image within the source, split into its parts.
    subject : str
        Name of the source, for the error.

    Returns
    -------
    list of FolderMeaning
        The meaning of each path, in the same order.

    Raises
    ------
    SourceError
        If a split folder that holds class folders stands beside other folders.

    Examples
    --------
    >>> read_layout([("train", "ants", "1.jpg"), ("val", "bees", "2.jpg")], "photos")
    ... # doctest: +NORMALIZE_WHITESPACE
    [FolderMeaning(label='ants', split='train'), FolderMeaning(label='bees', split='val')]
    """
    tops = {parts[0] for parts in paths if len(parts) > 1}
    split_tops = {name for name in tops if parse_split(name)}
    if split_tops and split_tops == tops:
        return [_read_below_split(parts) for parts in paths]
    # A class may be named "train". Such a folder is ambiguous only if it contains folders.
    doubtful = sorted(split_tops & {parts[0] for parts in paths if len(parts) > 2})
    if doubtful:
        others = ", ".join(sorted(tops - split_tops)[:3])
        raise SourceError(
            subject=subject,
            expected="either split folders or class folders at the top",
            got=f"both ({', '.join(doubtful)} beside {others})",
            remedy="Move the other folders away, or name one split folder as the source.",
        )
    return [FolderMeaning(label=parts[0] if len(parts) > 1 else None) for parts in paths]


def _read_below_split(parts: Sequence[str]) -> FolderMeaning:
    if len(parts) == 1:
        return FolderMeaning()
    return FolderMeaning(label=parts[1] if len(parts) > 2 else None, split=parse_split(parts[0]))
