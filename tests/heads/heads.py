"""Heads for tests of their files."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from featx.core.learnt import shorten_digests
from featx.core.provenance import Origin
from featx.core.typing import Float32Array, StrArray
from featx.heads.classifier import HeadClassifier
from featx.heads.evaluate import CrossValidation, score_predictions
from featx.heads.head import FittedOn, Head
from featx.heads.kinds import get_kind
from featx.heads.side_by_side import HeadEmbedding
from tests.builders import build_fingerprint

DIGESTS = np.array(["0a" * 32, "", "ff" * 32])
DIM = 4


def draw_rows(labels: tuple[str, ...] = ("2", "10", "ants")) -> tuple[Float32Array, StrArray]:
    """Draw 60 rows of at most four classes, which lie apart."""
    codes = np.arange(60) % len(labels)
    X = np.random.default_rng(0).normal(size=(60, DIM)) + 5 * np.eye(DIM)[codes]
    return X.astype(np.float32), np.array(labels)[codes]


def build_head(
    labels: tuple[str, ...] = ("2", "10", "ants"), kind: str = "logreg", **options: Any
) -> tuple[Head, Float32Array]:
    """Build a head on drawn rows, with C of 1; return it with the rows."""
    X, y = draw_rows(labels)
    params = get_kind(kind).list_params(1.0)
    C: Any = next(iter(params.values()), "auto")
    pipeline = HeadClassifier(kind, C=C, **options).fit(X, y).pipeline_
    return wrap_estimator(pipeline, kind=kind, params=params, options=options), X


def build_embedding(name: str = "tiny", dim: int = DIM, **changes: Any) -> HeadEmbedding:
    """Build an embedding for a head; changes are fields of its fingerprint."""
    return HeadEmbedding(
        name=name,
        fingerprint=build_fingerprint(dim=dim, **changes),
        origin=Origin(weights="random:0"),
    )


def wrap_estimator(estimator: Pipeline, **changes: Any) -> Head:
    """Make a head of an estimator that was fitted on the rows of `draw_rows`."""
    classes = np.asarray(estimator.classes_)
    y = classes[np.arange(60) % len(classes)]
    fields: dict[str, Any] = {
        "kind": "logreg",
        "params": {"C": 1.0},
        "embeddings": (build_embedding(),),
        "fitted_on": FittedOn(cache="c.h5", split="train", n_rows=60),
        "cross_validation": CrossValidation(
            scores=score_predictions(y, y[::-1], classes=classes),
            n_folds=5,
            strengths=(0.1, 1.0),
            mean_scores=(0.25, 0.5),
        ),
        "seen": np.unique(shorten_digests(DIGESTS)),
    }
    return Head(estimator=estimator, **(fields | changes))
