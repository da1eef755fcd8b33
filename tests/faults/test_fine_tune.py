"""A fine-tuning may be ended at any moment, or find no room; resumed, it ends the same."""

import csv
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file

from featx.finetune import tune
from featx.finetune.recipe import Recipe
from featx.heads.head import Head, load_head
from featx.heads.linear import fold_linear

from . import test_full_disk
from .conftest import Server

pytestmark = pytest.mark.slow
"""Endings inside one process are in tests/finetune/test_train.py, for every run."""

LONG = int(os.environ.get("FEATX_KILLS", "40"))

small_disk = test_full_disk.small_disk

IMPORTS = "featx.finetune.tune, featx.engines.torch_engine, torchvision, sklearn.linear_model, h5py"
"""What a fine-tuning loads late, which would be most of its time."""

RECIPE = {"epochs": 10, "patience": 10, "train_batch_size": 8}


class TuningServer(Server):
    """server.py with more of featx in it."""

    def __init__(self):
        path = str(Path(__file__).with_name("server.py"))
        code = f"import runpy, {IMPORTS}; runpy.run_path({path!r}, run_name='__main__')"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        )
        assert self._process.stdout.readline() == "ready\n"


@pytest.fixture(scope="module")
def tuning_server():
    server = TuningServer()
    yield server
    server.close()


class Task:
    """A folder of images of two classes, its cache, a head, and what an undisturbed run makes."""

    def __init__(self, server, folder, make_image):
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

    def call(self, words):
        """Run a command that nobody ends."""
        done = self.server.run(words, self.folder / "log")
        assert done["code"] == 0, done["stderr"]
        return done

    def list_words(self, output, *more):
        """List a command that has all its recipe from `RECIPE`."""
        recipe = [f"--{name.replace('_', '-')}={value}" for name, value in RECIPE.items()]
        words = ["fine-tune", self.photos, "--cache", self.cache, "--head", self.head]
        words += ["-o", output, "--trunk", self.trunk, "--unfreeze", "1", "--engine", "torch"]
        return [*words, *recipe, *more]


@pytest.fixture(scope="module")
def task(tuning_server, tmp_path_factory, make_image):
    return Task(tuning_server, tmp_path_factory.mktemp("task"), make_image)


def read_result(output):
    """Return all that two equal runs leave in common, to the last bit."""
    with output.with_suffix(".log.csv").open(newline="") as stream:
        lines = [line[:5] for line in csv.reader(stream)]  # without the times
    head = [
        part.tobytes() for part in fold_linear(load_head(output.with_suffix(".joblib")).estimator)
    ]
    weights = {name: tensor.numpy().tobytes() for name, tensor in load_file(output).items()}
    return weights, lines, head


def read_checkpoint(output):
    path = output.with_name(output.name + ".partial") / "checkpoint.pt"
    return torch.load(path, weights_only=True)


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


FINISHED = ["tuned.joblib", "tuned.log.csv", "tuned.safetensors"]


