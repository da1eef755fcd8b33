"""How far probabilities can be believed: log loss, Brier score and calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import log_loss

from featx.core.typing import Array, BoolArray, Float64Array, IntArray

N_BINS = 15
"""Number of bins of the expected calibration error, as usual (Guo et al. 2017)."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Scores of predicted probabilities; None for what was not measured.

    Attributes
    ----------
    log_loss : float or None
        Mean negative logarithm of the probability of the true class, in nats.
    brier : float or None
        Mean over the rows of the squared differences between the probabilities and 1 for the true
        class, 0 for the others, summed over the classes (Brier 1950): from 0, the best, to 2.
    calibration_error : float or None
        Expected calibration error of the predicted class.
    mean_score : float or None
        Mean probability of the predicted class.
    """

    log_loss: float | None = None
    brier: float | None = None
    calibration_error: float | None = None
    mean_score: float | None = None


def measure_reliability(codes: IntArray, probabilities: Array | None) -> Reliability:
    """Score predicted probabilities against the true classes.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, columns of the true classes; -1 for a class that has no column. Such rows
        count as wrong, and leave no log loss and no Brier score.
    probabilities : ndarray or None
        ``(n_rows, n_classes)``, predicted probabilities; None if there are none.

    Returns
    -------
    Reliability
        The scores.

    Examples
    --------
    >>> found = measure_reliability(np.array([0, 1]), np.array([[0.9, 0.1], [0.3, 0.7]]))
    >>> round(found.brier, 3), round(found.calibration_error, 3), round(found.mean_score, 3)
    (0.1, 0.2, 0.8)
    """
    if probabilities is None:
        return Reliability()
    scores = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == codes
    loss = brier = None
    if (codes >= 0).all():
        n_classes = probabilities.shape[1]
        loss = float(log_loss(codes, probabilities, labels=np.arange(n_classes)))
        brier = compute_brier(codes, probabilities)
    return Reliability(
        log_loss=loss,
        brier=brier,
        calibration_error=estimate_calibration_error(right, scores),
        mean_score=float(scores.mean()),
    )


def compute_brier(codes: IntArray, probabilities: Array) -> float:
    """Compute the Brier score of several classes: from 0, the best, to 2.

    Parameters
    ----------
    codes : ndarray of int64
        ``(n_rows,)``, columns of the true classes.
    probabilities : ndarray
        ``(n_rows, n_classes)``, predicted probabilities.

    Examples
    --------
    >>> compute_brier(np.array([0]), np.array([[0.5, 0.5]]))
    0.5
    """
    of_true = np.take_along_axis(probabilities, codes[:, None], axis=1)[:, 0].astype(np.float64)
    squares = np.einsum("ij,ij->i", probabilities, probabilities, dtype=np.float64)
    return float((squares - 2 * of_true + 1).mean())


def estimate_calibration_error(right: BoolArray, scores: Float64Array) -> float:
    """Estimate how far scores are from the share of right predictions (Guo et al. 2017).

    The rows are put into bins of the same width by the probability of their predicted class. In
    each bin, the mean probability is compared with the share of right predictions; the absolute
    differences are averaged over the rows. On few rows, the estimate is above the true error.

    Parameters
    ----------
    right : ndarray of bool
        ``(n_rows,)``, rows that are predicted correctly.
    scores : ndarray of float64
        ``(n_rows,)``, probability of the predicted class.

    Returns
    -------
    float
        The expected calibration error, from 0 to 1.

    Examples
    --------
    >>> right = np.array([True, True, True, False])
    >>> estimate_calibration_error(right, np.full(4, 0.75))
    0.0
    """
    gaps = np.bincount(find_bins(scores), right - scores, minlength=N_BINS)
    return float(np.abs(gaps).sum() / len(scores))


def find_bins(scores: Float64Array) -> IntArray:
    """Assign scores to the bins of the expected calibration error, which hold their upper ends.

    Parameters
    ----------
    scores : ndarray of float64
        ``(n_rows,)``, from 0 to 1.

    Examples
    --------
    >>> find_bins(np.array([0.0, 0.5, 1.0])).tolist()
    [0, 7, 14]
    """
    return np.clip(np.ceil(scores * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)
