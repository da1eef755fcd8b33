"""A text table is read whatever program wrote it: delimiters, encodings, words for "missing"."""

from pathlib import Path

import pytest

from featx.core.errors import SourceError
from featx.images.manifest import Manifest
from featx.images.sources.table import read_table

ROW = [("a.jpg", "ants", "train")]


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    table = folder / name
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return table


def list_rows(manifest: Manifest) -> list[tuple[str | None, ...]]:
    return [(entry.row.id, entry.row.label, entry.row.split) for entry in manifest.entries]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "path;label;split\na.jpg;ants;train\n"),
        ("t.csv", "path\tlabel\tsplit\na.jpg\tants\ttrain\n"),
        ("t.tsv", "path\tlabel\tsplit\na.jpg\tants\ttrain\n"),
        ("t.TAB", "path\tlabel\tsplit\na.jpg\tants\ttrain\n"),
        ("t.txt", "path|label|split\na.jpg|ants|train\n"),
        ("t.txt", " path | label | split \n a.jpg | ants | train \n"),
        ("t.tsv", "path,label,split\na.jpg,ants,train\n"),
        ("t.csv", 'sep=;\npath;label;split\na.jpg;"ants";train\n'),
        ("t.csv", "SEP=,\r\npath,label,split\r\na.jpg,ants,train\r\n"),
        ("t.csv", "sep=~\npath~label~split\na.jpg~ants~train\n"),
        ("t.csv", "\n\npath,label,split\na.jpg,ants,train\n"),
        ("t.csv", "path,label,split\ra.jpg,ants,train\r"),
        ("t.csv", '"note; with, signs";path;label;split\n"x;y";a.jpg;ants;train\n'),
        ("t.csv", '"of\ntwo lines",path,label,split\n"x\ny",a.jpg,ants,train\n'),
        ("t.csv", "path,label,split\na.jpg,ants,train\n".encode("utf-16")),
        (
            "t.txt",
            "path\tlabel\tsplit\r\na.jpg\tants\ttrain\r\n".encode("utf-16-le").join(
                [b"\xff\xfe", b""]
            ),
        ),
        ("t.csv", "path;label;split\na.jpg;ants;train\n".encode("utf-8-sig")),
    ],
)
def test_read_table_text_of_any_program_gives_the_same_row(
    tmp_path: Path, name: str, text: str | bytes
) -> None:
    manifest = read_table(write(tmp_path, text, name))
    assert list_rows(manifest) == ROW
    assert manifest.doubts == ()


def test_read_table_one_column_keeps_signs_in_its_cells(tmp_path: Path) -> None:
    manifest = read_table(write(tmp_path, "path\na;b|c.jpg\n"))
    assert [row[0] for row in list_rows(manifest)] == ["a;b|c.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.jpg 0\n1.jpg 1\n", "a first line that names an image: 0.jpg 0. Write a header"),
        ("photos/0.png,cat\n", "a first line that names an image: photos/0.png cat"),
        ("path;label\na.jpg;b;c\n", "line 2, .* expected 2 cells, .* cells that hold a semicolon"),
        ("\n\nsep=;\npath;label\n\na.jpg;b;c\n", "line 6, column 'label'"),
        ('path,label\n\n"a.jpg,b\n', "line 3: expected a whole line of cells"),
        ("path,label\na.jpg,b\n".encode("utf-16-le"), "expected UTF-8 text, got bytes of another"),
        ("path,label\na.jpg,b\n".encode("utf-16")[:-1], "expected UTF-16.* text, got"),
        ("path,split\na.jpg," + "x" * 9_000 + "\n", "line 2, column 'split': expected train, val"),
    ],
)
def test_read_table_wrong_text_is_refused_with_its_place(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_table(write(tmp_path, text))
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    "word", ["", " ", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None"]
)
def test_read_table_word_for_missing_is_no_value(tmp_path: Path, word: str) -> None:
    text = f"path,id,label,split,group\na.jpg,{word},{word},{word},{word}\n"
    (entry,) = read_table(write(tmp_path, text)).entries
    row = entry.row
    assert (row.id, row.label, row.split, row.group) == ("a.jpg", None, None, None)


@pytest.mark.parametrize("word", ["none", "na", "Nan", "NAN", "missing", "0", "-"])
def test_read_table_other_word_is_a_name(tmp_path: Path, word: str) -> None:
    (entry,) = read_table(write(tmp_path, f"path,label\na.jpg,{word}\n")).entries
    assert entry.row.label == word


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ('a.jpg,"NA",x', "NA"),
        ("a.jpg,NA,x", None),
        ('"a.jpg",NA,"x"', None),
        ('"a,b.jpg","NA","NA"', "NA"),
        ('"a,b.jpg",NA,"x"', None),
        ('"say ""NA"".jpg",NA,"x"', None),
        ('"two\nlines.jpg","NA",NA', "NA"),
        ('"two\nlines.jpg",NA,"NA"', None),
        ('NA".jpg,NA,x', None),
        ('a.jpg, "NA","x"', "NA"),
        ("a.jpg,#REF!,x", None),
        ("a.jpg,#DIV/0!,x", None),
        ('a.jpg,"#VALUE!",x', "#VALUE!"),
    ],
)
def test_read_table_quotes_make_a_word_a_name(tmp_path: Path, line: str, label: str | None) -> None:
    manifest = read_table(write(tmp_path, f"path,label,note\n{line}\n"))
    assert manifest.entries[0].row.label == label


