"""Columns are found by name, as any tool writes it; near misses are said, ties refused."""

import pytest

from featx.core.errors import SourceError
from featx.images.sources.columns import PathlessError, find_columns, has_paths


def find_names(*names: str) -> dict[str, str]:
    """Return the column that is read for each role."""
    return {role: names[index] for role, index in find_columns(names, "t.csv").indices.items()}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["path", "label"], {"path": "path", "label": "label"}),
        (["Path", "LABEL", "Split"], {"path": "Path", "label": "LABEL", "split": "Split"}),
        (["filename", "class"], {"path": "filename", "label": "class"}),
        (["file_name", "label"], {"path": "file_name", "label": "label"}),
        (
            ["filepaths", "labels", "data set"],
            dict(path="filepaths", label="labels", split="data set"),
        ),
        (["Image Path", "Class Name"], {"path": "Image Path", "label": "Class Name"}),
        (["img", "target", "ID"], {"path": "img", "label": "target", "id": "ID"}),
        (["image", "Category", "subset"], dict(path="image", label="Category", split="subset")),
        (["", "path", "width"], {"path": "path"}),
    ],
)
def test_find_columns_takes_the_names_of_other_tools(
    names: list[str], expected: dict[str, str]
) -> None:
    assert find_names(*names) == expected
    assert find_columns(names, "t.csv").passed_over == ()


@pytest.mark.parametrize(
    ("names", "passed_over"),
    [
        (["path", "Lable"], ["Lable (nearest: label)"]),
        (["path", "clas"], ["clas (nearest: class)"]),
        (["path", "spilt", "gruop"], ["spilt (nearest: split)", "gruop (nearest: group)"]),
        (["path", "class_id"], ["class_id (nearest: class)"]),
        (["path", "trueLabel"], ["trueLabel (nearest: label)"]),
        (["path", "ImageId"], ["ImageId (nearest: id)"]),
        (["path", "label", "class"], ["class (label is read)"]),
        (["filename", "path"], ["filename (path is read)"]),
        (["path", "label", "class_id", "width", "video_id", "note"], []),
    ],
)
def test_find_columns_says_near_misses(names: list[str], passed_over: list[str]) -> None:
    assert find_columns(names, "t.csv").passed_over == tuple(passed_over)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["file", "img"], "expected one column for path, got file, img"),
        (["path", "class", "target"], "expected one column for label, got class, target"),
        (["path", "label", "Label"], "expected one column for label, got label, Label"),
        (["path", "set", "subset"], "expected one column for split, got set, subset"),
    ],
)
def test_find_columns_refuses_two_candidates(names: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=f"^t.csv: {message}"):
        find_columns(names, "t.csv")


def test_find_columns_without_paths_names_the_nearest() -> None:
    with pytest.raises(PathlessError, match=r"got ImageId, Class\. .* Nearest: ImageId\.$"):
        find_columns(["ImageId", "Class"], "t.csv")


def test_find_columns_without_paths_stays_short() -> None:
    with pytest.raises(PathlessError) as caught:
        find_columns(["x" * 10_000] * 1_000, "t.csv")
    assert len(str(caught.value)) < 1_000


def test_find_columns_of_images_passes_over_paths() -> None:
    found = find_columns(["path", "jpg", "label"], "t.parquet", images=1)
    assert found.indices == {"path": 1, "label": 2}
    assert found.passed_over == ("path (jpg is read)",)


def test_has_paths() -> None:
    assert has_paths(["x", "File Name"])
    assert not has_paths(["path;label", "label"])
