"""A table of JSON lines becomes rows; a cell of another type is refused by its type."""

from pathlib import Path
from typing import Any

import pytest

from featx.core.errors import SourceError
from featx.images.sources.table import read_table


def write(folder: Path, text: str | bytes) -> Path:
    table = folder / "metadata.jsonl"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return table


def read_rows(folder: Path, text: str | bytes) -> list[tuple[Any, ...]]:
    rows = [entry.row for entry in read_table(write(folder, text)).entries]
    return [(row.id, row.label, row.split, row.group) for row in rows]


def test_read_table_json_lines_of_several_shapes(tmp_path: Path) -> None:
    text = (
        b'\xef\xbb\xbf{"file_name": "a.jpg", "label": 0}\r\n\n'
        b'{"label": "cat", "split": "Validation", "path": "b.jpg", "group": 7}\n'
        b'{"path": "c.jpg", "label": null, "bbox": [1, 2], "id": "three"}'
    )
    assert read_rows(tmp_path, text) == [
        ("a.jpg", "0", None, None),
        ("b.jpg", "cat", "val", "7"),
        ("three", None, None, None),
    ]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("1.0", "1"),
        ("1e3", "1000"),
        ("true", "True"),
        ("NaN", None),
        ("null", None),
        ('" cat "', "cat"),
        ('"NA"', "NA"),
        ('""', None),
        ('"1.0"', "1.0"),
        ("12345678901234567890123", "12345678901234567890123"),
    ],
)
def test_read_table_json_value_as_text(tmp_path: Path, value: str, label: str | None) -> None:
    ((_, found, _, _),) = read_rows(tmp_path, f'{{"path": "a.jpg", "label": {value}}}\n')
    assert found == label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"path": 3}', "line 1, column 'path': expected the path as text, got int"),
        ('{"image": {"bytes": "x"}}', "column 'image': expected the path as text, got an object"),
        (
            '{"path": "a", "label": [1]}',
            "column 'label': expected text, whole numbers, .* got a list",
        ),
        ('{"path": "a", "label": 0.5}', "column 'label': .* got 0.5"),
        ('{"path": "a", "label": Infinity}', "column 'label': .* got inf"),
        ('{"path": null}', "line 1, column 'path': expected the path of an image"),
        ('{"path": "a"}\n{"label": "x"}', "line 2: expected a column of paths"),
        ('{"path": "a", "class": 1, "target": 2}', "line 1: expected one column for label"),
        ("[1, 2]", "line 1: expected a JSON object, .* got a list"),
        ('"path"', "line 1: expected a JSON object, .* got text"),
        ('{"path": "a"}\npath,label', "line 2: expected a JSON object, .* got JSONDecodeError"),
        (b'{"path": "\xe4"}', "line 1: expected a JSON object, .* got UnicodeDecodeError"),
        ("[" * 100_000, "line 1: expected a JSON object, .* got ValueError: JSON that nests"),
        ('{"path": "a"}\n{"path": "a"}', "line 2, column 'path': .* got 'a' again after line 1"),
    ],
    ids=str,
)
def test_read_table_wrong_json_is_refused_with_its_place(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_table(write(tmp_path, text))
    assert len(str(caught.value)) < 1_000


def test_read_table_json_tells_near_misses_of_all_lines(tmp_path: Path) -> None:
    table = write(tmp_path, '{"path": "a", "lable": 1}\n{"path": "b", "spilt": "x"}\n')
    (doubt,) = read_table(table).doubts
    assert "lable (nearest: label), spilt (nearest: split)" in doubt
