"""What folders mean, decided from paths alone."""

import pytest

from featx.core.errors import SourceError
from featx.core.typing import Split
from featx.images.layout import FolderMeaning, Layout, read_layout
from featx.images.split_words import find_split_in, find_splits

Meanings = list[tuple[Split | None, str | None]]


def read(paths: list[str]) -> Layout:
    return read_layout(paths, subject="photos")


def list_meanings(layout: Layout) -> Meanings:
    return [(one.split, one.label) for one in layout.meanings]


@pytest.mark.parametrize(
    ("paths", "expected", "pattern"),
    [
        ([], [], ""),
        (["1.jpg", "2.jpg"], [(None, None), (None, None)], ""),
        (["ants/1.jpg", "bees/1.jpg"], [(None, "ants"), (None, "bees")], "LABEL"),
        (["ants/1.jpg", "2.jpg"], [(None, "ants"), (None, None)], "LABEL"),
        (["ants/red/1.jpg", "ants/2.jpg"], [(None, "ants"), (None, "ants")], "LABEL"),
        (
            ["train/ants/1.jpg", "val/bees/2.jpg"],
            [("train", "ants"), ("val", "bees")],
            "SPLIT/LABEL",
        ),
        (["train/ants/red/1.jpg"], [("train", "ants")], "SPLIT/LABEL"),
        (["train/1.jpg", "test/2.jpg"], [("train", None), ("test", None)], "SPLIT"),
        (["train/ants/1.jpg", "stray.jpg"], [("train", "ants"), (None, None)], "SPLIT/LABEL"),
        (["bus/1.jpg", "train/2.jpg"], [(None, "bus"), (None, "train")], "LABEL"),
        (
            ["bus/1.jpg", "train/2.jpg", "bus/a/3.jpg"],
            [(None, "bus"), (None, "train"), (None, "bus")],
            "LABEL",
        ),
        (["Validation/ants/1.jpg"], [("val", "ants")], "SPLIT/LABEL"),
        (["trains/ants/1.jpg"], [(None, "trains")], "LABEL"),
    ],
    ids=str,
)
def test_read_layout_decides_splits_and_labels(
    paths: list[str], expected: Meanings, pattern: str
) -> None:
    layout = read(paths)
    assert list_meanings(layout) == expected
    assert layout.pattern == pattern


