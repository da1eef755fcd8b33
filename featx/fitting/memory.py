"""The memory that a fit will take: said, and compared with what there is, before it begins."""

from __future__ import annotations

from featx.core.errors import HeadError
from featx.core.memory import find_free_memory
from featx.core.progress import announce
from featx.heads.blocks import count_threads
from featx.heads.coordinates import BLOCK_ROWS, MAX_RANK
from featx.heads.kernels import MAX_EXACT
from featx.heads.kinds import AUTO, MAX_COMPARED_KERNEL, get_kind
from featx.heads.lbfgs import HISTORY
from featx.heads.neighbours import BLOCK_ROWS as NEIGHBOUR_ROWS
from featx.heads.reduced import MAX_KEPT_BYTES
from featx.heads.solvers import MAX_KEPT, MAX_NUMBERS

N_PARTS = 15
"""Training sets of a search on five folds: without each fold, and without each pair of folds."""

MOST_NEIGHBOURS = round(10 ** max(get_kind("knn").grid))

TOLD_BYTES = 1 << 28
"""Memory of a fit that a person is told of beforehand."""


def count_fit_bytes(
    n_rows: int, dim: int, n_classes: int, *, kind: str = "logreg", pca: int | None = None
) -> int:
    """Estimate the bytes that a fit takes at its peak, beside the process as it is.

    Parameters
    ----------
    n_rows : int
        Number of rows to fit on.
    dim : int
        Length of one embedding.
    n_classes : int
        Number of classes.
    kind : str
        Kind of the head.
    pca : int or None
        Number of principal components that the head reads; None for all channels.

    Examples
    --------
    >>> count_fit_bytes(50_000, 1280, 10) / (4 * 50_000 * 1280) < 5  # copies of the rows
    True
    """
    rank = min(n_rows, dim)
    copies = 2 * 4 * n_rows * dim  # the rows, and their coordinates
    n_threads = count_threads()
    blocks = n_threads * 3 * 8 * BLOCK_ROWS * dim
    axes = (4 + n_threads) * 8 * rank**2 * (rank <= MAX_RANK)
    scores = min(MAX_NUMBERS, 15 * n_rows * n_classes)
    weights = min(MAX_NUMBERS, 15 * (1 + rank) * n_classes)
    lanes = 4 * n_threads * (6 * scores + (2 * HISTORY + 6) * weights)
    kept = 4 * min(MAX_KEPT, 10 * weights) + 4 * 6 * n_rows * n_classes
    if kind in ("knn", "lda", "nearest-mean", AUTO):  # rows as scikit-learn reads them
        copies += 4 * n_rows * dim
    if kind in ("knn", AUTO):
        blocks += n_threads * 2 * 4 * NEIGHBOUR_ROWS * n_rows
        kept += 2 * 4 * 5 * MOST_NEIGHBOURS * n_rows  # of each fold
    if kind in ("lda", AUTO):
        kept += 4 * 6 * 5 * n_rows * n_classes  # scores of each shrinkage
    if kind == "rbf-svm" or (kind == AUTO and n_rows <= MAX_COMPARED_KERNEL):
        lanes += 8 * (1 + n_threads) * n_rows**2 if n_rows <= MAX_EXACT else 3 * 4 * n_rows * 2000
    if pca is not None:  # the rows of each part in components of its own
        kept += min(MAX_KEPT_BYTES, N_PARTS * 4 * n_rows * (1 + pca))
        axes += 3 * 8 * rank**2
    return int(copies + blocks + axes + lanes + kept)


def check_memory(
    n_rows: int, dim: int, n_classes: int, *, kind: str, pca: int | None = None
) -> None:
    """Say how much memory a fit will take, if it is much, and refuse what there is no memory for.

    Parameters
    ----------
    n_rows, dim, n_classes : int
        Numbers of rows, of channels and of classes.
    kind : str
        Kind of the head.
    pca : int or None
        Number of principal components that the head reads; None for all channels.

    Raises
    ------
    HeadError
        If the fit takes more than this process may have.
    """
    n_bytes, free = count_fit_bytes(n_rows, dim, n_classes, kind=kind, pca=pca), find_free_memory()
    if n_bytes < TOLD_BYTES:
        return
    shape = f"{n_rows:,} rows of {dim} numbers"
    if n_bytes > free:
        raise HeadError(
            subject=f"kind {kind}",
            expected=f"{n_bytes / 1e9:.1f} GB of free memory to fit on {shape}",
            got=f"{free / 1e9:.1f} GB",
            remedy="Record a split with fewer rows to fit on, or use a machine with more memory.",
        )
    announce(f"fitting on {shape} takes about {n_bytes / 1e9:.1f} GB of memory")
