"""The part of an open cache that reads rows in blocks and as tables of other libraries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.cache.conditions import Where
from featx.cache.label_columns import LabelColumns
from featx.cache.selection import EmbeddingChoice, Selection, count_classes
from featx.cache.tables import BLOCK_ROWS
from featx.core.html import render_card

if TYPE_CHECKING:
    import pandas
    import pyarrow


class SelectableCache(LabelColumns):
    """The part of `featx.Cache` that reads rows in blocks and as tables of other libraries."""

    def select(
        self,
        split: str | None = None,
        *,
        label: str | Sequence[str] | None = None,
        labelled: bool = False,
        embedding: str | None = None,
        where: Where | None = None,
    ) -> Selection:
        """Choose rows, without reading vectors; see `featx.Selection.select`.

        Parameters
        ----------
        split, label, labelled, embedding, where
            Conditions, as `featx.Selection.select` takes them.

        Returns
        -------
        Selection
            The rows that fulfil all conditions.
        """
        return self._select_all().select(
            split, label=label, labelled=labelled, embedding=embedding, where=where
        )

    def iter_blocks(
        self, embedding: str | None = None, *, n_rows: int = BLOCK_ROWS
    ) -> Iterator[Selection]:
        """Iterate over the rows in blocks, so that memory holds one block at a time.

        Parameters
        ----------
        embedding : str, optional
            Name of an embedding: pass over rows without a vector in it, and read this one by
            default. Default: all rows.
        n_rows : int
            Largest number of rows in a block.

        Yields
        ------
        Selection
            The next rows; its `X` reads their vectors.
        """
        chosen = self.select(embedding=embedding) if embedding else self._select_all()
        yield from chosen.iter_blocks(n_rows)

    def to_pandas(self, embedding: EmbeddingChoice = None) -> pandas.DataFrame:
        """Read all rows as a data frame of pandas; see `featx.Selection.to_pandas`.

        Parameters
        ----------
        embedding : str or False, optional
            Name of the embedding, or False to read no vectors. Default: the only one.
        """
        return self._select_all().to_pandas(embedding)

    def to_arrow(self, embedding: EmbeddingChoice = None) -> pyarrow.Table:
        """Read all rows as a table of Arrow; see `featx.Selection.to_arrow`.

        Parameters
        ----------
        embedding : str or False, optional
            Name of the embedding, or False to read no vectors. Default: the only one.
        """
        return self._select_all().to_arrow(embedding)

    def _select_all(self) -> Selection:
        return Selection(self, np.arange(len(self)))

    def _repr_html_(self) -> str:
        facts: list[tuple[str, Any]] = [("rows", len(self)), ("source", self.source)]
        counts = [f"{name} {len(self.select_rows(name)):,}" for name in self.list_splits()]
        facts.append(("splits", ", ".join(counts) or None))
        for name in self.embeddings:
            made, n_present = self.get_info(name).fingerprint, int(self.read_present(name).sum())
            facts.append((f"embedding {name}", f"{n_present:,} vectors, dim {made.dim:,}"))
        for name in self.columns:
            used = self.read_column(name).count()
            facts.append((f"column {name}", f"{sum(used.values()):,} rows, {len(used):,} values"))
        return render_card(f"Cache {self.path}", facts, table=count_classes(self._select_all()))
