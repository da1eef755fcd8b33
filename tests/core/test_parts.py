"""A row is in one part, the name of a file says which part it is, and what is missing is named."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from featx.core.address import name_caches
from featx.core.errors import CacheError
from featx.core.parts import (
    Part,
    check_parts,
    describe_missing,
    find_part,
    list_missing,
    list_part_files,
)

IDS = [f"ants/{number}.jpg" for number in range(4000)]


@pytest.mark.parametrize("text", ["3/16", " 3 / 16 ", "03/016"])
def test_from_text_reads_number_and_count(text: str) -> None:
    assert Part.from_text(text) == Part(3, 16)


@pytest.mark.parametrize(
    "text", ["", "3", "3/", "/16", "0/16", "17/16", "3/0", "-1/4", "3/16/2", "a/b", "٣/٤", 3, None]
)
def test_from_text_of_anything_else_is_refused(text: Any) -> None:
    with pytest.raises(CacheError, match="part: expected K/N with K from 1 to N"):
        Part.from_text(text)


@pytest.mark.parametrize("count", [1, 2, 16, 1000])
def test_each_row_is_in_one_part_and_parts_are_nearly_equal(count: int) -> None:
    parts = [Part(number, count) for number in range(1, count + 1)]
    ids = IDS[: 20_000 // count]  # each is asked of each part
    sizes = Counter(part for part in parts for row_id in ids if part.has(row_id))
    assert sizes.total() == len(ids)
    if count <= 16:
        mean = len(ids) / count
        assert all(abs(sizes[part] - mean) < 5 * mean**0.5 for part in parts)


def test_a_row_stays_in_its_part_in_every_version() -> None:
    row_ids = ["ants/1.jpg", "train/bees/naïve ü.png", "", "a.tar/x.png"]
    numbers = [[n for n in range(1, 17) if Part(n, 16).has(one)] for one in row_ids]
    assert numbers == [[7], [9], [5], [15]]


def test_name_of_a_file_says_which_part_it_is() -> None:
    for part in (Part(1, 1), Part(3, 16), Part(16, 16), Part(999, 1000)):
        assert find_part(Path("folder") / part.file_name) == part


@pytest.mark.parametrize(
    "name",
    [
        *("part-3-of-16.h5", "part-0003-of-0016.h5", "part-000-of-016.h5", "part-017-of-016.h5"),
        *("part-003-of-016.h5.partial", "a-part-003-of-016.h5", "part-003-of-016.hdf5", "p.h5"),
    ],
)  # fmt: skip
def test_another_name_is_that_of_no_part(name: str) -> None:
    assert find_part(Path(name)) is None


def test_list_part_files_is_in_the_order_of_numbers(tmp_path: Path) -> None:
    names = [Part(number, 1200).file_name for number in (1100, 2, 999, 10)]
    for name in [*names, "photos.h5", ".part-003-of-1200.h5.lock", "part-x.txt"]:
        (tmp_path / name).touch()
    found = [find_part(path) for path in list_part_files(tmp_path)]
    assert found == [Part(number, 1200) for number in (2, 10, 999, 1100)]
    assert list_part_files(tmp_path / "photos.h5") == list_part_files(tmp_path / "gone") == []


def test_parts_of_two_divisions_are_refused() -> None:
    paths = [Path(Part(1, 2).file_name), Path("photos.h5"), Path(Part(1, 3).file_name)]
    check_parts(paths[:2], "parts")
    with pytest.raises(
        CacheError, match="parts: expected parts of one division, got parts of 2 and"
    ):
        check_parts(paths, "parts")


def test_missing_parts_are_named_and_unfinished_ones_told(tmp_path: Path) -> None:
    paths = [tmp_path / Part(number, 6).file_name for number in (1, 4, 5)]
    (tmp_path / "part-003-of-006.h5.partial").mkdir()
    missing = list_missing(paths)
    assert missing == [Part(2, 6), Part(3, 6), Part(6, 6)]
    text = describe_missing(missing, paths)
    assert text == "3 of 6 parts, without 2, 3 (unfinished) and 6"


def test_many_missing_parts_are_counted() -> None:
    paths = [Path(Part(1, 100).file_name)]
    text = describe_missing(list_missing(paths), paths)
    assert text.startswith("1 of 100 parts, without 2, 3, ")
    assert text.endswith(" and 79 more")


def test_caches_that_are_no_parts_lack_none() -> None:
    assert list_missing([Path("a.h5"), Path("b.h5")]) == []


@pytest.mark.parametrize(
    ("caches", "name"),
    [
        ("parts", "parts"),
        (Path("parts"), "parts"),
        (["a.h5"], "a.h5"),
        (["a.h5", Path("b.h5")], "a.h5 and b.h5"),
        (("a", "b", "c", "d", "e"), "a, b, c and 2 more"),
    ],
)  # fmt: skip
def test_name_caches_is_short(caches: Any, name: str) -> None:
    assert name_caches(caches) == name
