"""A fine-tuning may be ended at any moment, or find a full disk; resumed, it ends the same."""

from __future__ import annotations

import csv
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file

from featx.core.drafts import is_draft
from featx.finetune import result, tune
from featx.finetune.recipe import Recipe
from featx.finetune.report import TuningReport
from featx.heads.head import Head
from featx.heads.linear import fold_linear
from featx.heads.load import load_head
from tests.builders import leave_draft

from . import test_full_disk
from .conftest import Server

pytestmark = pytest.mark.slow
"""Endings inside one process are in tests/finetune/test_train.py, for every run."""

LONG = int(os.environ.get("FEATX_KILLS", "40"))

small_disk = test_full_disk.small_disk

MODULES = (
    *("torch", "featx.finetune.tune", "featx.engines.torch_engine", "torchvision"),
    *("sklearn.linear_model", "h5py"),
)
"""What a fine-tuning loads late, which would be most of its time."""

RECIPE: dict[str, Any] = {"epochs": 10, "patience": 10, "train_batch_size": 8}


@pytest.fixture(scope="module")
def tuning_server() -> Iterator[Server]:
    server = Server(*MODULES)
    yield server
    server.close()


class Workshop:
    """Images of two classes, their cache, a head, and the result of an undisturbed run."""

    def __init__(self, server: Server, folder: Path, make_image: Callable[..., Path]) -> None:
        self.server, self.folder = server, folder
        self.photos, self.cache = folder / "photos", folder / "photos.h5"
        self.head, self.trunk = folder / "head.joblib", folder / "trunk.h5"
        colours = {"ants": (150, 110, 120), "bees": (110, 130, 150)}
        for split, count, first in (("train", 30, 0), ("val", 6, 30)):
            for seed, (label, colour) in enumerate(sorted(colours.items())):
                for number in range(count):
                    path = self.photos / split / label / f"{number}.png"
                    make_image(path, (40, 40), 100 * seed + first + number, colour=colour)
        words = ["extract", self.photos, "-o", self.cache, "--backbone", "lenet5"]
        self.call([*words, "--engine", "torch"])
        self.call(["fit-head", self.cache, "-o", self.head])
        self.reference = folder / "reference.safetensors"
        self.whole_s = self.call(self.list_words(self.reference))["seconds"]
        self.expected = read_result(self.reference)

    def call(self, words: list[Any]) -> dict[str, Any]:
        """Run a command that nobody ends."""
        done: dict[str, Any] = self.server.run(words, self.folder / "log")
        assert done["code"] == 0, done["stderr"]
        return done

    def list_words(self, output: Path, *more: str) -> list[Any]:
        """List a command that has all its recipe from `RECIPE`."""
        recipe = [f"--{name.replace('_', '-')}={value}" for name, value in RECIPE.items()]
        words = ["fine-tune", self.photos, "--cache", self.cache, "--head", self.head]
        words += ["-o", output, "--trunk", self.trunk, "--unfreeze", "1", "--engine", "torch"]
        return [*words, *recipe, *more]


@pytest.fixture(scope="module")
def workshop(
    tuning_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
    make_image: Callable[..., Path],
) -> Workshop:
    return Workshop(tuning_server, tmp_path_factory.mktemp("workshop"), make_image)


def read_result(output: Path) -> tuple[object, ...]:
    """Return all that two equal runs leave in common, to the last bit."""
    with output.with_suffix(".log.csv").open(newline="") as stream:
        lines = [line[:6] for line in csv.reader(stream)]  # without the times
    head = [
        part.tobytes() for part in fold_linear(load_head(output.with_suffix(".joblib")).estimator)
    ]
    weights = {name: tensor.numpy().tobytes() for name, tensor in load_file(output).items()}
    return weights, lines, head


def read_checkpoint(output: Path) -> dict[str, Any]:
    path = output.with_name(output.name + ".partial") / "checkpoint.pt"
    state: dict[str, Any] = torch.load(path, weights_only=True)["state"]
    return state


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


FINISHED = ["tuned.joblib", "tuned.log.csv", "tuned.safetensors"]


class Ending:
    """Fine-tunings that are ended at random moments, and resumed until they are done."""

    def __init__(self, workshop: Workshop, tmp_path: Path, seed: int, ending: str) -> None:
        self.workshop, self.ending = workshop, ending
        self.rng = random.Random(seed)
        self.folder, self.log = tmp_path / "work", tmp_path / "log"
        self.output = self.folder / "tuned.safetensors"
        self.partial = self.folder / "tuned.safetensors.partial"
        self.n_ended = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def call(self, **order: Any) -> bool:
        """Tune until it is ended; True when it was done by then."""
        words = self.workshop.list_words(self.output, "--resume")
        done = self.workshop.server.run(words, self.log, signal=self.ending, **order)
        if done["code"] != 0:
            # Before featx has begun, and after its end, SIGTERM ends the child itself.
            assert done["code"] in (-9, -15, 143), done["stderr"]
            assert "Traceback" not in done["stderr"]
            self.n_ended += 1
        if (self.partial / "checkpoint.pt").exists():
            assert read_checkpoint(self.output)["learner"]  # whole
        # It may have been ended between its last deed and its end.
        return self.output.exists() and not self.partial.exists()

    def end_many(self, n_endings: int) -> None:
        is_done = self.call(until=str(self.partial / "checkpoint.pt"))
        if self.ending == "SIGTERM" and not is_done:  # it keeps the steps of its epoch
            state = read_checkpoint(self.output)["progress"]
            assert state["step"] > 0 or state["epoch"] > RECIPE["epochs"]
        while True:
            if is_done:
                # A killed process cannot give its lock back.
                names = [name for name in list_names(self.folder) if ".lock" not in name]
                assert names == FINISHED
                assert read_result(self.output) == self.workshop.expected
                if self.n_ended >= n_endings:
                    return
                self.begin_anew()
            is_done = self.call(after=self.rng.uniform(0.1, 1) * self.workshop.whole_s)


