"""An extraction may be ended at any moment; called again, it ends as if nothing had been."""

import os
from pathlib import Path
from typing import Any

import pytest

from .conftest import Killing, extract_words, read_content, read_finished

LONG = int(os.environ.get("FEATX_KILLS", "40"))


def kill_many(killing: Any, n_kills: Any) -> None:
    while killing.n_ended < n_kills:
        if killing.call():
            killing.begin_anew()
    assert killing.call(is_ended=False)
    assert killing.n_ended >= n_kills


@pytest.mark.slow
def test_extract_killed_many_times_ends_in_the_same_bytes(
    server: Any, photo_folder: Any, tmp_path: Path
) -> None:
    kill_many(Killing(server, photo_folder, tmp_path, seed=2), LONG)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["SIGTERM", "SIGINT"])
def test_extract_ended_in_order_at_random_moments_loses_nothing(
    server: Any, photo_folder: Any, tmp_path: Path, ending: str
) -> None:
    kill_many(Killing(server, photo_folder, tmp_path, seed=3, ending=ending), 3)


@pytest.mark.slow
def test_extract_interrupted_by_the_keyboard_says_so_and_goes_on(
    server: Any, photo_folder: Any, tmp_path: Path
) -> None:
    output = tmp_path / "photos.h5"
    words = extract_words(photo_folder, output)
    server.run(words, tmp_path / "whole.log")
    expected = read_content(output)
    output.unlink()
    shard = tmp_path / "photos.h5.partial" / "shard-*.h5"
    done = server.run(words, tmp_path / "1.log", until=str(shard), signal="SIGINT")
    assert done["code"] == 130, done["stderr"]
    assert read_finished(output)
    done = server.run(words, tmp_path / "2.log")
    assert done["code"] == 0, done["stderr"]
    assert "continued after" in done["stderr"]
    assert read_content(output) == expected
