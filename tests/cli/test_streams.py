"""Standard streams that are missing, full, closed or narrow: the run is done, or ends in a line."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featx.cache.joined import open_cache
from featx.cli.streams import PIPE_CODE, PrintError
from featx.core.signals import explain_end
from tests.builders import build_info, build_rows, write_vectors

FEATX = f"{sys.executable} -m featx"


@pytest.fixture(scope="module")
def accented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache whose labels no ASCII terminal can show."""
    import numpy as np

    path = tmp_path_factory.mktemp("accented") / "cache.h5"
    info = build_info()
    rows = build_rows(["chat-é", "犬"] * 5, [None] * 10)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(10, info.fingerprint.dim)).astype(np.float32)
    return write_vectors(path, [info], rows, {info.name: vectors})


def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | environment,
        timeout=120,
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_text_that_the_terminal_cannot_show_is_escaped(accented: Path, encoding: str) -> None:
    done = run(f"{FEATX} info {accented}", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u72ac" in done.stdout


def test_json_in_a_file_is_utf8_whatever_the_terminal_is(accented: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = run(f"{FEATX} info {accented} --json > {out}", PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, "")
    assert "犬" in out.read_text(encoding="utf-8")
    assert json.loads(out.read_text(encoding="utf-8"))["n_rows"] == 10


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_standard_output_is_told_in_one_line(accented: Path, unbuffered: str) -> None:
    done = run(f"{FEATX} info {accented} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr.startswith("featx: standard output: expected to print the result, got No sp")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("closing", ["2>&-", "<&-", "2>/dev/full"])
def test_other_stream_that_is_closed_or_full_does_not_end_the_run(
    accented: Path, closing: str
) -> None:
    done = run(f"{FEATX} info {accented} {closing}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "10 rows" in done.stdout


@pytest.mark.parametrize("words", ["info {}", "info {} --json", "--help", "--version"])
def test_closed_standard_output_is_told_in_one_line(accented: Path, words: str) -> None:
    done = run(f"{FEATX} {words.format(accented)} >&-")
    assert done.returncode == 1
    assert done.stderr.startswith("featx: standard output: expected to print the result, got Bad f")
    assert len(done.stderr.splitlines()) == 1


def test_reader_that_has_enough_ends_the_run_silently(accented: Path) -> None:
    done = run(f"{FEATX} info {accented} --json | head -c 1; echo ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    # The reader may leave before or after the last of a few lines.
    assert done.stdout in ("{" + f"{PIPE_CODE}\n", "{0\n")


def test_print_error_of_a_broken_pipe_is_silent_and_of_a_full_disk_is_not() -> None:
    gone, full = PrintError(BrokenPipeError(32, "Broken pipe")), PrintError(OSError(28, "No space"))
    assert (gone.describe("a.h5 is in place. "), gone.exit_code) == (None, PIPE_CODE)
    assert full.exit_code == 1
    assert str(full.describe("a.h5 is in place. ")).endswith(
        "got No space. a.h5 is in place. Print to another place."
    )


class FullStream(io.StringIO):
    """A standard output on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("fit-head {cache} -o {head} --C 1", "{head}"),
        ("fit-head {cache} --output={head} --C 1 --json", "--output={head}"),
        ("split {cache} --overwrite --seed 3", "{cache}"),
        ("info {cache}", ""),
        ("info {cache} --json", ""),
    ],
)
def test_lost_output_says_which_file_is_in_place(
    cache_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch, line: str, written: str
) -> None:
    paths = {"cache": cache_path, "head": cache_path.parent / "new.joblib"}
    monkeypatch.setattr(sys, "stdout", FullStream())
    os.utime(cache_path)  # any later change of the file is one of the command
    result = run_cli(*line.format(**paths).split())
    path = written.format(**paths).removeprefix("--output=")
    in_place = f"{path} is in place. " if path else ""
    assert result.code == 1
    assert result.err.splitlines()[-1] == (
        "featx: standard output: expected to print the result, got No space left on device. "
        f"{in_place}Print to another place."
    )


def test_signal_after_the_file_is_in_place_says_so(
    cache_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("featx.cli.fit_head.print_text", interrupt)
    head = cache_path.parent / "new.joblib"
    result = run_cli("fit-head", cache_path, "-o", head, "--C", "1")
    assert (result.code, result.err) == (143, f"featx: terminated: {head} is in place\n")


def test_extraction_without_any_stream_makes_its_cache(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_backbone: str
) -> None:
    import featx

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    featx.extract(photos, tmp_path / "new.h5", backbone=tiny_backbone)
    with open_cache(tmp_path / "new.h5") as cache:
        assert len(cache) == 12


# --- the end by a signal


def test_explain_end_notes_what_is_kept_on_signals_alone() -> None:
    def end(error: BaseException) -> list[str]:
        with pytest.raises(type(error)) as caught, explain_end(lambda: "3 images are kept"):
            raise error
        return getattr(caught.value, "__notes__", [])

    assert end(KeyboardInterrupt()) == end(SystemExit(143)) == ["3 images are kept"]
    assert end(ValueError()) == []


def interrupt_at(number: int, sent: signal.Signals) -> Any:
    def act(batch: int) -> None:
        if batch == number:
            os.kill(os.getpid(), sent)

    return act


@pytest.mark.parametrize(
    ("sent", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "hung up"),
    ],
)
def test_ended_extraction_says_what_is_kept_and_goes_on(
    photos: Path,
    tiny_backbone: str,
    run_cli: Any,
    watch_batches: Any,
    sent: signal.Signals,
    code: int,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("featx.embedding.loop.READY_BYTES", 0)  # two batches may wait to be kept
    output = photos.parent / "new.h5"
    line = ["extract", photos, "-o", output, "--backbone", tiny_backbone, "--batch-size", "1"]
    # Eight batches before, of which the engine has some in flight: others are embedded.
    with watch_batches(interrupt_at(9, sent)):
        result = run_cli(*line)
    assert (result.code, result.out) == (code, "")
    (told,) = result.err.splitlines()
    assert told.startswith(f"featx: {word}: ")
    # How many batches are kept is a matter of threads, and seldom it is none.
    is_kept = any(Path(f"{output}.partial").glob("shard-*.h5"))
    kept = f" embedded images are kept in {output}.partial; run the same again to go on"
    assert told.endswith(kept if is_kept else " no result was written; run the same again")
    assert run_cli(*line).code == 0


def test_ended_command_that_keeps_nothing_says_so(
    photos_cache: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("featx.fitting.fit.FittingRows.read", interrupt)
    result = run_cli("fit-head", photos_cache, "-o", photos_cache.parent / "head.joblib")
    assert result.code == 130
    assert result.err == "featx: interrupted: no result was written; run the same command again\n"


def test_interrupted_demo_does_not_go_on_with_its_next_command(
    run_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("featx.extraction.extract.run_extraction", interrupt)
    result = run_cli("demo", "-o", tmp_path / "demo")
    assert result.code == 130
    assert "$ featx extract" in result.out
    assert "$ featx split" not in result.out
    assert result.err == (
        f"featx: interrupted: {tmp_path / 'demo'} is unfinished; run the same again to begin anew\n"
    )
