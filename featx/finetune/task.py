"""What is to be learnt: the rows of a cache, their images, and the head to begin with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.backbones.spec import PENULTIMATE
from featx.cache.reader import Cache
from featx.core.errors import HeadError, TuningError
from featx.core.typing import PathLike
from featx.finetune.recipe import Recipe
from featx.finetune.train import Examples
from featx.fitting.fit import fit_head
from featx.fitting.inputs import choose_evaluated, find_comparable
from featx.heads.head import Head, load_head, shorten_digests
from featx.heads.linear import fold_linear
from featx.heads.splits import assign_splits, check_seed, fill_groups
from featx.images.manifest import Entry
from featx.images.sources.read import read_manifest

Array = np.ndarray[Any, Any]

HOLDOUT = 0.1
"""Of the split train: what says when to stop."""

HOLDOUT_OF_FEW = 0.2
FEW_ROWS = 1000
"""Below so many rows a tenth of them tells too little."""


@dataclass(frozen=True)
class Task:
    """What is to be learnt.

    Attributes
    ----------
    name : str
        The embedding.
    split : str
        To compare on.
    head : Head
        The frozen one.
    start : estimator
        What the classifier is set from: the head's, or the same fitted without the holdout.
    entries, digests
        Images of the split train, and their digests.
    examples : Examples
    tested : tuple of Entry
        Images of the split to compare on, without those that the head or the split train knows.
    test_rows : ndarray of int
        Their rows in the cache.
    """

    name: str
    split: str
    head: Head
    start: Any
    entries: tuple[Entry, ...]
    digests: tuple[str, ...]
    examples: Examples
    tested: tuple[Entry, ...]
    test_rows: Array

    @classmethod
    def build(
        cls,
        cache: Cache,
        source: PathLike | Sequence[PathLike],
        head: str | os.PathLike[str] | Head | None,
        embedding: str | None,
        split: str | None,
        recipe: Recipe,
        progress: bool | None,
    ) -> Task:
        """Read labels and splits, find the images, fit what is missing.

        Parameters
        ----------
        cache, source, head, embedding, split, recipe, progress
            As `featx.fine_tune` takes them.

        Raises
        ------
        TuningError
            If rows are not in the source, have labels that the head does not know, or the split
            is one that is learnt from, by the head or here.
        HeadError
            If one layer of a network cannot stand for the head.
        """
        have = cache.list_splits()
        if "train" not in have or len(have) < 2:
            raise TuningError(
                f"{cache.path}: expected a split train, and val or test, got "
                f"{', '.join(have) or 'no splits'}. Record them: featx split CACHE --val 0.2."
            )
        split = split or choose_evaluated(cache)
        if split not in ("val", "test"):
            raise TuningError(
                f"split: expected val or test, which no model has seen, got {split!r}. Pass one."
            )
        if head is None:
            head = fit_head(
                cache, embedding=embedding, split="train", seed=recipe.seed, progress=progress
            )
        head = head if isinstance(head, Head) else load_head(head)
        fold_linear(head.estimator)  # refuses before the trunk is run
        name = find_comparable(cache, head, embedding=embedding)
        layer = cache.get_info(name).fingerprint.layer
        if layer != PENULTIMATE:
            raise TuningError(
                f"{cache.path}, embedding {name}: expected the input of the classifier "
                f"({PENULTIMATE}), got layer {layer}. Extract without --layer."
            )
        rows = cache.select_rows("train", labelled=True, embedding=name)
        test_rows = cache.select_rows(split, labelled=True, embedding=name)
        digests = cache.digests[rows]
        known = np.union1d(head.seen, shorten_digests(digests))
        n_rows = len(test_rows)
        test_rows = test_rows[~np.isin(shorten_digests(cache.digests[test_rows]), known)]
        if not len(test_rows):
            raise TuningError(
                f"{cache.path}, split {split}: expected images that neither the head was fitted on "
                f"nor the split train has, got none of {n_rows}. Fit a head on the split train."
            )
        by_id = {entry.row.id: entry for entry in read_manifest(source).entries}
        entries, tested = (_find_entries(cache, by_id, part) for part in (rows, test_rows))
        labels = cache.labels[rows]
        _check_labels(cache, labels, head)
        groups = fill_groups(cache.groups[rows])
        train, holdout = _hold_out(labels, groups, digests, recipe.seed, str(cache.path))
        start = head.estimator
        if head.count_seen(digests[holdout]):
            # A head that knows the holdout by heart would look better there than anything that
            # is learnt after it, and training would stop at once.
            missing = sorted(set(head.classes) - set(labels[train]))
            if missing:
                raise TuningError(
                    f"{cache.path}: expected rows of each class beside the holdout, got none of "
                    f"{missing[0]!r}. Label more rows."
                )
            start = head.refit(cache.read_vectors(name, rows[train]), labels[train])
        codes = np.searchsorted(head.classes, labels)
        return cls(
            name=name,
            split=split,
            head=head,
            start=start,
            entries=entries,
            digests=tuple(digests.tolist()),
            examples=Examples(train, holdout, codes),
            tested=tested,
            test_rows=test_rows,
        )


def _hold_out(
    labels: Array, groups: Array | None, digests: Array, seed: int, subject: str
) -> tuple[Array, Array]:
    """Part rows into those to learn from and those that say when to stop; their numbers."""
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    rows = np.sort(first)
    counts = np.unique(labels[rows], return_counts=True)[1]
    share = HOLDOUT_OF_FEW if len(rows) < FEW_ROWS else HOLDOUT
    if groups is None:  # stratified: not fewer rows than classes; one of a single row is learnt
        share = max(share, int((counts > 1).sum()) / len(rows))
    check_seed(seed)
    try:
        parts = assign_splits(
            labels[rows], None if groups is None else groups[rows], val=share, test=0, seed=seed
        )
    except HeadError as error:
        raise TuningError(
            f"{subject}, split train: expected images enough to set some of each class aside, "
            f"which say when to stop, got {len(rows)} of {len(counts)} classes. Label more."
        ) from error
    parts = parts[np.searchsorted(rows, first[inverse])]  # copies go with the first of them
    return np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")


def _find_entries(cache: Cache, by_id: dict[str, Entry], rows: Array) -> tuple[Entry, ...]:
    """Find the images of rows in the source."""
    ids = cache.ids[rows].tolist()
    missing = [row for row in ids if row not in by_id]
    if missing or not ids:
        raise TuningError(
            f"{cache.path}: expected all of its {len(ids)} rows in the source, got none of "
            f"{len(missing)}, such as {missing[0] if missing else 'any'}. Name the source that it "
            f"was extracted from: {cache.source}."
        )
    return tuple(by_id[row] for row in ids)


def _check_labels(cache: Cache, labels: Array, head: Head) -> None:
    unknown = sorted(set(labels) - set(head.classes))
    if unknown:
        raise TuningError(
            f"{cache.path}: expected labels that the head knows, got {unknown[0]!r}. "
            "Fit a head on this cache: featx fit-head."
        )