def test_read_table_tells_what_it_read_as_missing(tmp_path: Path) -> None:
    text = "path,label,group\na.jpg,NA,NULL\nb.jpg,NA,x\nc.jpg,cat,\n"
    assert read_table(write(tmp_path, text)).doubts == (
        "read as missing: NA in 2 cells of the column of labels, NULL in 1 cell of the column of "
        "groups. Put quotes around a word that is a name.",
    )


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('path, label\n"a.jpg", "black cat"\n', "black cat"),  # a blank behind the comma
        ("path,label\na.jpg,cat,,\n", "cat"),  # cells that were emptied in Excel
        ("path;label\na.jpg;cat;\n", "cat"),
    ],
)
def test_read_table_cells_as_other_programs_write_them(
    tmp_path: Path, text: str, label: str
) -> None:
    (entry,) = read_table(write(tmp_path, text)).entries
    assert entry.row.label == label


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ('"path" "label"\n"1" "a.jpg" "cat"\n', "blanks: "),  # write.table of R
        ("#image class\na 1\n", "blanks: #image class"),
        ("path,label\na.jpg,cat,x\n", "3"),
    ],
)
def test_read_table_refuses_cells_that_are_not_clear(tmp_path: Path, text: str, got: str) -> None:
    with pytest.raises(SourceError, match=f"got {got}"):
        read_table(write(tmp_path, text))


@pytest.mark.parametrize(
    ("header", "names"),
    [("path,species", "species"), ("filename, cat, dog", "cat, dog"), ("path,y,age", "y, age")],
)
def test_read_table_without_labels_names_the_columns_that_are_not_read(
    tmp_path: Path, header: str, names: str
) -> None:
    line = ",".join(["a.jpg", *"1" * header.count(",")])
    (doubt,) = read_table(write(tmp_path, f"{header}\n{line}\n")).doubts
    assert doubt.startswith(f"no column is read as labels, and these are not read: {names}. ")


@pytest.mark.parametrize("header", ["path", "path,label,age", ",path,label"])
def test_read_table_says_nothing_about_columns_that_are_clear(tmp_path: Path, header: str) -> None:
    line = ",".join("a.jpg" if name == "path" else "1" for name in header.split(","))
    assert read_table(write(tmp_path, f"{header}\n{line}\n")).doubts == ()


def test_read_table_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="line 2, column 'path': expected the path of an image"):
        read_table(write(tmp_path, "path,label\nNA,cat\n"))


def test_read_table_tells_near_misses(tmp_path: Path) -> None:
    (doubt,) = read_table(write(tmp_path, "path,Lable\na.jpg,cat\n")).doubts
    assert doubt.startswith("columns passed over: Lable (nearest: label).")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["1.0", "", "2.0"], ["1", None, "2"]),
        (["-1.0", "10.00"], ["-1", "10"]),
        (["1.0", "1.5"], ["1.0", "1.5"]),
        (["1", "2.0"], ["1", "2.0"]),
        (["1.", ".0"], ["1.", ".0"]),
        (['"1,0"', '"2,0"'], ["1", "2"]),
        (['"1,0"', '"2,5"'], ["1,0", "2,5"]),
    ],
)
def test_read_table_column_of_whole_decimals_is_whole_numbers(
    tmp_path: Path, labels: list[str], expected: list[str | None]
) -> None:
    lines = "".join(f"{number}.jpg,{label},{label}\n" for number, label in enumerate(labels))
    manifest = read_table(write(tmp_path, f"path,label,group\n{lines}"))
    assert [entry.row.label for entry in manifest.entries] == expected
    assert [entry.row.group for entry in manifest.entries] == expected
    first = labels[0].strip('"')
    is_told = any(f"decimals such as {first}, which" in doubt for doubt in manifest.doubts)
    assert is_told == (expected[0] != first)
