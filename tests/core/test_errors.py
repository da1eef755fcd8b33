"""Errors carry their parts, and read as one line."""

import importlib
import inspect
import pickle
from typing import Any

import pytest

from featx.core import errors
from featx.core.errors import (
    CacheDamagedError,
    CacheError,
    FeatxError,
    MissingExtraError,
    TooManyFailuresError,
    require,
    suggest,
)

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FeatxError)
]
PARTS = {"subject": "c.h5", "expected": "a cache", "got": "a folder", "remedy": "Name a file."}


@pytest.mark.parametrize("kind", KINDS)
def test_error_renders_its_parts_in_one_line(kind: type[FeatxError]) -> None:
    error = kind(**PARTS)
    assert str(error) == "c.h5: expected a cache, got a folder. Name a file."
    assert error.reason == "expected a cache, got a folder"
    assert {name: getattr(error, name) for name in PARTS} == PARTS


def test_error_shows_one_printable_line_of_limited_length() -> None:
    parts = {name: "\x1b[31m\n" * 1_000_000 + name for name in PARTS}
    error = CacheError(**parts)
    assert str(error).isprintable()
    assert error.reason.isprintable()
    assert len(str(error)) < 2_000
    assert str(error).endswith("remedy")
    assert {name: getattr(error, name) for name in PARTS} == parts


@pytest.mark.parametrize("kind", KINDS)
def test_error_travels_between_processes_with_its_notes(kind: type[FeatxError]) -> None:
    error = kind(**PARTS)
    error.add_note("on cuda:1")
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is kind
    assert str(found) == str(error)
    assert vars(found) == vars(error)


@pytest.mark.parametrize("kind", KINDS)
def test_error_exit_codes(kind: type[FeatxError]) -> None:
    assert kind.exit_code == (3 if kind is TooManyFailuresError else 1)


@pytest.mark.parametrize(
    ("kind", "base"),
    [(CacheDamagedError, CacheError), (CacheError, ValueError), (MissingExtraError, ImportError)],
)
def test_error_is_of_the_kind_that_python_users_catch(
    kind: type[FeatxError], base: type[Exception]
) -> None:
    assert issubclass(kind, base)


def test_require_gives_the_module() -> None:
    assert require("importlib", "none") is importlib


def test_require_missing_package_names_the_extra() -> None:
    with pytest.raises(MissingExtraError) as caught:
        require("nowhere_at_all.part", "parquet")
    assert "pip install nowhere_at_all (the extra parquet of featx installs it)." in str(
        caught.value
    )
    assert isinstance(caught.value.__cause__, ImportError)


def test_require_names_the_package_as_pip_knows_it() -> None:
    with pytest.raises(MissingExtraError, match=r"Run: pip install nowhere-learn \(the extra"):
        require("nowhere_at_all", "none", distribution="nowhere-learn")


@pytest.mark.parametrize(
    ("name", "known", "sentence"),
    [
        ("resnet5", ["vgg16", "resnet50"], "Nearest: resnet50."),
        ("rain", ["train", "val"], "Nearest: train."),
        ("zzz", ["train", "val"], "No known name is similar."),
        ("x", [], "No known name is similar."),
        ("svm", ["logreg", "linear-svm"], "Nearest: linear-svm."),
        ("RESNET51", ["vgg16", "resnet50"], "Nearest: resnet50."),
        ("imagenet", ["DEFAULT", "IMAGENET1K_V1"], "Nearest: IMAGENET1K_V1."),
    ],
)
def test_suggest_names_the_nearest(name: str, known: Any, sentence: str) -> None:
    assert suggest(name, known) == sentence


def test_suggest_names_three_at_the_most() -> None:
    assert suggest("aaaa", ["aaab", "aaac", "aaad", "aaae"]).count(",") == 2
