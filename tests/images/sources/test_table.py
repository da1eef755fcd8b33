"""A CSV or Parquet table becomes rows, and each error names table, line and column."""

import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from featx.core.errors import SourceError
from featx.images.manifest import Manifest
from featx.images.sources.table import read_table
from tests.images.builders import get_content

HEADER = "path,id,label,split,group\n"


def write_csv(folder: Path, text: str | bytes) -> Path:
    table = folder / "photos.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return table


def write_parquet(folder: Path, columns: Mapping[str, object]) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="needs featx[parquet]")
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs featx[parquet]")
    table = folder / "photos.parquet"
    parquet.write_table(pyarrow.table(columns), table)
    return table


def list_rows(manifest: Manifest) -> list[tuple[str | None, ...]]:
    rows = (entry.row for entry in manifest.entries)
    return [(row.id, row.label, row.split, row.group) for row in rows]


def test_read_table_csv_takes_all_columns(tmp_path: Path) -> None:
    table = write_csv(tmp_path, HEADER + "a.jpg,one,ants,train,p1\nb.jpg,two,bees,valid,p2\n")
    assert list_rows(read_table(table)) == [
        ("one", "ants", "train", "p1"),
        ("two", "bees", "val", "p2"),
    ]


def test_read_table_parquet_takes_all_columns(tmp_path: Path) -> None:
    columns = {
        "path": ["a.jpg", "b.jpg"],
        "id": ["one", "two"],
        "label": ["ants", "bees"],
        "split": ["train", "valid"],
        "group": ["p1", "p2"],
    }
    assert list_rows(read_table(write_parquet(tmp_path, columns))) == [
        ("one", "ants", "train", "p1"),
        ("two", "bees", "val", "p2"),
    ]


def test_read_table_without_optional_columns_uses_the_path_as_id(tmp_path: Path) -> None:
    table = write_csv(tmp_path, "path\nants/a.jpg\n")
    assert list_rows(read_table(table)) == [("ants/a.jpg", None, None, None)]


def test_read_table_empty_optional_cells_are_none(tmp_path: Path) -> None:
    table = write_csv(tmp_path, HEADER + "a.jpg,,,,\n")
    assert list_rows(read_table(table)) == [("a.jpg", None, None, None)]


def test_read_table_relative_path_is_relative_to_the_table(
    tmp_path: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_image(tmp_path / "deep/ants/a.png")
    table = write_csv(tmp_path / "deep", "path\nants/a.png\n")
    monkeypatch.chdir(tmp_path)
    (entry,) = read_table(table).entries
    assert entry.row.path == str(image)
    assert get_content(entry).read() == image.read_bytes()


def test_read_table_absolute_path_stays(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    image = make_image(tmp_path / "elsewhere/a.png")
    (tmp_path / "tables").mkdir()
    table = write_csv(tmp_path / "tables", f"path\n{image}\n")
    (entry,) = read_table(table).entries
    assert entry.row.path == str(image)
    assert get_content(entry).read() == image.read_bytes()


def test_read_table_missing_image_is_a_row_until_it_is_read(tmp_path: Path) -> None:
    (entry,) = read_table(write_csv(tmp_path, "path\ngone.jpg\n")).entries
    with pytest.raises(FileNotFoundError, match=r"gone.jpg"):
        get_content(entry).read()


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath,label\r\na.jpg,ants\r\n",
        b"path,label\na.jpg,ants",
        b" path , label\n a.jpg , ants\n",
        b"path,label\n\na.jpg,ants\n\n,\n",
        b'"path","label"\n"a.jpg","ants"\n',
        b"width,path,label,note\n3,a.jpg,ants,hello\n",
        b"width,width,path,label\n3,3,a.jpg,ants\n",
    ],
    ids=["byte-order mark", "no end of line", "blanks", "empty lines", "quotes", "extra", "twice"],
)
def test_read_table_csv_variant_gives_the_same_row(tmp_path: Path, text: str) -> None:
    assert list_rows(read_table(write_csv(tmp_path, text))) == [("a.jpg", "ants", None, None)]


def test_read_table_csv_quoted_comma_and_quote_are_kept(tmp_path: Path) -> None:
    table = write_csv(tmp_path, 'path,label\n"a,b.jpg","say ""ant"""\n')
    assert list_rows(read_table(table)) == [("a,b.jpg", 'say "ant"', None, None)]


def test_read_table_keeps_the_order_of_its_lines(tmp_path: Path) -> None:
    table = write_csv(tmp_path, "path\nc.jpg\na.jpg\nb.jpg\n")
    assert [row[0] for row in list_rows(read_table(table))] == ["c.jpg", "a.jpg", "b.jpg"]


def test_read_table_one_file_under_two_ids_is_two_rows(tmp_path: Path) -> None:
    table = write_csv(tmp_path, "path,id\na.jpg,one\na.jpg,two\n")
    assert [row[0] for row in list_rows(read_table(table))] == ["one", "two"]


