"""Paths on a page: names of files in sentences, and paths that work in commands."""

import os
from pathlib import Path

import numpy as np
import pytest

import featx
from featx.report.locations import (
    list_cache_paths,
    list_given,
    name_cache,
    shorten_path,
    shorten_paths,
    split_paths,
)
from tests.builders import MakeCache, build_info, build_rows, write_vectors


def test_paths_in_the_current_folder_are_written_from_it_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shorten_path(str(tmp_path / "a" / "b.h5")) == str(Path("a", "b.h5"))
    assert shorten_path(str(tmp_path.parent / "b.h5")) == str(tmp_path.parent / "b.h5")
    assert shorten_path("--split") == "--split"
    for name in ("a.h5", "b.h5"):
        (tmp_path / name).touch()
    assert shorten_paths(f"{tmp_path / 'a.h5'} and {tmp_path / 'b.h5'}") == "a.h5 and b.h5"


def test_caches_that_are_one_are_listed_one_by_one(tmp_path: Path, make_cache: MakeCache) -> None:
    other = tmp_path / "other.h5"
    rows = build_rows(["wasps"], [None])
    write_vectors(other, [build_info()], rows, {"tiny": np.ones((1, 8), np.float32)})
    paths = [make_cache(), other]
    with featx.open_cache(paths) as cache:
        assert list_cache_paths(cache) == list(map(str, paths))
        assert name_cache(cache) == "cache.h5 and other.h5"
        assert split_paths(str(cache.path)) == list(map(str, paths))
    with featx.open_cache(str(tmp_path / "o*.h5")) as cache:
        assert list_cache_paths(cache) == [str(tmp_path / "o*.h5")]


def test_passwords_of_a_source_are_in_no_command() -> None:
    assert list_given(["https://ada:secret@host/a?sig=1", "photos"]) == ["https://host/a", "photos"]
    assert list_given(None) == []


def test_no_folder_of_the_machine_is_on_the_page(
    cache_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    head = tmp_path / "head.joblib"
    featx.fit_head(cache_path, head, progress=False)
    with pytest.warns(featx.FeatxWarning, match="cannot be shown"):
        featx.write_report(cache_path, head, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert f"featx report {cache_path.name} head.joblib -o report.html" in page
    assert f'<h1 dir="auto">{cache_path.name}</h1>' in page
    assert str(tmp_path) not in page
    assert os.getcwd() not in page
