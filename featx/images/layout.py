"""The meaning of folders: wrapper folders, split folders, class folders, or none of these."""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featx.core.columns import Categories
from featx.core.errors import SourceError
from featx.core.typing import IntArray, Split
from featx.images.labels import clean_label
from featx.images.layout_doubts import join_names, list_doubts
from featx.images.names import escape_name
from featx.images.split_words import find_splits

Folder = tuple[str, ...]
"""Names of the folders above one image, from the outermost one."""

NOT_CLASSES = frozenset(
    re.findall(
        r"\S+",
        "annotations data dataset datasets files frames image images img imgs jpeg "
        "jpegimages jpg labels mask masks photo photos pics picture pictures png rgb "
        "segmentationclass segmentationobject trimaps",
    )
)
"""Names of folders, in lower case, that say nothing about the class of the images inside."""

MASKS = frozenset(["mask", "masks", "segmentation", "segmentations", "trimaps"])
"""Names of folders, in lower case, of masks that lie beside the images."""

MAX_WRAPPERS = 8
"""Largest number of single folders, one in the other, that are taken off."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The meaning of all folders of a source.

    Attributes
    ----------
    folders : ndarray of int
        ``(n_paths,)``, number of the folder of each path.
    by_folder : tuple of FolderMeaning
        The meaning of each folder.
    pattern : str
        The folders that are common to all images, with ``SPLIT`` and ``LABEL`` in place of names:
        ``dataset/SPLIT/LABEL``; empty if folders mean nothing.
    notes : tuple of str
        Sentences about what is doubtful.
    """

    folders: IntArray
    by_folder: tuple[FolderMeaning, ...]
    pattern: str = ""
    notes: tuple[str, ...] = ()

    @property
    def meanings(self) -> tuple[FolderMeaning, ...]:
        """The meaning of each path, in the order of the paths."""
        return tuple(self.by_folder[folder] for folder in self.folders.tolist())

    @property
    def labels(self) -> Categories:
        """The label of each path, ``""`` for none, in the form that featx keeps."""
        return Categories.from_list(clean_label(one.label or "") for one in self.by_folder)[
            self.folders
        ]

    @property
    def splits(self) -> Categories:
        """The split of each path, ``""`` for none."""
        return Categories.from_list(one.split for one in self.by_folder)[self.folders]


def read_layout(names: Sequence[str], subject: str) -> Layout:
    r"""Decide what the folders of a source mean.

    1. Where all names have backslashes, as a zip of Windows has them, names are split there.
    2. A single folder around splits, or around several classes, is taken off.
    3. If every top folder is named like a split (``train``, ``Testing``, ``training_set``), top
       folders are splits, and the folders below them are classes. If the folders below every top
       folder are splits, the top folders are classes.
    4. Folders that are named like ``images`` are no classes, unless they lie beside a class.
    5. Otherwise the top folders are classes.

    Parameters
    ----------
    names : sequence of str
        Path of each image within the source, with ``/`` between its parts.
    subject : str
        Name of the source, for the error.

    Returns
    -------
    Layout
        The meaning of each path, and what is doubtful.

    Raises
    ------
    SourceError
        If a split folder that holds class folders stands beside other folders.

    Examples
    --------
    >>> layout = read_layout(["p/train/ant/1.jpg", "p/val/bee/2.jpg"], "photos")
    >>> layout.pattern, layout.meanings[1]
    ('p/SPLIT/LABEL', FolderMeaning(label='bee', split='val'))
    """
    names, notes = _split_at_backslashes(names)
    numbers: dict[str, int] = {}
    folders = array(
        "i", (numbers.setdefault(name.rpartition("/")[0], len(numbers)) for name in names)
    )
    parts = [_split(folder) for folder in numbers]
    reading = _Reading(tuple(dict.fromkeys(parts)), subject)
    return Layout(
        folders=np.array(folders, np.int32),
        by_folder=tuple(reading.meanings[folder] for folder in parts),
        pattern=reading.pattern,
        notes=(*notes, *reading.notes),
    )


def _split(folder: str) -> Folder:
    return tuple(name for name in folder.split("/") if name not in ("", "."))