@pytest.mark.parametrize(
    ("paths", "expected", "pattern"),
    [
        # one folder around splits
        (
            ["dataset/train/cat/1.jpg", "dataset/val/dog/2.jpg"],
            [("train", "cat"), ("val", "dog")],
            "dataset/SPLIT/LABEL",
        ),
        (["a/b/train/cat/1.jpg"], [("train", "cat")], "a/b/SPLIT/LABEL"),
        (
            ["cover.jpg", "p/cover.jpg", "p/train/cat/1.jpg"],
            [(None, None), (None, None), ("train", "cat")],
            "p/SPLIT/LABEL",
        ),
        (
            ["images/train/1.jpg", "images/val/2.jpg"],
            [("train", None), ("val", None)],
            "images/SPLIT",
        ),
        # one folder around classes
        (["p/cat/1.jpg", "p/dog/2.jpg"], [(None, "cat"), (None, "dog")], "p/LABEL"),
        (["a/b/cat/1.jpg", "a/b/dog/2.jpg"], [(None, "cat"), (None, "dog")], "a/b/LABEL"),
        (
            ["cover.jpg", "p/cat/1.jpg", "p/dog/2.jpg"],
            [(None, None), (None, "cat"), (None, "dog")],
            "p/LABEL",
        ),
        # a folder that holds images, or one other folder, is the class
        (
            ["cat/0.jpg", "cat/red/1.jpg", "cat/blue/2.jpg"],
            [(None, "cat"), (None, "cat"), (None, "cat")],
            "LABEL",
        ),
        (["cat/day/1.jpg", "cat/day/2.jpg"], [(None, "cat"), (None, "cat")], "LABEL"),
        # a folder that is named like anything but a class
        (["images/1.jpg", "images/2.jpg"], [(None, None), (None, None)], "images"),
        # folders between splits and classes
        (
            ["train/images/cat/1.jpg", "val/images/dog/2.jpg"],
            [("train", "cat"), ("val", "dog")],
            "SPLIT/images/LABEL",
        ),
        (
            ["train/images/1.jpg", "val/images/2.jpg"],
            [("train", None), ("val", None)],
            "SPLIT/images",
        ),
        (
            ["train/n01/images/1.jpg", "train/n02/images/2.jpg", "val/images/3.jpg"],
            [("train", "n01"), ("train", "n02"), ("val", None)],
            "SPLIT/LABEL",
        ),
        (
            ["train/images/cat/1.jpg", "val/imgs/cat/2.jpg", "test/dog/3.jpg"],
            [("train", "cat"), ("val", "cat"), ("test", "dog")],
            "SPLIT/LABEL",
        ),
        (
            ["train/photo/1.jpg", "train/sketch/2.jpg", "val/photo/3.jpg"],
            [("train", "photo"), ("train", "sketch"), ("val", "photo")],
            "SPLIT/LABEL",
        ),
        (["images/1.jpg", "masks/1.png"], [(None, None), (None, None)], ""),
        (
            ["training_set/training_set/cat/1.jpg", "test_set/test_set/dog/2.jpg"],
            [("train", "cat"), ("test", "dog")],
            "SPLIT/LABEL",
        ),
        (["val/validation/cat/1.jpg"], [("val", "cat")], "SPLIT/LABEL"),
        (
            ["train/bus/1.jpg", "train/train/2.jpg"],
            [("train", "bus"), ("train", "train")],
            "SPLIT/LABEL",
        ),
        # classes above splits
        (
            ["cat/train/1.jpg", "cat/val/2.jpg", "dog/train/3.jpg"],
            [("train", "cat"), ("val", "cat"), ("train", "dog")],
            "LABEL/SPLIT",
        ),
        (
            ["p/nut/test/good/1.jpg", "p/bolt/train/good/2.jpg"],
            [("test", "nut"), ("train", "bolt")],
            "p/LABEL/SPLIT",
        ),
        (
            ["cat/train/1.jpg", "dog/2.jpg"],
            [(None, "cat"), (None, "dog")],
            "LABEL",
        ),
    ],
    ids=str,
)
def test_read_layout_takes_off_folders_around_splits_and_classes(
    paths: list[str], expected: Meanings, pattern: str
) -> None:
    layout = read(paths)
    assert list_meanings(layout) == expected
    assert layout.pattern == pattern


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["training_set", "test_set"], ["train", "test"]),
        (["Training", "Testing"], ["train", "test"]),
        (["seg_train", "seg_test", "seg_pred"], ["train", "test", None]),
        (["train2017", "val2017"], ["train", "val"]),
        (["train_images", "images-test"], ["train", "test"]),
        (["TrainingData", "ValidationData"], ["train", "val"]),
        (["trainset", "testset", "devset"], ["train", "test", "val"]),
        (["train_mini", "val"], ["train", "val"]),
        (["train", "images to predict"], ["train", None]),
        (["training_set", "single_prediction"], ["train", None]),
        (["Training", "PublicTest", "PrivateTest"], ["train", "test", "test"]),
        (["01_train", "02_valid"], ["train", "val"]),
        (["TRAIN", "Test"], ["train", "test"]),
        (["x_train", "x_test"], ["train", "test"]),
        (["train_224x224", "test_224x224"], ["train", "test"]),
        (["ILSVRC2012_img_train", "ILSVRC2012_img_val"], ["train", "val"]),
        (["flowers-train", "flowers-test"], ["train", "test"]),
        (["train", "unlabeled"], ["train", None]),
    ],
    ids=str,
)
def test_find_splits_reads_names_that_people_give(
    names: list[str], expected: list[Split | None]
) -> None:
    assert find_splits(names) == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize(
    "names",
    [
        ["train_station", "bus_station"],
        ["train_station", "test_tube"],
        ["train_station"],
        ["bullet train", "steam train"],
        ["trainers", "testament", "value"],
        ["dev_board", "circuit_board"],
        ["trainval"],
        ["train_val"],
        ["contest", "attest"],
        ["valid_passport", "forged_passport"],
        ["pred", "prey"],
    ],
    ids=str,
)
def test_find_splits_leaves_classes_alone(names: list[str]) -> None:
    assert find_splits(names) == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photos-train", "train"),
        ("photos_valid_000", "val"),
        ("PHOTOS.TEST", "test"),
        ("trainset", "train"),
        ("contest", None),
        ("train_test", None),
    ],
)
def test_find_split_in_reads_the_name_of_an_archive(name: str, expected: Split | None) -> None:
    assert find_split_in(name) == expected


