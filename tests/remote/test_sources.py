"""Folders, tables and tars at addresses are read as those of this machine."""

import io
import os
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from featx.core.address import Address
from featx.core.errors import SourceError
from featx.images.content import Content
from featx.images.manifest import Manifest
from featx.images.remote import RemoteContent, build_content, stat_all
from featx.images.sources.read import read_manifest
from featx.remote import store
from tests.remote.buckets import copy_folder, write


def list_rows(manifest: Manifest) -> list[tuple[Any, ...]]:
    """List what a row says, and the bytes of its image; paths differ by the place of the source."""
    rows = []
    for entry in manifest.entries:
        row, content = entry.row, entry.content
        assert isinstance(content, Content)
        try:
            data: object = content.read_whole()[0]
        except OSError:
            data = None
        rows.append((row.id, row.label, row.split, row.group, data))
    return rows


@pytest.fixture
def tree(photos: Path) -> Path:
    """A folder with everything that a listing passes over."""
    (photos / "notes.txt").write_text("none")
    (photos / "train/ants/.hidden.jpg").write_bytes(b"")
    (photos / "train/ants/plain").write_bytes((photos / "train/ants/0.jpg").read_bytes())
    (photos / "train/ants/text").write_text("no image")
    (photos / "train/ants-2.jpg").write_bytes((photos / "train/ants/1.jpg").read_bytes())
    (photos / "train/@eaDir/x").mkdir(parents=True)
    (photos / "train/@eaDir/x/1.jpg").write_bytes(b"thumbnail")
    return photos


def test_a_folder_of_a_store_is_that_of_this_machine(tree: Path, bucket: Address) -> None:
    copy_folder(tree, bucket / "photos")
    here, there = read_manifest(tree), read_manifest(f"{bucket}/photos/")
    assert list_rows(there) == list_rows(here)
    assert there.ignored == here.ignored == {".txt": 1, "": 1, "@eaDir/": 1}
    assert there.describe() == here.describe()
    assert there.entries[0].row.path == f"{bucket}/photos/{there.entries[0].row.id}"
    again = read_manifest(Path(f"{bucket}/photos"))  # a Path drops a slash
    assert [entry.row for entry in again.entries] == [entry.row for entry in there.entries]


def test_the_state_of_a_listed_object_is_known_without_a_request(
    tree: Path, s3: Any, bucket: Address
) -> None:
    copy_folder(tree, bucket / "photos")
    contents = [entry.content for entry in read_manifest(f"{bucket}/photos").entries]
    s3.seen.clear()
    states = list(stat_all(contents))
    assert not s3.seen
    unknown = [build_content(content.file) for content in contents]  # type: ignore[union-attr]
    assert list(stat_all([*unknown, build_content(f"{bucket}/none.jpg")])) == [*states, None]
    assert all(state is not None and state[1] > 0 for state in states)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_table_of_a_store_starts_at_its_folder(
    name: str, photos: Path, bucket: Address, tmp_path: Path
) -> None:
    paths = ["train/ants/0.jpg", "./val/bees/1.jpg", "val/./ants/0.jpg"]
    lines = {
        "t.csv": ["path,label", *(f"{path},x" for path in paths)],
        "t.jsonl": [f'{{"path": "{path}", "label": "x"}}' for path in paths],
    }
    (photos / name).write_text("\n".join(lines[name]))
    copy_folder(photos, bucket / "a")
    here, there = read_manifest(photos / name), read_manifest(f"{bucket}/a/{name}")
    assert [row[1:] for row in list_rows(there)] == [row[1:] for row in list_rows(here)]
    assert there.entries[1].row.path == f"{bucket}/a/val/bees/1.jpg"


def test_a_table_of_this_machine_may_name_addresses(
    photos: Path, bucket: Address, tmp_path: Path
) -> None:
    copy_folder(photos, bucket / "a")
    table = tmp_path / "table.csv"
    table.write_text(f"path\n{bucket}/a/val/bees/1.jpg\n{bucket}/a/none.jpg\ngopher://h/1.jpg\n")
    found = list_rows(read_manifest(table))
    assert found[0][0] == f"{bucket}/a/val/bees/1.jpg"
    assert found[0][-1] == (photos / "val/bees/1.jpg").read_bytes()
    assert [row[-1] for row in found[1:]] == [None, None]


def test_parquet_of_a_store_holds_images_or_paths(photos: Path, bucket: Address) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    files = sorted(photos.rglob("*.jpg"))
    data = [file.read_bytes() for file in files]
    names = [file.relative_to(photos).as_posix() for file in files]
    parquet.write_table(pyarrow.table({"image": data, "label": names}), photos / "images.parquet")
    parquet.write_table(pyarrow.table({"path": names}), photos / "paths.parquet")
    copy_folder(photos, bucket / "a")
    for name in ("images.parquet", "paths.parquet"):
        here, there = read_manifest(photos / name), read_manifest(f"{bucket}/a/{name}")
        assert list_rows(there) == list_rows(here)
        assert [row[-1] for row in list_rows(there)] == data


