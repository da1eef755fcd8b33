"""What the system does not let look at is a failure with its reason, or an error: never "none"."""

import builtins
import errno
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import featx
from featx.core.recognise import UNREADABLE, describe_path
from featx.images.content import Content, Unseen
from featx.images.sources.folder import read_folder
from featx.images.sources.read import read_manifest
from featx.images.sources.tar import read_tar
from tests.conftest import write_image

ERRORS = [errno.EACCES, errno.EIO, errno.ENAMETOOLONG]


def build_error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let calls of the system fail for some paths, as for a user without rights; a factory."""

    def patch(owner: Any, call: str, number: int, part: str) -> None:
        real = getattr(owner, call)

        def fail(path: Any, *rest: Any, **options: Any) -> Any:
            if isinstance(path, str | os.PathLike) and part in os.fspath(path):
                raise build_error(number, os.fspath(path))
            return real(path, *rest, **options)

        monkeypatch.setattr(owner, call, fail)

    def begin(number: int, *calls: str, part: str) -> None:
        for call in calls:
            for owner in (os, io, builtins) if call == "open" else (os,):
                patch(owner, call, number, part)

    return begin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, and one image in each without a suffix; a text beside them."""
    for label in ("ants", "bees"):
        for name in ("0.jpg", "1.jpg"):
            write_image(tmp_path / "photos" / label / name)
        write_image(tmp_path / "photos" / label / "plain", format="JPEG")
    (tmp_path / "photos" / "README").write_text("words")
    return tmp_path / "photos"


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("call", ["open", "stat"])
def test_file_that_cannot_be_looked_at_is_a_failed_row(
    folder: Path, tmp_path: Path, tiny_backbone: str, refuse: Any, number: int, call: str
) -> None:
    refuse(number, call, part="ants/plain")
    if call == "stat":
        refuse(number, "open", part="ants/plain")
    (folder / "README").unlink()
    with pytest.warns(featx.FeatxWarning) as told:
        report = featx.extract(
            folder, tmp_path / "p.h5", backbone=tiny_backbone, max_failures=1, progress=False
        )
    assert [str(one.message)[:14] for one in told] == ["1 image failed", "1 file lies in"]
    assert report.n_rows == 5
    (failure,) = featx.read_failures(tmp_path / "p.h5")
    assert (failure.id, failure.stage) == ("ants/plain", "read")
    assert failure.reason == os.strerror(number)
    with featx.open_cache(tmp_path / "p.h5") as cache:
        assert set(cache.labels.tolist()) == {"ants", "bees"}


def test_text_that_cannot_be_looked_at_changes_no_label(folder: Path, refuse: Any) -> None:
    before = {entry.row.id: entry.row.label for entry in read_folder(folder).entries}
    refuse(errno.EACCES, "open", part="README")
    manifest = read_folder(folder)
    after = {entry.row.id: entry.row.label for entry in manifest.entries}
    assert after == before | {"README": None}
    (unseen,) = [one.content for one in manifest.entries if isinstance(one.content, Unseen)]
    assert unseen.reason == "Permission denied"


def test_link_that_leads_nowhere_or_to_itself_is_a_failed_row(folder: Path) -> None:
    (folder / "ants" / "loop").symlink_to("loop")
    (folder / "ants" / "gone").symlink_to("nowhere")
    reasons = {
        entry.row.id: entry.content.reason
        for entry in read_folder(folder).entries
        if isinstance(entry.content, Unseen)
    }
    assert reasons == {
        "ants/loop": os.strerror(errno.ELOOP),
        "ants/gone": os.strerror(errno.ENOENT),
    }


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("call", ["stat", "scandir"])
def test_folder_that_cannot_be_entered_is_an_error(
    folder: Path, refuse: Any, number: int, call: str
) -> None:
    refuse(number, call, part="bees")
    with pytest.raises(featx.SourceError, match=f"bees: expected .*{os.strerror(number)}"):
        read_folder(folder)


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("name", ["photos", "rows.csv", "a.tar", "cache.h5", "plain"])
def test_source_that_cannot_be_looked_at_is_an_error(
    tmp_path: Path, refuse: Any, number: int, name: str
) -> None:
    refuse(number, "stat", part=name)
    told = f"{name}: expected a source that can be read, got {os.strerror(number)}"
    for one in (tmp_path / name, [tmp_path / name]):
        with pytest.raises(featx.SourceError, match=told):
            read_manifest(one)


def test_image_that_cannot_be_looked_at_is_a_failed_prediction(
    tmp_path: Path, photos_cache: Path, refuse: Any
) -> None:
    head = tmp_path / "head.joblib"
    featx.fit_head(photos_cache, head, C=1.0)
    refuse(errno.EACCES, "stat", "open", part="secret.jpg")
    images = [tmp_path / "secret.jpg", next((tmp_path / "photos").rglob("*.jpg"))]
    with pytest.warns(featx.FeatxWarning):
        first, second = featx.predict(head, images, progress=False)
    assert first.error == "Permission denied"
    assert second.error is None


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_metadata_that_cannot_be_read_is_an_error(folder: Path, refuse: Any, name: str) -> None:
    (folder / "ants" / name).write_text("file_name,label\n0.jpg,x\n")
    refuse(errno.EACCES, "open", part=name)
    with pytest.raises(featx.SourceError, match=r"Permission denied"):
        read_folder(folder)


def test_member_that_cannot_be_read_is_a_failed_row(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(folder, "")
    read, positions = Content.read, []

    def fail(self: Content, size: int | None = None) -> bytes:
        data = read(self, size)
        if data[:5] == b"words":
            positions.append(self.offset)
            raise build_error(errno.EIO, self.file)
        return data

    monkeypatch.setattr(Content, "read", fail)
    rows = {entry.row.id: entry for entry in read_tar(tmp_path / "a.tar").entries}
    assert rows["README"].content == Unseen(
        str(tmp_path / "a.tar"), positions[0], 5, os.strerror(errno.EIO)
    )
    assert rows["README"].row.label is None
    assert {rows[f"{label}/plain"].row.label for label in ("ants", "bees")} == {"ants", "bees"}


@pytest.mark.parametrize("call", ["stat", "open"])
def test_describe_path_does_not_take_what_cannot_be_read_for_missing(
    cache_path: Path, refuse: Any, run_cli: Any, call: str
) -> None:
    refuse(errno.EACCES, call, part=cache_path.name)
    if call == "stat":
        assert describe_path(cache_path) == f"{UNREADABLE} (Permission denied)"
    for words in (["info", cache_path], ["verify", cache_path], ["split", cache_path]):
        result = run_cli(*words)
        assert result.code == 1
        (line,) = (result.out + result.err).splitlines()[-1:]
        assert "Permission denied" in line
        assert "no such file" not in line
