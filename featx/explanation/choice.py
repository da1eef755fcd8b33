"""Choose the classes whose maps are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx.core.errors import FeatxError, HeadError, suggest
from featx.core.typing import Float32Array
from featx.heads.head import Head

Classes = Sequence[str] | Sequence[Sequence[str]] | None
"""Classes for every image, or those of each image; None for the most probable ones."""


class ClassChoice:
    """The classes to show of each image.

    Parameters
    ----------
    head : Head
        The head.
    classes : sequence of str, sequence of sequence of str, or None
        Classes for every image, or those of each image; None for the most probable ones.
    top : int
        Number of most probable classes.

    Raises
    ------
    HeadError
        If the head does not know a class.
    FeatxError
        If `top` is smaller than 1.
    """

    def __init__(self, head: Head, classes: Classes, top: int) -> None:
        if top < 1:
            raise FeatxError(
                subject="top", expected="a number of at least 1", got=str(top), remedy="Pass top=1."
            )
        self._head, self._top = head, top
        self._codes = {str(label): code for code, label in enumerate(head.classes)}
        self._for_all: list[int] | None = None
        self._by_image: list[list[int]] | None = None
        names = [classes] if isinstance(classes, str) else classes
        if names is None:
            return
        if all(isinstance(name, str) for name in names) and len(names):
            self._for_all = [self._find(name) for name in names]
        else:
            self._by_image = [[self._find(name) for name in one] for one in names]

    def _find(self, name: object) -> int:
        code = self._codes.get(str(name))
        if code is None:
            raise HeadError(
                subject="classes",
                expected="classes of the head",
                got=repr(name),
                remedy=suggest(str(name), self._codes),
            )
        return code

    def choose(self, number: int, embedding: Float32Array) -> Sequence[int]:
        """Choose the classes of one image.

        Parameters
        ----------
        number : int
            Number of the image.
        embedding : ndarray of float32
            ``(dim,)``.

        Returns
        -------
        sequence of int
            Numbers of the classes.
        """
        if self._for_all is not None:
            return self._for_all
        if self._by_image is not None:
            return self._by_image[number]
        scores = self._head.score_classes(embedding[None])[0]
        return [int(code) for code in np.argsort(-scores, kind="stable")[: self._top]]

    def check_count(self, n_images: int, *, is_end: bool = False) -> None:
        """Refuse classes of another number of images.

        Parameters
        ----------
        n_images : int
            Number of images so far.
        is_end : bool
            Whether these are all images.

        Raises
        ------
        FeatxError
            If the classes are of fewer images, or of more at the end.
        """
        n_given = n_images if self._by_image is None else len(self._by_image)
        if n_given < n_images or (is_end and n_given > n_images):
            raise FeatxError(
                subject="classes",
                expected=f"a list of classes for each of {n_images} images",
                got=str(n_given),
                remedy="Pass one list for each image, in the same order.",
            )