@pytest.mark.parametrize(
    ("paths", "got"),
    [
        (["train/ants/1.jpg", "more/2.jpg"], r"both \(train beside more\)"),
        (["train/ants/1.jpg", "val/2.jpg", "c/3.jpg", "b/4.jpg"], r"both \(train beside b, c\)"),
        (
            ["train/a/1.jpg", "val/a/2.jpg", "e/3.jpg", "d/3.jpg", "c/3.jpg", "b/4.jpg"],
            r"both \(train, val beside b, c, d\)",
        ),
        (["train_set/a/1.jpg", "eval/a/2.jpg"], r"both \(train_set beside eval\)"),
    ],
    ids=str,
)
def test_read_layout_split_folders_beside_others_are_refused(paths: list[str], got: str) -> None:
    message = rf"^photos: expected either split folders or class folders .*, got {got}\. Move the o"
    with pytest.raises(SourceError, match=message):
        read(paths)


# --- backslashes


def test_read_layout_all_names_with_backslashes_are_split_there() -> None:
    layout = read(["train\\cat\\1.jpg", "val\\dog\\2.jpg"])
    assert list_meanings(layout) == [("train", "cat"), ("val", "dog")]
    assert layout.notes == (
        "2 of 2 names contain backslashes, as a zip made by Windows has them in place of folders: "
        "names are split at backslashes.",
    )


def test_read_layout_backslashes_inside_a_folder_are_split_too() -> None:
    layout = read(["photos/train\\cat\\1.jpg", "photos/train\\dog\\2.jpg"])
    assert list_meanings(layout) == [("train", "cat"), ("train", "dog")]


def test_read_layout_some_names_with_backslashes_are_told_and_kept() -> None:
    layout = read(["train\\cat\\1.jpg", "2.jpg"])
    assert list_meanings(layout) == [(None, None), (None, None)]
    (note,) = layout.notes
    assert note.startswith("1 of 2 names contain backslashes")


# --- what is doubtful


