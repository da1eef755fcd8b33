"""Every call that concerns a disk may fail, or be the last: one line, and nothing is lost.

`make test-faults` disturbs each call; FEATX_ERRORS is the number of errors that each call gets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.cache.parts import write_parts

from .conftest import Server
from .injection import Command, draw_faults, find_reason_to_skip

REASON = find_reason_to_skip()

needs_strace = pytest.mark.skipif(bool(REASON), reason=REASON)

N_ERRORS = int(os.environ.get("FEATX_ERRORS", "0"))
"""Number of errors for each call; 0 for a sample of the calls."""

N_SAMPLED = 24

N_KILLS = int(os.environ.get("FEATX_KILLS", "20"))
"""Number of kills of each command at random moments."""

FITTING = (
    *("h5py", "sklearn.linear_model"),
    *("featx.fitting.fit", "featx.fitting.label", "featx.fitting.split", "featx.cache.merge"),
)
NETWORKS = (
    *("torch", "torchvision", "featx.engines.torch_engine", "featx.extraction.extract"),
    *("featx.finetune.tune", "featx.prediction.predict"),
)
"""What commands load late, which would be most of their time."""

COLOURS = {"ants": (150, 110, 120), "bees": (110, 130, 150)}


class Workshop:
    """A server, and a folder in which all commands begin.

    Parameters
    ----------
    folder : Path
        Folder to work in.
    server : Server
        Server that runs the commands.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.photos, self.cache = self.folder / "photos", self.folder / "p.h5"
        self.head, self.tuned = self.folder / "h.joblib", self.folder / "t.safetensors"
        self.predictions = self.folder / "predictions.csv"
        self.fit = ["fit-head", self.cache, "-o", self.head, "--C", "1"]
        self.extract = ["extract", self.photos, "-o", self.cache, "--backbone", "lenet5"]
        self.extract += ["--engine", "torch", "--workers", "1"]
        self.server = server

    def run(self, words: Any) -> None:
        store = {"FEATX_STORE": str(self.folder / "store")}
        done = self.server.run(words, self.folder.with_name("log"), env=store)
        assert done["code"] == 0, done["stderr"]

    def build(self, words: Any, *outputs: Path, **options: Any) -> Command:
        """Build a command that begins with the folder as it is now."""
        command = Command(
            server=self.server, words=words, folder=self.folder, outputs=outputs, **options
        )
        command.keep_beginning()
        return command


@pytest.fixture(scope="module")
def fitting_server() -> Iterator[Server]:
    server = Server(*FITTING)
    yield server
    server.close()


@pytest.fixture(scope="module")
def network_server() -> Iterator[Server]:
    server = Server(*FITTING, *NETWORKS)
    yield server
    server.close()


@pytest.fixture
def fitting(tmp_path: Path, make_cache: Any, fitting_server: Server) -> Workshop:
    """A cache and a head; no network, which takes seconds to import."""
    workshop = Workshop(tmp_path, fitting_server)
    make_cache("work/p.h5", n_train=10, n_val=4)
    workshop.run(workshop.fit)
    return workshop


@pytest.fixture
def networks(tmp_path: Path, make_image: Any, network_server: Server) -> Workshop:
    """Images, their cache, a head, and a store of their own."""
    workshop = Workshop(tmp_path, network_server)
    for split, count, first in (("train", 6, 0), ("val", 2, 50)):
        for seed, (label, colour) in enumerate(COLOURS.items(), 1):
            for number in range(count):
                image = workshop.photos / split / label / f"{number}.png"
                make_image(image, (40, 40), 100 * seed + first + number, colour=colour)
    workshop.run(workshop.extract)
    workshop.run(workshop.fit)
    return workshop


def prepare_split(workshop: Workshop) -> Command:
    return workshop.build(["split", workshop.cache, "--overwrite", "--val", "0.5"], workshop.cache)


def prepare_seal(workshop: Workshop) -> Command:
    """A cache to which a user has added something."""
    with h5py.File(workshop.cache, "a") as file:
        file["user/notes"] = [1, 2, 3]
    return workshop.build(["seal", workshop.cache], workshop.cache)


def write_labels(workshop: Workshop, text: str) -> list[Any]:
    """Write a table of what ada says, and return the words that record it in a cache."""
    table = workshop.folder / "labels.csv"
    table.write_text(text)
    return [table, "--author", "ada"]


def prepare_label(workshop: Workshop) -> Command:
    """Labels of a cache of which people have said something before."""
    workshop.run(["split", workshop.cache, "--overwrite", "--val", "0.4"])
    said = "id,label,kind\nants/001.jpg,flies,unsure\nants/003.jpg,wasps,sure\n"
    workshop.run(["label", workshop.cache, *write_labels(workshop, said)])
    new = write_labels(workshop, "id,label\nants/001.jpg,bees\nbees/002.jpg,wasps\n")
    return workshop.build(["label", workshop.cache, *new], workshop.cache)


