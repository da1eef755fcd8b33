"""A fitted head with all that is needed to use it rightly, in one joblib file."""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from featx.core.errors import HeadError
from featx.core.files import check_destination, replacing
from featx.core.fingerprint import Fingerprint
from featx.core.provenance import Origin
from featx.heads.classifier import HeadClassifier

Array = np.ndarray[Any, Any]

FORMAT_NAME = "featx-head"
FORMAT_VERSION = 2


@dataclass(frozen=True, eq=False)
class Head:
    """A classifier over embeddings of one fingerprint.

    Attributes
    ----------
    estimator : sklearn.pipeline.Pipeline
        ``StandardScaler`` and a linear classifier, fitted on string labels.
    kind : str
        ``logreg`` or ``linear-svm``.
    C : float
        Inverse strength of the regularisation.
    fingerprint : Fingerprint
        Of the embeddings that it takes.
    origin : Origin
        How to make more of them.
    fitted_on : dict
        ``cache``, ``split``, ``n_rows``.
    cross_validation : dict
        Held-out scores on the rows that it was fitted on, as `Evaluation.to_dict` gives them,
        ``n_folds``, and ``search`` with each ``C`` and its mean ``score``. Empty where C was given
        or rows were too few.
    seen : ndarray of uint64
        Sorted; the first 16 hexadecimal digits of the digest of each file it was fitted on.
    """

    estimator: Any
    kind: str
    C: float
    fingerprint: Fingerprint
    origin: Origin
    fitted_on: dict[str, Any]
    cross_validation: dict[str, Any] = field(repr=False)
    seen: Array = field(repr=False)

    @property
    def classes(self) -> Array:
        """Class names, str ``(n_classes,)``, sorted as text."""
        return np.asarray(self.estimator.classes_)

    def predict(self, X: Array) -> Array:
        """Predict a class name for each row of embeddings: ``(n_rows,)``."""
        return np.asarray(self.estimator.predict(self._check(X)))

    def predict_proba(self, X: Array) -> Array | None:
        """Return probabilities ``(n_rows, n_classes)``, or None where the kind has none."""
        if not hasattr(self.estimator, "predict_proba"):
            return None
        return np.asarray(self.estimator.predict_proba(self._check(X)))

    def score_classes(self, X: Array) -> Array:
        """Return probabilities, or else signed distances: ``(n_rows, n_classes)``."""
        probabilities = self.predict_proba(X)
        if probabilities is not None:
            return probabilities
        scores = np.asarray(self.estimator.decision_function(self._check(X)))
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores

    def refit(self, X: Array, y: Array) -> Any:
        """Fit the same kind with the same C on other rows; return the estimator.

        What fine-tuning left has neither: a logistic regression then chooses its own.
        """
        if self.fitted_on.get("fine_tuned"):
            return HeadClassifier().fit(self._check(X), y).pipeline_
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            return clone(self.estimator).fit(self._check(X), y)

    def count_seen(self, digests: Array) -> int:
        """Count the files that the head was fitted on, by their digests."""
        return int(np.isin(shorten_digests(digests), self.seen).sum())

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the head to a file that plain joblib and scikit-learn can read.

        Raises
        ------
        HeadError
            If it cannot be written there, or something is there that is not to be replaced.
        """
        path = Path(path)
        check_destination(path, overwrite=overwrite, error=HeadError)
        content = {"format": FORMAT_NAME, "format_version": FORMAT_VERSION} | {
            name: getattr(self, name) for name in self.__dataclass_fields__
        }
        content["fingerprint"] = asdict(self.fingerprint)
        content["origin"] = asdict(self.origin)
        with replacing(path, error=HeadError) as partial:
            joblib.dump(content, partial)

    def _check(self, X: Array) -> Array:
        X = np.asarray(X, np.float32)
        dim = self.fingerprint.dim
        if X.ndim != 2 or X.shape[1] != dim:
            raise HeadError(
                f"X: expected shape (n_rows, {dim}) for {self.fingerprint.backbone}, "
                f"got {X.shape}. Embed with that backbone."
            )
        return X


def load_head(path: str | os.PathLike[str]) -> Head:
    """Read a head that `Head.save` wrote.

    A joblib file is a pickle, and reading one may run code: read only heads that you trust.

    Parameters
    ----------
    path : path

    Returns
    -------
    Head

    Raises
    ------
    HeadError
        If the file is missing, damaged, no head, or of another version.
    """
    path = Path(path)
    if not path.is_file():
        raise HeadError(f"{path}: expected a head, got no such file. Fit one: featx fit-head.")
    try:
        content = joblib.load(path)
    except Exception as error:  # unpickling raises whatever the bytes spell
        raise HeadError(
            f"{path}: expected a head written by featx fit-head, got {type(error).__name__} on "
            "reading it. Fit it again."
        ) from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT_NAME:
        raise HeadError(
            f"{path}: expected a head written by featx fit-head, got {type(content).__name__}. "
            "Fit one: featx fit-head."
        )
    version = content.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise HeadError(
            f"{path}: expected head format {FORMAT_VERSION}, got {version}. "
            "Fit it again, or install the featx that wrote it."
        )
    try:
        content["fingerprint"] = Fingerprint(**content["fingerprint"])
        content["origin"] = Origin(**content["origin"])
        return Head(**content)
    except (KeyError, TypeError) as error:
        raise HeadError(
            f"{path}: expected a whole head, got one with {error}. Fit it again."
        ) from error


def shorten_digests(digests: Array) -> Array:
    """Turn hexadecimal SHA-256 digests into uint64 ``(n,)``; empty ones are left out."""
    return np.array([int(digest[:16], 16) for digest in digests if digest], np.uint64)
