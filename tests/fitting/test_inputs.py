"""Inputs of fitting: caches and heads by path or as objects, and what is chosen of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.cache.joined import open_cache
from featx.core.errors import FingerprintError, HeadError
from featx.fitting.fit import fit_head
from featx.fitting.inputs import (
    check_labels,
    find_comparable,
    opened_cache,
    read_head,
)
from featx.heads.head import Head
from tests.builders import MakeCache, MakeInfo


def is_open(cache: object) -> bool:
    """Tell whether a cache can still be read."""
    try:
        return len(cache.read_present()) > 0  # type: ignore[attr-defined]
    except (ValueError, RuntimeError, OSError, KeyError):
        return False


def test_opened_cache_closes_what_it_opened(cache_path: Path) -> None:
    with opened_cache(cache_path) as cache:
        assert is_open(cache)
    assert not is_open(cache)


def test_opened_cache_leaves_an_open_cache_to_its_owner(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        with opened_cache(cache) as same:
            assert same is cache
        assert is_open(cache)


def test_read_head_takes_a_head_or_its_path(cache_path: Path, tmp_path: Path) -> None:
    head = fit_head(cache_path, tmp_path / "head.joblib", C=1.0)
    assert read_head(head) is head
    assert read_head(tmp_path / "head.joblib").params == head.params
    assert read_head(str(tmp_path / "head.joblib")).params == head.params


# --- find_comparable


@pytest.fixture
def head(several: Path) -> Head:
    """Return a head for the embedding ``tiny``."""
    return fit_head(several, embedding="tiny", C=1.0)


@pytest.mark.parametrize("embedding", [None, "tiny"])
def test_find_comparable_is_the_one_that_was_fitted_on(
    several: Path, head: Head, embedding: str | None
) -> None:
    with open_cache(several) as cache:
        assert find_comparable(cache, head, embedding=embedding) == "tiny"


def test_find_comparable_goes_by_fingerprint_and_not_by_name(
    make_cache: MakeCache, make_info: MakeInfo, head: Head
) -> None:
    infos = [
        replace(make_info("tiny"), name="mine"),
        replace(make_info("tiny", precision="bf16"), name="tiny"),
    ]
    with open_cache(make_cache("renamed.h5", infos=infos)) as cache:
        assert find_comparable(cache, head) == "mine"


def test_find_comparable_none_shows_the_one_that_differs_least(
    make_cache: MakeCache, make_info: MakeInfo, head: Head
) -> None:
    infos = [
        make_info("other", dim=3, layer="conv"),
        replace(make_info("tiny", precision="bf16"), name="near"),
    ]
    with (
        open_cache(make_cache("apart.h5", infos=infos)) as cache,
        pytest.raises(FingerprintError) as caught,
    ):
        find_comparable(cache, head)
    assert caught.value.subject == f"{cache.path}, embedding near"
    assert caught.value.expected == "precision fp32, as the head was fitted on"
    assert caught.value.got == "precision bf16"


# --- check_labels


@pytest.mark.parametrize(
    ("labels", "got"), [([], "no labelled rows"), (["ants"] * 3, "only 'ants'")]
)
def test_check_labels_of_fewer_than_two_classes_are_refused(labels: list[str], got: str) -> None:
    with pytest.raises(HeadError) as caught:
        check_labels(np.array(labels, object), subject="c.h5, split train")
    assert caught.value.subject == "c.h5, split train"
    assert caught.value.reason == f"expected rows of at least 2 classes, got {got}"


def test_check_labels_of_two_classes_are_accepted() -> None:
    check_labels(np.array(["ants", "bees"], object), subject="c.h5")
