"""A cache in embedding-atlas: the table that it shows, and a server on this machine only."""

import importlib.util
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featx
from featx.core.errors import FeatxError, FeatxWarning, MissingExtraError
from featx.report import explore as module
from featx.report.explore import AtlasTable, build_command, serve, write_atlas

parquet: Any = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")

TABLE = AtlasTable(
    path="x.parquet", n_rows=3, n_without_vector=0, n_without_image=0, has_neighbours=True
)


def test_table_has_thumbnails_a_map_and_neighbours(photos_cache: Path, tmp_path: Path) -> None:
    made = write_atlas(photos_cache, tmp_path / "t.parquet", progress=False)
    assert made == AtlasTable(
        path=str(tmp_path / "t.parquet"),
        n_rows=12,
        n_without_vector=0,
        n_without_image=0,
        has_neighbours=True,
    )
    table = parquet.read_table(tmp_path / "t.parquet")
    names = ["image", "id", "label", "split", "group", "width", "height", "n_bytes"]
    assert table.column_names == [*names, "typicality", "neighbors", "x", "y"]
    with featx.open_cache(photos_cache) as cache:
        assert table["id"].to_pylist() == cache.ids.tolist()
        assert table["label"].to_pylist() == cache.labels.tolist()
        found = featx.Searcher(cache).find(cache.read_vectors(), top=10, exclude=np.arange(12))
    image = Image.open(io.BytesIO(table["image"][0].as_py()["bytes"]))
    assert image.size == (48, 36)
    assert [one["ids"] for one in table["neighbors"].to_pylist()] == found.rows.tolist()
    assert np.isfinite(table["x"].to_numpy()).all()


def test_parts_join_and_missing_images_are_counted(
    photos: Path, photos_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", 5)
    monkeypatch.setattr(module, "MAX_COMPARED", 5)
    shutil.rmtree(photos / "val")
    made = write_atlas(photos_cache, tmp_path / "t.parquet", progress=False)
    assert (made.n_rows, made.n_without_image, made.has_neighbours) == (12, 4, False)
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table["image"].null_count == 4
    assert "neighbors" not in table.column_names
    with pytest.raises(FeatxError, match="overwrite"):
        write_atlas(photos_cache, tmp_path / "t.parquet", progress=False)


def test_server_is_on_this_machine_only() -> None:
    command = build_command(TABLE, 6000)
    assert command[:4] == [sys.executable, "-m", "embedding_atlas.cli", "x.parquet"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--duckdb") + 1] == "server"
    assert command[command.index("--port") + 1] == "6000"


def test_server_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "build_command", lambda *_: [sys.executable, "-c", "exit(7)"])
    with pytest.raises(FeatxError, match=r"embedding-atlas: expected a server.*exit code 7"):
        serve(TABLE, 6000)


def test_interrupt_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    class Server:
        code: int | None = None

        def __init__(self, command: Any) -> None:
            started.append(self)

        def wait(self) -> int | None:
            if self.code is None:
                raise KeyboardInterrupt
            return self.code

        def poll(self) -> int | None:
            return self.code

        def terminate(self) -> None:
            self.code = -15

    monkeypatch.setattr("subprocess.Popen", Server)
    serve(TABLE, 6000)
    assert [one.code for one in started] == [-15]


def test_explore_notes_what_is_not_shown_and_keeps_the_table(
    photos: Path, photos_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Any
) -> None:
    served: list[int] = []
    monkeypatch.setattr(module, "MODULE", "json")
    monkeypatch.setattr(module, "serve", lambda table, port: served.append(port))
    (photos / "val/ants/0.jpg").unlink()
    with pytest.warns(FeatxWarning, match="1 row without an image"):
        featx.explore(photos_cache, progress=False)
    done = run_cli("explore", photos_cache, "-o", tmp_path / "t.parquet", "--port", "6001")
    assert done.code == 0
    assert done.out == (
        "12 rows shown, 1 of them without an image; 0 rows without a vector left out\n"
    )
    assert served == [5055, 6001]
    assert parquet.read_table(tmp_path / "t.parquet").num_rows == 12


def test_missing_package_is_named_with_its_extra(
    photos_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MODULE", "no_such_atlas")
    with pytest.raises(MissingExtraError, match="the extra explore"):
        featx.explore(photos_cache)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("embedding_atlas") is None, reason="needs embedding-atlas"
)
def test_embedding_atlas_shows_the_table(photos_cache: Path, tmp_path: Path) -> None:
    made = write_atlas(photos_cache, tmp_path / "t.parquet", progress=False)
    process = subprocess.Popen(build_command(made, 6055), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any("Press CTRL+C" in line for line in process.stdout)
        ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:6055/').read())"
        page = subprocess.run([sys.executable, "-c", ask], capture_output=True, check=True)
        assert b"<html" in page.stdout
    finally:
        process.terminate()
        process.wait()
