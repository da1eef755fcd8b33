"""Conformal sets: classes that hold the right one in a share of images that is promised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from featx.core.errors import HeadError
from featx.core.typing import BoolArray, Float32Array, Float64Array, IntArray
from featx.heads.stored_arrays import check_stored
from featx.heads.units import count_even

MIN_OUTSIDE = 5
"""Rows of a class that a set must be able to miss before the class has a threshold of its own: with
50 rows at a coverage of 0.9, the coverage of the class is known to 0.04."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ConformalSets:
    """Sets of classes with a promised coverage.

    In the long run, at a coverage of 0.9, 90 of 100 images like those that the head was fitted on
    have their class in the set; of each class with enough rows, too. A class is in the set of an
    image if its probability is at least a threshold: the value that the right class of the held-out
    rows of this class has in 90 of 100 cases. A set may be empty: an image that no class is likely
    for is one of the other 10.

    Attributes
    ----------
    probabilities : ndarray of float32
        ``(n_rows,)``, probability of the right class of each held-out row; ascending within a
        class.
    starts : ndarray of int64
        ``(n_classes + 1,)``, where the rows of each class begin.
    n_units : ndarray of int64
        ``(n_classes + 1,)``, number of units of each class, and of all classes together: of units
        of one size that would say as much, so that one with most of the rows does not count as one
        of many.

    See Also
    --------
    featx.predict : Predict classes, and sets of classes.

    References
    ----------
    Sadinle, Lei and Wasserman, "Least ambiguous set-valued classifiers with bounded error levels",
    Journal of the American Statistical Association 114 (2019). Lee, Barber and Willett,
    "Distribution-free inference with hierarchical data" (2023), for units. Tibshirani, Barber,
    Candès and Ramdas, "Conformal prediction under covariate shift" (2019), for units of several
    sizes: a fresh image belongs to a large one as often as the rows do.

    Examples
    --------
    >>> import numpy as np
    >>> from featx import ConformalSets
    >>> codes = np.arange(200) % 2
    >>> right = np.linspace(0.3, 1.0, 200)
    >>> held_out = np.where(codes[:, None] == [0, 1], right[:, None], 1 - right[:, None])
    >>> sets = ConformalSets.fit(held_out, codes)
    >>> sets.find_sets(np.array([[0.5, 0.5], [0.9, 0.1]]), coverage=0.9)
    array([[ True,  True],
           [ True, False]])
    """

    probabilities: Float32Array
    starts: IntArray
    n_units: IntArray

    @classmethod
    def fit(
        cls, probabilities: Float64Array, codes: IntArray, units: IntArray | None = None
    ) -> Self | None:
        """Keep what the held-out probabilities say of the right classes.

        Parameters
        ----------
        probabilities : ndarray of float64
            ``(n_rows, n_classes)``, calibrated probabilities by heads that did not see the row; NaN
            for rows that were not scored.
        codes : ndarray of int64
            ``(n_rows,)``, class of each row.
        units : ndarray of int64, optional
            ``(n_rows,)``, unit of each row. Default: each row is a unit of its own.

        Returns
        -------
        ConformalSets or None
            None if no row was scored.
        """
        codes = np.asarray(codes)
        units = np.arange(len(codes)) if units is None else np.asarray(units)
        right = np.asarray(probabilities)[np.arange(len(codes)), codes].astype(np.float32)
        is_scored = np.isfinite(right)
        right, codes, units = right[is_scored], codes[is_scored], units[is_scored]
        if not len(right):
            return None
        n_classes = probabilities.shape[1]
        order = np.lexsort((right, codes))
        n_units = [count_even(units[codes == code]) for code in range(n_classes)]
        return cls(
            probabilities=right[order],
            starts=np.concatenate([[0], np.bincount(codes, minlength=n_classes).cumsum()]),
            n_units=np.array([*n_units, count_even(units)]),
        )

    @property
    def largest_coverage(self) -> float:
        """Largest coverage that the units bear out; above it, a set holds all classes."""
        n_units = int(self.n_units.max())
        return n_units / (n_units + 1)

    def find_pooled(self, coverage: float) -> IntArray:
        """Find the classes whose rows are too few for a coverage of their own.

        Their sets share one threshold. It promises the coverage for all of them together, not for
        each one.

        Parameters
        ----------
        coverage : float
            Share of images whose class shall be in the set, above 0 and below 1.

        Returns
        -------
        ndarray of int64
            Codes of the classes.

        Raises
        ------
        HeadError
            If the coverage is not between 0 and 1.
        """
        return np.flatnonzero(self.n_units[:-1] * (1 - _check_coverage(coverage)) < MIN_OUTSIDE)

    def find_thresholds(self, coverage: float) -> Float32Array:
        """Find the probability from which each class is in a set.

        Parameters
        ----------
        coverage : float
            Share of images whose class shall be in the set, above 0 and below 1.

        Returns
        -------
        ndarray of float32
            ``(n_classes,)``; minus infinity if the rows do not bear out the coverage.

        Raises
        ------
        HeadError
            If the coverage is not between 0 and 1.
        """
        pooled = self.find_pooled(coverage)
        of_class = np.split(self.probabilities, self.starts[1:-1])
        thresholds = [
            _find_threshold(rows, n_units, coverage)
            for rows, n_units in zip(of_class, self.n_units[:-1].tolist(), strict=True)
        ]
        if len(pooled):
            n_units, n_all = self._count_pooled(pooled), int(self.n_units[-1])
            rows = np.concatenate([of_class[code] for code in pooled])
            if n_units * (1 - coverage) < MIN_OUTSIDE and n_units < n_all:
                rows, n_units = self.probabilities, n_all
            shared = _find_threshold(np.sort(rows), n_units, coverage)
            for code in pooled:
                thresholds[code] = shared
        return np.array(thresholds, dtype=np.float32)

    def _count_pooled(self, pooled: IntArray) -> int:
        """Count the units of some classes together, as of one size.

        Units may lie in one of the classes each, or in all of them. Which of both is not known, but
        how many units all classes have together.
        """
        sizes = np.diff(self.starts)[pooled]
        n_units = np.maximum(self.n_units[pooled], 1)
        in_all = sizes.sum() ** 2 / max((sizes / np.sqrt(n_units)).sum() ** 2, 1.0)
        in_one = sizes.sum() ** 2 / max((sizes**2 / n_units).sum(), 1.0)
        # Rounded before it is rounded down, so that 50 are not 49.
        return math.floor(round(float(np.clip(self.n_units[-1], in_all, in_one)), 9))

    def find_sets(self, probabilities: Float64Array, coverage: float) -> BoolArray:
        """Find the set of classes of each row.

        Parameters
        ----------
        probabilities : ndarray of float64
            ``(n_rows, n_classes)``, calibrated probabilities.
        coverage : float
            Share of images whose class shall be in the set, above 0 and below 1.

        Returns
        -------
        ndarray of bool
            ``(n_rows, n_classes)``, whether a class is in the set.

        Raises
        ------
        HeadError
            If the coverage is not between 0 and 1.
        """
        found: BoolArray = probabilities.astype(np.float32) >= self.find_thresholds(coverage)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return numeric arrays."""
        return {
            "probabilities": self.probabilities,
            "starts": self.starts,
            "n_units": self.n_units,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Build the sets from what `to_dict` returned.

        Parameters
        ----------
        content : mapping
            Fields as `to_dict` returned them.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a field is missing, unknown, of another type or of another shape.
        """
        sets = cls(**content)
        rows = check_stored(sets.probabilities, np.float32, (None,))
        starts = check_stored(sets.starts, np.int64, (None,))
        n_units = check_stored(sets.n_units, np.int64, starts.shape)
        sizes = np.append(np.diff(starts), len(rows))
        if starts[0] != 0 or starts[-1] != len(rows) or (sizes < 0).any():
            raise ValueError("classes that do not begin where others end")
        if (n_units < 0).any() or (n_units > sizes).any():
            raise ValueError("more units than rows")
        return sets


def _check_coverage(coverage: float) -> float:
    if not 0 < coverage < 1:
        raise HeadError(
            subject="sets",
            expected="a coverage between 0 and 1",
            got=str(coverage),
            remedy="Pass sets=0.9.",
        )
    return coverage


def _find_threshold(rows: Float32Array, n_units: int, coverage: float) -> float:
    """Find the value that a share of the rows reaches, with a fresh unit counted among theirs.

    Parameters
    ----------
    rows : ndarray of float32
        ``(n_rows,)``, ascending.
    n_units : int
        Number of units of these rows.
    coverage : float
        The share.
    """
    if not n_units:
        return -math.inf
    # Rounded before it is rounded up, so that 0.9 of 10 is 9.
    n_inside = math.ceil(round(coverage * len(rows) * (n_units + 1) / n_units, 9))
    return -math.inf if n_inside > len(rows) else float(rows[len(rows) - n_inside])