@pytest.mark.parametrize(
    ("paths", "note"),
    [
        (["test/1.jpg", "trainval/2.jpg"], "the class 'test' is named like a split"),
        (
            ["train/1.jpg", "test/2.jpg", "extra/3.jpg"],
            "the classes 'test' and 'train' are named like a split",
        ),
        (["dev/a/1.jpg", "val/a/2.jpg"], "folders 'dev' and 'val' are all read as the split val"),
        (["train/a/1.jpg", "unlabeled/2.jpg"], "images in 'unlabeled' belong to no split"),
        (["images/1.jpg", "masks/1.png"], "the folders 'images' and 'masks' are not read as cl"),
        (
            ["train/images/1.jpg", "train/masks/1.png", "val/images/2.jpg"],
            "the folders 'images' and 'masks' are not read as classes",
        ),
        (["cat/0.jpg", "cat/a/1.jpg", "cat/b/2.jpg"], "all images have the label 'cat'"),
        (
            ["fold1/cat/1.jpg", "fold1/dog/2.jpg", "fold2/dog/3.jpg", "fold2/cat/4.jpg"],
            "the classes hold folders of the same names, such as 'cat' and 'dog'. If those are the",
        ),
        (
            ["fold1/train/cat/1.jpg", "fold1/val/dog/2.jpg", "fold2/train/cat/3.jpg"],
            "the classes hold folders, such as 'cat' and 'dog'. If those are the classes",
        ),
        (
            ["Aves/2761/1.jpg", "Plantae/1/2.jpg", "Plantae/2/3.jpg"],
            "the classes hold folders, such as '1', '2' and '2761'",
        ),
        (
            ["yes/1.jpg", "no/2.jpg", "tumor/yes/1.jpg", "tumor/no/2.jpg"],
            "the class 'tumor' holds folders named like classes beside it ('no' and 'yes')",
        ),
        (["images_001/images/1.png", "images_002/images/2.png"], "the classes 'images_001' and "),
        (
            ["2021-05-03/1.jpg", "2021-05-04/2.jpg"],
            "the classes '2021-05-03' and '2021-05-04' diff",
        ),
        (
            ["covid/images/1.png", "covid/masks/1.png", "normal/images/2.png"],
            "images in 'masks' are rows, too. Leave them out if they are masks.",
        ),
        (["cat/day1/1.jpg", "cat/day2/2.jpg"], "the classes 'day1' and 'day2' differ only by num"),
        (["DCIM/100APPLE/1.jpg", "DCIM/101APPLE/2.jpg"], "the classes '100APPLE' and '101APPLE'"),
    ],
    ids=str,
)
def test_read_layout_says_what_is_doubtful(paths: list[str], note: str) -> None:
    (found,) = read(paths).notes
    assert found.startswith(note)


@pytest.mark.parametrize(
    "paths",
    [
        ["ants/1.jpg", "bees/1.jpg"],
        ["train/ants/1.jpg", "val/bees/1.jpg"],
        ["photos/ants/1.jpg", "photos/bees/1.jpg"],
        ["p/train/ants/1.jpg", "p/test/bees/1.jpg"],
        ["ants/1.jpg"],
        ["1.jpg"],
        ["photo/1.jpg", "sketch/2.jpg"],
        ["PetImages/Cat/1.jpg", "PetImages/Dog/2.jpg"],
        ["train/1.jpg", "bus/2.jpg", "car/3.jpg"],
        ["train/test/1.jpg", "train/cat/2.jpg", "val/test/3.jpg"],
        ["n01440764/1.jpg", "n02102040/2.jpg"],
        ["c0/1.jpg", "c1/2.jpg"],
        ["cat/0.jpg", "cat/red/1.jpg"],
        ["class1/1.jpg", "class2/2.jpg"],
        ["mask/1.jpg", "no_mask/2.jpg"],
        ["masks/cat/1.png", "masks/dog/2.png"],
        ["2750/Forest/1.jpg", "2750/River/2.jpg"],
        ["0295/1.jpg", "0296/2.jpg"],
        ["cat/images/1.jpg", "dog/images/2.jpg", "cat/photos/3.jpg", "dog/photos/4.jpg"],
        ["cat/day1/1.jpg", "dog/day1/2.jpg", "cat/day2/3.jpg", "dog/day3/4.jpg"],
    ],
    ids=str,
)
def test_read_layout_says_nothing_about_what_is_clear(paths: list[str]) -> None:
    assert read(paths).notes == ()


def test_read_layout_deep_folders_take_no_time() -> None:
    paths = ["d/" * depth + "1.jpg" for depth in range(1, 2000)]
    assert set(read_layout(paths, "photos").meanings) == {FolderMeaning(label="d")}