def _split_at_backslashes(names: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    r"""Write names such as ``train\cat\0.jpg`` with slashes, if all have a backslash."""
    n_found = sum("\\" in name for name in names)
    if not n_found:
        return names, []
    told = f"{n_found} of {len(names)} names contain backslashes, as a zip made by Windows has"
    if n_found < len(names):
        return names, [f"{told} them: they are read as names, not as folders. Unpack it again."]
    split = [name.replace("\\", "/") for name in names]
    return split, [f"{told} them in place of folders: names are split at backslashes."]


class _Reading:
    """The meaning of each distinct folder of a source.

    Parameters
    ----------
    folders : tuple of Folder
        The distinct folders that hold images.
    subject : str
        Name of the source, for the error.
    """

    def __init__(self, folders: tuple[Folder, ...], subject: str) -> None:
        self.notes: list[str] = []
        self._subject = subject
        wrapper = _find_wrapper(folders)
        self._wrapper = "".join(f"{escape_name(name)}/" for name in wrapper)
        self.pattern = ""
        # A stray image beside or in the wrapper has no folder that means anything.
        inner = {
            folder: folder[len(wrapper) :] if folder[: len(wrapper)] == wrapper else ()
            for folder in folders
        }
        self._inside: set[tuple[str, str | None]] = set()
        meanings = self._read(tuple(dict.fromkeys(inner.values())))
        self.meanings = {folder: meanings[rest] for folder, rest in inner.items()}
        labels = {one.label for one in self.meanings.values() if one.label}
        inside = {name for folder in inner.values() for name in folder} - labels
        masks = sorted(name for name in inside if name.casefold() in MASKS)
        if labels and masks:
            self.notes.append(
                f"images in {join_names(masks)} are rows, too. Leave them out if they are masks."
            )
        self.notes += list_doubts(sorted(labels), self.pattern, self._inside)

    def _read(self, folders: tuple[Folder, ...]) -> Mapping[Folder, FolderMeaning]:
        tops = {folder[0] for folder in folders if folder}
        splits = find_splits(tops)
        if tops and splits.keys() == tops:
            return self._read_splits(folders, splits)
        below = find_splits({folder[1] for folder in folders if len(folder) > 1})
        deep = [folder for folder in folders if folder]
        if deep and all(len(folder) > 1 and folder[1] in below for folder in deep):
            self.pattern = f"{self._wrapper}LABEL/SPLIT"
            self._inside = {(folder[0], _find_class(folder[2:])) for folder in deep}
            return {
                folder: FolderMeaning(folder[0], below[folder[1]]) if folder else FolderMeaning()
                for folder in folders
            }
        self._check_mixed(folders, splits)
        if tops and not any(map(_may_be_class, tops)):
            self._note_no_classes(tops)
            self.pattern = "" if len(tops) > 1 else "/".join(tops)
            return dict.fromkeys(folders, FolderMeaning())
        self.pattern = f"{self._wrapper}LABEL" if tops else ""
        self._inside = {(folder[0], _find_class(folder[1:])) for folder in deep}
        return {folder: FolderMeaning(folder[0] if folder else None) for folder in folders}

    def _read_splits(
        self, folders: tuple[Folder, ...], splits: Mapping[str, Split | None]
    ) -> Mapping[Folder, FolderMeaning]:
        """Read the class folders below split folders."""
        inner = _drop_repeats(folders, splits)
        between = _find_no_classes(inner)
        meanings = {}
        for folder in folders:
            rest = inner[folder]
            if rest and rest[0] in between[folder[0]]:
                rest = rest[1:] if len(between[folder[0]]) == 1 else ()
            split = splits[folder[0]] if folder else None
            meanings[folder] = FolderMeaning(rest[0] if rest else None, split)
        has_labels = any(meaning.label for meaning in meanings.values())
        first, *others = map(sorted, between.values())
        is_same = len(first) == 1 and all(names == first for names in others)
        self.pattern = "/".join(
            [f"{self._wrapper}SPLIT", *first[:is_same], *["LABEL"][:has_labels]]
        )
        self._note_no_classes(max(between.values(), key=len))
        for split in dict.fromkeys(splits.values()):
            names = sorted(name for name in splits if splits[name] == split)
            if split is None:
                self.notes.append(f"images in {join_names(names)} belong to no split")
            elif len(names) > 1:
                self.notes.append(f"folders {join_names(names)} are all read as the split {split}")
        return meanings

    def _check_mixed(self, folders: tuple[Folder, ...], splits: Mapping[str, Split | None]) -> None:
        """Refuse split folders beside others. A class may be named "train", if it is flat."""
        doubtful = sorted(splits.keys() & {folder[0] for folder in folders if len(folder) > 1})
        if doubtful:
            others = sorted({folder[0] for folder in folders if folder} - splits.keys())
            raise SourceError(
                subject=self._subject,
                expected="either split folders or class folders at the top",
                got=f"both ({', '.join(doubtful)} beside {', '.join(others[:3])})",
                remedy="Move the other folders away, rename split folders to train, val or test, "
                "or name one split folder as the source.",
            )

    def _note_no_classes(self, names: Collection[str]) -> None:
        if len(names) > 1:
            self.notes.append(
                f"the folders {join_names(sorted(names))} are not read as classes. If only one of "
                "them holds the images that you mean, name it as the source."
            )


def _find_wrapper(folders: Sequence[Folder]) -> Folder:
    """Find the single folders, one in the other, around all splits or all classes."""
    wrapper: Folder = ()
    holds_images = False
    while len(wrapper) <= MAX_WRAPPERS:
        inside = [folder[len(wrapper) :] for folder in folders if folder[: len(wrapper)] == wrapper]
        tops = {folder[0] for folder in inside if folder}
        if tops and find_splits(tops).keys() == tops:
            return wrapper
        holds_images = holds_images or (bool(wrapper) and () in inside)
        if len(tops) != 1:
            return wrapper if len(tops) > 1 and not holds_images else ()
        wrapper = (*wrapper, *tops)
    return ()


def _drop_repeats(
    folders: Sequence[Folder], splits: Mapping[str, Split | None]
) -> dict[Folder, Folder]:
    """Take off split folders, and a second one inside (``seg_train/seg_train``)."""
    inner = {folder: folder[1:] for folder in folders}
    for top in splits:
        below = [folder for folder in folders if folder[:1] == (top,) and len(folder) > 1]
        names = {folder[1] for folder in below}
        again = names == {top} or set(find_splits(names).values()) == {splits[top]}
        if len(names) == 1 and again:
            inner |= {folder: folder[2:] for folder in below}
    return inner


def _find_no_classes(inner: Mapping[Folder, Folder]) -> Mapping[str, set[str]]:
    """Find in each split the folders that are no classes, such as ``images`` around classes."""
    tops: dict[str, set[str]] = {folder[0]: set() for folder in inner if folder}
    for folder, rest in inner.items():
        if rest:
            tops[folder[0]].add(rest[0])
    classes = {name for names in tops.values() if any(map(_may_be_class, names)) for name in names}
    return {top: names - classes for top, names in tops.items()}


def _find_class(folder: Folder) -> str | None:
    return next(filter(_may_be_class, folder), None)


def _may_be_class(name: str) -> bool:
    return name.casefold() not in NOT_CLASSES
