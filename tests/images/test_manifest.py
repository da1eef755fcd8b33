"""A manifest says in one line how a source is read."""

from pathlib import Path

import pytest

from featx.core.rows import Row
from featx.core.typing import Split
from featx.images.content import InMemory
from featx.images.entries import Entry
from featx.images.manifest import Manifest
from featx.images.sources.folder import read_folder

Fields = tuple[str | None, Split | None]


def build(fields: list[Fields]) -> Manifest:
    entries = (
        Entry(Row(id=str(number), path="", label=label, split=split), InMemory(None))
        for number, (label, split) in enumerate(fields)
    )
    return Manifest(source="photos", entries=tuple(entries))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([(None, None)], "1 image, no labels"),
        ([("cat", None)] * 2, "2 images, 1 label (cat: 2)"),
        ([("dog", None), ("cat", None)], "2 images, 2 labels (cat: 1, dog: 1)"),
        ([("cat", None), (None, None)], "2 images, 1 label (cat: 1), 1 without a label"),
        (
            [("cat", "val"), ("cat", "train"), (None, None)],
            "3 images, 1 label (cat: 2), 1 without a label, splits train 1, val 1, "
            "1 without a split",
        ),
        ([(None, "test")], "1 image, no labels, splits test 1"),
        ([("10", None), ("2", None)], "2 images, 2 labels (2: 1, 10: 1)"),
        (
            [(f"c{number:02}", None) for number in range(12)],
            "12 images, 12 labels (c00: 1, c01: 1, c02: 1, c03: 1, c04: 1, c05: 1, c06: 1, c07: 1, "
            "c08: 1, c09: 1, 2 more)",
        ),
    ],
    ids=str,
)
def test_describe_counts_labels_and_splits(fields: list[Fields], expected: str) -> None:
    assert build(fields).describe() == expected


def test_describe_ends_with_the_meaning_of_folders(tmp_path: Path) -> None:
    for name in ("p/train/cat/1.jpg", "p/val/dog/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert read_folder(tmp_path).describe() == (
        "2 images, 2 labels (cat: 1, dog: 1), splits train 1, val 1, read as p/SPLIT/LABEL"
    )


def test_describe_is_one_printable_line_whatever_the_names_are(tmp_path: Path) -> None:
    for name in ("a\nb/cat/1.jpg", "a\nb/\x1b[31mdog/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    manifest = read_folder(tmp_path)
    assert all(text.isprintable() for text in (manifest.describe(), *manifest.notes))


def test_manifest_without_images_counts_nothing() -> None:
    manifest = Manifest(source="photos", entries=())
    assert (len(manifest), manifest.n_ignored, manifest.notes) == (0, 0, ())
