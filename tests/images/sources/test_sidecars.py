"""A sidecar belongs to one image of a tar; where that is not sure, the tar is refused."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from featx.core.errors import SourceError
from featx.images.manifest import Manifest
from featx.images.sources.tar import read_tars

Members = list[tuple[str, bytes]]


def write_tar(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def read(tmp_path: Path, members: Members) -> Manifest:
    return read_tars([write_tar(tmp_path / "shard.tar", members)])


def list_labels(manifest: Manifest) -> dict[str, str | None]:
    return {entry.row.id: entry.row.label for entry in manifest.entries}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            [
                ("2021.05.03_a.jpg", b""),
                ("2021.05.03_a.cls", b"ant"),
                ("2021.05.04_b.jpg", b""),
                ("2021.05.04_b.cls", b"bee"),
            ],
            {"2021.05.03_a.jpg": "ant", "2021.05.04_b.jpg": "bee"},
        ),
        # a neighbour's sidecar says nothing about an image without one
        (
            [("2021.05.03_a.jpg", b""), ("2021.05.03_a.cls", b"ant"), ("2021.05.04_b.jpg", b"")],
            {"2021.05.03_a.jpg": "ant", "2021.05.04_b.jpg": None},
        ),
        (
            [("2021.05.03_a.cls", b"ant"), ("2021.05.04_b.jpg", b"")],
            {"2021.05.04_b.jpg": None},
        ),
        # WebDataset's key
        (
            [("1.jpg", b""), ("1.seg.png", b""), ("1.cls", b"ant")],
            {"1.jpg": "ant", "1.seg.png": "ant"},
        ),
        (
            [("1.left.jpg", b""), ("1.left.cls", b"ant"), ("1.cls", b"bee"), ("1.jpg", b"")],
            {"1.left.jpg": "ant", "1.jpg": "bee"},
        ),
        ([("1.jpg", b""), ("1.meta.json", b'{"label": "ant"}')], {"1.jpg": "ant"}),
        ([("1.jpg", b""), ("1.jpg.json", b'{"label": "ant"}')], {"1.jpg": "ant"}),
        (
            [("1.jpg", b""), ("1.seg.png", b""), ("1.seg.cls", b"mask")],
            {"1.jpg": None, "1.seg.png": "mask"},
        ),
        ([("1.jpg", b""), ("1.CLS", b"\xef\xbb\xbf ant \n")], {"1.jpg": "ant"}),
        ([("1.jpg", b""), ("1.cls", b"bee"), ("1.cls", b"ant")], {"1.jpg": "ant"}),
        ([("x/1.jpg", b""), ("x/1.json", b'{"label": true}')], {"x/1.jpg": "True"}),
        ([("1.jpg", b""), ("1.json", b'{"label": 1.0}')], {"1.jpg": "1"}),
        ([("1.jpg", b""), ("1.json", b'{"label": NaN}')], {"1.jpg": None}),
    ],
    ids=lambda value: str(list(value))[:60],
)
def test_read_tars_each_image_has_the_label_of_its_own_sidecar(
    tmp_path: Path, members: Members, expected: dict[str, str | None]
) -> None:
    assert list_labels(read(tmp_path, members)) == expected


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            [("a.1.jpg", b""), ("a.2.jpg", b""), ("a.cls", b"ant")],
            r"shard\.tar, member 'a\.cls': expected one \.jpg with the key 'a', got several: th",
        ),
        (
            [("a.jpg", b""), ("a.x.cls", b"ant"), ("a.y.cls", b"bee")],
            r"shard\.tar: expected one \.cls for 'a', got 2 \(a\.x\.cls, a\.y\.cls\)\. Name each",
        ),
        (
            [("a.jpg", b""), ("a.cls", b"ant"), ("a.CLS", b"bee")],
            r"shard\.tar: expected one \.cls for 'a', got 2 \(a\.cls, a\.CLS\)",
        ),
        (
            [("a.jpg", b""), ("a.json", b'{"label": ["ant", "bee"]}')],
            r"a\.json', field 'label': expected text, whole numbers, or true and false, got a list",
        ),
        (
            [("a.jpg", b""), ("a.json", b'{"group": {"p": 1}}')],
            r"field 'group': expected text, whole numbers, or true and false, got an object",
        ),
        ([("a.jpg", b""), ("a.json", b"[" * 100_000)], "got ValueError: JSON that nests"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_read_tars_sidecars_that_are_not_sure_are_refused_in_one_line(
    tmp_path: Path, members: Members, message: str
) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read(tmp_path, members)
    assert "\n" not in str(caught.value)


def test_read_tars_cls_counts_before_json_and_the_difference_is_told(tmp_path: Path) -> None:
    fields = json.dumps({"label": "ant", "group": "g"}).encode()
    members = [("1.jpg", b""), ("1.json", fields), ("1.cls", b"7"), ("2.jpg", b""), ("2.cls", b"8")]
    manifest = read(tmp_path, members)
    assert [(e.row.label, e.row.group) for e in manifest.entries] == [("7", "g"), ("8", None)]
    (note,) = manifest.notes
    assert note.startswith("'shard.tar' has 1 image with a .cls and a .json that differ")


def test_read_tars_several_images_of_one_key_are_told(tmp_path: Path) -> None:
    members = [(f"{n}.{suffix}", b"x") for n in range(3) for suffix in ("jpg", "seg.png", "cls")]
    (note,) = read(tmp_path, members).notes
    assert note.startswith("3 keys have 2 images (jpg, seg.png): each of them is a row")


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["2021.05.03.jpg", "2021.05.04.jpg"], ()), (["1.jpg", "10.jpg", "1a.jpg"], ())],
    ids=str,
)
def test_read_tars_names_with_dots_share_no_key(
    tmp_path: Path, names: list[str], expected: Any
) -> None:
    assert read(tmp_path, [(name, b"") for name in names]).notes == expected


def test_read_tars_sidecars_that_describe_no_image_are_counted(tmp_path: Path) -> None:
    members = [("1.jpg", b""), ("2.cls", b"ant"), ("all.json", b"[1]"), ("notes.TXT", b"x")]
    manifest = read(tmp_path, members)
    assert manifest.ignored == {".cls": 1, ".json": 1, ".txt": 1}
    assert manifest.notes == ("passed over 1 .cls, 1 .json, 1 .txt",)


def test_read_tars_images_without_a_sidecar_among_others_are_told(tmp_path: Path) -> None:
    members = [("000/1.jpg", b""), ("000/1.cls", b"ant"), ("001/2.jpg", b"")]
    manifest = read(tmp_path, members)
    assert list_labels(manifest) == {"000/1.jpg": "ant", "001/2.jpg": "001"}
    (note,) = manifest.notes
    assert note.startswith("1 of 2 images have a label in a .cls or .json; the others have that of")


def test_read_tars_folders_mean_nothing_if_sidecars_label_all_images(tmp_path: Path) -> None:
    names = ["cat/a/1", "cat/b/2"]
    members = [(f"{name}{end}", b"ant") for name in names for end in (".jpg", ".cls")]
    manifest = read(tmp_path, members)
    assert (manifest.pattern, manifest.notes) == ("", ())
