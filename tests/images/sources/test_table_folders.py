"""The folders of a table's paths say what its columns do not, and only that."""

from pathlib import Path

import pytest

from featx.images.sources.table import read_table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "path\ntrain/cat/1.jpg\nval/dog/2.jpg\n",
            [("cat", "train"), ("dog", "val")],
        ),
        ("path\ncat/1.jpg\ndog/2.jpg\n", [("cat", None), ("dog", None)]),
        (
            "path,label\ntrain/cat/1.jpg,feline\nval/dog/2.jpg,\n",
            [("feline", "train"), (None, "val")],
        ),
        (
            "path,split\np/cat/1.jpg,test\np/dog/2.jpg,\n",
            [("cat", "test"), ("dog", None)],
        ),
    ],
    ids=["neither", "classes alone", "a column of labels", "a column of splits"],
)
def test_read_table_reads_folders_of_paths_like_those_of_a_folder(
    tmp_path: Path, text: str, expected: list[tuple[str | None, str | None]]
) -> None:
    (tmp_path / "t.csv").write_text(text)
    manifest = read_table(tmp_path / "t.csv")
    assert [(entry.row.label, entry.row.split) for entry in manifest.entries] == expected
    (note,) = (note for note in manifest.notes if "folders of its paths" in note)
    assert note.startswith("the table has no column ")


@pytest.mark.parametrize(
    "text",
    [
        "path\nimages/1.jpg\nimages/2.jpg\n",
        "path\ncat/1.jpg\ncat/2.jpg\n",
        "path\ntrain/1.jpg\ntrain/2.jpg\n",
        "path\n../cat/1.jpg\n../dog/2.jpg\n",
        "path\n/photos/cat/1.jpg\n/photos/dog/2.jpg\n",
        "path\ncat/1.jpg\n2.jpg\n",
        "path\ntrain/cat/1.jpg\nmore/2.jpg\n",
        "path,label,split\ntrain/cat/1.jpg,,\nval/dog/2.jpg,,\n",
    ],
    ids=str,
)
def test_read_table_guesses_nothing_from_folders_that_are_not_clear(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    manifest = read_table(tmp_path / "t.csv")
    assert {(entry.row.label, entry.row.split) for entry in manifest.entries} == {(None, None)}
    assert manifest.doubts == ()
