"""Decompose a logit into a map over the image and a bias: exactly, in plain numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featx.backbones.feature_parts import FeaturePart, LayerNorm
from featx.core.errors import HeadError
from featx.core.typing import Array, Float64Array
from featx.heads.head import Head
from featx.heads.kinds import KINDS
from featx.heads.matrix import find_matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class LogitWeights:
    """The logits of a linear head as one matrix.

    Attributes
    ----------
    weight : ndarray of float64
        ``(n_classes, dim)``.
    bias : ndarray of float64
        ``(n_classes,)``: ``X @ weight.T + bias`` are the logits.
    is_normalised : bool
        Whether each embedding is divided by its length first.
    """

    weight: Float64Array
    bias: Float64Array
    is_normalised: bool


def read_logit_weights(head: Head) -> LogitWeights:
    """Read the logits of a head as one matrix.

    Parameters
    ----------
    head : Head
        The head. Of two classes, it has one score; the logit of the second class is the score, that
        of the first class is its negative.

    Raises
    ------
    HeadError
        If the head is not linear.
    """
    matrix = find_matrix(head.estimator)
    if matrix is None:
        linear_kinds = " or ".join(f"kind={kind.name!r}" for kind in KINDS if kind.is_linear)
        raise HeadError(
            subject="class maps",
            expected="a linear head, whose logit is a sum over the embedding",
            got=f"a head of kind {head.kind}",
            remedy=f"Fit one with featx.fit_head(cache) and {linear_kinds}.",
        )
    weight, bias = matrix.weight, matrix.bias
    if len(head.classes) == 2:  # fold_linear widens the one score by a row of zeros
        weight = np.concatenate([-weight[-1:], weight[-1:]])
        bias = np.concatenate([-bias[-1:], bias[-1:]])
    return LogitWeights(weight=weight, bias=bias, is_normalised=matrix.is_normalised)


def score_logits(head: Head, X: Array) -> Float64Array:
    """Compute the logits of a head by its own estimator.

    Parameters
    ----------
    head : Head
        The head.
    X : ndarray
        ``(n_rows, dim)``.

    Returns
    -------
    ndarray of float64
        ``(n_rows, n_classes)``, before the temperature of the head. Of two classes, the logit of
        the first is minus that of the second.
    """
    scores = head.score_classes(X)
    return scores - scores[:, ::-1] if len(head.classes) == 2 else scores


def decompose(
    features: Sequence[Array],
    weights: LogitWeights,
    codes: Sequence[int],
    *,
    parts: Sequence[FeaturePart],
    norm: LayerNorm | None,
) -> list[tuple[Float64Array, float]]:
    """Decompose the logits of one image into maps and biases.

    Parameters
    ----------
    features : sequence of ndarray
        Feature maps of the image, each ``(channels, h, w)``.
    weights : LogitWeights
        The head.
    codes : sequence of int
        Numbers of the classes.
    parts : sequence of FeaturePart
        Parts of the embedding: averages of the maps.
    norm : LayerNorm or None
        Normalisation behind the averages. Its mean and its deviation are those of this image.

    Returns
    -------
    list of (ndarray of float64, float)
        Map ``(h, w)`` and bias of each class: the mean of the map plus the bias is the logit.
    """
    weight, bias = weights.weight[codes], weights.bias[codes]  # (n_codes, dim), (n_codes,)
    if norm is not None or weights.is_normalised:
        averages = np.concatenate([_average(features[part.source], part) for part in parts])
        embedding, scale = averages, np.ones(1)
        if norm is not None:
            scale = norm.weight / math.sqrt(averages.var() + norm.eps)
            embedding = (averages - averages.mean()) * scale + norm.bias
        if weights.is_normalised:
            length = float(np.linalg.norm(embedding))
            weight = weight / max(length, np.finfo(np.float64).tiny)
        if norm is not None:
            bias = bias + weight @ norm.bias
            weight = weight * scale
            weight = weight - weight.mean(axis=1, keepdims=True)
    starts = np.cumsum([part.n_columns for part in parts])[:-1]
    maps = [
        _spread(features[part.source], part, own)
        for part, own in zip(parts, np.split(weight, starts, axis=1), strict=True)
    ]
    joined = _add(maps)
    return [(one, float(shift)) for one, shift in zip(joined, bias, strict=True)]


def _average(features: Array, part: FeaturePart) -> Float64Array:
    """Average a feature map over its bins: the columns of the embedding."""
    rows, columns = _build_bins(features, part)
    averages = rows @ features.astype(np.float64) @ columns.T  # (channels, n_rows, n_columns)
    return np.asarray(averages.reshape(-1))


def _spread(features: Array, part: FeaturePart, weight: Float64Array) -> Float64Array:
    """Spread the products of averages and weights over the cells that were averaged.

    Returns
    -------
    ndarray of float64
        ``(n_codes, h, w)``, whose mean is the product of the averages with the weights.
    """
    rows, columns = _build_bins(features, part)
    n_cells = features.shape[1] * features.shape[2]
    if part.n_bins == (1, 1):
        return np.tensordot(weight, features.astype(np.float64), axes=1)
    by_bin = weight.reshape(len(weight), part.n_channels, *part.n_bins)
    products = np.einsum("kcab,cij->kabij", by_bin, features, optimize=True)
    shares = np.einsum("kabij,ai,bj->kij", products, rows, columns, optimize=True)
    return np.asarray(n_cells * shares, np.float64)


def _build_bins(features: Array, part: FeaturePart) -> tuple[Float64Array, Float64Array]:
    return (
        build_bins(features.shape[1], part.n_bins[0]),
        build_bins(features.shape[2], part.n_bins[1]),
    )


def build_bins(n_cells: int, n_bins: int) -> Float64Array:
    """Build the matrix that averages cells over bins, as adaptive pooling does.

    Parameters
    ----------
    n_cells : int
        Number of cells of one axis.
    n_bins : int
        Number of bins; bins overlap if they do not divide the cells.

    Returns
    -------
    ndarray of float64
        ``(n_bins, n_cells)``, whose rows add up to 1.

    Examples
    --------
    >>> build_bins(3, 2).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    """
    bins = np.zeros((n_bins, n_cells))
    for number in range(n_bins):
        start, stop = number * n_cells // n_bins, -(-(number + 1) * n_cells // n_bins)
        bins[number, start:stop] = 1 / (stop - start)
    return bins


def _add(maps: Sequence[Float64Array]) -> Float64Array:
    """Add maps of different grids on the finest grid that all of them divide.

    A cell is repeated, so that the mean of the sum is the sum of the means.
    """
    height, width = (math.lcm(*(one.shape[axis] for one in maps)) for axis in (1, 2))
    total = np.zeros((len(maps[0]), height, width))
    for one in maps:
        total += one.repeat(height // one.shape[1], axis=1).repeat(width // one.shape[2], axis=2)
    return total
