"""The request of a fine-tuning: the arguments of `featx.fine_tune` as one value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from featx.cache.reader import Cache
from featx.core.typing import PathLike
from featx.embedding.options import RunOptions
from featx.finetune.paths import TuningPaths
from featx.finetune.recipe import Recipe
from featx.heads.head import Head


@dataclass(frozen=True, kw_only=True)
class TuningRequest:
    """The arguments of `featx.fine_tune`, which describes each of them.

    Attributes
    ----------
    source : path or sequence of paths
        Source of the images.
    paths : TuningPaths
        Files to write.
    head : path, Head or None
        Head to begin with.
    unfreeze : int or "auto"
        Number of blocks to train.
    embedding, split, weights : str or None
        Embedding, split to compare on, and weights of the backbone.
    recipe : Recipe
        Numbers of the training.
    max_trunk_bytes : int or None
        Largest size of the output of the trunk.
    options : RunOptions
        Engine, device and the like.
    resume, overwrite, break_lock : bool
        Options for an unfinished run, existing outputs, and locks.
    """

    source: PathLike | Sequence[PathLike]
    paths: TuningPaths
    head: PathLike | Head | None
    unfreeze: int | str
    embedding: str | None
    split: str | None
    weights: str | None
    recipe: Recipe
    max_trunk_bytes: int | None
    options: RunOptions
    resume: bool
    overwrite: bool
    break_lock: bool

    def check_paths(self, cache: Cache) -> None:
        """Refuse destinations that cannot be written, or that this run reads.

        Parameters
        ----------
        cache : Cache
            The open cache.

        Raises
        ------
        TuningError
            If a destination cannot be written, is an input, or an unfinished run is there.
        """
        inputs: list[PathLike] = [one.path for one in cache.members]
        if isinstance(self.source, str | os.PathLike):
            inputs.append(self.source)
        else:
            inputs.extend(self.source)
        if isinstance(self.head, str | os.PathLike):
            inputs.append(self.head)
        self.paths.check(inputs, overwrite=self.overwrite, resume=self.resume)
