"""Tables of labels: their columns, their cells, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featx.core.errors import SourceError
from featx.fitting.label_table import read_label_table

COLUMNS = ("key", "value", "kind", "author")


def read(path: Path, **options: Any) -> Any:
    defaults: Any = {"field": "label", "kind": "sure", "author": "ada", "remove_empty": False}
    return read_label_table(path, **(defaults | options))


def list_given(table: Any) -> list[Any]:
    return [*zip(*(table.given[name] for name in COLUMNS), strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("id,label\na,ants\nb,bees\n", [("a", "ants"), ("b", "bees")], id="ids"),
        pytest.param("file_name;Class\n1.jpg;ants\n", [("1.jpg", "ants")], id="other names"),
        pytest.param("label\tpath\nants\t1.jpg\n", [("1.jpg", "ants")], id="tabs"),
        pytest.param("sha256,label\nff,ants\n", [("ff", "ants")], id="digest"),
        pytest.param("id,path,label\n,1.jpg,ants\n", [("1.jpg", "ants")], id="either key"),
        pytest.param("id,label\na,polar  bear \n", [("a", "polar bear")], id="cleaned"),
        pytest.param('id,label\na,"x,\ny"\n', [("a", "x,\\u000ay")], id="quotes"),
        pytest.param("id,label\na,1.0\nb,2.0\n", [("a", "1"), ("b", "2")], id="decimals"),
        pytest.param("id,label\na,1.0\nb,x\n", [("a", "1.0"), ("b", "x")], id="a name"),
        pytest.param("id,label\n\n,\na,ants\n", [("a", "ants")], id="empty lines"),
        pytest.param("id,class,label\na,1,ants\n", [("a", "ants")], id="this very name"),
    ],
)
def test_read_label_table_reads_delimited_text(tmp_path: Path, text: str, expected: Any) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    assert list_given(read(path)) == [(*pair, "sure", "ada") for pair in expected]


def test_read_label_table_reads_kind_and_author_of_each_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,label,kind,author\na,ants,Unsure,eve\nb,bees,,\nc,,withdrawn,\n")
    assert list_given(read(path)) == [
        ("a", "ants", "unsure", "eve"),
        ("b", "bees", "sure", "ada"),
        ("c", "", "withdrawn", "ada"),
    ]


def test_read_label_table_counts_lines_that_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,label\na,\nb,NA\nc,ants\n")
    table = read(path)
    assert (list_given(table), table.n_empty) == ([("c", "ants", "sure", "ada")], 2)
    table = read(path, remove_empty=True)
    assert [value for _, value, *_ in list_given(table)] == ["", "", "ants"]
    assert table.n_empty == 0


def test_read_label_table_of_withdrawn_labels_needs_no_values(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id\na\n")
    assert list_given(read(path, kind="withdrawn")) == [("a", "", "withdrawn", "ada")]


def test_read_label_table_of_splits_names_the_columns_that_it_passes_over(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,label,subset\na,ants,Validation\n")
    table = read(path, field="split")
    assert list_given(table) == [("a", "val", "sure", "ada")]
    assert table.others == ("label",)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_read_label_table_reads_typed_tables(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    if suffix == ".jsonl":
        path.write_text('{"id": "a", "label": 3}\n{"id": "b", "label": null}\n')
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({"id": ["a", "b"], "label": [3.0, None]}), path)
    table = read(path)
    assert (list_given(table), table.n_empty) == ([("a", "3", "sure", "ada")], 1)


@pytest.mark.parametrize(
    ("name", "text", "subject", "reason"),
    [
        pytest.param("t.csv", "name,label\na,b\n", "", "a column id, digest or path", id="no key"),
        pytest.param("t.csv", "id,split\na,val\n", "", "expected a column label", id="no values"),
        pytest.param("t.csv", "id,label\na\n", ", line 2", "2 cells, as in the header", id="cells"),
        pytest.param("t.csv", "id,label\n,b\n", ", line 2", "got no value", id="empty key"),
        pytest.param(
            "t.csv", "id,label,kind\na,b,shure\n", ", line 2, column kind", "'shure'", id="kind"
        ),
        pytest.param("t.csv", "", "", "expected at least one line", id="an empty file"),
        pytest.param("t.jsonl", "[1]\n", ", line 1", "expected a JSON object", id="JSON"),
        pytest.param("t.jsonl", '{"id": "a", "label": [1]}', ", line 1", "got a list", id="a list"),
        pytest.param("t.parquet", "no", "", "expected a Parquet table", id="Parquet"),
        pytest.param("t.xlsx", "", "", "got the suffix '.xlsx'", id="suffix"),
    ],
)
def test_read_label_table_refuses(
    tmp_path: Path, name: str, text: str, subject: str, reason: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        read(path)
    assert subject in caught.value.subject
    assert reason in caught.value.reason


def test_read_label_table_refuses_a_wrong_split(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,split\na,middle\n")
    with pytest.raises(SourceError, match=r"line 2: expected train, val or test, got 'middle'"):
        read(path, field="split")


def test_read_label_table_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"No such file"):
        read(tmp_path / "no.csv")
