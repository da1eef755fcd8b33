"""A fitted head with all that is needed to use it correctly, in one joblib file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from featx.core.errors import HeadError
from featx.core.files import check_destination, explain_reading, replacing
from featx.core.fingerprint import Fingerprint
from featx.core.learnt import Digests, find_learnt
from featx.core.process import ignore_warnings, single_threaded
from featx.core.provenance import Origin
from featx.core.recognise import LET_READ, UNREADABLE, check_local, describe_path
from featx.core.typing import (
    Array,
    BoolArray,
    Float32Array,
    Measure,
    PathLike,
    StrArray,
    UInt8Array,
)
from featx.heads.class_weights import ClassWeight
from featx.heads.classifier import HeadClassifier
from featx.heads.evaluate import CrossValidation
from featx.heads.kinds import choose_measure

FORMAT_NAME = "featx-head"
FORMAT_VERSION = 2

FIT_ANEW = "Fit one with featx.fit_head(cache)."


@dataclass(frozen=True, kw_only=True)
class FittedOn:
    """The rows that a head was fitted on.

    Attributes
    ----------
    cache : str
        Path of the cache, as it was given.
    split : str
        Name of the split; ``"all"`` for all labelled rows.
    n_rows : int
        Number of rows.
    fine_tuned : bool
        Whether the head was made by fine-tuning, together with tuned weights.
    n_learnt : int
        Number of rows whose image the network of the embeddings had learnt from before.
    """

    cache: str
    split: str
    n_rows: int
    fine_tuned: bool = False
    n_learnt: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A classifier for the embeddings of one fingerprint.

    Attributes
    ----------
    estimator : sklearn.pipeline.Pipeline
        ``StandardScaler`` and a classifier, fitted on string labels.
    kind : str
        Kind of the head, such as ``"logreg"`` or ``"linear-svm"``.
    params : mapping of str to float
        Parameters that were chosen for the classifier, such as ``{"C": 0.01}``.
    fingerprint : Fingerprint
        Identity of the embeddings that the head takes.
    origin : Origin
        Weights and preprocessing with which featx computes more such embeddings.
    fitted_on : FittedOn
        Rows that the head was fitted on.
    cross_validation : CrossValidation or None
        Held-out scores on these rows; None if the parameters were given, rows were too few, or the
        network of the embeddings had learnt from the rows.
    seen : ndarray of uint64
        ``(n_images,)``, ascending: the first 16 hexadecimal digits of the SHA-256 of each image
        that the head was fitted on, or that the network of the embeddings has learnt from.

    See Also
    --------
    featx.fit_head : Fit a head on the embeddings of a cache.
    featx.load_head : Read a head from a file.
    featx.evaluate : Score a head on a cache.

    Examples
    --------
    >>> import featx
    >>> head = featx.load_head("head.joblib")
    >>> with featx.open_cache("photos.h5") as cache:
    ...     labels = head.predict(cache.read_vectors())
    >>> len(labels)
    12
    """

    estimator: Pipeline
    kind: str
    params: Mapping[str, float]
    fingerprint: Fingerprint
    origin: Origin
    fitted_on: FittedOn
    cross_validation: CrossValidation | None = field(repr=False)
    seen: Digests = field(repr=False)

    @property
    def classes(self) -> Array:
        """Class names, str ``(n_classes,)``, sorted as text."""
        return np.asarray(self.estimator.classes_)

    @property
    def class_weight(self) -> ClassWeight:
        """Weights of the classes that the head was fitted with; None if all rows weigh alike."""
        weights: ClassWeight = getattr(self.estimator.steps[-1][1], "class_weight", None)
        return weights

    @property
    def measure(self) -> Measure:
        """Score by which the head was chosen: the balanced accuracy if it has class weights."""
        return choose_measure(self.class_weight)

    def predict(self, X: Array) -> Array:
        """Predict a class name for each row of embeddings.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint.

        Returns
        -------
        ndarray of str
            ``(n_rows,)``, class names.

        Raises
        ------
        HeadError
            If the embeddings do not have the length that the head was fitted on.
        """
        return np.asarray(self.estimator.predict(self._check(X)))

    def predict_proba(self, X: Array) -> Array | None:
        """Return the probability of each class for each row of embeddings.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint.

        Returns
        -------
        ndarray or None
            ``(n_rows, n_classes)``; None if the kind of head has no probabilities.

        Raises
        ------
        HeadError
            If the embeddings do not have the length that the head was fitted on.
        """
        if not hasattr(self.estimator, "predict_proba"):
            return None
        return np.asarray(self.estimator.predict_proba(self._check(X)))

    def score_classes(self, X: Array) -> Array:
        """Return the probability of each class or, without probabilities, the signed distance.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint.

        Returns
        -------
        ndarray
            ``(n_rows, n_classes)``, also for two classes.

        Raises
        ------
        HeadError
            If the embeddings do not have the length that the head was fitted on.
        """
        probabilities = self.predict_proba(X)
        if probabilities is not None:
            return probabilities
        scores = np.asarray(self.estimator.decision_function(self._check(X)))
        return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores

    def refit(self, X: Array, y: Array) -> Pipeline:
        """Fit the same kind with the same parameters on other rows.

        A head that was made by fine-tuning has no such parameters. In this case, a logistic
        regression with the same class weights, which chooses its C, is fitted.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint.
        y : ndarray of str
            ``(n_rows,)``, labels.

        Returns
        -------
        Pipeline
            The new estimator; the head stays as it is.

        Raises
        ------
        HeadError
            If the embeddings do not have the length that the head was fitted on.
        """
        X = self._check(X)
        if self.fitted_on.fine_tuned:
            return HeadClassifier(class_weight=self.class_weight).fit(X, y).pipeline_
        with ignore_warnings(ConvergenceWarning), single_threaded():
            return clone(self.estimator).fit(X, y)

    def find_seen(self, digests: StrArray | UInt8Array) -> BoolArray:
        """Find the rows whose image the head, or the network of its embeddings, has learnt from.

        Parameters
        ----------
        digests : ndarray of str or of uint8
            ``(n_rows,)``, SHA-256 of each image in hexadecimal, empty if the digest is not known;
            or ``(n_rows, 32)``, its bytes, then zeros.

        Returns
        -------
        ndarray of bool
            ``(n_rows,)``.
        """
        return find_learnt(digests, self.seen)

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Write the head to a file that plain joblib and scikit-learn can read.

        Parameters
        ----------
        path : path
            File to write.
        overwrite : bool
            Whether to replace a file that exists. A file that holds exactly this head is left as it
            is in any case.

        Raises
        ------
        HeadError
            If the file cannot be written, or exists and must not be replaced.
        """
        path = Path(path)
        check_destination(path, overwrite=overwrite or is_head_file(path), error=HeadError)
        scores = self.cross_validation
        content = {
            "format": FORMAT_NAME,
            "format_version": FORMAT_VERSION,
            "estimator": self.estimator,
            "kind": self.kind,
            "params": dict(self.params),
            "fingerprint": asdict(self.fingerprint),
            "origin": asdict(self.origin),
            "fitted_on": asdict(self.fitted_on),
            "cross_validation": None if scores is None else scores.to_dict(),
            "seen": self.seen,
        }
        stream = io.BytesIO()
        joblib.dump(content, stream)
        with replacing(path, error=HeadError, overwrite=overwrite) as draft:
            draft.write_bytes(stream.getbuffer())

    def _check(self, X: Array) -> Float32Array:
        X = np.asarray(X, np.float32)
        dim = self.fingerprint.dim
        if X.ndim != 2 or X.shape[1] != dim:
            raise HeadError(
                subject="X",
                expected=f"an array of shape (n_rows, {dim})",
                got=f"one of shape {X.shape}",
                remedy=f"Pass embeddings of {self.fingerprint.backbone}, layer "
                f"{self.fingerprint.layer}.",
            )
        return X


def is_head_file(path: Path) -> bool:
    """Return whether a file begins like a head that featx wrote; nothing is unpickled.

    Raises
    ------
    HeadError
        If there is a file, but it cannot be read.
    """
    with explain_reading(path, error=HeadError):
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return FORMAT_NAME.encode() in stream.read(200)


def load_head(path: PathLike) -> Head:
    """Read a head that `featx.Head.save` wrote.

    A joblib file is a pickle, and reading a pickle may run code: read only heads that you trust.

    Parameters
    ----------
    path : path
        File to read.

    Returns
    -------
    Head
        The head.

    Raises
    ------
    HeadError
        If the file is missing, damaged, no head, or of another format version.

    See Also
    --------
    featx.fit_head : Fit a head on the embeddings of a cache.

    Examples
    --------
    >>> import featx
    >>> featx.load_head("head.joblib").classes
    array(['ants', 'bees'], dtype=object)
    """
    path = Path(path)
    content = _read_content(path)
    version = content.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise HeadError(
            subject=str(path),
            expected=f"head format {FORMAT_VERSION}",
            got=str(version) if isinstance(version, int) else "no version",
            remedy=FIT_ANEW,
        )
    try:
        return _build_head(content)
    except (KeyError, TypeError) as error:
        got = f"one whose fields do not fit ({type(error).__name__})"
        raise HeadError(
            subject=str(path), expected="a whole head", got=got, remedy=FIT_ANEW
        ) from error


def _read_content(path: Path) -> dict[str, Any]:
    """Read the dict in a head file, without the name of its format."""
    expected = "a head that featx wrote"
    check_local(path, HeadError)
    got = describe_path(path)
    if got == "a cache":
        remedy = f"Fit a head on it: featx.fit_head('{path}', output='head.joblib')."
        raise HeadError(subject=str(path), expected=expected, got=got, remedy=remedy)
    if got not in ("a head", "another file"):
        remedy = LET_READ if got.startswith(UNREADABLE) else FIT_ANEW
        raise HeadError(subject=str(path), expected=expected, got=got, remedy=remedy)
    try:
        content = joblib.load(path)
    except Exception as error:  # unpickling other bytes can raise any error
        got = f"a file that cannot be read ({type(error).__name__})"
        raise HeadError(subject=str(path), expected=expected, got=got, remedy=FIT_ANEW) from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT_NAME:
        got = f"a pickle of another kind ({type(content).__name__})"
        raise HeadError(subject=str(path), expected=expected, got=got, remedy=FIT_ANEW)
    return content


def _build_head(content: Mapping[str, Any]) -> Head:
    """Build a head from the fields of its file."""
    scores = content["cross_validation"]
    records = {
        "fingerprint": Fingerprint(**content["fingerprint"]),
        "origin": Origin(**content["origin"]),
        "fitted_on": FittedOn(**content["fitted_on"]),
        "cross_validation": None if scores is None else CrossValidation.from_dict(scores),
    }
    return Head(**{**content, **records})
