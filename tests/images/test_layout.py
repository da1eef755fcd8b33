"""What folders mean, decided from paths alone."""

import pytest

from featx.core.errors import SourceError
from featx.core.typing import Split
from featx.images.layout import FolderMeaning, read_layout

Meanings = list[tuple[Split | None, str | None]]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], []),
        (["1.jpg", "2.jpg"], [(None, None), (None, None)]),
        (["ants/1.jpg", "bees/1.jpg"], [(None, "ants"), (None, "bees")]),
        (["ants/1.jpg", "2.jpg"], [(None, "ants"), (None, None)]),
        (["ants/red/1.jpg", "ants/2.jpg"], [(None, "ants"), (None, "ants")]),
        (["train/ants/1.jpg", "val/bees/2.jpg"], [("train", "ants"), ("val", "bees")]),
        (["train/ants/red/1.jpg"], [("train", "ants")]),
        (["train/1.jpg", "test/2.jpg"], [("train", None), ("test", None)]),
        (["train/ants/1.jpg", "stray.jpg"], [("train", "ants"), (None, None)]),
        (["bus/1.jpg", "train/2.jpg"], [(None, "bus"), (None, "train")]),
        (
            ["bus/1.jpg", "train/2.jpg", "bus/a/3.jpg"],
            [(None, "bus"), (None, "train"), (None, "bus")],
        ),
        (["training/ants/1.jpg"], [("train", "ants")]),
        (["valid/ants/1.jpg"], [("val", "ants")]),
        (["Validation/ants/1.jpg"], [("val", "ants")]),
        (["dev/ants/1.jpg"], [("val", "ants")]),
        (["TEST/ants/1.jpg"], [("test", "ants")]),
        (["trains/ants/1.jpg"], [(None, "trains")]),
    ],
    ids=str,
)
def test_read_layout_decides_splits_and_labels(paths: list[str], expected: Meanings) -> None:
    found = read_layout([path.split("/") for path in paths], subject="photos")
    assert found == [FolderMeaning(label=label, split=split) for split, label in expected]


@pytest.mark.parametrize(
    ("paths", "got"),
    [
        (["train/ants/1.jpg", "more/2.jpg"], r"both \(train beside more\)"),
        (["train/ants/1.jpg", "val/2.jpg", "c/3.jpg", "b/4.jpg"], r"both \(train beside b, c\)"),
        (
            ["train/a/1.jpg", "val/a/2.jpg", "e/3.jpg", "d/3.jpg", "c/3.jpg", "b/4.jpg"],
            r"both \(train, val beside b, c, d\)",
        ),
    ],
    ids=str,
)
def test_read_layout_split_folders_beside_others_are_refused(paths: list[str], got: str) -> None:
    message = rf"^photos: expected either split folders or class folders .*, got {got}\. Move the o"
    with pytest.raises(SourceError, match=message):
        read_layout([path.split("/") for path in paths], subject="photos")
