"""A fitted head with all that is needed to use it correctly, in one joblib file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from featx.core.errors import HeadError
from featx.core.fingerprint import Fingerprint
from featx.core.html import render_card
from featx.core.learnt import Digests, find_learnt
from featx.core.provenance import Origin
from featx.core.typing import (
    Array,
    BoolArray,
    Float32Array,
    Float64Array,
    Measure,
    PathLike,
    StrArray,
    UInt8Array,
)
from featx.heads.calibration import compute_probabilities, score_classes
from featx.heads.class_weights import ClassWeight
from featx.heads.classifier import HeadClassifier
from featx.heads.conformal import ConformalSets
from featx.heads.evaluate import CrossValidation
from featx.heads.head_file import pack_scores, write_content
from featx.heads.kinds import choose_measure
from featx.heads.matrix import find_matrix
from featx.heads.notebook import Facts, list_classes, list_facts
from featx.heads.side_by_side import HeadEmbedding, name_layers, prepare_rows
from featx.heads.unknown import UnknownDetector
from featx.heads.versions import find_versions, name_series

REFITTED = ("scaling", "pca")
"""Options of a head that `HeadClassifier` takes beside its kind, its strength and its weights."""


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
    """A classifier for embeddings: of one fingerprint, or of several side by side.

    Attributes
    ----------
    estimator : sklearn.pipeline.Pipeline
        Steps of scikit-learn, the last of them a classifier that was fitted on string labels.
    kind : str
        Kind of the head, such as ``"logreg"`` or ``"linear-svm"``.
    params : mapping of str to float
        Parameters that were chosen for the classifier, such as ``{"C": 0.01}``.
    embeddings : tuple of HeadEmbedding
        The embeddings that the head reads side by side, in the order of their columns: mostly one.
    fitted_on : FittedOn
        Rows that the head was fitted on.
    cross_validation : CrossValidation or None
        Held-out scores on these rows; None if the parameters were given, rows were too few, or the
        network of the embeddings had learnt from the rows.
    seen : ndarray of uint64
        ``(n_images,)``, ascending: the first 16 hexadecimal digits of the SHA-256 of each image
        that the head was fitted on, or that the network of the embeddings has learnt from; of a
        row whose image is not known, of its vector as float32.
    temperature : float
        Number that the scores of the classes are divided by before their softmax is taken.
    options : mapping of str to object
        Options that the head was fitted with beside its kind: ``"class_weight"``, ``"scaling"``,
        ``"pca"``.
    unknown : UnknownDetector or None
        Detector of images that are like nothing the head was fitted on; None without one.
    conformal : ConformalSets or None
        Thresholds of sets of classes that hold the right class at a rate; None without them.
    versions : mapping of str to str
        Version of each package that fitted the head, and of Python.

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
    embeddings: tuple[HeadEmbedding, ...]
    fitted_on: FittedOn
    cross_validation: CrossValidation | None = field(repr=False)
    seen: Digests = field(repr=False)
    temperature: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    unknown: UnknownDetector | None = field(default=None, repr=False)
    conformal: ConformalSets | None = field(default=None, repr=False)
    versions: Mapping[str, str] = field(default_factory=find_versions, repr=False)

    @property
    def classes(self) -> Array:
        """Class names, str ``(n_classes,)``, sorted as text."""
        return np.asarray(self.estimator.classes_)

    @property
    def dims(self) -> tuple[int, ...]:
        """Length of each embedding that the head reads."""
        return tuple(one.fingerprint.dim for one in self.embeddings)

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of the embedding that the head reads.

        Raises
        ------
        HeadError
            If the head reads several embeddings.
        """
        return self.get_only_embedding().fingerprint

    @property
    def origin(self) -> Origin:
        """Weights and preprocessing with which featx computes more such embeddings.

        Raises
        ------
        HeadError
            If the head reads several embeddings.
        """
        return self.get_only_embedding().origin

    @property
    def class_weight(self) -> ClassWeight:
        """Weights of the classes that the head was fitted with; None if all rows weigh alike."""
        own = getattr(self.estimator.steps[-1][1], "class_weight", None)
        weights: ClassWeight = self.options.get("class_weight", own)
        return weights

    @property
    def measure(self) -> Measure:
        """Score by which the head was chosen: the balanced accuracy if it has class weights."""
        return choose_measure(self.class_weight)

    def _repr_html_(self) -> str:
        held_out = self.cross_validation
        table = None if held_out is None else list_classes(held_out.scores.to_dict())
        return render_card(f"{type(self).__name__} {self.kind}", self._list_facts(), table=table)

    def _list_facts(self) -> Facts:
        """List what the head is and what it was fitted on, for a notebook."""
        fitted, held_out = self.fitted_on, self.cross_validation
        facts: Facts = [
            *(("embedding", one.fingerprint.describe()) for one in self.embeddings),
            ("fitted on", f"{fitted.cache}, {fitted.split}, {fitted.n_rows:,} rows"),
            *((name, f"{value:.3g}") for name, value in self.params.items()),
            *([("classes", len(self.classes))] if len(self.classes) else []),
        ]
        if held_out is not None:
            scores = held_out.scores.to_dict()
            facts += list_facts(scores, where=f" in {held_out.n_folds} folds")
        return facts

    def predict(self, X: Array) -> Array:
        """Predict a class name for each row of embeddings: the class with the largest score.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint; several side by side.

        Returns
        -------
        ndarray of str
            ``(n_rows,)``, class names.

        Raises
        ------
        HeadError
            If the embeddings do not have the length that the head was fitted on, or the installed
            scikit-learn cannot use the head.
        """
        return np.asarray(self.classes[self.score_classes(X).argmax(axis=1)])

    def predict_proba(self, X: Array) -> Float64Array:
        """Return the probability of each class for each row of embeddings.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint; several side by side.

        Returns
        -------
        ndarray of float64
            ``(n_rows, n_classes)``: the softmax of the scores over the temperature of the head.

        Raises
        ------
        HeadError
            If the embeddings do not have the length that the head was fitted on, or the installed
            scikit-learn cannot use the head.
        """
        return compute_probabilities(self.score_classes(X), self.temperature)

    def score_classes(self, X: Array) -> Float64Array:
        """Return the score of each class, such as a logit or a distance to a border.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint; several side by side.

        Returns
        -------
        ndarray of float64
            ``(n_rows, n_classes)``. If there are two classes, the score of the first one is 0.

        Raises
        ------
        HeadError
            If the embeddings do not have the length that the head was fitted on, or the installed
            scikit-learn cannot use the head.
        """
        X = self._check(X)
        with self._explain_use():
            return score_classes(self.estimator, X)

    def refit(self, X: Array, y: Array) -> Pipeline:
        """Fit the same kind with the same parameters and options on other rows.

        A head that was made by fine-tuning has no such parameters. In this case, a logistic
        regression with the same class weights, which chooses its C, is fitted.

        Parameters
        ----------
        X : ndarray
            ``(n_rows, dim)``, embeddings of the head's fingerprint; several side by side.
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
        options = {name: self.options[name] for name in REFITTED if name in self.options}
        if self.params:
            (options["C"],) = self.params.values()
        classifier = HeadClassifier(self.kind, class_weight=self.class_weight, **options)
        return classifier.fit(X, y).pipeline_

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

    def get_only_embedding(self) -> HeadEmbedding:
        """Return the embedding that the head reads, if it reads one.

        Raises
        ------
        HeadError
            If the head reads several embeddings.
        """
        if len(self.embeddings) > 1:
            raise HeadError(
                subject="head",
                expected="a head that reads one embedding",
                got=f"one that reads {' and '.join(one.name for one in self.embeddings)}",
                remedy="Fit one with featx.fit_head(cache, embedding=NAME).",
            )
        return self.embeddings[0]

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
        write_content(Path(path), self._pack(), overwrite=overwrite)

    def _pack(self) -> dict[str, Any]:
        """Return the content of the head's file: plain values, arrays, and the estimator last.

        The matrix stands beside the estimator because it outlives all versions of scikit-learn.
        """
        records = {
            "matrix": find_matrix(self.estimator),
            "unknown": self.unknown,
            "conformal": self.conformal,
        }
        return {
            "versions": dict(self.versions),
            "kind": self.kind,
            "params": dict(self.params),
            "options": dict(self.options),
            "temperature": self.temperature,
            "classes": self.classes.tolist(),
            "embeddings": [asdict(one) for one in self.embeddings],
            "fitted_on": asdict(self.fitted_on),
            "cross_validation": pack_scores(self.cross_validation),
            "seen": self.seen,
            **{name: None if value is None else value.to_dict() for name, value in records.items()},
            "estimator": self.estimator,
        }

    @contextmanager
    def _explain_use(self) -> Iterator[None]:
        """Turn what an estimator of another scikit-learn raises into an error that says so."""
        try:
            yield
        except (AttributeError, TypeError, LookupError) as error:
            raise HeadError(
                subject="head",
                expected="an estimator that the installed scikit-learn can use",
                got=f"{type(error).__name__}: {error}",
                remedy="Fit the head again, or install the scikit-learn that fitted it: "
                f"{name_series(self.versions)}.",
            ) from error

    def _check(self, X: Array) -> Float32Array:
        """Check the shape of embeddings; return them as the estimator takes them."""
        X = np.asarray(X, np.float32)
        dim = sum(self.dims)
        if X.ndim != 2 or X.shape[1] != dim:
            raise HeadError(
                subject="X",
                expected=f"an array of shape (n_rows, {dim})",
                got=f"one of shape {X.shape}",
                remedy=f"Pass embeddings of {name_layers(self.embeddings)}.",
            )
        return prepare_rows(X, self.dims, self.options.get("scaling"))
