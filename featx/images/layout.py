"""The meaning of folders: wrapper folders, split folders, class folders, or none of these."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featx.core.errors import SourceError
from featx.core.typing import Split
from featx.images.names import escape_name, join_some, quote_name
from featx.images.split_words import find_splits

Folder = tuple[str, ...]
"""Names of the folders above one image, from the outermost one."""

NOT_CLASSES = frozenset(
    re.findall(
        r"\S+",
        "annotations data dataset datasets files frames image images img imgs jpeg "
        "jpegimages jpg labels mask masks photo photos pics picture pictures png rgb",
    )
)
"""Names of folders, in lower case, that say nothing about the class of the images inside."""

N_SHOWN = 4
"""Number of folders that one note names."""

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
    meanings : tuple of FolderMeaning
        The meaning of each path, in the order of the paths.
    pattern : str
        The folders that are common to all images, with ``SPLIT`` and ``LABEL`` in place of names:
        ``dataset/SPLIT/LABEL``; empty if folders mean nothing.
    notes : tuple of str
        Sentences about what is doubtful.
    """

    meanings: tuple[FolderMeaning, ...]
    pattern: str = ""
    notes: tuple[str, ...] = ()


def read_layout(names: Sequence[str], subject: str) -> Layout:
    r"""Decide what the folders of a source mean.

    1. Where all names have backslashes, as a zip of Windows has them, names are split there.
    2. A single folder around splits, or around several classes, is taken off.
    3. If every top folder is named like a split (``train``, ``Testing``, ``training_set``), top
       folders are splits, and the folders below them are classes. If the folders below every top
       folder are splits, the top folders are classes.
    4. Otherwise the top folders are classes.

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
    folders = [name.rpartition("/")[0] for name in names]
    parts = {folder: _split(folder) for folder in dict.fromkeys(folders)}
    reading = _Reading(tuple(dict.fromkeys(parts.values())), subject)
    meanings = {folder: reading.meanings[found] for folder, found in parts.items()}
    return Layout(
        meanings=tuple(meanings[folder] for folder in folders),
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
        meanings = self._read(tuple(dict.fromkeys(inner.values())))
        self.meanings = {folder: meanings[rest] for folder, rest in inner.items()}
        self._note_doubts(wrapper)

    def _read(self, folders: tuple[Folder, ...]) -> Mapping[Folder, FolderMeaning]:
        tops = {folder[0] for folder in folders if folder}
        splits = find_splits(tops)
        if tops and splits.keys() == tops:
            return self._read_splits(folders, splits)
        below = find_splits({folder[1] for folder in folders if len(folder) > 1})
        deep = [folder for folder in folders if folder]
        if deep and all(len(folder) > 1 and folder[1] in below for folder in deep):
            self.pattern = f"{self._wrapper}LABEL/SPLIT"
            return {
                folder: FolderMeaning(folder[0], below[folder[1]]) if folder else FolderMeaning()
                for folder in folders
            }
        self._check_mixed(folders, splits)
        # One folder named like "images" says nothing about the class of its images.
        if len(tops) == 1 and not _may_be_class(*tops):
            self.pattern = "/".join(tops)
            return dict.fromkeys(folders, FolderMeaning())
        self.pattern = f"{self._wrapper}LABEL" if tops else ""
        return {folder: FolderMeaning(folder[0] if folder else None) for folder in folders}

    def _read_splits(
        self, folders: tuple[Folder, ...], splits: Mapping[str, Split | None]
    ) -> Mapping[Folder, FolderMeaning]:
        """Read the class folders below split folders."""
        inner = _drop_repeats(folders, splits)
        wrapper = _find_inner_wrapper(inner)
        is_wrapped = bool(wrapper)
        meanings = {}
        for folder in folders:
            rest = inner[folder][is_wrapped:]
            split = splits[folder[0]] if folder else None
            meanings[folder] = FolderMeaning(rest[0] if rest else None, split)
        has_labels = any(meaning.label for meaning in meanings.values())
        self.pattern = f"{self._wrapper}SPLIT{wrapper and f'/{wrapper}'}{'/LABEL' * has_labels}"
        for split in dict.fromkeys(splits.values()):
            names = sorted(name for name in splits if splits[name] == split)
            if split is None:
                self.notes.append(f"images in {_join(names)} belong to no split")
            elif len(names) > 1:
                self.notes.append(f"folders {_join(names)} are all read as the split {split}")
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

    def _note_doubts(self, wrapper: Folder) -> None:
        labels = sorted({one.label for one in self.meanings.values() if one.label})
        like_splits = sorted(find_splits(labels))
        if like_splits:
            self.notes.append(
                f"the classes {_join(like_splits)} are named like splits. If they are splits, keep "
                "no other folders beside them."
            )
        if len(labels) > 1 and not any(map(_may_be_class, labels)):
            self.notes.append(f"the folders {_join(labels)} are read as classes")
        self._note_common(labels)
        if len(labels) == 1 and self.pattern == "LABEL":
            inside = {folder[1] for folder in self.meanings if len(folder) > 1}
            if len(inside) > 1:
                self.notes.append(
                    f"all images have the label {quote_name(labels[0])}, the name of the folder "
                    f"around them. If {_join(sorted(inside))} are the classes, name that folder "
                    "as the source."
                )
        elif wrapper and len(labels) > 1 and self.pattern.endswith("/LABEL"):
            name = quote_name("/".join(wrapper))
            if _may_be_class(wrapper[-1]) and "SPLIT" not in self.pattern:
                self.notes.append(
                    f"the folders in {name} are read as classes, and {name} as a folder around "
                    "them. If it is a class itself, keep it in a folder with other classes."
                )

    def _note_common(self, labels: Sequence[str]) -> None:
        """Say that the classes hold folders of the same names, as splits or folds do."""
        inside: Counter[str] = Counter()
        if len(labels) > 1 and self.pattern == f"{self._wrapper}LABEL":
            n_outer = self.pattern.count("/")
            below = {folder[n_outer : n_outer + 2] for folder in self.meanings}
            inside.update(pair[1] for pair in below if len(pair) > 1)
        common = sorted(name for name, n in inside.items() if n > 1 and _may_be_class(name))
        if len(common) > 1:
            self.notes.append(
                f"the classes hold folders of the same names, such as {_join(common)}. If those "
                f"are the classes, pass {_join(labels)} as sources of their own."
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


def _find_inner_wrapper(inner: Mapping[Folder, Folder]) -> str:
    """Find the folder between all splits and their classes, such as ``train/images/cat``."""
    tops = {rest[0] for rest in inner.values() if rest}
    return next(iter(tops)) if len(tops) == 1 and not _may_be_class(*tops) else ""


def _may_be_class(name: str) -> bool:
    return name.casefold() not in NOT_CLASSES


def _join(names: Sequence[str]) -> str:
    return join_some([quote_name(name) for name in names], N_SHOWN)