@pytest.mark.parametrize("ending", ["SIGKILL", "SIGTERM"])
def test_fine_tune_ended_at_random_moments_ends_in_the_same_weights(
    workshop: Workshop, tmp_path: Path, ending: str
) -> None:
    Ending(workshop, tmp_path, 1, ending).end_many(2)


@pytest.mark.parametrize("ending", ["SIGKILL", "SIGTERM"])
def test_fine_tune_ended_many_times_ends_in_the_same_weights(
    workshop: Workshop, tmp_path: Path, ending: str
) -> None:
    Ending(workshop, tmp_path, 2, ending).end_many(LONG)


def check_error(done: dict[str, Any], text: str) -> None:
    """An error is told in one line."""
    assert done["code"] == 1
    assert done["stderr"].startswith("featx: ")
    assert done["stderr"].count("\n") == 1
    assert f"checkpoint.pt: expected a file that can be written, got {text}. " in done["stderr"]


def test_fine_tune_on_a_full_disk_tells_and_goes_on_with_space(
    workshop: Workshop, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    # The first checkpoint is of 90 kB, without an optimizer's moments; the others are of 170 kB,
    # and one is replaced only when the next is whole: there is no space for the third.
    disk = small_disk(300_000)
    output = disk / "tuned.safetensors"
    words = workshop.list_words(output)
    check_error(workshop.server.run(words, tmp_path / "log"), "No space left on device")
    assert len(read_checkpoint(output)["progress"]["history"]) == 2
    assert list_names(disk / "tuned.safetensors.partial") == ["checkpoint.pt", "log.csv"]
    assert list_names(disk) == ["tuned.safetensors.partial"]
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    workshop.call([*words, "--resume"])
    assert read_result(output) == workshop.expected
    assert list_names(disk) == FINISHED


def test_fine_tune_under_a_file_size_limit_tells_and_goes_on_without(
    workshop: Workshop, tmp_path: Path
) -> None:
    output = tmp_path / "tuned.safetensors"
    words = workshop.list_words(output)
    done = workshop.server.run(words, tmp_path / "log", max_file_bytes=120_000)
    check_error(done, "File too large")
    assert len(read_checkpoint(output)["progress"]["history"]) == 1
    workshop.call([*words, "--resume"])
    assert read_result(output) == workshop.expected


def tune_here(workshop: Workshop, output: Path, **options: Any) -> TuningReport:
    """Run what the command runs, in this process."""
    return tune.fine_tune(
        workshop.photos,
        workshop.cache,
        output,
        head=workshop.head,
        trunk=workshop.trunk,
        unfreeze=1,
        recipe=Recipe(**RECIPE),
        engine="torch",
        progress=False,
        **options,
    )


def refuse(folder: Path, is_work: object) -> None:
    raise KeyboardInterrupt


def remove_half(folder: Path, is_work: object) -> None:
    (folder / "checkpoint.pt").unlink()
    raise KeyboardInterrupt


def replace_removal(remove: Callable[[Path, object], None]) -> Any:
    return patch.object(result, "remove_work_dir", remove)


@pytest.mark.filterwarnings("ignore:.*training goes on after epoch:featx.FeatxWarning")
@pytest.mark.filterwarnings("ignore:.*the run is finished:featx.FeatxWarning")
@pytest.mark.parametrize(
    ("ended", "there"),
    [
        pytest.param(
            patch.object(Head, "save", side_effect=KeyboardInterrupt), FINISHED[2:], id="weights"
        ),
        pytest.param(replace_removal(refuse), FINISHED, id="all"),
        pytest.param(replace_removal(remove_half), FINISHED, id="half-tidied"),
    ],
)
def test_fine_tune_ended_while_files_are_put_in_place_goes_on(
    workshop: Workshop, tmp_path: Path, ended: Any, there: list[str]
) -> None:
    output = tmp_path / "tuned.safetensors"
    with ended, pytest.raises(KeyboardInterrupt):
        tune_here(workshop, output)
    assert list_names(tmp_path) == sorted([*there, "tuned.safetensors.partial"])
    leave_draft(output)
    tune_here(workshop, output, resume=True)
    # A run that finds everything finished writes nothing, and leaves the draft to the next writer.
    assert [name for name in list_names(tmp_path) if not is_draft(name)] == FINISHED
    assert read_result(output) == workshop.expected
