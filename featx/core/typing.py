"""Types that all of featx shares: arrays, paths, and every closed vocabulary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from featx.core.errors import FeatxError, find_nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]
    """An array whose dtype depends on what the caller gave."""

    BoolArray = NDArray[np.bool_]
    IntArray = NDArray[np.int64]
    UInt8Array = NDArray[np.uint8]
    Float32Array = NDArray[np.float32]
    Float64Array = NDArray[np.float64]
    StrArray = NDArray[np.object_]
    """Python strings, ``""`` for none."""

    Vectors = NDArray[np.float32] | NDArray[np.float16]
    """Embeddings ``(n_rows, dim)`` in one of `VectorDtype`."""
else:  # importing numpy takes 80 ms, too long for the help of the command line
    Array = BoolArray = IntArray = UInt8Array = Float32Array = Float64Array = StrArray = Any
    Vectors = Any

PathLike = str | os.PathLike[str]

CachePaths = PathLike | Sequence[PathLike]
"""One cache or several: a file, a folder of parts, a pattern, or a sequence of these."""

Count = int | Literal["auto"]
"""A number of at least 1, or ``"auto"`` to let featx decide."""

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["fp32", "bf16", "fp16"]
Decode = Literal["exact", "fast"]
Interpolation = Literal["nearest", "bilinear", "bicubic"]
VectorDtype = Literal["float32", "float16"]
Split = Literal["train", "val", "test"]
SplitChoice = Literal["train", "val", "test", "all"]
"""Rows of one split, or all rows."""

HeldOutSplit = Literal["val", "test"]
"""Splits that a model is scored on."""

Together = Literal["similar"]
"""Rows that a split keeps together beside groups and copies: images that look alike."""

LabelField = Literal["label", "split", "group"]
"""Columns of which the source, and people, say something."""

LabelKind = Literal["sure", "unsure", "withdrawn"]
"""How surely somebody says something; what is withdrawn counts no more, and the source's holds."""

Stage = Literal["read", "decode", "preprocess", "embed"]
"""Steps at which one image can fail."""

Approximation = Literal["grad-cam"]
"""Ways to compute a class map that is no part of the logit."""

ClassMapMethod = Literal["exact", "grad-cam"]
"""Ways to compute a class map."""

Scaling = Literal["standard", "l2", "none"]
"""Scaling of embeddings: each channel to mean 0 and variance 1, each row to length 1, or none."""

Measure = Literal["accuracy", "balanced_accuracy"]
"""Scores by which heads and epochs are chosen, by the names that `featx.Evaluation` gives them."""

Strategy = Literal["typical", "uncertain", "random"]
"""Ways to choose rows to label."""

StrategyChoice = Literal["auto", "typical", "uncertain", "random"]
"""Ways to choose rows to label; with ``auto``, featx decides between typical and uncertain ones."""

LabellingAdvice = Literal["go on", "stop", "cannot tell"]
"""Whether labelling more rows is worth it."""

PlotKind = Literal["confusion", "calibration", "classes", "curve", "map", "log"]
"""Figures for papers."""

MapMethod = Literal["pca", "tsne", "umap"]
"""Ways to arrange rows on a map: principal components, t-SNE, or UMAP."""

OptimizerName = Literal["adamw", "adam", "sgd"]
"""Rules that turn gradients into steps."""

TrainPrecision = Literal["fp32", "bf16"]


def list_choices(vocabulary: Any) -> tuple[Any, ...]:
    """List the words of a vocabulary.

    Parameters
    ----------
    vocabulary : Literal
        One of the ``Literal`` types of this module.

    Examples
    --------
    >>> list_choices(Precision)
    ('fp32', 'bf16', 'fp16')
    """
    return get_args(vocabulary)


def check_choice(
    name: str, value: object, vocabulary: Any, *, error: type[FeatxError] = FeatxError
) -> None:
    """Refuse a value that is not in a vocabulary.

    Parameters
    ----------
    name : str
        Name of the argument that holds the value.
    value : object
        The value as given.
    vocabulary : Literal
        One of the ``Literal`` types of this module.
    error : type
        Class of the error to raise.

    Raises
    ------
    FeatxError
        If the vocabulary lacks the value; an instance of `error`.
    """
    words = list_choices(vocabulary)
    if value not in words:
        raise _describe_wrong(name, value, words, error)


def find_choice(
    name: str, value: str, words: Sequence[str], *, error: type[FeatxError] = FeatxError
) -> str:
    """Find the word that equals a value, in upper or lower case.

    Parameters
    ----------
    name : str
        Name of the argument that holds the value.
    value : str
        The value as typed.
    words : sequence of str
        Words to choose from.
    error : type
        Class of the error to raise.

    Returns
    -------
    str
        The word as it stands in `words`.

    Raises
    ------
    FeatxError
        If no word equals the value; an instance of `error`.

    Examples
    --------
    >>> find_choice("precision", "BF16", list_choices(Precision))
    'bf16'
    """
    for word in words:
        if word.casefold() == value.strip().casefold():
            return word
    raise _describe_wrong(name, value, words, error)


def _describe_wrong(
    name: str, value: object, words: Sequence[Any], error: type[FeatxError]
) -> FeatxError:
    expected = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    nearest = find_nearest(str(value), words)
    remedy = f"Nearest: {', '.join(nearest)}." if nearest else "Choose one of these words."
    return error(subject=name, expected=expected, got=repr(value), remedy=remedy)