def test_read_table_odd_id_is_escaped(tmp_path: Path) -> None:
    (row,) = list_rows(read_table(write_csv(tmp_path, 'path,id\na.jpg,"one\ntwo"\n')))
    assert row[0] == "one\\u000atwo"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("where,label\na.jpg,ants\n", "expected a column of paths, .*, got where, label"),
        ("", "expected a column of paths, .*, got no columns. Write a header"),
        ("path,path\na.jpg,b.jpg\n", "expected one column for path, got path, path"),
        ("file,image\na.jpg,b.jpg\n", "expected one column for path, got file, image"),
        (HEADER + "a.jpg,,,,\n,,ants,,\n", "line 3, column 'path': expected the path of an image"),
        (
            "path,split\na.jpg,trian\n",
            "line 2, column 'split': expected train, val or test, got 't",
        ),
        ("path,label\na.jpg\n", "line 2, column 'label': expected 2 cells, .*, got 1"),
        ("path,label\na.jpg,b,c\n", "line 2, column 'label': expected 2 cells, .*, got 3"),
        ("path,id\na.jpg,1\nb.jpg,1\n", "line 3, column 'id': .* got '1' again after line 2"),
        ("path\na.jpg\na.jpg\n", "line 3, column 'path': .* got 'a.jpg' again after line 2"),
        ("path,id\na.jpg,\na.jpg,\n", "line 3, column 'path': .* got 'a.jpg' again"),
        ('path\n"a.jpg\n', "line 2: expected a whole line of cells"),
        ("path,label\n", "expected at least one image, got none"),
        (b"path,label\na.jpg,\xe4nts\n", "expected UTF-8 text, got byte 0xe4"),
        ("path\n" + "x" * 200_000 + "\n", "line 2: expected a whole line of cells"),
        ("path\n" + "x" * 9_000 + "\n", "line 2, column 'path': .* got a text of 9000 char"),
        (
            "path,label\na,b\nb," + "x" * 9_000 + "\n",
            "line 3, column 'label': expected at most 4096",
        ),
        ("path,label\n1,a.jpg,ants\n", "got 3. Put quotes .*, or write the table without names of"),
    ],
    ids=[
        "no path column",
        "empty file",
        "path twice",
        "two names for path",
        "empty path",
        "bad split",
        "too few cells",
        "too many cells",
        "duplicate id",
        "duplicate path",
        "duplicate path below empty ids",
        "open quote",
        "no rows",
        "latin-1",
        "endless cell",
        "image as text",
        "label as long as a document",
        "names of rows",
    ],
)
def test_read_table_wrong_csv_is_refused_with_its_place(
    tmp_path: Path, text: str, message: str
) -> None:
    table = write_csv(tmp_path, text)
    with pytest.raises(SourceError, match=message) as caught:
        read_table(table)
    assert str(caught.value).startswith(str(table))


def test_read_table_wrong_column_name_shows_the_nearest(tmp_path: Path) -> None:
    table = write_csv(tmp_path, "pathh,label\na.jpg,ants\n")
    with pytest.raises(SourceError, match=r"that holds the files to path\. Nearest: pathh"):
        read_table(table)


def test_read_table_parquet_missing_values_are_none(tmp_path: Path) -> None:
    columns = {
        "path": ["a.jpg", "b.jpg"],
        "label": [None, "bees"],
        "group": [math.nan, 2.0],
        "split": [None, None],
    }
    assert list_rows(read_table(write_parquet(tmp_path, columns))) == [
        ("a.jpg", None, None, None),
        ("b.jpg", "bees", None, "2"),
    ]


def test_read_table_parquet_nan_label_is_no_label_and_1_0_is_1(tmp_path: Path) -> None:
    table = write_parquet(tmp_path, {"path": ["a.jpg", "b.jpg"], "label": [math.nan, 1.0]})
    assert [row[1] for row in list_rows(read_table(table))] == [None, "1"]


def test_read_table_parquet_integers_become_text(tmp_path: Path) -> None:
    table = write_parquet(tmp_path, {"path": ["a.jpg"], "id": [7], "label": [0], "group": [12]})
    assert list_rows(read_table(table)) == [("7", "0", None, "12")]


