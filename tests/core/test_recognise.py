"""Files are recognised by their first bytes, and swapped paths are told with the right call."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from featx.core.errors import FeatxError
from featx.core.recognise import check_order, describe_path, recognise_file

HDF5 = b"\x89HDF\r\n\x1a\n"
TENSORS = {"weight": torch.zeros(2, 3)}
CALL = "featx.evaluate({held!r}, {rest!r})"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file of each kind, and with others."""
    (tmp_path / "photos.h5").write_bytes(HDF5 + bytes(100))
    (tmp_path / "block.h5").write_bytes(bytes(2048) + HDF5 + bytes(100))
    joblib.dump({"format": "featx-head", "X": np.zeros(3)}, tmp_path / "head.joblib")
    torch.save(TENSORS, tmp_path / "new.pth")
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(TENSORS, tmp_path / "tuned.safetensors")
    save_file({}, tmp_path / "none.safetensors")
    (tmp_path / "text.txt").write_text("{} of text")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "archive.zip").write_bytes(b"PK\x03\x04" + bytes(300))
    (tmp_path / "no-pickle").write_bytes(b"\x80\x81")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("photos.h5", "cache", "a cache"),
        ("block.h5", "cache", "a cache"),
        ("head.joblib", "head", "a head"),
        ("new.pth", "weights", "a file of weights"),
        ("old.pth", "weights", "a file of weights"),
        ("tuned.safetensors", "weights", "a file of weights"),
        ("none.safetensors", "weights", "a file of weights"),
        ("text.txt", None, "another file"),
        ("empty", None, "another file"),
        ("archive.zip", None, "another file"),
        ("no-pickle", None, "another file"),
        (".", None, "a folder"),
        ("gone", None, "no such file"),
    ],
)
def test_recognise_file_by_its_first_bytes(
    folder: Path, name: str, content: Any, words: str
) -> None:
    assert recognise_file(folder / name) == content
    assert describe_path(folder / name) == words


def test_check_order_tells_the_right_call(folder: Path) -> None:
    cache, head = folder / "photos.h5", folder / "head.joblib"
    with pytest.raises(FeatxError) as caught:
        check_order(("head", "cache"), (cache, [head]), content="head", call=CALL)
    assert caught.value.subject == "head, cache"
    assert caught.value.remedy == f"Exchange the two: featx.evaluate('{head}', '{cache}')."


def test_check_order_of_a_second_that_comes_first(folder: Path) -> None:
    with pytest.raises(FeatxError, match="expected a cache in the second of them, got it in the f"):
        check_order(
            ("source", "cache"),
            (folder / "photos.h5", folder),
            content="cache",
            is_first=False,
            call="featx.extract({rest!r}, {held!r})",
        )


def test_check_order_takes_other_words_of_the_call_as_they_are(folder: Path) -> None:
    with pytest.raises(FeatxError) as caught:
        check_order(
            ("head", "cache"),
            (folder / "photos.h5", folder / "head.joblib"),
            content="head",
            call="featx.f({held!r}, output={output!r})",
            output="a{b}.csv",
        )
    assert "output='a{b}.csv'" in caught.value.remedy


def test_check_order_finds_the_head_among_many(folder: Path) -> None:
    many = [folder / "text.txt", folder / "head.joblib"]
    with pytest.raises(FeatxError) as caught:
        check_order(("head", "inputs"), (folder / "empty", many), content="head", call=CALL)
    rest = [str(folder / "empty"), str(folder / "text.txt")]
    assert caught.value.remedy == f"Exchange the two: featx.evaluate('{many[1]}', {rest})."


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("head.joblib", "photos.h5"),
        ("photos.h5", "photos.h5"),
        ("head.joblib", "head.joblib"),
        ("gone", "head.joblib"),
        ("photos.h5", "text.txt"),
    ],
)
def test_check_order_of_others_passes(folder: Path, first: str, second: str) -> None:
    check_order(("head", "cache"), (folder / first, folder / second), content="head", call=CALL)


def test_check_order_of_objects_passes(folder: Path) -> None:
    for objects in ((object(), folder / "head.joblib"), (folder, object()), (folder, [folder])):
        check_order(("head", "cache"), objects, content="head", call=CALL)