class Ending:
    """Fine-tunings that are ended at random moments, and resumed until they are done."""

    def __init__(self, task, tmp_path, seed, ending):
        self.task, self.ending = task, ending
        self.rng = random.Random(seed)
        self.folder, self.log = tmp_path / "work", tmp_path / "log"
        self.output = self.folder / "tuned.safetensors"
        self.partial = self.folder / "tuned.safetensors.partial"
        self.n_ended = 0
        self.begin_anew()

    def begin_anew(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def call(self, **order):
        """Tune until it is ended; True when it was done by then."""
        words = self.task.list_words(self.output, "--resume")
        done = self.task.server.run(words, self.log, signal=self.ending, **order)
        if done["code"] != 0:
            # Before featx has begun, and after its end, SIGTERM ends the child itself.
            assert done["code"] in (-9, -15, 143), done["stderr"]
            assert "Traceback" not in done["stderr"]
            self.n_ended += 1
        if (self.partial / "checkpoint.pt").exists():
            assert read_checkpoint(self.output)["best"]  # whole
        # It may have been ended between its last deed and its end.
        return self.output.exists() and not self.partial.exists()

    def end_many(self, n_endings):
        is_done = self.call(until=str(self.partial / "checkpoint.pt"))
        if self.ending == "SIGTERM" and not is_done:  # it keeps the steps of its epoch
            state = read_checkpoint(self.output)["state"]
            assert state["step"] > 0 or state["epoch"] > RECIPE["epochs"]
        while True:
            if is_done:
                # A killed process cannot give its lock back.
                names = [name for name in list_names(self.folder) if ".lock" not in name]
                assert names == FINISHED
                assert read_result(self.output) == self.task.expected
                if self.n_ended >= n_endings:
                    return
                self.begin_anew()
            is_done = self.call(after=self.rng.uniform(0.1, 1) * self.task.whole_s)


@pytest.mark.parametrize("ending", ["SIGKILL", "SIGTERM"])
def test_fine_tune_ended_at_random_moments_ends_in_the_same_weights(task, tmp_path, ending):
    Ending(task, tmp_path, 1, ending).end_many(2)


@pytest.mark.parametrize("ending", ["SIGKILL", "SIGTERM"])
def test_fine_tune_ended_many_times_ends_in_the_same_weights(task, tmp_path, ending):
    Ending(task, tmp_path, 2, ending).end_many(LONG)


def check_error(done, text):
    """An error is told in one line."""
    assert done["code"] == 1
    assert done["stderr"].startswith("featx: ")
    assert done["stderr"].count("\n") == 1
    assert f"checkpoint.pt: expected to write the file, got {text}. " in done["stderr"]


def test_fine_tune_on_a_full_disk_tells_and_goes_on_with_room(task, tmp_path, small_disk):
    # The first checkpoint is of 90 kB, without an optimizer's moments; the others are of 170 kB,
    # and one is replaced only when the next is whole: there is no room for the third.
    disk = small_disk(300_000)
    output = disk / "tuned.safetensors"
    words = task.list_words(output)
    check_error(task.server.run(words, tmp_path / "log"), "No space left on device")
    assert len(read_checkpoint(output)["state"]["history"]) == 2
    assert list_names(disk / "tuned.safetensors.partial") == ["checkpoint.pt", "log.csv"]
    assert list_names(disk) == ["tuned.safetensors.partial"]
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    task.call([*words, "--resume"])
    assert read_result(output) == task.expected
    assert list_names(disk) == FINISHED


def test_fine_tune_under_a_file_size_limit_tells_and_goes_on_without(task, tmp_path):
    output = tmp_path / "tuned.safetensors"
    words = task.list_words(output)
    done = task.server.run(words, tmp_path / "log", max_file_bytes=120_000)
    check_error(done, "File too large")
    assert len(read_checkpoint(output)["state"]["history"]) == 1
    task.call([*words, "--resume"])
    assert read_result(output) == task.expected


def tune_here(task, output, **options):
    """Run what the command runs, in this process."""
    return tune.fine_tune(
        task.photos,
        task.cache,
        output,
        head=task.head,
        trunk=task.trunk,
        unfreeze=1,
        recipe=Recipe(**RECIPE),
        engine="torch",
        progress=False,
        **options,
    )


def refuse(folder):
    raise KeyboardInterrupt


def remove_half(folder):
    (folder / "checkpoint.pt").unlink()
    raise KeyboardInterrupt


def replace_rmtree(rmtree):
    return patch.object(tune, "shutil", SimpleNamespace(rmtree=rmtree))


@pytest.mark.parametrize(
    ("ended", "there"),
    [
        pytest.param(
            patch.object(Head, "save", side_effect=KeyboardInterrupt), FINISHED[2:], id="weights"
        ),
        pytest.param(replace_rmtree(refuse), FINISHED, id="all"),
        pytest.param(replace_rmtree(remove_half), FINISHED, id="half-tidied"),
    ],
)
def test_fine_tune_ended_while_files_are_put_in_place_goes_on(task, tmp_path, ended, there):
    output = tmp_path / "tuned.safetensors"
    with ended, pytest.raises(KeyboardInterrupt):
        tune_here(task, output)
    assert list_names(tmp_path) == sorted([*there, "tuned.safetensors.partial"])
    (tmp_path / ".tuned.safetensors.123.partial").write_bytes(b"left by a kill")
    tune_here(task, output, resume=True)
    assert list_names(tmp_path) == FINISHED
    assert read_result(output) == task.expected
