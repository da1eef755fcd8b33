"""Weights are found on this machine or downloaded, and their digest is checked."""

import functools
import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from featx.backbones.fetch import fetch_weights, find_moved
from featx.core.errors import WeightsError
from featx.core.progress import show_progress

from .builders import build_entry

Served = tuple[Path, str, list[str]]
"""Folder behind a loopback server, its address, and the requests that came."""

CONNECT = socket.socket.connect
"""The method before a fixture of conftest refuses every connection."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A folder behind a loopback server, its URL, and the requests that came."""
    folder = tmp_path / "served"
    folder.mkdir()
    requests: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            requests.append(self.path)

    def connect(self: socket.socket, address: Any) -> None:
        assert address[0] == "127.0.0.1", address
        return CONNECT(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()
    thread.join()


def name_by_digest(data: bytes, n_digits: int = 8) -> str:
    return f"tiny-{hashlib.sha256(data).hexdigest()[:n_digits]}.pth"


def test_fetch_weights_downloads_once_into_torch_home(served: Served, tmp_path: Path) -> None:
    folder, url, requests = served
    name = name_by_digest(b"weights")
    (folder / name).write_bytes(b"weights")
    entry = build_entry(url=f"{url}/{name}")
    files = [fetch_weights(entry), fetch_weights(entry)]
    assert files == [tmp_path / "torch-home/hub/checkpoints" / name] * 2
    assert files[0].read_bytes() == b"weights"
    assert requests == [f"/{name}"]
    # Other users may read it, as far as the umask allows: a folder of weights is often shared.
    (folder / "plain").touch()
    assert files[0].stat().st_mode == (folder / "plain").stat().st_mode


def test_fetch_weights_names_the_file_and_counts_its_bytes(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url, _ = served
    data = bytes(3_000_000)
    name = name_by_digest(data)
    (folder / name).write_bytes(data)
    with show_progress(True):
        fetch_weights(build_entry(url=f"{url}/{name}"))
    line = f"featx: downloading {name}, once: received: 3 of 3 MB (100 %) in "
    assert capsys.readouterr().err.splitlines()[-1].startswith(line)


def test_fetch_weights_download_of_wrong_digest_is_refused_and_leaves_nothing(
    served: Served, tmp_path: Path
) -> None:
    folder, url, _ = served
    name = name_by_digest(b"weights")
    (folder / name).write_bytes(b"others!")
    with pytest.raises(WeightsError, match="invalid hash value"):
        fetch_weights(build_entry(url=f"{url}/{name}"))
    assert [path for path in (tmp_path / "torch-home").rglob("*") if path.is_file()] == []


def test_fetch_weights_missing_on_the_server_says_so(served: Served) -> None:
    _, url, _ = served
    with pytest.raises(WeightsError, match=r"tiny-01234567.pth, got HTTP Error 404"):
        fetch_weights(build_entry(url=f"{url}/tiny-01234567.pth"))


def test_fetch_weights_without_a_route_names_url_digest_and_folder(served: Served) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/tiny-0123456789ab.pth"
    with pytest.raises(
        WeightsError,
        match=rf"^weights IMAGENET1K_V1: expected the file {url}, got .*refused.*"
        r"SHA-256 begins with 0123456789ab\).*FEATX_WEIGHTS_DIR",
    ):
        fetch_weights(build_entry(url=url))


def test_fetch_weights_folder_by_hand_comes_first(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url, requests = served
    name = name_by_digest(b"weights")
    for folder in ("by-hand", "torch-home/hub/checkpoints"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).write_bytes(b"weights")
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path / "by-hand"))
    assert fetch_weights(build_entry(url=f"{url}/{name}")) == tmp_path / "by-hand" / name
    assert requests == []


def test_fetch_weights_folder_by_hand_without_the_file_is_passed_over(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url, _ = served
    name = name_by_digest(b"weights")
    (folder / name).write_bytes(b"weights")
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path / "nowhere"))
    file = fetch_weights(build_entry(url=f"{url}/{name}"))
    assert file == tmp_path / "torch-home/hub/checkpoints" / name


@pytest.mark.parametrize("folder", ["by-hand", "torch-home/hub/checkpoints"])
def test_fetch_weights_file_of_wrong_digest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Any
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "tiny-0123456789ab.pth").write_bytes(b"others")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path / "by-hand"))
    digest = hashlib.sha256(b"others").hexdigest()
    with pytest.raises(
        WeightsError,
        match=rf"{folder}/tiny-0123456789ab\.pth: expected a SHA-256 that begins with "
        rf"0123456789ab, got {digest}",
    ):
        fetch_weights(build_entry())


@pytest.mark.parametrize(
    "recorded",
    ["/elsewhere/mine.pth", "mine.pth", "C:\\Users\\me\\mine.pth", "~/mine.pth"],
)
def test_find_moved_looks_for_the_name_in_the_folder_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_moved(recorded) is None
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(folder))
    assert find_moved(recorded) is None
    (folder / "mine.pth").touch()
    assert find_moved(recorded) == str(folder / "mine.pth")
    assert find_moved(f"{recorded}:model_ema") == f"{folder}/mine.pth:model_ema"


@pytest.mark.parametrize("recorded", ["IMAGENET1K_V1", "random:0", "DEFAULT"])
def test_find_moved_of_a_name_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: str
) -> None:
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / recorded).touch()
    assert find_moved(recorded) is None


def test_find_moved_of_a_file_that_is_still_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.pth").touch()
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    assert find_moved(str(tmp_path / "mine.pth")) is None


def test_fetch_weights_without_a_home_is_refused_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "~/.cache/torch/hub")  # as torch leaves it
    with pytest.raises(WeightsError, match=r"got no home folder\. Name a folder in TORCH_HOME"):
        fetch_weights(build_entry(url="https://example.invalid/tiny-0123abcd.pth"))
    assert list(tmp_path.iterdir()) == []