def test_read_table_parquet_extra_columns_are_passed_over(tmp_path: Path) -> None:
    table = write_parquet(tmp_path, {"width": [3], "path": ["a.jpg"], "sizes": [[1, 2]]})
    assert list_rows(read_table(table)) == [("a.jpg", None, None, None)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"where": ["a.jpg"]}, "expected a column of paths, .*, got where"),
        ({"path": ["a.jpg", None]}, "row 2, column 'path': expected the path of an image"),
        ({"path": ["a.jpg"], "split": ["x"]}, "row 1, column 'split': expected train, val or test"),
        ({"path": ["a.jpg", "a.jpg"]}, "row 2, column 'path': .* again after row 1"),
    ],
    ids=["no path column", "no path", "bad split", "duplicate"],
)
def test_read_table_wrong_parquet_is_refused_with_its_place(
    tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    table = write_parquet(tmp_path, columns)
    with pytest.raises(SourceError, match=message) as caught:
        read_table(table)
    assert str(caught.value).startswith(str(table))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_read_table_that_is_a_pipe_is_refused_at_once(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs featx[parquet]")
    table = tmp_path / f"photos{suffix}"
    os.mkfifo(table)
    with pytest.raises(SourceError, match=r"expected a (Parquet )?table"):
        read_table(table)


def test_read_table_text_called_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs featx[parquet]")
    table = tmp_path / "photos.parquet"
    table.write_text("path\na.jpg\n")
    with pytest.raises(SourceError, match=r"photos.parquet: expected a Parquet table"):
        read_table(table)


# --- paths of elsewhere


def test_read_table_backslashes_find_the_file_with_slashes(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    image = make_image(tmp_path / "sub/1.png")
    manifest = read_table(write_csv(tmp_path, "path\nsub\\1.png\nsub\\2.png\n"))
    found, missing = manifest.entries
    assert (found.row.id, found.row.path) == ("sub/1.png", str(image))
    assert get_content(found).read() == image.read_bytes()
    with pytest.raises(OSError, match=r"^a path with backslashes, as on Windows\. "):
        get_content(missing).read()
    assert manifest.doubts == ("paths with backslashes that are read with slashes: 1.",)


def test_read_table_file_with_a_backslash_in_its_name_is_read(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    for name in ("sub\\1.png", "~1.png", "$2.png", "C:x.png"):
        image = make_image(tmp_path / name)
        (entry,) = read_table(write_csv(tmp_path, f"path\n{name}\n")).entries
        assert get_content(entry).read() == image.read_bytes()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gopher://host/a.jpg", "expected an address of a scheme that fsspec knows, got gopher://"),
        ("C:\\photos\\0.jpg", "a path of a drive of Windows. "),
        ("D:/photos/0.jpg", "a path of a drive of Windows. "),
        ("\\\\server\\0.jpg", "a path of a network of Windows. "),
        ("~/0.jpg", "a path with ~ for a home folder. "),
        ("$DATA/0.jpg", "a path with a variable. "),
    ],
)
def test_read_table_path_of_elsewhere_is_a_row_that_fails_with_what_it_is(
    tmp_path: Path, path: str, reason: str
) -> None:
    (entry,) = read_table(write_csv(tmp_path, f"path\n{path}\n")).entries
    assert entry.row.path == path.replace("\\", "\\\\")
    for read in (get_content(entry).read, get_content(entry).stat):
        with pytest.raises(OSError, match=f"^{re.escape(reason)}"):
            read()


def test_read_table_address_of_a_file_is_the_file(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    image = make_image(tmp_path / "a b.png")
    (entry,) = read_table(write_csv(tmp_path, f"path\n{image.as_uri()}\n")).entries
    assert entry.row.path == str(image)


@pytest.mark.parametrize(
    ("written", "id"),
    [("./a.jpg", "a.jpg"), ("b//a.jpg", "b/a.jpg"), ("../a.jpg", "../a.jpg"), ("b/./a", "b/a")],
)
def test_read_table_path_is_written_in_one_way(tmp_path: Path, written: str, id: str) -> None:
    (entry,) = read_table(write_csv(tmp_path, f"path\n{written}\n")).entries
    assert (entry.row.id, entry.row.path) == (id, str(tmp_path / id))


def test_read_table_of_the_working_folder_keeps_short_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path, "path\na.jpg\n./b.jpg\n")
    monkeypatch.chdir(tmp_path)
    paths = [entry.row.path for entry in read_table(Path("photos.csv")).entries]
    assert paths == ["a.jpg", "b.jpg"]


def test_read_table_column_that_may_be_of_splits_may_have_other_values(tmp_path: Path) -> None:
    text = "file_name,label,dataset\ntrain/a.jpg,cat,COCO\ntest/b.jpg,dog,\ntrain/c.jpg,dog,LAION\n"
    manifest = read_table(write_csv(tmp_path, text))
    assert [entry.row.split for entry in manifest.entries] == ["train", "test", "train"]
    assert manifest.doubts[0] == (
        "the column 'dataset' is not read as splits: it has 'COCO'. Name it split and write train, "
        "val or test to have it read."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("set,img\nTRAIN,a.jpg\nUNASSIGNED,b.jpg\n", r"line 3, column 'set': .*'UNASSIGNED'"),
        ("set,img\nx,a.jpg\ntest,b.jpg\n", r"line 2, column 'set': expected train.*got 'x'"),
        ("Split,img\nx,a.jpg\n", r"line 2, column 'Split': expected train, val or test, got 'x'"),
        ("img,Class\n,a\n", r"line 2, column 'img': expected the path of an image"),
    ],
)
def test_read_table_wrong_cell_is_told_with_the_name_of_its_column(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read_table(write_csv(tmp_path, text))