def write_labelled_parts(workshop: Workshop) -> tuple[Path, list[Path]]:
    """Write three parts of a source, and say something of rows of them."""
    whole, parts = write_parts(workshop.folder / "parts", 3)
    whole.unlink()
    folder = parts[0].parent
    said = "id,label\nants/000.jpg,bees\nants/003.jpg,wasps\nants/006.jpg,wasps\n"
    workshop.run(["label", folder, *write_labels(workshop, said)])
    return folder, parts


def prepare_label_parts(workshop: Workshop) -> Command:
    """Labels of rows of several parts, which are written one by one."""
    folder, parts = write_labelled_parts(workshop)
    said = "id,label\nants/000.jpg,flies\n" + "".join(
        f"bees/{number:03}.jpg,flies\n" for number in range(1, 16, 3)
    )
    return workshop.build(["label", folder, *write_labels(workshop, said)], *parts)


def prepare_merge(workshop: Workshop) -> Command:
    """Parts in place of what they were before."""
    folder, parts = write_labelled_parts(workshop)
    merged = workshop.folder / "all.h5"
    workshop.run(["merge", folder, "-o", merged])
    said = write_labels(workshop, "id,label\nants/003.jpg,bees\nbees/001.jpg,wasps\n")
    workshop.run(["label", folder, *said])
    words = ["merge", folder, "-o", merged, "--overwrite"]
    return workshop.build(words, merged, *parts)


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
    """A cache that lacks some images, and of which people have said something."""
    workshop.run(["split", workshop.cache, "--overwrite", "--val", "0.4"])
    said = "id,label\ntrain/ants/1.png,wasps\ntrain/bees/3.png,wasps\n"
    workshop.run(["label", workshop.cache, *write_labels(workshop, said)])
    source = workshop.photos / "train" / "ants"
    for number in (1, 2):
        image = source / f"{number}.png"
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


PREPARE: dict[str, tuple[str, Callable[[Workshop], Command]]] = {
    "label": ("fitting", prepare_label),
    "label parts": ("fitting", prepare_label_parts),
    "merge": ("fitting", prepare_merge),
    "split": ("fitting", prepare_split),
    "seal": ("fitting", prepare_seal),
    "fit-head": ("fitting", prepare_fit_head),
    "fit-head again": ("fitting", prepare_fit_head_again),
    "extract": ("networks", prepare_extract),
    "extract more": ("networks", prepare_extract_more),
    "predict": ("networks", prepare_predict),
    "fine-tune": ("networks", prepare_fine_tune),
}
"""Commands, with the fixture that each of them begins with."""


@pytest.fixture(params=PREPARE)
def command(request: pytest.FixtureRequest) -> Command:
    fixture, prepare = PREPARE[request.param]
    return prepare(request.getfixturevalue(fixture))


def report(command: Command, calls: Any, faults: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Judge, print the counts, and fail if anything was lost, untrue or untold."""
    score = command.judge(faults)
    with capsys.disabled():
        fault = faults[0][1].split("=")[0]
        print(f"\n{command.words[0]}: {len(calls)} calls, {fault} at {len(faults)}: {score}")
    assert not score.wrong, str(score)
    assert score.counts["not met"] <= len(faults) / 4


@needs_strace
def test_split_whose_calls_fail_loses_nothing(fitting: Workshop) -> None:
    """A few of the calls that change the disk."""
    command = prepare_split(fitting)
    calls = [call for call in command.list_calls() if call.changes_disk]
    score = command.judge(draw_faults(calls, seed=1, n_calls=3))
    assert not score.wrong, str(score)
    assert score.counts["right"] + score.counts["told"] >= 1


@needs_strace
@pytest.mark.slow
def test_command_whose_calls_fail_loses_nothing(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = command.list_calls()
    if N_ERRORS:
        faults = draw_faults(calls, seed=1, n_errors=N_ERRORS)
    else:
        faults = draw_faults(calls, seed=1, n_calls=N_SAMPLED)
    report(command, calls, faults, capsys)


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("signal", ["SIGKILL", "SIGTERM"])
def test_command_that_is_ended_at_a_call_loses_nothing(
    command: Command, capsys: pytest.CaptureFixture[str], signal: str
) -> None:
    calls = [call for call in command.list_calls() if call.changes_disk]
    drawn = draw_faults(calls, seed=2, n_calls=None if N_ERRORS else N_SAMPLED // 4)
    report(command, calls, [(call, f"signal={signal}") for call, _ in drawn], capsys)


@pytest.mark.slow
@pytest.mark.parametrize(
    "prepare", [prepare_label, prepare_split, prepare_label_parts, prepare_merge]
)
def test_command_that_is_killed_at_random_moments_loses_nothing(
    fitting: Workshop, prepare: Callable[[Workshop], Command]
) -> None:
    assert prepare(fitting).kill_many(N_KILLS, seed=5) >= N_KILLS
