"""Every call that concerns a disk may fail, or be the last: one line, and nothing is lost.

`make test-faults` disturbs each call; FEATX_ERRORS is the number of errors that each call gets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Server
from .injection import Command, draw_faults, find_reason_to_skip

REASON = find_reason_to_skip()

pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

N_ERRORS = int(os.environ.get("FEATX_ERRORS", "0"))
"""Number of errors for each call; 0 for a sample of the calls."""

N_SAMPLED = 24

IMPORTS = (
    "featx.finetune.tune, featx.engines.torch_engine, torchvision, sklearn.linear_model, h5py, "
    "featx.extraction.extract, featx.fitting.fit, featx.fitting.split, featx.prediction.predict"
)
"""What the commands load late, which would be most of their time."""

COLOURS = {"ants": (150, 110, 120), "bees": (110, 130, 150)}


class Workshop:
    """A server, and a folder with images, a cache and a head, from which all commands begin."""

    def __init__(self, folder: Path, make_image: Any, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "work"
        self.photos, self.cache = self.folder / "photos", self.folder / "p.h5"
        self.head, self.tuned = self.folder / "h.joblib", self.folder / "t.safetensors"
        self.predictions = self.folder / "predictions.csv"
        patch.setenv("FEATX_STORE", str(self.folder / "store"))
        path = str(Path(__file__).with_name("server.py"))
        code = f"import runpy, {IMPORTS}; runpy.run_path({path!r}, run_name='__main__')"
        self.server = Server("-c", code)
        for split, count in (("train", 6), ("val", 2)):
            for seed, (label, colour) in enumerate(COLOURS.items()):
                for number in range(count):
                    name = f"{split}-{number}.png" if number else f"{split}.png"
                    image = self.photos / split / label / name
                    make_image(
                        image, (40, 40), 100 * seed + 10 * len(split) + number, colour=colour
                    )
        self.extract = ["extract", self.photos, "-o", self.cache, "--backbone", "lenet5"]
        self.extract += ["--engine", "torch", "--workers", "1"]
        self.fit = ["fit-head", self.cache, "-o", self.head, "--C", "1"]
        self.run(self.extract)
        self.run(self.fit)

    def run(self, words: Any) -> None:
        done = self.server.run(words, self.folder.with_name("log"))
        assert done["code"] == 0, done["stderr"]

    def build(self, words: Any, *outputs: Path, **options: Any) -> Command:
        """Build a command that begins with the folder as it is now."""
        command = Command(
            server=self.server, words=words, folder=self.folder, outputs=outputs, **options
        )
        command.keep_beginning()
        return command


@pytest.fixture
def workshop(
    tmp_path: Path, make_image: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path, make_image, monkeypatch)
    yield workshop
    workshop.server.close()


def prepare_split(workshop: Workshop) -> Command:
    return workshop.build(["split", workshop.cache, "--overwrite", "--val", "0.5"], workshop.cache)


def prepare_fit_head(workshop: Workshop) -> Command:
    """A new head."""
    workshop.head.unlink()
    return workshop.build(workshop.fit, workshop.head)


def prepare_fit_head_again(workshop: Workshop) -> Command:
    """A head in place of another one."""
    words = [*workshop.fit, "--overwrite", "--kind", "linear-svm"]
    return workshop.build(words, workshop.head)


def prepare_extract(workshop: Workshop) -> Command:
    """A new cache, and an empty store."""
    workshop.cache.unlink()
    for path in workshop.folder.glob("store/*/*"):
        path.unlink()
    return workshop.build(workshop.extract, workshop.cache)


def prepare_extract_more(workshop: Workshop) -> Command:
    """A cache that lacks some images."""
    source = workshop.photos / "train" / "ants"
    for number in (1, 2):
        image = source / f"train-{number}.png"
        image.write_bytes(image.read_bytes() + b" ")
    return workshop.build(workshop.extract, workshop.cache)


def prepare_predict(workshop: Workshop) -> Command:
    words = ["predict", workshop.head, workshop.photos / "val", "--csv", "--engine", "torch"]
    table = workshop.predictions
    return workshop.build([*words, "--workers", "1"], table, stdout=table)


def prepare_fine_tune(workshop: Workshop) -> Command:
    tuned = workshop.tuned
    words = ["fine-tune", workshop.photos, "--cache", workshop.cache, "--head", workshop.head]
    words += ["-o", tuned, "--unfreeze", "1", "--engine", "torch", "--workers", "1", "--resume"]
    words += ["--epochs", "2", "--train-batch-size", "4"]
    outputs = tuned, tuned.with_suffix(".joblib"), tuned.with_suffix(".log.csv")
    return workshop.build(words, *outputs)


PREPARE = {
    "split": prepare_split,
    "fit-head": prepare_fit_head,
    "fit-head again": prepare_fit_head_again,
    "extract": prepare_extract,
    "extract more": prepare_extract_more,
    "predict": prepare_predict,
    "fine-tune": prepare_fine_tune,
}

LONG = pytest.mark.parametrize("name", PREPARE)


def check(score: Any, capsys: pytest.CaptureFixture[str], title: str) -> None:
    with capsys.disabled():
        print(f"\n{title}: {score}")
    assert not score.wrong, str(score)


def test_split_and_fit_head_whose_calls_fail_lose_nothing(workshop: Workshop) -> None:
    """A few of the calls that change the disk."""
    for prepare in (prepare_split, prepare_fit_head):
        command = prepare(workshop)
        calls = [call for call in command.list_calls() if call.changes_disk]
        score = command.judge(draw_faults(calls, seed=1, n_calls=4))
        assert not score.wrong, str(score)
        assert score.counts["right"] + score.counts["told"] >= 3


@pytest.mark.slow
@LONG
def test_command_whose_calls_fail_loses_nothing(
    workshop: Workshop, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    command = PREPARE[name](workshop)
    calls = command.list_calls()
    if N_ERRORS:
        faults = draw_faults(calls, seed=1, n_errors=N_ERRORS)
    else:
        faults = draw_faults(calls, seed=1, n_calls=N_SAMPLED)
    score = command.judge(faults)
    check(score, capsys, f"{name}, {len(calls)} calls, {len(faults)} errors")


@pytest.mark.slow
@LONG
@pytest.mark.parametrize("signal", ["SIGKILL", "SIGTERM"])
def test_command_that_is_ended_at_a_call_loses_nothing(
    workshop: Workshop, capsys: pytest.CaptureFixture[str], name: str, signal: str
) -> None:
    command = PREPARE[name](workshop)
    calls = [call for call in command.list_calls() if call.changes_disk]
    drawn = draw_faults(calls, seed=2, n_calls=None if N_ERRORS else N_SAMPLED // 4)
    score = command.judge([(call, f"signal={signal}") for call, _ in drawn])
    check(score, capsys, f"{name}, {len(calls)} calls, {signal} at {len(drawn)}")