def write_tar(path: Path, members: dict[str, bytes]) -> bytes:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path.read_bytes()


def make_members(photos: Path) -> dict[str, bytes]:
    members = {}
    for number, file in enumerate(sorted(photos.rglob("*.jpg"))):
        members[f"{number}.jpg"] = file.read_bytes()
        members[f"{number}.cls"] = file.parent.name.encode()
    return members


def test_a_tar_of_a_store_is_read_in_few_requests(
    photos: Path, s3: Any, bucket: Address, tmp_path: Path
) -> None:
    members = make_members(photos)
    write(bucket / "a.tar", write_tar(tmp_path / "a.tar", members))
    s3.seen.clear()
    there = read_manifest(f"{bucket}/a.tar")
    assert s3.seen["GET"] <= 2
    here = read_manifest(tmp_path / "a.tar")
    assert list_rows(there) == list_rows(here)
    assert {entry.row.label for entry in there.entries} == {"ants", "bees"}
    assert isinstance(there.entries[0].content, RemoteContent)


def test_two_tars_of_a_store_have_ids_with_their_names(
    photos: Path, bucket: Address, tmp_path: Path
) -> None:
    members = make_members(photos)
    for name in ("train.tar", "val.tar"):
        write(bucket / name, write_tar(tmp_path / name, members))
    there = read_manifest([f"{bucket}/train.tar", f"{bucket}/val.tar"])
    here = read_manifest([tmp_path / "train.tar", tmp_path / "val.tar"])
    assert list_rows(there) == list_rows(here)


def test_a_tar_that_is_cut_off_is_refused(photos: Path, bucket: Address, tmp_path: Path) -> None:
    data = write_tar(tmp_path / "a.tar", make_members(photos))
    write(bucket / "a.tar", data[:5000])
    with pytest.raises(SourceError, match=rf"^{bucket}/a.tar: expected a plain tar, got ReadError"):
        read_manifest(f"{bucket}/a.tar")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://typo/photos", "expected an existing bucket, got no bucket 'typo'"),
        ("{bucket}/none", "got nothing at this address. Check the address."),
        ("{bucket}/none.tar", "got nothing at this address. Check the address."),
        ("{bucket}/none.csv", "got nothing at this address. Check the address."),
        ("http://127.0.0.1:1/photos/", "servers of HTTP have no folders, got a folder"),
        ("gopher://host/photos", "expected an address of a scheme that fsspec knows"),
    ],
)
def test_a_source_that_is_not_there_is_told_in_one_line(
    source: str, message: str, bucket: Address
) -> None:
    with pytest.raises(SourceError) as error:
        read_manifest(source.format(bucket=bucket))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_listing_through_faults_is_the_whole_one_or_an_error(
    tree: Path, s3: Any, bucket: Address
) -> None:
    copy_folder(tree, bucket / "photos")
    whole = [entry.row for entry in read_manifest(f"{bucket}/photos").entries]
    s3.share, n_whole = 0.5, 0
    for seed in range(6):
        s3.seed = seed
        try:
            rows = [entry.row for entry in read_manifest(f"{bucket}/photos").entries]
        except SourceError as error:
            if "expected an answer of the store" not in str(error):
                raise
        else:
            n_whole += 1
            assert rows == whole
    assert n_whole
    assert s3.faults


class Ranges(SimpleHTTPRequestHandler):
    """A server of files that gives ranges of bytes, or whole files only."""

    gives_ranges = True

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if not (asked and self.gives_ranges and path.is_file()):
            return super().do_GET()
        data = path.read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        return None

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(params=[True, False], ids=["ranges", "whole"])
def web(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of the temporary folder on a server of HTTP."""
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(Ranges, "gives_ranges", request.param)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
    store._systems.clear()


def test_tars_and_images_of_a_web_server(photos: Path, tmp_path: Path, web: str) -> None:
    write_tar(tmp_path / "a.tar", make_members(photos))
    os.utime(photos / "val/bees/1.jpg", (10**9, 10**9))
    image = read_manifest(f"{web}/photos/val/bees/1.jpg?width=9").entries[0]
    assert image.row.id == f"{web}/photos/val/bees/1.jpg?width=9"
    assert isinstance(image.content, RemoteContent)
    assert image.content.read() == (photos / "val/bees/1.jpg").read_bytes()
    assert image.content.stat()[1] == 10**18
    there = read_manifest(f"{web}/a.tar?X-Amz-Signature=secret")
    assert there.source == f"{web}/a.tar"
    found = list_rows(there)
    if Ranges.gives_ranges:
        assert found == list_rows(read_manifest(tmp_path / "a.tar"))
    else:
        assert {row[-1] for row in found} == {None}
    assert "secret" not in repr([entry.row for entry in there.entries])


def test_memory_is_a_store_too(photos: Path) -> None:
    copy_folder(photos, Address("memory://sources/photos"))
    assert list_rows(read_manifest("memory://sources/photos")) == list_rows(read_manifest(photos))
