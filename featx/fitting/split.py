"""Record a split of the labelled rows in a cache."""

from __future__ import annotations

import numpy as np

from featx.cache.reader import open_cache
from featx.cache.writer import write_splits
from featx.core.errors import CacheError
from featx.core.typing import PathLike, Split, list_choices
from featx.fitting.inputs import check_labels
from featx.heads.splits import assign_splits, fill_groups


def split_cache(
    cache: PathLike,
    *,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, int]:
    """Record a stratified split in a cache, with groups kept together.

    Parameters
    ----------
    cache : path
        Cache to change. Rows without a label get no split.
    val, test : float
        Fractions of the labelled rows for val and for test; the other rows become train.
    seed : int
        Seed of the shuffle.
    overwrite : bool
        Whether to replace splits that the cache has.

    Returns
    -------
    dict of str to int
        Number of rows of each split.

    Raises
    ------
    CacheError
        If the cache cannot be read or written, or has splits already.
    HeadError
        If the labels are of fewer than two classes, or rows or groups are too few for the
        fractions.

    See Also
    --------
    featx.fit_head : Fit a head on the rows of the split train.
    featx.evaluate : Score a head on the rows of the split val.

    Examples
    --------
    >>> import featx
    >>> featx.split_cache("photos.h5", val=0.25, overwrite=True)
    {'train': 9, 'val': 3}
    """
    with open_cache(cache) as opened:
        have = opened.list_splits()
        if have and not overwrite:
            raise CacheError(
                subject=str(opened.path),
                expected="a cache without splits",
                got=", ".join(have),
                remedy="Pass overwrite=True to replace them.",
            )
        rows = opened.select_rows(labelled=True)
        check_labels(opened.labels[rows], subject=str(opened.path))
        groups = fill_groups(opened.groups[rows])
        splits = np.full(len(opened), "", dtype=object)
        splits[rows] = assign_splits(opened.labels[rows], groups, val=val, test=test, seed=seed)
        digest = opened.digest
    write_splits(cache, list(splits), digest=digest)
    return {name: int((splits == name).sum()) for name in list_choices(Split) if name in splits}
