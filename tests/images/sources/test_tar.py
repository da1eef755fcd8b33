"""Tars are read where they lie: what members mean, and that nothing is lost silently."""

import gzip
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from featx.core.errors import SourceError
from featx.images.manifest import Manifest
from featx.images.sources.tar import read_tars
from tests.images.builders import get_content


def write_tar(
    path: Path, members: Iterable[tuple[str, bytes | str]], format: int = tarfile.GNU_FORMAT
) -> Path:
    """Write a tar of (name, bytes) in the order given; a str for bytes is a link's target."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def list_places(manifest: Manifest) -> dict[str, tuple[str | None, str | None]]:
    return {e.row.id: (e.row.split, e.row.label) for e in manifest.entries}


@pytest.fixture
def jpegs(tmp_path: Path, make_image: Callable[..., Path]) -> list[bytes]:
    """Four different small files."""
    paths = [make_image(tmp_path / "jpegs" / f"{seed}.jpg", seed=seed) for seed in range(4)]
    return [path.read_bytes() for path in paths]


# --- what members mean


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ants/1.jpg", "bees/2.jpg"], [(None, "ants"), (None, "bees")]),
        (["./ants/1.jpg", "./bees/2.jpg"], [(None, "ants"), (None, "bees")]),
        (["photos/ants/1.jpg", "photos/bees/2.jpg"], [(None, "ants"), (None, "bees")]),
        (["./photos/ants/1.jpg", "./photos/bees/2.jpg"], [(None, "ants"), (None, "bees")]),
        (["1.jpg", "2.jpg"], [(None, None), (None, None)]),
        (["ants/1.jpg", "ants/2.jpg"], [(None, "ants"), (None, "ants")]),
        (["train/ants/1.jpg", "val/bees/2.jpg"], [("train", "ants"), ("val", "bees")]),
        (["train/ants/1.jpg", "train/bees/2.jpg"], [("train", "ants"), ("train", "bees")]),
        (["p/train/ants/1.jpg", "p/valid/bees/2.jpg"], [("train", "ants"), ("val", "bees")]),
        (["train/1.jpg", "bus/2.jpg"], [(None, "train"), (None, "bus")]),
    ],
    ids=lambda value: value[0] if isinstance(value[0], str) else "",
)
def test_read_tars_member_folders_give_splits_and_labels(
    tmp_path: Path, names: Any, expected: Any
) -> None:
    tar = write_tar(tmp_path / "photos.tar", [(name, b"") for name in names])
    places = list_places(read_tars([tar]))
    assert list(places.values()) == expected
    assert list(places) == [name.removeprefix("./") for name in names]


def test_read_tars_split_folders_beside_others_are_refused(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "photos.tar", [("train/ants/1.jpg", b""), ("more/2.jpg", b"")])
    with pytest.raises(SourceError, match=r"photos\.tar: .*got both \(train beside more\)"):
        read_tars([tar])


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.tar", "train"),
        ("photos-train.tar", "train"),
        ("photos_valid_000.tar", "val"),
        ("photos.test.tar", "test"),
        ("PHOTOS-VAL.tar", "val"),
        ("contest.tar", None),
        ("trains.tar", None),
    ],
)
def test_read_tars_split_in_the_name_holds_for_its_members(
    tmp_path: Path, name: str, split: str | None
) -> None:
    tar = write_tar(tmp_path / name, [("ants/1.jpg", b"")])
    assert list_places(read_tars([tar])) == {"ants/1.jpg": (split, "ants")}


def test_read_tars_split_folder_comes_before_the_tars_name(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "photos-train.tar", [("val/ants/1.jpg", b"")])
    assert list_places(read_tars([tar])) == {"val/ants/1.jpg": ("val", "ants")}


def test_read_tars_several_carry_their_names_in_ids(tmp_path: Path, jpegs: list[bytes]) -> None:
    one = write_tar(tmp_path / "b-train.tar", [("ants/1.jpg", jpegs[0])])
    two = write_tar(tmp_path / "a-val.tar", [("ants/1.jpg", jpegs[1])])
    manifest = read_tars([one, two])
    assert list_places(manifest) == {
        "b-train.tar/ants/1.jpg": ("train", "ants"),
        "a-val.tar/ants/1.jpg": ("val", "ants"),
    }
    assert [get_content(entry).read() for entry in manifest.entries] == jpegs[:2]


def test_read_tars_of_one_name_are_refused(tmp_path: Path) -> None:
    one = write_tar(tmp_path / "one/photos.tar", [("1.jpg", b"")])
    two = write_tar(tmp_path / "two/photos.tar", [("1.jpg", b"")])
    with pytest.raises(SourceError, match=r"got a second photos\.tar\. Rename one"):
        read_tars([one, two])


# --- WebDataset


def test_read_tars_cls_gives_the_label(tmp_path: Path) -> None:
    members = [
        ("1.cls", b"ants\n"),
        ("1.jpg", b""),
        ("2.jpg", b""),
        ("2.cls", b"7"),
        ("3.jpg", b""),
    ]
    tar = write_tar(tmp_path / "shard-000.tar", members)
    assert list_places(read_tars([tar])) == {
        "1.jpg": (None, "ants"),
        "2.jpg": (None, "7"),
        "3.jpg": (None, None),
    }


def test_read_tars_json_gives_label_split_and_group(tmp_path: Path) -> None:
    fields = {"label": 3, "split": "validation", "group": "p1", "width": 40}
    members = [("a/1.jpg", b""), ("a/1.json", json.dumps(fields).encode())]
    (entry,) = read_tars([write_tar(tmp_path / "shard.tar", members)]).entries
    assert (entry.row.label, entry.row.split, entry.row.group) == ("3", "val", "p1")


def test_read_tars_json_fields_are_optional(tmp_path: Path) -> None:
    members = [("ants/1.jpg", b""), ("ants/1.json", b'{"split": null, "label": "", "group": 4}')]
    (entry,) = read_tars([write_tar(tmp_path / "photos-val.tar", members)]).entries
    assert (entry.row.label, entry.row.split, entry.row.group) == ("ants", "val", "4")


def test_read_tars_cls_that_is_empty_is_no_label(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "shard.tar", [("1.jpg", b""), ("1.cls", b"\n")])
    assert list_places(read_tars([tar])) == {"1.jpg": (None, None)}


def test_read_tars_key_ends_at_the_first_dot(tmp_path: Path) -> None:
    members = [("v1.0/1.left.jpg", b""), ("v1.0/1.cls", b"ants"), ("v1.0/2.jpg", b"")]
    places = list_places(read_tars([write_tar(tmp_path / "shard.tar", members)]))
    assert places == {"v1.0/1.left.jpg": (None, "ants"), "v1.0/2.jpg": (None, "v1.0")}


def test_read_tars_sidecar_of_another_folder_says_nothing(tmp_path: Path) -> None:
    members = [("a/1.jpg", b""), ("b/1.jpg", b""), ("b/1.cls", b"bees")]
    places = list_places(read_tars([write_tar(tmp_path / "shard.tar", members)]))
    assert places == {"a/1.jpg": (None, "a"), "b/1.jpg": (None, "bees")}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("1.json", b"{label: ants}", r"expected UTF-8 text \(\.cls\) or a JSON object"),
        ("1.json", b'["ants"]', r"expected UTF-8 text \(\.cls\) or a JSON object"),
        ("1.json", b"", r"expected UTF-8 text \(\.cls\) or a JSON object"),
        ("1.cls", b"\xe4nts", r"expected UTF-8 text \(\.cls\) or a JSON object"),
        ("1.json", b'{"split": "trian"}', "expected split train, val or test, got 'trian'"),
    ],
    ids=["no json", "a list", "empty", "latin-1", "bad split"],
)
def test_read_tars_wrong_sidecar_is_refused_by_name(
    tmp_path: Path, name: str, data: Any, message: str
) -> None:
    tar = write_tar(tmp_path / "shard.tar", [("1.jpg", b""), (name, data)])
    with pytest.raises(SourceError, match=rf"shard\.tar, member '{name}': {message}"):
        read_tars([tar])


# --- what is a row


def test_read_tars_contents_equal_the_original_bytes(tmp_path: Path, jpegs: list[bytes]) -> None:
    long_name = "ants/" + "x" * 200 + ".jpg"
    names = ["ants/1.jpg", long_name, "bees/ä 蟻.jpg", "bees/2.jpg"]
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        tar = write_tar(tmp_path / "photos.tar", zip(names, jpegs, strict=True), format)
        entries = read_tars([tar]).entries
        assert [entry.row.id for entry in entries] == names
        assert [get_content(entry).read() for entry in entries] == jpegs
        assert entries[0].row.path == str(tar / "ants/1.jpg")


def test_read_tars_prefix_of_a_member_ends_with_the_member(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "photos.tar", [("1.jpg", b"abc"), ("2.jpg", b"x" * 600)])
    first, second = read_tars([tar]).entries
    assert get_content(first).read(32) == b"abc"
    assert get_content(second).read(32) == b"x" * 32


def test_read_tars_order_is_that_of_the_tar(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "photos.tar", [(f"{name}.jpg", b"") for name in "cab"])
    assert list(list_places(read_tars([tar]))) == ["c.jpg", "a.jpg", "b.jpg"]


def test_read_tars_member_is_told_by_content_or_suffix(tmp_path: Path, jpegs: list[bytes]) -> None:
    members = [("1.dat", jpegs[0]), ("2.jpg", b"text"), ("notes.txt", b"text"), ("3", jpegs[1])]
    manifest = read_tars([write_tar(tmp_path / "photos.tar", members)])
    assert list(list_places(manifest)) == ["1.dat", "2.jpg", "3"]
    assert manifest.n_ignored == 1


def test_read_tars_later_duplicate_wins(tmp_path: Path, jpegs: list[bytes]) -> None:
    members = [("1.jpg", jpegs[0]), ("2.jpg", jpegs[1]), ("./1.jpg", jpegs[2])]
    entries = read_tars([write_tar(tmp_path / "photos.tar", members)]).entries
    contents = {entry.row.id: get_content(entry).read() for entry in entries}
    assert contents == {"1.jpg": jpegs[2], "2.jpg": jpegs[1]}


@pytest.mark.parametrize("target", ["../a/1.jpg", "../b/2.jpg", "./../a/../a/1.jpg"])
def test_read_tars_symlink_has_the_bytes_of_its_target(
    tmp_path: Path, jpegs: list[bytes], target: str
) -> None:
    members: list[tuple[str, bytes | str]] = [("b/2.jpg", "../a/1.jpg"), ("c/3.jpg", target)]
    tar = write_tar(tmp_path / "photos.tar", [*members, ("a/1.jpg", jpegs[0])])
    manifest = read_tars([tar])
    assert list_places(manifest) == {
        "b/2.jpg": (None, "b"),
        "c/3.jpg": (None, "c"),
        "a/1.jpg": (None, "a"),
    }
    assert {get_content(entry).read() for entry in manifest.entries} == {jpegs[0]}


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside.jpg", "gone.jpg", "2.jpg"])
def test_read_tars_symlink_out_of_the_archive_is_a_row_that_fails(
    tmp_path: Path, jpegs: list[bytes], target: str
) -> None:
    tar = write_tar(tmp_path / "photos.tar", [("1.jpg", jpegs[0]), ("2.jpg", target), ("3", "4")])
    manifest = read_tars([tar])
    assert list(list_places(manifest)) == ["1.jpg", "2.jpg"]
    assert manifest.ignored == {"symbolic link": 1}
    for act in (get_content(manifest.entries[1]).read, get_content(manifest.entries[1]).stat):
        with pytest.raises(OSError, match="expected a file, got a symbolic link to"):
            act()


@pytest.mark.parametrize("name", ["ants/._1.jpg", ".cache/1.jpg", "./.x.jpg"])
def test_read_tars_hidden_is_passed_over(tmp_path: Path, name: str) -> None:
    tar = write_tar(tmp_path / "photos.tar", [("ants/1.jpg", b""), (name, b"")])
    assert list(list_places(read_tars([tar]))) == ["ants/1.jpg"]


def test_read_tars_odd_name_is_escaped(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "photos.tar", [("a\nb.jpg", b""), ("c\udcff.jpg", b"")])
    assert list(list_places(read_tars([tar]))) == ["a\\u000ab.jpg", "c\\xff.jpg"]


def test_read_tars_unpacks_nothing(
    tmp_path: Path, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = write_tar(tmp_path / "photos.tar", [("ants/1.jpg", jpegs[0]), ("ants/1.cls", b"bees")])
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = sorted(tmp_path.rglob("*"))
    (entry,) = read_tars([tar]).entries
    assert get_content(entry).read() == jpegs[0]
    assert sorted(tmp_path.rglob("*")) == before


# --- what is refused


@pytest.mark.parametrize("name", ["../1.jpg", "ants/../../1.jpg", "/1.jpg", "/etc/1.jpg"])
def test_read_tars_member_that_climbs_out_is_refused(tmp_path: Path, name: str) -> None:
    tar = write_tar(tmp_path / "photos.tar", [("ok.jpg", b""), (name, b"")])
    with pytest.raises(SourceError, match=rf"member '{name}': expected a path inside"):
        read_tars([tar])


def test_read_tars_compressed_is_refused_with_remedy(tmp_path: Path) -> None:
    plain = write_tar(tmp_path / "plain.tar", [("1.jpg", b"")])
    packed = tmp_path / "photos.tar"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(SourceError, match=r"expected a plain tar.*Decompress the file"):
        read_tars([packed])


@pytest.mark.parametrize("data", [b"", b"notes\n" * 400], ids=["empty", "text"])
def test_read_tars_other_file_is_refused(tmp_path: Path, data: Any) -> None:
    tar = tmp_path / "photos.tar"
    tar.write_bytes(data)
    with pytest.raises(SourceError, match=r"photos\.tar: expected a plain tar"):
        read_tars([tar])


def test_read_tars_without_images_is_refused(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "photos.tar", [("notes.txt", b"text"), ("more.txt", b"text")])
    with pytest.raises(
        SourceError, match=r"got none among 2 files \(passed over 2 \.txt\)\. Name m"
    ):
        read_tars([tar])


def damage(tar: Path, jpegs: list[bytes], change: Callable[[bytes, list[int]], bytes]) -> list[str]:
    """Write a tar of three images, change its bytes, and return which of them are lost silently."""
    names = ["1.jpg", "2.jpg", "3.jpg"]
    write_tar(tar, zip(names, jpegs[:3], strict=True))
    with tarfile.open(tar) as archive:
        starts = [info.offset for info in archive]
    tar.write_bytes(change(tar.read_bytes(), starts))
    try:
        entries = {entry.row.id: entry for entry in read_tars([tar]).entries}
        for entry in entries.values():
            get_content(entry).read()
    except (SourceError, OSError):
        return []
    return [name for name in names if name not in entries]


@pytest.mark.parametrize(
    "change",
    [
        lambda data, starts: data[: starts[2] + 512 + 100],
        lambda data, starts: data[: starts[1] + 512 + 100],
        lambda data, starts: data[: starts[2] + 100],
        lambda data, starts: data[: starts[1] + 100],
        lambda data, starts: data[: starts[2]],
        lambda data, starts: data[: starts[1] + 512],
        lambda data, starts: data[: starts[1]] + b"\xff" * 512 + data[starts[1] + 512 :],
    ],
    ids=[
        "in the last image",
        "in the second image",
        "in the last header",
        "in the second header",
        "before the last header",
        "after the second header",
        "header overwritten",
    ],
)
def test_read_tars_damaged_loses_nothing_silently(
    tmp_path: Path, jpegs: list[bytes], change: Any
) -> None:
    assert damage(tmp_path / "photos.tar", jpegs, change) == []


def test_read_tars_truncated_in_a_sidecar_is_a_source_error(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "shard.tar", [("1.jpg", b""), ("1.cls", b"ants" * 200)])
    tar.write_bytes(tar.read_bytes()[: 2 * 512 + 100])
    with pytest.raises(SourceError, match=r"shard\.tar"):
        read_tars([tar])


def test_read_tars_cut_after_listing_fails_when_read(tmp_path: Path, jpegs: list[bytes]) -> None:
    tar = write_tar(tmp_path / "photos.tar", [("1.jpg", jpegs[0]), ("2.jpg", jpegs[1])])
    first, second = read_tars([tar]).entries
    tar.write_bytes(tar.read_bytes()[: get_content(second).offset + 100])
    assert get_content(first).read() == jpegs[0]
    with pytest.raises(OSError, match=r"archive ends after 100 of \d+ bytes"):
        get_content(second).read()


def test_read_tars_one_class_per_tar_keeps_the_classes(tmp_path: Path) -> None:
    tars = [
        write_tar(
            tmp_path / f"{name}.tar", [(f"{name}/day1/0.jpg", b""), (f"{name}/day2/1.jpg", b"")]
        )
        for name in ("cat", "dog")
    ]
    assert {label for _, label in list_places(read_tars(tars)).values()} == {"cat", "dog"}


def test_read_tars_single_folder_below_the_top_is_no_wrapper(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", [("cat/day1/0.jpg", b""), ("cat/day1/1.jpg", b"")])
    assert {label for _, label in list_places(read_tars([tar])).values()} == {"cat"}


@pytest.mark.parametrize("name", ["annotations.json", "ants/list.json", "classes.cls"])
def test_read_tars_json_beside_no_image_is_passed_over(tmp_path: Path, name: str) -> None:
    tar = write_tar(tmp_path / "x.tar", [("ants/1.jpg", b""), (name, b"[1, 2]")])
    manifest = read_tars([tar])
    assert list_places(manifest) == {"ants/1.jpg": (None, "ants")}
    assert manifest.n_ignored == 1


def test_read_tars_hard_link_is_its_targets_bytes(tmp_path: Path, jpegs: list[bytes]) -> None:
    path = write_tar(tmp_path / "x.tar", [("ants/1.jpg", jpegs[0])])
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("ants/2.jpg")
        info.type, info.linkname = tarfile.LNKTYPE, "ants/1.jpg"
        archive.addfile(info)
    entries = read_tars([path]).entries
    assert [entry.row.id for entry in entries] == ["ants/1.jpg", "ants/2.jpg"]
    assert get_content(entries[1]).read() == jpegs[0]


# --- all of a tar is looked at


def test_read_tars_sparse_member_is_a_row_that_fails(tmp_path: Path, jpegs: list[bytes]) -> None:
    path = tmp_path / "sparse.tar"
    block = 512
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(add_size("1.jpg", len(jpegs[0])), io.BytesIO(jpegs[0]))
        archive.fileobj.write(build_sparse_header("2.bmp", block, real_size=4 * block))
        archive.fileobj.write(b"BM".ljust(block, b"\0"))
        archive.fileobj.write(build_sparse_header("3", block, real_size=4 * block))
        archive.fileobj.write(jpegs[1][:block].ljust(block, b"\0"))
        archive.fileobj.write(build_sparse_header("4.txt", block, real_size=4 * block))
        archive.fileobj.write(b"text".ljust(block, b"\0"))
    manifest = read_tars([path])
    assert list(list_places(manifest)) == ["1.jpg", "2.bmp", "3"]
    assert manifest.ignored == {".txt": 1}
    for entry in manifest.entries[1:]:
        with pytest.raises(OSError, match="got a sparse one"):
            get_content(entry).read()


def add_size(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def build_sparse_header(name: str, size: int, *, real_size: int) -> bytes:
    """Build the header that GNU tar writes for a file with one piece of data and a hole."""
    info = add_size(name, size)
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, size)
    header[483:495] = b"%011o\0" % real_size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        (tarfile.CHRTYPE, "character device"),
        (tarfile.BLKTYPE, "block device"),
        (tarfile.FIFOTYPE, "pipe"),
        (b"V", "member of type b'V'"),
    ],
)
def test_read_tars_member_that_is_no_file_is_a_row_only_if_its_suffix_promises_an_image(
    tmp_path: Path, jpegs: list[bytes], type: bytes, kind: str
) -> None:
    path = write_tar(tmp_path / "x.tar", [("1.jpg", jpegs[0])])
    with tarfile.open(path, "a") as archive:
        for name in ("2.jpg", "other"):
            info = tarfile.TarInfo(name)
            info.type = type
            archive.addfile(info)
    manifest = read_tars([path])
    assert list(list_places(manifest)) == ["1.jpg", "2.jpg"]
    assert manifest.ignored == {kind: 1}
    with pytest.raises(OSError, match=f"expected a file, got a {kind}"):
        get_content(manifest.entries[1]).read()


def test_read_tars_hard_link_of_a_file_to_itself_keeps_the_file(
    tmp_path: Path, jpegs: list[bytes]
) -> None:
    path = write_tar(tmp_path / "x.tar", [("a/1.jpg", jpegs[0])])
    with tarfile.open(path, "a") as archive:  # as tar does if a name is given twice
        info = tarfile.TarInfo("a/1.jpg")
        info.type, info.linkname = tarfile.LNKTYPE, "./a/1.jpg"
        archive.addfile(info)
    (entry,) = read_tars([path]).entries
    assert get_content(entry).read() == jpegs[0]


def test_read_tars_links_in_a_circle_fail(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", [("1.jpg", "2.jpg"), ("2.jpg", "1.jpg"), ("3.jpg", b"")])
    manifest = read_tars([tar])
    assert len(manifest) == 3
    with pytest.raises(OSError, match=r"symbolic link to '2\.jpg'"):
        get_content(manifest.entries[0]).read()


@pytest.mark.parametrize("n_zeros", [1024, 4 << 20], ids=["short padding", "long padding"])
def test_read_tars_two_archives_in_one_file_are_refused_in_true_words(
    tmp_path: Path, jpegs: list[bytes], n_zeros: int
) -> None:
    one = write_tar(tmp_path / "one.tar", [("1.jpg", jpegs[0])]).read_bytes()
    two = write_tar(tmp_path / "two.tar", [("2.jpg", jpegs[1])]).read_bytes()
    tar = tmp_path / "both.tar"
    tar.write_bytes(one + bytes(n_zeros) + two)
    message = r"both\.tar: expected one archive, got a second one after its end, at byte \d+\. Unp"
    with pytest.raises(SourceError, match=message):
        read_tars([tar])


def test_read_tars_other_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", [("1.jpg", b"")])
    tar.write_bytes(tar.read_bytes() + bytes(3 << 20) + b"garbage")
    with pytest.raises(SourceError, match="bytes after the end of the archive, at byte"):
        read_tars([tar])


def test_read_tars_holes_after_the_end_are_not_read(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", [("1.jpg", b"")])
    with tar.open("r+b") as stream:
        stream.truncate(1 << 40)
    if tar.stat().st_blocks > 1 << 12:
        pytest.skip("this file system has no holes")
    assert list(list_places(read_tars([tar]))) == ["1.jpg"]


def test_read_tars_later_copies_of_members_are_told(tmp_path: Path, jpegs: list[bytes]) -> None:
    members = [("1.jpg", jpegs[0]), ("2.jpg", jpegs[1]), ("./1.jpg", jpegs[2])]
    (note,) = read_tars([write_tar(tmp_path / "x.tar", members)]).notes
    assert note == "'x.tar' has 1 member again later: the later ones count"


def test_read_tars_folders_of_the_system_are_passed_over_and_counted(tmp_path: Path) -> None:
    names = ["cat/1.jpg", "cat/@eaDir/1.jpg/T.jpg", "dog/@eaDir/2.jpg/T.jpg", "__MACOSX/cat/1.jpg"]
    names += ["dog/2.jpg", ".hidden/@eaDir/3.jpg"]
    manifest = read_tars([write_tar(tmp_path / "x.tar", [(name, b"") for name in names])])
    assert list(list_places(manifest)) == ["cat/1.jpg", "dog/2.jpg"]
    assert manifest.notes == ("passed over 2 folders @eaDir, 1 folder __MACOSX",)


def test_read_tars_placeholder_of_a_cloud_is_a_row_that_fails(tmp_path: Path) -> None:
    names = ["cat/1.jpg", "cat/.1.jpg.icloud", "cat/.2.jpg.icloud", "dog/3.png.nextcloud"]
    manifest = read_tars([write_tar(tmp_path / "x.tar", [(name, b"bplist00") for name in names])])
    assert list(list_places(manifest)) == ["cat/1.jpg", "cat/2.jpg", "dog/3.png"]
    with pytest.raises(OSError, match="the image is in the cloud, not on this disk"):
        get_content(manifest.entries[1]).read()


def test_read_tars_split_in_only_some_names_is_told(tmp_path: Path) -> None:
    tars = [
        write_tar(tmp_path / name, [(f"{name}/1.jpg", b"")])
        for name in ("train_station.tar", "bus_station.tar")
    ]
    (note,) = read_tars(tars).notes
    assert note.startswith("1 of 2 tars have a split in their names, such as 'train_station.tar'")
