"""A head that is fitted again when rows have grown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.core.errors import FeatxWarning, HeadError
from featx.fitting.fit import fit_head
from tests.builders import MakeCache, MakeInfo, rewrite_values


def test_fit_head_from_a_former_head_tells_what_has_changed(make_cache: MakeCache) -> None:
    before = fit_head(make_cache(n_train=40, n_val=0, splits=False), scaling="l2")
    grown = make_cache(n_train=60, n_val=0, splits=False)
    rewrite_values(grown, "labels/label", np.array(["ants", "bees", "cats"] * 20, object))
    with pytest.warns(FeatxWarning, match=r"20 rows more, new class cats, C .* → .*, held-out "):
        after = fit_head(grown, previous=before)
    assert after.options["scaling"] == "l2"
    assert after.classes.tolist() == ["ants", "bees", "cats"]
    assert after.cross_validation is not None
    assert before.cross_validation is not None
    assert len(after.cross_validation.strengths) < len(before.cross_validation.strengths)


@pytest.mark.filterwarnings("ignore:since the former head")
def test_fit_head_from_a_former_head_takes_what_is_given_anew(cache_path: Path) -> None:
    before = fit_head(cache_path, kind="ridge", class_weight="balanced", cv=3)
    same = fit_head(cache_path, previous=before, cv=3)
    assert (same.kind, same.class_weight) == ("ridge", "balanced")
    other = fit_head(cache_path, previous=before, kind="lda", cv=3)
    assert other.kind == "lda"


@pytest.mark.filterwarnings("ignore:since the former head")
def test_fit_head_from_a_file(cache_path: Path, tmp_path: Path) -> None:
    fit_head(cache_path, tmp_path / "head.joblib", kind="nearest-mean", cv=3)
    assert fit_head(cache_path, previous=tmp_path / "head.joblib", cv=3).kind == "nearest-mean"


def test_fit_head_from_a_former_head_of_another_embedding_says_so(
    make_cache: MakeCache, make_info: MakeInfo
) -> None:
    cache = make_cache(infos=[make_info("tiny"), make_info("mini")])
    before = fit_head(cache, embedding="tiny", cv=3)
    told = r"embeddings tiny \(\w{12}\) → mini \(\w{12}\) and tiny \(\w{12}\), C "
    with pytest.warns(FeatxWarning, match=told):
        fit_head(cache, embedding=["mini", "tiny"], previous=before, cv=3)
    with pytest.warns(FeatxWarning, match=r"rows more, C "):
        fit_head(cache, previous=before, cv=3)


def test_fit_head_from_what_is_no_head_is_refused(cache_path: Path, tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"expected a head that featx wrote"):
        fit_head(cache_path, previous=tmp_path / "no.joblib")
