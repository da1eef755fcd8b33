"""Names, stamps and versions of the format."""

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from featx.cache.format import (
    ELEMENTS,
    FORMAT_VERSION,
    ElementKind,
    FileKind,
    check_embedding_names,
)
from featx.cache.joined import open_cache
from featx.core.errors import CacheError
from featx.core.typing import list_choices
from tests.builders import editing

Change = Callable[[h5py.File], None]


@pytest.mark.parametrize(
    "name", ["resnet50", "a", "0", "resnet50@layer3.2", "a+b-c_d.e", "é", "A@B@C"]
)
def test_check_embedding_names_takes_names_of_backbones(name: str) -> None:
    check_embedding_names(["tiny", name])


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".a", "@a", "_a", "-a", "a b", "a\n", "a:b", "a\\b", "a\0"]
)
def test_check_embedding_names_refuses_paths_and_signs(name: str) -> None:
    with pytest.raises(CacheError) as caught:
        check_embedding_names(["tiny", name])
    assert (caught.value.subject, caught.value.got) == ("embedding", repr(name))


def test_file_carries_format_and_version_in_plain_sight(cache_path: Path) -> None:
    with h5py.File(cache_path) as file:
        assert dict(file.attrs) == {
            "format": "featx-cache",
            "format_version": 2,
            "source": "generated",
        }
        stamps = {
            name: (file[name].attrs["featx-type"], file[name].attrs["featx-version"])
            for name in ("rows", "labels", "failures", "embeddings/tiny")
        }
        assert set(file) == {"rows", "labels", "failures", "embeddings"}
    assert stamps == {
        "rows": ("rows", 1),
        "labels": ("labels", 1),
        "failures": ("failures", 1),
        "embeddings/tiny": ("embedding", 1),
    }


def test_kinds_are_those_of_the_format() -> None:
    assert list_choices(FileKind) == ("featx-cache", "featx-shard")
    assert list_choices(ElementKind) == tuple(ELEMENTS)
    assert ELEMENTS == {"rows": 1, "labels": 1, "failures": 1, "embedding": 1}


def set_attribute(group: str, name: str, value: object) -> Change:
    def change(file: h5py.File) -> None:
        file[group].attrs[name] = value

    return change


def drop_attribute(group: str, name: str) -> Change:
    def change(file: h5py.File) -> None:
        del file[group].attrs[name]

    return change


def add_group(name: str) -> Change:
    def change(file: h5py.File) -> None:
        file.create_group(name)

    return change


def add_element(name: str, kind: str, version: int) -> Change:
    def change(file: h5py.File) -> None:
        group = file.create_group(name)
        group.attrs["featx-type"], group.attrs["featx-version"] = kind, version

    return change


HERE = "expected only rows, labels, failures, embeddings, user here"
FORMAT = f"expected format featx-cache version {FORMAT_VERSION}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_attribute("/", "format", "featx-shard"), f"{FORMAT}, got featx-shard version 2"),
        (set_attribute("/", "format_version", 3), f"{FORMAT}, got featx-cache version 3"),
        (set_attribute("/", "format_version", 1), f"{FORMAT}, got featx-cache version 1"),
        (drop_attribute("/", "format_version"), f"{FORMAT}, got featx-cache version None"),
        (set_attribute("rows", "featx-version", 2), "c.h5, /rows: expected rows 1, got rows 2"),
        (set_attribute("rows", "featx-type", "views"), "c.h5, /rows: expected rows 1, got views 1"),
        (
            drop_attribute("failures", "featx-type"),
            "c.h5, /failures: expected failures 1, got None 1",
        ),
        (
            set_attribute("embeddings/tiny", "featx-version", 0),
            "c.h5, /embeddings/tiny: expected embedding 1, got embedding 0",
        ),
        (add_element("views", "views", 1), f"c.h5, /views: {HERE}, got an element views 1"),
        (
            add_element("embeddings/views", "views", 1),
            "c.h5, /embeddings/views: expected embedding 1, got views 1",
        ),
        (add_group("mine"), f"c.h5, /mine: {HERE}, got a group"),
    ],
)
def test_open_cache_unknown_element_is_refused_in_one_line(
    make_cache: Callable[..., Path], change: Change, message: str
) -> None:
    path = make_cache("c.h5")
    with editing(path) as file:
        change(file)
    with pytest.raises(CacheError) as caught:
        open_cache(path)
    assert message in str(caught.value)
    assert "install the featx that wrote the file." in caught.value.remedy.lower()
    assert len(str(caught.value).splitlines()) == 1


def test_open_cache_leaves_the_users_group_alone(cache_path: Path) -> None:
    with editing(cache_path) as file:
        file["user/notes"] = [1, 2, 3]
    with open_cache(cache_path) as cache:
        assert len(cache) == 60
