"""Heads and evaluations in notebooks: scores beside their intervals, "-" for what is not known."""

from pathlib import Path

import numpy as np
import pytest

import featx
from featx.core.errors import FeatxWarning
from featx.fitting.label import label_cache


@pytest.fixture
def head(cache_path: Path, tmp_path: Path) -> featx.Head:
    return featx.fit_head(cache_path, tmp_path / "head.joblib", split="train")


def test_head_shows_what_it_was_fitted_on_and_its_held_out_scores(
    head: featx.Head, cache_path: Path
) -> None:
    shown = head._repr_html_()
    assert "Head logreg" in shown
    assert f"{cache_path}, train, 40 rows" in shown
    assert "folds" in shown
    assert "95 % interval" in shown
    assert shown.count("ants") == 1


def test_evaluation_shows_intervals_and_classes(head: featx.Head, cache_path: Path) -> None:
    scores = featx.evaluate(head, cache_path, split="val")
    shown = scores._repr_html_()
    low, high = scores.accuracy_ci95
    assert f"{scores.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f})" in shown
    assert "learnt from" not in shown


def test_evaluation_of_learnt_rows_says_so(head: featx.Head, cache_path: Path) -> None:
    with pytest.warns(FeatxWarning, match="were used to fit the head"):
        scores = featx.evaluate(head, cache_path, split="train")
    shown = scores._repr_html_()
    assert "accuracy of rows not learnt from" in shown
    assert "balanced accuracy of all rows" in shown
    assert ">-<" in shown


def test_head_of_a_number_shows_its_target(cache_path: Path, tmp_path: Path) -> None:
    with featx.open_cache(cache_path) as cache:
        X = cache.read_vectors()
        numbers = {name: f"{value:.3f}" for name, value in zip(cache.ids, X[:, 0], strict=True)}
    label_cache(cache_path, numbers, field="weight", author="ada")
    head = featx.fit_head(cache_path, tmp_path / "head.joblib", target="weight")
    shown = head._repr_html_()
    assert "TargetHead ridge" in shown
    assert "weight" in shown
    assert "share of variance explained in folds" in shown
    assert "classes" not in shown
    assert np.isfinite(head.params["C"])
