"""Choose rows to label among those of a cache, from their vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featx.analytics.choosing import Choice, choose_typical, choose_uncertain, is_sure
from featx.analytics.kmeans import project
from featx.analytics.pool import Pool
from featx.cache.reader import Cache
from featx.cache.side_by_side import read_joined
from featx.core.progress import stage
from featx.core.text import show_text
from featx.core.typing import Float64Array, IntArray, StrArray
from featx.heads.classifier import HeadClassifier
from featx.heads.head import Head

MAX_CONSIDERED = 20_000
"""Number of rows that are looked at, so that a million rows take the memory and the time of these:
100 MB of 1,280 channels."""

PER_WANTED = 10
"""Number of rows that are looked at for each that is asked for, if these are more."""

MAX_FITTED = 2000
"""Largest number of labels that featx fits a head of its own on, in seconds."""

MAX_NAME = 40
"""Length in characters of the name of a class in a reason."""


def draw_rows(rows: IntArray, n_most: int, rng: np.random.Generator) -> IntArray:
    """Draw at most so many rows at random, ascending.

    Parameters
    ----------
    rows : ndarray of int64
        ``(n_rows,)``, ascending.
    n_most : int
        Largest number of rows to draw.
    rng : Generator
        Source of the rows.
    """
    return np.sort(rng.permutation(rows)[:n_most]) if len(rows) > n_most else rows


@dataclass(frozen=True, kw_only=True)
class Chooser:
    """Choose among rows of a cache.

    Attributes
    ----------
    cache : Cache
        Open cache.
    embeddings : tuple of str
        Names of the embeddings, which are read side by side.
    pool : Pool
        Rows of the cache.
    considered : ndarray of int64
        ``(n,)``, the open rows to choose among, ascending.
    rng : Generator
        Source of all that is random.
    """

    cache: Cache
    embeddings: tuple[str, ...]
    pool: Pool
    considered: IntArray
    rng: np.random.Generator

    def find_typical(self, n_wanted: int) -> tuple[Choice, list[str]]:
        """Choose typical rows; rows that were learnt from say which clusters have labels."""
        learnt = draw_rows(self.pool.learnt, MAX_CONSIDERED, self.rng)
        rows = np.sort(np.concatenate([self.considered, learnt]))
        with stage(f"reading {len(rows):,} vectors"):
            Z = project(read_joined(self.cache, self.embeddings, rows), self.rng)
        with stage("clustering"):
            choice = choose_typical(Z, np.isin(rows, learnt), n_wanted, self.rng)
        reasons = [f"typical of {share:.2%} of the rows" for share in choice.scores.tolist()]
        return Choice(rows[choice.rows], choice.scores), reasons

    def find_uncertain(
        self, n_wanted: int, head: Head | HeadClassifier, *, unless_sure: bool
    ) -> tuple[Choice, list[str]] | None:
        """Choose rows that a head is uncertain of, and say between which classes.

        Parameters
        ----------
        n_wanted : int
            Number of rows to choose.
        head : Head or HeadClassifier
            The head.
        unless_sure : bool
            Whether to return None if the head is sure of nearly all rows.
        """
        with stage(f"reading {len(self.considered):,} vectors"):
            X = read_joined(self.cache, self.embeddings, self.considered)
        classes = head.classes if isinstance(head, Head) else head.classes_
        probabilities = head.predict_proba(X)
        if unless_sure and is_sure(probabilities):
            return None
        with stage("clustering"):
            choice = choose_uncertain(project(X, self.rng), probabilities, n_wanted, self.rng)
        reasons = [_describe_doubt(one, classes) for one in probabilities[choice.rows]]
        return Choice(self.considered[choice.rows], choice.scores), reasons

    def find_random(self, n_wanted: int) -> tuple[Choice, list[str]]:
        """Choose rows at random."""
        rows = self.rng.permutation(self.pool.rows)[:n_wanted]
        return Choice(rows, np.full(n_wanted, np.nan)), ["random"] * n_wanted

    def fit_head(self, seed: int) -> HeadClassifier:
        """Fit a head on the labels of the cache."""
        rows = draw_rows(self.pool.learnt, MAX_FITTED, self.rng)
        units = self.pool.units
        return HeadClassifier(random_state=seed, progress=None).fit(
            read_joined(self.cache, self.embeddings, rows),
            self.cache.labels[rows],
            None if units is None else units[np.isin(self.pool.learnt, rows)],
        )


def _describe_doubt(probabilities: Float64Array, classes: StrArray) -> str:
    """Name the two most probable classes with their probabilities."""
    best = np.argsort(-probabilities, kind="stable")[:2]
    return " or ".join(
        f"{show_text(str(classes[one]), MAX_NAME)} {probabilities[one]:.2f}" for one in best
    )
