"""Choose rows of a cache without reading them, and read what was chosen in blocks or as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from featx.cache.conditions import RowColumns, Where, check_mask, find_labels, list_columns
from featx.cache.frames import VECTORS, build_arrow, build_pandas
from featx.cache.label_columns import LabelColumns
from featx.cache.tables import BLOCK_ROWS
from featx.core.columns import Table, iter_blocks
from featx.core.errors import CacheError, FeatxError
from featx.core.html import render_card
from featx.core.text import count_noun
from featx.core.typing import Array, BoolArray, IntArray, StrArray, Vectors

if TYPE_CHECKING:
    import pandas
    import pyarrow

EmbeddingChoice: TypeAlias = str | Literal[False] | None
"""Name of an embedding, None for the only one, or False for none."""


class Selection:
    """Rows of a cache. The object holds their numbers; all else is read when it is asked for.

    Parameters
    ----------
    cache : Cache
        The open cache.
    rows : ndarray of int
        Numbers of the rows ``(n,)``, ascending.
    embedding : str, optional
        Name of the embedding that `X` and `read_vectors` read. Default: the only one.

    Attributes
    ----------
    cache : Cache
        The open cache, which has to stay open.
    rows : ndarray of int64
        Numbers of the rows in the cache ``(n,)``, ascending.
    embedding : str or None
        Name of the embedding, if one was chosen.

    See Also
    --------
    featx.Cache : Its `select` and `iter_blocks` return selections.

    Examples
    --------
    >>> with featx.open_cache("photos.h5") as cache:
    ...     ants = cache.select(split="train", label="ants")
    ...     print(ants, ants.X.shape, ants.ids[0])
    <Selection of photos.h5: 4 of 12 rows> (4, 768) train/ants/0.jpg
    """

    def __init__(self, cache: LabelColumns, rows: IntArray, embedding: str | None = None) -> None:
        self.cache, self.rows, self.embedding = cache, rows, embedding

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        rows = count_noun(len(self.cache), "row")
        return f"<Selection of {self.cache.path.name}: {len(self):,} of {rows}>"

    def _repr_html_(self) -> str:
        return render_card(repr(self)[1:-1], [], table=count_classes(self))

    @property
    def ids(self) -> StrArray:
        """Identity of each row within the source, str ``(n,)``."""
        return self._read_texts("id")

    @property
    def paths(self) -> StrArray:
        """Path of each image when it was read, str ``(n,)``."""
        return self._read_texts("path")

    @property
    def labels(self) -> StrArray:
        """Class name of each row, ``""`` for none, str ``(n,)``."""
        return self._read_texts("label")

    @property
    def splits(self) -> StrArray:
        """Split of each row: ``train``, ``val``, ``test`` or ``""``, str ``(n,)``."""
        return self._read_texts("split")

    @property
    def groups(self) -> StrArray:
        """Group of each row, ``""`` for none, str ``(n,)``."""
        return self._read_texts("group")

    @property
    def X(self) -> Vectors:
        """Vectors of the rows ``(n, dim)`` in the stored dtype, as `read_vectors` reads them."""
        return self.read_vectors()

    @property
    def y(self) -> StrArray:
        """Class name of each row ``(n,)``, the same as `labels`."""
        return self.labels

    def _check_open(self) -> None:
        if not self.cache.is_open:
            raise CacheError(
                subject=str(self.cache.path),
                expected="an open cache",
                got="a closed one",
                remedy="Read what was selected within the with block of featx.open_cache.",
            )

    def _read_texts(self, name: str) -> StrArray:
        values: StrArray = self.read_column(name).to_array()
        return values

    def read_column(self, name: str) -> Any:
        """Read one column of the rows, as it is stored.

        Parameters
        ----------
        name : str
            Name of the column, as `featx.Cache.read_column` takes it.

        Returns
        -------
        Texts, Categories or ndarray
            The values.
        """
        self._check_open()
        if not len(self):
            return self.cache.read_column(name, 0, 0)
        first, last = int(self.rows[0]), int(self.rows[-1])
        column = self.cache.read_column(name, first, last + 1)
        return column if last - first + 1 == len(self) else column[self.rows - first]

    def read_rows(self, names: Sequence[str] | None = None) -> Table:
        """Read columns of the rows.

        Parameters
        ----------
        names : sequence of str, optional
            Names of the columns. Default: all, recorded columns too.

        Returns
        -------
        Table
            The columns by name.
        """
        names = list_columns(self.cache) if names is None else names
        return Table({name: self.read_column(name) for name in names})

    def read_vectors(self, embedding: str | None = None) -> Vectors:
        """Read the vectors of the rows.

        Parameters
        ----------
        embedding : str, optional
            Name of the embedding. Default: the one that was chosen, or the only one.

        Returns
        -------
        ndarray
            Vectors ``(n, dim)`` in the stored dtype.

        Raises
        ------
        CacheError
            If a row has no vector in this embedding, or if a vector is not finite.
        """
        self._check_open()
        return self.cache.read_vectors(embedding or self.embedding, self.rows)

    def select(
        self,
        split: str | None = None,
        *,
        label: str | Sequence[str] | None = None,
        labelled: bool = False,
        embedding: str | None = None,
        where: Where | None = None,
    ) -> Selection:
        """Choose some of the rows, without reading vectors.

        Parameters
        ----------
        split : {"train", "val", "test", "all"}, optional
            Split of the rows. Default: all rows, also those without a split.
        label : str or sequence of str, optional
            Class of the rows, or several classes. Default: all.
        labelled : bool
            True to choose only rows with a label.
        embedding : str, optional
            Name of an embedding: choose only rows with a vector in it, and read this one by
            default.
        where : callable or ndarray of bool, optional
            Condition: an array with one value for each row of this object, or a function. The
            function is called once, with a mapping from the names of all columns to arrays ``(m,)``
            of the rows that fulfil the other conditions, and returns bool ``(m,)``. Only the
            columns that it uses are read. Texts are Python strings, ``""`` for none.

        Returns
        -------
        Selection
            The rows that fulfil all conditions.

        Raises
        ------
        CacheError
            If the cache lacks the split, the label or the embedding.
        FeatxError
            If `where` is, or returns, no array of bool of this length.

        Examples
        --------
        >>> with featx.open_cache("photos.h5") as cache:
        ...     large = cache.select(where=lambda rows: rows["width"] >= 48)
        ...     len(large), len(large.select("val", label=["ants", "bees"]))
        (12, 4)
        """
        mask = np.zeros(len(self.cache), bool)
        chosen = self.cache.select_rows(split, labelled=labelled, embedding=embedding)
        mask[chosen] = True
        if label is not None:
            mask &= find_labels(self.cache, label)
        kept = mask[self.rows]
        if where is not None and not callable(where):
            kept &= check_mask(where, len(self))
        found = Selection(self.cache, self.rows[kept], embedding or self.embedding)
        if callable(where):
            kept = check_mask(
                where(RowColumns(found.read_column, list_columns(self.cache))), len(found)
            )
            found = Selection(self.cache, found.rows[kept], found.embedding)
        return found

    def iter_blocks(self, n_rows: int = BLOCK_ROWS) -> Iterator[Selection]:
        """Iterate over the rows in blocks, so that memory holds one block at a time.

        Parameters
        ----------
        n_rows : int
            Largest number of rows in a block.

        Yields
        ------
        Selection
            The next rows.

        Examples
        --------
        >>> with featx.open_cache("photos.h5") as cache:
        ...     [(block.rows[0], block.X.shape) for block in cache.iter_blocks(n_rows=8)]
        [(np.int64(0), (8, 768)), (np.int64(8), (4, 768))]
        """
        if not (isinstance(n_rows, int | np.integer) and n_rows >= 1):
            raise FeatxError(
                subject="n_rows",
                expected="a number of at least 1",
                got=repr(n_rows),
                remedy="Leave n_rows out.",
            )
        for block in iter_blocks(len(self), int(n_rows)):
            yield Selection(self.cache, self.rows[block], self.embedding)

    def to_pandas(self, embedding: EmbeddingChoice = None) -> pandas.DataFrame:
        """Read the rows as a data frame of pandas.

        Parameters
        ----------
        embedding : str or False, optional
            Name of the embedding, or False to read no vectors. Default: the one that was chosen,
            or the only one.

        Returns
        -------
        pandas.DataFrame
            One line per row; the index is the number of the row in the cache. Columns are ``id``,
            ``path``, ``label``, ``split``, ``group``, the recorded columns, ``digest``, ``width``,
            ``height``, ``n_bytes``, ``mtime_ns`` and ``embedding``, a vector float32 ``(dim,)``.
            What is not known is missing (None or NA).

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        CacheError
            If the cache lacks the embedding, or has several and none is named.

        Examples
        --------
        >>> with featx.open_cache("photos.h5") as cache:
        ...     frame = cache.to_pandas()
        >>> frame.groupby("label", observed=True)["id"].count().to_dict()
        {'ants': 6, 'bees': 6}
        >>> frame.embedding[0].shape
        (768,)
        """
        return build_pandas(self.read_rows(), self.rows, self._read_present(embedding))

    def to_arrow(self, embedding: EmbeddingChoice = None) -> pyarrow.Table:
        """Read the rows as a table of Arrow, which polars, DuckDB and others take as it is.

        Parameters
        ----------
        embedding : str or False, optional
            Name of the embedding, or False to read no vectors. Default: the one that was chosen,
            or the only one.

        Returns
        -------
        pyarrow.Table
            One line per row, with the columns of `to_pandas`. Labels, splits, groups and recorded
            columns are dictionaries; vectors are a fixed-size list of float32. What is not known is
            null.

        Raises
        ------
        MissingExtraError
            If pyarrow is not installed.
        CacheError
            If the cache lacks the embedding, or has several and none is named.

        Examples
        --------
        >>> with featx.open_cache("photos.h5") as cache:
        ...     table = cache.select("val").to_arrow()
        >>> table.num_rows, table.schema.field("embedding").type
        (4, FixedSizeListType(fixed_size_list<item: float>[768]))
        """
        return build_arrow(self.read_rows(), self._read_present(embedding))

    def _read_present(self, embedding: EmbeddingChoice) -> tuple[BoolArray, Array] | None:
        """Read which rows have a vector in an embedding, and these vectors as float32."""
        if embedding is False:
            return None
        if VECTORS in self.cache.columns:
            raise CacheError(
                subject=str(self.cache.path),
                expected=f"no recorded column {VECTORS}, which is the name of the vectors",
                got="one",
                remedy="Pass embedding=False, or read the vectors with read_vectors().",
            )
        name = self.cache.get_info(embedding or self.embedding).name
        present = self.cache.read_present(name)[self.rows]
        vectors = self.cache.read_vectors(name, self.rows[present])
        return present, vectors.astype(np.float32, copy=False)


def count_classes(chosen: Selection) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Count the rows of each class, for a table.

    Parameters
    ----------
    chosen : Selection
        The rows.

    Returns
    -------
    (sequence of str, sequence of (str, int))
        Header and lines, the most frequent class first.
    """
    counts = chosen.read_column("label").count()
    n_none = len(chosen) - sum(counts.values())
    lines = sorted(counts.items(), key=lambda line: -line[1])
    lines += [("(no label)", n_none)] if n_none else []
    return ("label", "rows"), lines
