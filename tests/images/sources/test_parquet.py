"""Parquet tables: types are checked, and images inside a table are read from it."""

import hashlib
import io
import json
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featx.core.errors import SourceError
from featx.images import large
from featx.images.manifest import Manifest
from featx.images.sources import parquet_image
from featx.images.sources.parquet_image import ParquetImage, ParquetImages
from featx.images.sources.table import read_table
from tests.images.builders import get_content

pa = pytest.importorskip("pyarrow", reason="needs featx[parquet]")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs featx[parquet]")

N = 50


def encode(seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


IMAGES = [encode(seed) for seed in range(N)]
STRUCTS = [{"bytes": data, "path": f"{number}.png"} for number, data in enumerate(IMAGES)]


def write(folder: Path, columns: dict[str, Any], **options: Any) -> Path:
    table = folder / "photos.parquet"
    parquet.write_table(pa.table(columns), table, **options)
    return table


def read_images(manifest: Manifest) -> list[bytes]:
    return [get_content(entry).read() for entry in manifest.entries]


@pytest.mark.parametrize("row_group_size", [1, 7, N, 1000])
def test_read_table_images_as_hugging_face_writes_them(tmp_path: Path, row_group_size: int) -> None:
    table = write(
        tmp_path,
        {"image": STRUCTS, "label": [number % 2 for number in range(N)]},
        row_group_size=row_group_size,
    )
    manifest = read_table(table)
    assert read_images(manifest) == IMAGES
    row = manifest.entries[3].row
    assert (row.id, row.path, row.label) == ("3.png", f"{table}/3.png", "1")


@pytest.mark.parametrize("name", ["image", "img", "path", "bytes", "image_bytes", "jpg", "PNG"])
def test_read_table_images_as_bytes(tmp_path: Path, name: str) -> None:
    manifest = read_table(write(tmp_path, {"x": range(N), name: IMAGES}))
    assert read_images(manifest) == IMAGES
    assert [entry.row.id for entry in manifest.entries[:2]] == ["1", "2"]


def test_read_table_images_of_large_binary_without_a_path_in_the_struct(tmp_path: Path) -> None:
    type_ = pa.struct([("bytes", pa.large_binary())])
    column = pa.array([{"bytes": data} for data in IMAGES], type_)
    assert read_images(read_table(write(tmp_path, {"photo": column}))) == IMAGES


def test_read_table_images_with_one_name_are_numbered(tmp_path: Path) -> None:
    column = [{"bytes": data, "path": "a.jpg"} for data in IMAGES]
    manifest = read_table(write(tmp_path, {"image": column}))
    assert [entry.row.id for entry in manifest.entries] == [str(n + 1) for n in range(N)]


def test_read_table_images_take_a_column_of_ids(tmp_path: Path) -> None:
    ids = [f"row-{number}" for number in range(N)]
    manifest = read_table(write(tmp_path, {"image": STRUCTS, "id": ids}))
    assert [entry.row.id for entry in manifest.entries] == ids


def test_read_table_images_are_read_before_paths_beside_them(tmp_path: Path) -> None:
    manifest = read_table(write(tmp_path, {"path": ["x.jpg"] * N, "image": STRUCTS}))
    assert read_images(manifest) == IMAGES
    assert manifest.doubts[0].startswith("columns passed over: path (image is read).")


def test_read_table_struct_of_paths_alone_is_a_table_of_paths(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(IMAGES[0])
    column = pa.array(
        [{"bytes": None, "path": "0.png"}],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    manifest = read_table(write(tmp_path, {"image": column}))
    assert read_images(manifest) == IMAGES[:1]
    assert manifest.entries[0].row.path == str(tmp_path / "0.png")


def test_read_table_row_without_bytes_fails_alone(tmp_path: Path) -> None:
    column = [STRUCTS[0], {"bytes": None, "path": "gone.png"}, None, STRUCTS[3]]
    first, second, third, last = read_table(write(tmp_path, {"image": column})).entries
    for number, entry in ((2, second), (3, third)):
        with pytest.raises(OSError, match=f"no bytes of an image in the table, row {number}"):
            get_content(entry).read()
    assert [get_content(entry).read() for entry in (first, last)] == [IMAGES[0], IMAGES[3]]


def test_read_table_class_names_of_hugging_face_are_labels(tmp_path: Path) -> None:
    features = {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}
    table = pa.table({"path": ["a.jpg", "b.jpg", "c.jpg"], "label": [1, 0, -1]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "t.parquet")
    entries = read_table(tmp_path / "t.parquet").entries
    assert [entry.row.label for entry in entries] == ["bee", "ant", None]


def test_read_table_class_names_of_labels_beside_missing_values(tmp_path: Path) -> None:
    features = {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"path": ["a.jpg", "b.jpg", "c.jpg"], "label": [1.0, None, math.nan]})
    parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "t.parquet")
    entries = read_table(tmp_path / "t.parquet").entries
    assert [entry.row.label for entry in entries] == ["bee", None, None]


def test_read_table_label_beyond_the_class_names_is_refused(tmp_path: Path) -> None:
    features = {"label": {"names": ["ant", "bee"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"path": ["a.jpg"], "label": [2]}).replace_schema_metadata(metadata)
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(SourceError, match=r"row 1, column 'label': .* got 2, which has no name"):
        read_table(tmp_path / "t.parquet")


def test_read_table_text_types_and_booleans_become_text(tmp_path: Path) -> None:
    columns = {
        "path": pa.array(["a", "b"]).dictionary_encode(),
        "label": pa.array([" x ", None], pa.large_string()).dictionary_encode(),
        "group": [True, None],
        "split": pa.nulls(2),
    }
    rows = [entry.row for entry in read_table(write(tmp_path, columns)).entries]
    found = [(row.id, row.label, row.group, row.split) for row in rows]
    assert found == [("a", "x", "True", None), ("b", None, None, None)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": [1, 2]}, "column 'path': expected text, or images as bytes, got int64"),
        ({"image": [[1, 2]]}, "column 'image': expected text, or images as bytes, got list<"),
        (
            {"path": ["a"], "label": [[1]]},
            "column 'label': expected text, whole numbers, .* got list<",
        ),
        ({"path": ["a"], "label": [b"x"]}, "column 'label': expected text, .* got binary"),
        ({"path": ["a"], "group": [{"x": 1}]}, "column 'group': expected text, .* got struct<"),
        ({"path": ["a", "b"], "label": [1.0, 0.5]}, "row 2, column 'label': .* got 0.5"),
        ({"left": STRUCTS, "right": STRUCTS}, "expected one column of images, got left, right"),
        ({"file": ["a"], "img": ["b"]}, "expected one column for path, got file, img"),
    ],
)
def test_read_table_wrong_types_are_refused_by_their_names(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_table(write(tmp_path, columns))
    assert len(str(caught.value)) < 500


# --- ParquetImages


def open_images(folder: Path, **options: Any) -> ParquetImages:
    return ParquetImages(str(write(folder, {"image": STRUCTS}, **options)), "image.bytes")


@pytest.mark.parametrize("row_group_size", [7, N])
def test_read_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row_group_size: int
) -> None:
    monkeypatch.setattr(parquet_image, "HELD_BYTES", 500)  # some batches are dropped
    images = open_images(tmp_path, row_group_size=row_group_size)
    order = np.random.default_rng(0).permutation(N).tolist()
    for row in [*order, *range(N - 1, -1, -1), 0, N - 1]:
        assert images.read(row) == IMAGES[row]


def count_opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows whenever a Parquet file is opened."""
    opened = []
    file = parquet.ParquetFile

    def count(*given: Any, **options: Any) -> Any:
        opened.append(given)
        return file(*given, **options)

    monkeypatch.setattr(parquet, "ParquetFile", count)
    return opened


def test_read_in_order_opens_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = count_opened(monkeypatch)
    images = open_images(tmp_path, row_group_size=7)
    for row in range(N):
        images.read(row)
    assert len(opened) == 1


def test_read_by_several_threads(tmp_path: Path) -> None:
    images = open_images(tmp_path, row_group_size=7)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(images.read, [*range(N), *range(N)])) == IMAGES * 2


def test_read_keeps_few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_image, "HELD_BYTES", 2_000)
    images = open_images(tmp_path)
    for row in range(N):
        images.read(row)
        kept = [column.nbytes for _, column in images._held]
        assert len(kept) <= 2 or sum(kept) <= 2_000


def test_read_after_the_file_was_replaced_reads_the_new_one(tmp_path: Path) -> None:
    images = open_images(tmp_path)
    assert images.read(0) == IMAGES[0]
    write(tmp_path, {"image": STRUCTS[1:3]})
    assert images.read(0) == IMAGES[1]
    with pytest.raises(OSError, match="ends before row 50"):
        images.read(N - 1)
    assert images.read(1) == IMAGES[2]


def test_read_of_damaged_rows_fails_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write(tmp_path, {"image": STRUCTS}, row_group_size=25, use_dictionary=False)
    column = parquet.ParquetFile(table).metadata.row_group(0).column(0)
    data = bytearray(table.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 20] = b"\xff" * 20
    table.write_bytes(data)
    opened = count_opened(monkeypatch)
    images = ParquetImages(str(table), "image.bytes")
    for row in range(25):
        with pytest.raises(OSError, match=r"."):
            images.read(row)
    assert [images.read(row) for row in range(25, N)] == IMAGES[25:]
    assert len(opened) == 2


def test_read_of_a_damaged_file_is_an_os_error(tmp_path: Path) -> None:
    images = open_images(tmp_path)
    Path(images.file).write_bytes(b"PAR1 but not really PAR1")
    with pytest.raises(OSError, match=r"."):
        images.read(0)


def test_images_can_be_pickled_and_compared(tmp_path: Path) -> None:
    table = write(tmp_path, {"image": STRUCTS})
    one, other = read_table(table), read_table(table)
    assert one == other
    entry = pickle.loads(pickle.dumps(one.entries[5]))
    assert entry == one.entries[5]
    assert isinstance(entry.content, ParquetImage)
    assert entry.content.read() == IMAGES[5]
    assert entry.content.stat() == (table.stat().st_size, table.stat().st_mtime_ns)
    assert entry.content.read(4) == IMAGES[5][:4]


def test_read_content_of_a_large_table_reads_one_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "LARGE", 10)
    table = write(tmp_path, {"image": STRUCTS})
    data, digest, n_bytes, _ = large.read_content(get_content(read_table(table).entries[2]))
    assert data == IMAGES[2]
    assert digest == hashlib.sha256(IMAGES[2]).hexdigest()
    assert n_bytes == table.stat().st_size
