"""The embeddings that a head is fitted on, and those that it can read."""

from dataclasses import replace
from pathlib import Path

import pytest

from featx.cache.joined import open_cache
from featx.core.errors import CacheError, FingerprintError
from featx.fitting.comparable import choose_embeddings, find_comparable
from featx.fitting.fit import fit_head
from featx.heads.head import Head
from tests.builders import MakeCache, MakeInfo


@pytest.fixture
def head(several: Path) -> Head:
    """Return a head for the embedding ``tiny``."""
    return fit_head(several, embedding="tiny", C=1.0)


@pytest.mark.parametrize("embedding", [None, "tiny"])
def test_find_comparable_is_the_one_that_was_fitted_on(
    several: Path, head: Head, embedding: str | None
) -> None:
    with open_cache(several) as cache:
        assert find_comparable(cache, head, embedding=embedding) == ("tiny",)


def test_find_comparable_goes_by_fingerprint_and_not_by_name(
    make_cache: MakeCache, make_info: MakeInfo, head: Head
) -> None:
    infos = [
        replace(make_info("tiny"), name="mine"),
        replace(make_info("tiny", precision="bf16"), name="tiny"),
    ]
    with open_cache(make_cache("renamed.h5", infos=infos)) as cache:
        assert find_comparable(cache, head) == ("mine",)


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


def test_find_comparable_of_several_is_in_the_order_of_the_head(several: Path) -> None:
    head = fit_head(several, embedding=["tiny", "tiny@conv"], C=1.0)
    with open_cache(several) as cache:
        assert cache.embeddings == ("tiny", "tiny@conv")
        assert find_comparable(cache, head) == ("tiny", "tiny@conv")
    turned = fit_head(several, embedding=["tiny@conv", "tiny"], C=1.0)
    with open_cache(several) as cache:
        assert find_comparable(cache, turned) == ("tiny@conv", "tiny")
        given = ["tiny", "tiny@conv"]
        assert find_comparable(cache, turned, embedding=given) == ("tiny@conv", "tiny")


def test_find_comparable_of_several_names_the_one_that_is_missing(
    several: Path, make_cache: MakeCache, make_info: MakeInfo
) -> None:
    head = fit_head(several, embedding=["tiny", "tiny@conv"], C=1.0)
    other = make_info("tiny@conv", layer="conv", dim=4, precision="bf16")
    with (
        open_cache(make_cache("apart.h5", infos=[make_info("tiny"), other])) as cache,
        pytest.raises(FingerprintError) as caught,
    ):
        find_comparable(cache, head)
    assert caught.value.subject == f"{cache.path}, embedding tiny@conv"
    assert caught.value.expected == "precision fp32, as the head was fitted on (tiny@conv)"
    assert caught.value.got == "precision bf16"


# --- choose_embeddings


@pytest.mark.parametrize("embedding", [[], ["tiny", "tiny"]], ids=str)
def test_choose_embeddings_twice_or_none_is_refused(several: Path, embedding: list[str]) -> None:
    with (
        open_cache(several) as cache,
        pytest.raises(CacheError, match=r"^embedding: expected names of embeddings, each once, "),
    ):
        choose_embeddings(cache, embedding)


def test_choose_embeddings_unknown_names_the_nearest(several: Path) -> None:
    with open_cache(several) as cache:
        with pytest.raises(CacheError, match=r"got 'tinny'\. .*tiny"):
            choose_embeddings(cache, ["tiny@conv", "tinny"])
        assert [one.name for one in choose_embeddings(cache, "tiny")] == ["tiny"]


@pytest.mark.parametrize("text", ["tiny+mini", "mini,tiny"])
def test_names_that_are_given_as_one_are_refused_with_advice(
    make_cache: MakeCache, make_info: MakeInfo, text: str
) -> None:
    path = make_cache("both.h5", infos=[make_info("tiny"), make_info("mini")])
    named = text.replace("+", " and ").replace(",", " and ")
    advice = rf"one name at a time, got '.*'\. Pass each name alone: {named}\."
    with open_cache(path) as cache, pytest.raises(CacheError, match=advice):
        choose_embeddings(cache, text)
    with open_cache(path) as cache, pytest.raises(CacheError, match=r"expected one of its embed"):
        choose_embeddings(cache, "tiny+huge")
