"""The labelled rows of a cache as a data set of PyTorch, for a training loop of the user's own."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from featx.cache.joined import open_cache
from featx.cache.reader import Cache
from featx.cache.selection import Selection
from featx.core.errors import CacheError
from featx.core.text import count_noun
from featx.core.typing import CachePaths, Float32Array, IntArray

MAX_KEPT_BYTES = 1 << 30
"""Largest size of vectors that are kept in memory unless the caller says so."""

Sample = tuple[Any, int]
"""A vector, as the transform returns it, and the code of its class."""


class EmbeddingDataset(Dataset[Sample]):
    """Labelled rows of a cache as a map-style data set of PyTorch.

    The data set opens the cache for itself, once in each process that reads from it: it may be
    pickled, and given to a ``DataLoader`` with workers, which it rarely needs: each worker keeps
    vectors of its own, and there is no image to decode. A batch is one read.

    Parameters
    ----------
    cache : path, sequence of paths, Cache or Selection
        The cache, as `featx.open_cache` takes it, or rows that `featx.Cache.select` chose. Rows
        without a label or a vector are passed over, see `n_passed_over`.
    split : {"train", "val", "test", "all"}, optional
        Split of the rows. Default: all rows, also those without a split.
    embedding : str, optional
        Name of the embedding. Default: the only one.
    classes : sequence of str, optional
        Classes in the order of their codes. Default: all labels of the cache, sorted, so that its
        splits have the same codes.
    transform : callable, optional
        Function that is applied to each vector, a float32 tensor ``(dim,)``, when it is read.
    in_memory : bool, optional
        True to read all vectors with the first sample and keep them, False to read each batch from
        the file, which takes hundreds of times as long in random order. Default: keep them if they
        take at most a gibibyte.

    Attributes
    ----------
    classes : tuple of str
        Classes in the order of their codes.
    rows : ndarray of int64
        Number of each sample's row in the cache ``(n,)``, ascending.
    codes : ndarray of int64
        Code of each sample's class ``(n,)``: its position in `classes`.
    n_passed_over : int
        Number of chosen rows without a label or without a vector, which are no samples.
    dim : int
        Length of a vector.

    Raises
    ------
    CacheError
        If the cache cannot be opened, lacks the split or the embedding, or has rows of a class that
        `classes` lacks. If its file is another one when a process opens it later.

    See Also
    --------
    featx.Cache.read_arrays : The same rows as arrays, for scikit-learn.

    Examples
    --------
    >>> import torch
    >>> train = featx.EmbeddingDataset("photos.h5", split="train")
    >>> loader = torch.utils.data.DataLoader(train, batch_size=4, shuffle=True)
    >>> X, y = next(iter(loader))
    >>> X.shape, y.dtype, train.classes
    (torch.Size([4, 768]), torch.int64, ('ants', 'bees'))
    """

    def __init__(
        self,
        cache: CachePaths | Cache | Selection,
        *,
        split: str | None = None,
        embedding: str | None = None,
        classes: Sequence[str] | None = None,
        transform: Callable[[torch.Tensor], Any] | None = None,
        in_memory: bool | None = None,
    ) -> None:
        self.transform = transform
        if isinstance(cache, Cache | Selection):
            self._choose(cache, split, embedding, classes)
        else:
            with open_cache(cache) as opened:
                self._choose(opened, split, embedding, classes)
        self._cache: Cache | None = None
        self._owner = 0
        self._vectors: Float32Array | None = None
        n_bytes = 4 * self.dim * len(self)
        self._is_kept = n_bytes <= MAX_KEPT_BYTES if in_memory is None else in_memory

    def _choose(
        self,
        source: Cache | Selection,
        split: str | None,
        embedding: str | None,
        classes: Sequence[str] | None,
    ) -> None:
        """Note the rows and their classes, and what finds them in another process."""
        chosen = source.select(split)
        cache = chosen.cache
        assert isinstance(cache, Cache)
        info = cache.get_info(embedding or chosen.embedding)
        self.embedding, self.dim = info.name, info.fingerprint.dim
        kept = chosen.select(labelled=True, embedding=info.name)
        self.rows: IntArray = kept.rows
        self.n_passed_over = len(chosen) - len(kept)
        labels = cache.read_column("label")
        if classes is None:
            classes = sorted(labels.count())
        self.classes = tuple(classes)
        numbers = {name: code for code, name in enumerate(self.classes)}
        codes = np.array([numbers.get(name, -1) for name in labels.names], np.int64)
        self.codes: IntArray = codes[labels.codes[self.rows]]
        foreign = np.flatnonzero(self.codes < 0)
        if len(foreign):
            raise CacheError(
                subject=str(cache.path),
                expected=f"rows of the classes {', '.join(self.classes)}",
                got=f"{count_noun(len(foreign), 'row')} of others, such as "
                f"{labels[int(self.rows[foreign[0]])]!r}",
                remedy="Pass classes=None, or choose rows with cache.select(label=[…]).",
            )
        # Absolute: a worker may have another working folder.
        self._paths = [Path(os.path.abspath(one.path)) for one in cache.members]
        self._digest = cache.digest

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Return one sample: the vector, and the code of its class."""
        return self.__getitems__([range(len(self))[operator.index(index)]])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Return the samples of a batch, which a ``DataLoader`` asks for together."""
        numbers = np.asarray(indices, np.int64).reshape(-1)
        vectors = torch.from_numpy(self._read(numbers))
        transform = self.transform
        items = vectors if transform is None else [transform(vector) for vector in vectors]
        return list(zip(items, self.codes[numbers].tolist(), strict=True))

    def _read(self, numbers: IntArray) -> Float32Array:
        if not self._is_kept:
            vectors = self._open().read_vectors(self.embedding, self.rows[numbers])
            return vectors.astype(np.float32, copy=False)
        if self._vectors is None:
            vectors = self._open().read_vectors(self.embedding, self.rows)
            self._vectors = vectors.astype(np.float32, copy=False)
            self.close()
        return self._vectors[numbers]

    def _open(self) -> Cache:
        """Open the cache in this process, unless it is open here."""
        if self._cache is None or self._owner != os.getpid():
            cache = open_cache(self._paths if len(self._paths) > 1 else self._paths[0])
            if cache.digest != self._digest:
                cache.close()
                raise CacheError(
                    subject=str(cache.path),
                    expected="the cache that the data set was made of",
                    got="another content",
                    remedy="Make the data set again: featx.EmbeddingDataset(path).",
                )
            self._cache, self._owner = cache, os.getpid()
        return self._cache

    def close(self) -> None:
        """Close the file in this process. The next sample opens it again."""
        cache, self._cache = self._cache, None
        if cache is not None and self._owner == os.getpid():
            cache.close()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the data set without its open file and its vectors, which are read again."""
        return self.__dict__ | {"_cache": None, "_vectors": None}

    def __repr__(self) -> str:
        rows = count_noun(len(self), "row")
        return (
            f"<EmbeddingDataset: {rows} of {len(self.classes)} classes, {self.embedding}, "
            f"dim {self.dim}>"
        )
