"""The log of epochs: what was written is read, and every other file is refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from featx.core.errors import TuningError
from featx.finetune.log import MAX_LOG_BYTES, Epoch, read_log, write_log
from featx.finetune.report import TuningReport

FIRST = Epoch(
    epoch=0,
    train_loss=float("nan"),
    holdout_loss=1.0,
    holdout_accuracy=0.5,
    holdout_balanced_accuracy=0.4,
    lr=0.0,
    seconds=0.0,
    images_per_s=0.0,
)
HISTORY = [FIRST, replace(FIRST, epoch=1, train_loss=0.1 + 0.2, lr=1e-3, images_per_s=1 / 3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tuned.log.csv"
    write_log(path, HISTORY, overwrite=False)
    return path


def test_write_log_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("before")
    write_log(path, [], overwrite=True)
    assert path.read_text() == (
        "epoch,train_loss,holdout_loss,holdout_accuracy,holdout_balanced_accuracy,lr,seconds,"
        "images_per_s\n"
    )


def test_read_log_gives_what_was_written_to_the_last_bit(path: Path) -> None:
    assert repr(read_log(path)) == repr(HISTORY)
    assert repr(read_log(str(path))) == repr(HISTORY)


def test_read_log_reads_the_log_of_a_run(tuned: TuningReport) -> None:
    assert repr(read_log(tuned.log_path)) == repr([*tuned.history])


def test_read_log_reads_what_a_spreadsheet_program_saved(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert repr(read_log(path)) == repr(HISTORY)


@pytest.mark.parametrize(
    ("old", "new", "got"),
    [
        ("epoch,train_loss", "epoch,loss", "another first line than epoch,train_loss,holdout_loss"),
        ("1,0.3", "2,0.3", "'2' in place of epoch 1"),
        (",0.001,", ",much,", "'much' in place of a number: lr of epoch 1"),
        (",0.001,", ",", "7 values in place of 8 for epoch 1"),
        (",0.001,", ",0.001,5,", "9 values in place of 8 for epoch 1"),
        ("0,nan", '"0,nan', "unexpected end of data"),
    ],
)
def test_read_log_refuses_another_content(path: Path, old: str, new: str, got: str) -> None:
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(TuningError) as caught:
        read_log(path)
    assert str(caught.value).startswith(f"{path}: expected the log of a fine-tuning, got {got}"), (
        str(caught.value)
    )
    assert str(caught.value).endswith(
        "Pass the file NAME.log.csv that lies beside the tuned weights."
    )


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "another first line than epoch,"),
        (b"\xff\xfe\x00", "bytes that are no text"),
        (b"x" * (MAX_LOG_BYTES + 1), "a file of more than 17 MB"),
        (b"x" * 200_000, "field larger than field limit"),
    ],
    ids=["empty", "binary", "large", "one word"],
)
def test_read_log_refuses_other_files(path: Path, content: bytes, got: str) -> None:
    path.write_bytes(content)
    with pytest.raises(TuningError, match=f"got {got}"):
        read_log(path)


def test_read_log_refuses_a_log_without_epochs(path: Path) -> None:
    write_log(path, [], overwrite=True)
    with pytest.raises(TuningError, match="got no epoch"):
        read_log(path)


@pytest.mark.parametrize(
    ("name", "got"), [("none.csv", "No such file or directory"), ("", "Is a directory")]
)
def test_read_log_names_a_file_that_cannot_be_read(tmp_path: Path, name: str, got: str) -> None:
    with pytest.raises(TuningError, match=f"got {got}. Check the path"):
        read_log(tmp_path / name)


def test_epoch_record_has_none_in_place_of_nan() -> None:
    record = FIRST.to_record()
    assert record["train_loss"] is None
    assert repr(Epoch.from_record(record)) == repr(FIRST)
    for wrong in ({"lr": "much"}, {"more": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Epoch.from_record(record | wrong)
