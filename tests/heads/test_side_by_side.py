"""Heads that read several embeddings side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.core.errors import HeadError
from featx.heads.head import Head
from featx.heads.load import load_head
from featx.heads.side_by_side import prepare_rows, scale_embeddings
from featx.heads.unknown import UnknownDetector

from .heads import DIM, build_embedding, build_head, draw_rows


@pytest.fixture
def both() -> Head:
    """Return a head of rows of four numbers: one of ``near`` and three of ``far``."""
    read = build_embedding("near", dim=1), build_embedding("far", dim=DIM - 1, layer="conv")
    return replace(build_head()[0], embeddings=read)


def test_scale_embeddings_scales_each_alone_and_copies() -> None:
    X = np.array([[3, 4, 30, 40, 0], [0, 0, 0, 1, 0]], np.float32)
    given = X.copy()
    expected = np.array([[0.6, 0.8, 0.6, 0.8, 0], [0, 0, 0, 1, 0]])
    np.testing.assert_allclose(scale_embeddings(X, [2, 3]), expected, atol=1e-6)
    np.testing.assert_array_equal(X, given)


def test_scale_embeddings_keeps_the_range_of_single_precision() -> None:
    scaled = scale_embeddings(np.array([[3e38, 3e38, 1e-30, 0]], np.float32), [2, 2])
    np.testing.assert_allclose(scaled, [[0.5**0.5, 0.5**0.5, 1, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("dims", "scaling", "is_scaled"),
    [
        ((2, 3), "l2", True),
        ((2, 3), "standard", False),
        ((2, 3), "none", False),
        ((5,), "l2", False),  # the estimator does it
    ],
)
def test_prepare_rows_scales_several_embeddings_only_if_asked(
    dims: tuple[int, ...], scaling: str, is_scaled: bool
) -> None:
    X = np.ones((1, 5), np.float32)
    assert (prepare_rows(X, dims, scaling) is not X) == is_scaled


def test_head_names_its_embeddings_in_order(both: Head, tmp_path: Path) -> None:
    both.save(tmp_path / "both.joblib")
    loaded = load_head(tmp_path / "both.joblib")
    assert loaded.embeddings == both.embeddings
    assert loaded.dims == (1, DIM - 1)


def test_head_with_a_detector_of_other_embeddings_is_refused(both: Head, tmp_path: Path) -> None:
    X, y = draw_rows()
    codes = np.unique(y, return_inverse=True)[1]
    for dims, is_refused in (((1, DIM - 1), False), ((DIM - 1, 1), True), ((DIM,), True)):
        path = tmp_path / f"{dims}.joblib"
        head = replace(both, unknown=UnknownDetector.fit(X, codes, dims=dims))
        if not is_refused:
            head.save(path)
            assert load_head(path).unknown is not None
            continue
        with pytest.raises(HeadError, match=r"\(ValueError: a detector of other embeddings\)"):
            head.save(path)


@pytest.mark.parametrize("name", ["fingerprint", "origin"])
def test_head_of_several_embeddings_has_no_single_one(both: Head, name: str) -> None:
    message = r"^head: expected a head that reads one embedding, got one that reads near and far\. "
    with pytest.raises(HeadError, match=message):
        getattr(both, name)


def test_head_of_several_embeddings_takes_rows_of_all(both: Head) -> None:
    assert len(both.predict(np.zeros((2, DIM)))) == 2
    with pytest.raises(HeadError, match=r"\(n_rows, 4\), got .*conv; side by side\.$"):
        both.predict(np.zeros((2, DIM - 1)))


def test_head_with_l2_does_not_see_the_length_of_an_embedding(both: Head) -> None:
    X = np.random.default_rng(0).normal(size=(9, DIM)).astype(np.float32)
    longer = X * np.array([50, 1, 1, 1], np.float32)
    scaled = replace(both, options={"scaling": "l2"})
    np.testing.assert_allclose(scaled.predict_proba(longer), scaled.predict_proba(X), atol=1e-6)
    assert np.abs(both.predict_proba(longer) - both.predict_proba(X)).max() > 0.1


def test_detector_does_not_see_the_length_of_an_embedding() -> None:
    rng = np.random.default_rng(0)
    codes = np.arange(400) % 2
    X = rng.normal(size=(400, 12)) + 10 * np.tile(np.eye(6)[codes], 2)
    longer = X * np.repeat([1, 1000], 6)
    first, second = (UnknownDetector.fit(rows, codes, dims=(6, 6)) for rows in (X, longer))
    assert first is not None
    assert second is not None
    stranger = np.hstack([10 * np.eye(6)[:1], 10_000 * np.eye(6)[5:]])  # in one of them only
    for detector, rows in ((first, X), (second, longer)):
        assert detector.find_unknown(stranger, 0.01).all()
        assert detector.find_unknown(rows, 0.05).mean() == pytest.approx(0.05, abs=0.05)
    np.testing.assert_allclose(
        first.measure_distances(X), second.measure_distances(longer), rtol=1e-3
    )
    # One length for the whole row hides the shorter embedding behind the longer one.
    whole = UnknownDetector.fit(longer, codes)
    assert whole is not None
    assert whole.dims == (12,)
    hidden = np.hstack([10 * np.eye(6)[5:], 10_000 * np.eye(6)[:1]])
    assert second.find_unknown(hidden, 0.01).all()


@pytest.mark.parametrize("dims", [[6, 6], (6, 5), (12, 0), (6.0, 6), "12"], ids=str)
def test_detector_with_other_lengths_is_refused(dims: object) -> None:
    codes = np.arange(40) % 2
    X = np.random.default_rng(0).normal(size=(40, 12)) + 10 * np.eye(12)[codes]
    detector = UnknownDetector.fit(X, codes, dims=(6, 6))
    assert detector is not None
    content = detector.to_dict()
    assert UnknownDetector.from_dict(content).dims == (6, 6)
    with pytest.raises((TypeError, ValueError), match="lengths"):
        UnknownDetector.from_dict(content | {"dims": dims})
