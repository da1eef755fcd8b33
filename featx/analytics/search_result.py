"""The result of a search: rows with their cosines, and what the cache says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.core.html import render_card
from featx.core.typing import Float64Array, IntArray, StrArray
from featx.images.entries import Entry


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The rows that are nearest to each query, nearest first.

    Attributes
    ----------
    cache : str
        Name of the cache.
    embedding : str
        Name of the embedding that was compared.
    n_rows : int
        Number of rows of the cache.
    n_searched : int
        Number of rows that were compared with each query.
    n_not_chosen : int
        Number of rows that the split or the label left out.
    n_without_vector : int
        Number of other rows that have no vector in the embedding.
    n_unusable : int
        Number of other rows whose vector is zero or not finite.
    queries : tuple of str
        Name of each query: the id of a row, or the path of an image.
    query_rows : ndarray of int
        ``(n_queries,)``, row of each query in the cache; -1 for an image.
    query_images : tuple of Entry
        Images of the queries that are no rows, in the order of the queries.
    rows : ndarray of int
        ``(n_queries, top)``, numbers of the rows that were found; -1 if there are fewer.
    scores : ndarray of float64
        ``(n_queries, top)``, cosines from -1 to 1; NaN if there are fewer rows.
    ids, labels, splits : ndarray of str
        ``(n_queries, top)``, what the cache says of the rows; ``""`` for none.
    """

    cache: str
    embedding: str
    n_rows: int
    n_searched: int
    n_not_chosen: int
    n_without_vector: int
    n_unusable: int
    queries: tuple[str, ...]
    query_rows: IntArray
    query_images: tuple[Entry, ...]
    rows: IntArray
    scores: Float64Array
    ids: StrArray
    labels: StrArray
    splits: StrArray

    def __len__(self) -> int:
        return len(self.queries)

    def _repr_html_(self) -> str:
        searched = f"{self.n_searched:,} of {self.n_rows:,}"
        facts = [("cache", self.cache), ("embedding", self.embedding), ("rows searched", searched)]
        lines = [
            (query, ids[place], float(scores[place]), labels[place] or None, splits[place] or None)
            for query, rows, ids, scores, labels, splits in zip(
                *(self.queries, self.rows, self.ids, self.scores, self.labels, self.splits),
                strict=True,
            )
            for place in np.flatnonzero(rows >= 0).tolist()
        ]
        header = ("query", "row", "cosine", "label", "split")
        return render_card("SearchResult", facts, table=(header, lines))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as objects that ``json.dumps`` takes; each query with its list."""
        counts = ("n_rows", "n_searched", "n_not_chosen", "n_without_vector", "n_unusable")
        return {
            "embedding": self.embedding,
            **{name: getattr(self, name) for name in counts},
            "queries": [
                {
                    "query": query,
                    "is_row": bool(self.query_rows[number] >= 0),
                    "found": [
                        {
                            "id": self.ids[number, place],
                            "score": float(self.scores[number, place]),
                            "label": self.labels[number, place] or None,
                            "split": self.splits[number, place] or None,
                        }
                        for place in np.flatnonzero(self.rows[number] >= 0).tolist()
                    ],
                }
                for number, query in enumerate(self.queries)
            ],
        }
