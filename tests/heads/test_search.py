"""The search for C."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from featx.heads import search
from featx.heads.kinds import KINDS
from featx.heads.search import COARSE_EXPONENTS, search_C
from featx.heads.splits import build_folds


@pytest.fixture(autouse=True)
def _one_thread():
    """As HeadClassifier does: on little data threads mostly wait for each other."""
    with threadpool_limits(1):
        yield


def run(X, y, *, kind="logreg", class_weight=None, n_folds=5):
    folds = build_folds(y, None, n_folds=n_folds, seed=0)
    return search_C(X.astype(np.float32), y, folds, kind=kind, class_weight=class_weight)


def build_noisy(n_rows=120, dim=400, seed=0):
    """Many features of noise, each with a trace of the class: strong regularisation is best."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_rows) % 2
    return rng.normal(size=(n_rows, dim)) + 0.12 * (2 * y[:, None] - 1), y


def build_hidden(n_rows=200, seed=0):
    """The class lies in a small difference of two large features: weights must be large."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_rows) % 2
    common = rng.normal(size=n_rows)
    small = 0.01 * (2 * y - 1 + 0.3 * rng.normal(size=n_rows))
    return np.stack([common, common + small], axis=1), y


def build_separable(n_rows=60, dim=4, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n_rows) % 2
    return rng.normal(size=(n_rows, dim)) + 20 * (2 * y[:, None] - 1), y


def build_random_labels(n_rows=160, dim=400, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, dim)), rng.permutation(np.arange(n_rows) % 2)


@pytest.mark.parametrize("kind", KINDS)
def test_search_noisy_features_get_smaller_C_than_hidden_ones(kind):
    assert run(*build_noisy(), kind=kind).C < 0.1
    assert run(*build_hidden(), kind=kind).C >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_search_beats_a_C_of_one_where_that_is_wrong(kind):
    found = run(*build_hidden(), kind=kind)
    at_one = found.scores[np.isclose(found.values, 1)].mean()
    best = found.scores[np.isclose(found.values, found.C)].mean()
    assert best > at_one


@pytest.mark.parametrize("build", [build_noisy, build_hidden, build_separable, build_random_labels])
def test_search_tries_at_most_thirteen_values_ascending(build):
    found = run(*build())
    assert len(COARSE_EXPONENTS["logreg"]) < len(found.values) <= 13
    assert (np.diff(found.values) > 0).all()
    assert found.scores.shape == (len(found.values), 5)
    assert found.C in found.values


def test_search_of_equals_takes_the_middle():
    found = run(*build_separable())
    assert (found.scores == 1).all()
    assert np.log10(found.C) == pytest.approx(np.median(COARSE_EXPONENTS["logreg"]))


def test_search_best_at_upper_end_goes_on():
    found = run(*build_hidden())
    assert found.values.max() > 10 ** max(COARSE_EXPONENTS["logreg"])


def test_search_best_at_lower_end_goes_on(monkeypatch):
    monkeypatch.setattr(search, "COARSE_EXPONENTS", {"logreg": (-2.0, -1.0, 0.0, 1.0)})
    found = run(*build_noisy())
    assert found.values.min() < 10**-2.5


@pytest.mark.parametrize("kind", KINDS)
def test_search_random_labels_are_held_out_at_chance(kind):
    X, y = build_random_labels()
    found = run(X, y, kind=kind)
    # A head that had seen the rows would be right on all: 400 features tell 160 rows apart.
    assert abs(np.mean(found.held_out == y) - 0.5) < 0.15


@pytest.mark.parametrize("seed", range(4))
def test_search_held_out_is_what_a_head_without_the_fold_predicts(seed):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Labels by chance: which C is best then hangs on every fold.
    X, y = build_random_labels(n_rows=80, dim=10, seed=seed)
    folds = build_folds(y, None, n_folds=5, seed=0)
    found = search_C(X, y, folds, kind="logreg", class_weight=None)
    for number, (train, test) in enumerate(folds):
        means = np.delete(found.scores, number, axis=1).mean(axis=1)
        best = found.values[np.isclose(means, means.max())]
        C = best[(len(best) - 1) // 2]
        plain = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
        expected = plain.fit(X[train], y[train]).predict(X[test])
        assert np.mean(found.held_out[test] == expected) > 0.9  # warm and cold starts differ


def test_search_rows_in_no_fold_are_not_held_out():
    X, y = build_noisy()
    folds = build_folds(y, None, n_folds=5, seed=0)[:2]
    found = search_C(X, y, folds, kind="logreg", class_weight=None)
    tested = np.sort(np.concatenate([test for _, test in folds]))
    assert np.flatnonzero(found.held_out >= 0).tolist() == tested.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_search_twice_is_the_same(kind):
    X, y = build_noisy()
    first, second = run(X, y, kind=kind), run(X, y, kind=kind)
    assert first.C == second.C
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.held_out, second.held_out)


def test_search_with_class_weight_scores_classes_alike():
    rng = np.random.default_rng(0)
    y = np.array([0] * 90 + [1] * 10)
    X = rng.normal(size=(100, 5))  # nothing to learn
    plain = run(X, y)
    balanced = run(X, y, class_weight="balanced")
    assert plain.scores.max() == pytest.approx(0.9, abs=0.05)
    assert balanced.scores.mean() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_search_twice_is_equal_to_the_last_bit(kind):
    X, y = build_noisy()
    first, second = run(X, y, kind=kind), run(X, y, kind=kind)
    assert first.C == second.C
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.held_out, second.held_out)
