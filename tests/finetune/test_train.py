"""The training loop: what it learns, when it stops, and how it continues after an interruption."""

from __future__ import annotations

import csv
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from featx.backbones.load import load_backbone
from featx.core.errors import TuningError
from featx.core.typing import IntArray
from featx.finetune.cut import CutNetwork, cut_backbone
from featx.finetune.learner import choose_precision
from featx.finetune.recipe import N_EPOCHS
from featx.heads.class_weights import weigh_classes
from tests.builders import leave_draft

from .doubles_train import (
    N_CLASSES,
    N_HOLDOUT,
    N_SCORED,
    N_STEPS,
    N_TRAIN,
    PER_EPOCH,
    Act,
    build_classifier,
    build_cut,
    build_examples,
    build_training,
    draw_maps,
    get_features,
    pass_by,
    read_checkpoint,
    read_history,
    read_result,
    read_state,
    train,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*training goes on after epoch:featx.FeatxWarning"),
    pytest.mark.filterwarnings("ignore:.*so that training begins anew:featx.FeatxWarning"),
]

SIGNALS = ["SIGINT", "SIGTERM"]

Undisturbed = Callable[..., tuple[object, ...]]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Run one thread: tensors of a few hundred numbers then cost a third of the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def _two_cores() -> Iterator[None]:
    """Divide a batch into two parts on every machine: dropout depends on the number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joblib, "cpu_count", lambda: 2)
        yield


def draw_random_labels(n_images: int, seed: int = 0) -> IntArray:
    return np.random.default_rng(seed).integers(0, N_CLASSES, n_images)


def turn_holdout() -> dict[str, Any]:
    """Build examples whose holdout contradicts the other images, and the maps of both."""
    y = build_examples().y
    turned = y.copy()
    turned[:N_HOLDOUT] = (y[:N_HOLDOUT] + 1) % N_CLASSES
    return {"examples": build_examples(turned), "maps": draw_maps(y)}


def is_finite(state: Mapping[str, torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in state.values())


# What is learnt


def test_training_twice_gives_the_same_to_the_last_bit(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = train(tmp_path / "1", views=2, seed=3)
    torch.manual_seed(2)  # it has a generator of its own
    second = train(tmp_path / "2", views=2, seed=3)
    assert read_result(first) == read_result(second)


def test_training_with_another_seed_gives_something_else(tmp_path: Path) -> None:
    states = [read_state(train(tmp_path / f"{seed}", seed=seed).learner) for seed in (0, 1)]
    assert states[0] != states[1]


def test_training_leaves_the_random_numbers_of_others_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    train(tmp_path / "1")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_training_on_classes_that_can_be_told_apart_learns_them(tmp_path: Path) -> None:
    training = train(
        tmp_path / "1", epochs=8, patience=9, maps=draw_maps(build_examples().y, noise=0.3)
    )
    first, last = training.history[0], training.history[-1]
    assert first.holdout_accuracy < 0.7
    assert last.holdout_accuracy == 1
    assert last.holdout_loss < 0.7 * first.holdout_loss
    assert last.train_loss < 0.8 * training.history[1].train_loss
    assert training.best_epoch > 3
    assert training.stopped == ""


def test_training_reads_each_image_once_an_epoch_and_never_learns_from_the_holdout(
    tmp_path: Path,
) -> None:
    training = train(tmp_path / "1")
    scored, learnt = get_features(training).asked[::2], get_features(training).asked[1::2]
    assert scored == [(0, list(range(N_HOLDOUT)))] * 4
    assert [sorted(order) for _, order in learnt] == [list(range(N_HOLDOUT, 56))] * 3
    assert len({tuple(order) for _, order in learnt}) == 3


def test_training_takes_views_in_turn_and_scores_the_images_as_they_are(tmp_path: Path) -> None:
    training = train(tmp_path / "1", epochs=5, views=2, patience=9)
    asked = [view for view, _ in get_features(training).asked]
    assert asked == [0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0]


def test_training_with_a_last_batch_of_fewer_images_weighs_them_alike(tmp_path: Path) -> None:
    # With weights that stand still, every batch of an epoch is scored by the same model.
    still: dict[str, Any] = {
        "lr": 1e-30,
        "epochs": 1,
        "label_smoothing": 0.0,
        "cut": build_cut(top=Plain()),
    }
    losses = [
        train(tmp_path / f"{size}", train_batch_size=size, **still).history[1].train_loss
        for size in (40, 16)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


class Plain(nn.Module):
    """A top without dropout and BatchNorm: the same in training as when scored."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv(maps)
        return out.relu().mean((2, 3))


def test_training_loss_of_an_epoch_is_the_cross_entropy_with_smoothing(tmp_path: Path) -> None:
    training = train(
        tmp_path / "1",
        cut=build_cut(top=Plain()),
        lr=1e-30,
        epochs=1,
        train_batch_size=N_TRAIN,
        label_smoothing=0.3,
    )
    examples = training.request.examples
    y = torch.from_numpy(examples.y)
    logits = training.predict(examples.train)
    expected = functional.cross_entropy(logits, y[examples.train], label_smoothing=0.3)
    assert training.history[1].train_loss == pytest.approx(float(expected), rel=1e-5)
    plain = functional.cross_entropy(training.predict(examples.holdout), y[examples.holdout])
    assert training.history[1].holdout_loss == pytest.approx(float(plain), rel=1e-6)


def test_training_loss_weighs_each_image_by_its_class(tmp_path: Path) -> None:
    weights = (0.5, 0.5, 3.0)
    training = train(
        tmp_path / "1",
        cut=build_cut(top=Plain()),
        lr=1e-30,
        epochs=1,
        train_batch_size=N_TRAIN,
        label_smoothing=0.3,
        identity={"class_weights": weights},
    )
    examples = training.request.examples
    y, of_class = torch.from_numpy(examples.y), torch.tensor(weights)
    learnt, held_out = y[examples.train], y[examples.holdout]
    logits = training.predict(examples.train)
    losses = functional.cross_entropy(logits, learnt, reduction="none", label_smoothing=0.3)
    expected = (losses * of_class[learnt]).mean()
    assert training.history[1].train_loss == pytest.approx(float(expected), rel=1e-5)
    logits = training.predict(examples.holdout)
    plain = functional.cross_entropy(logits, held_out, reduction="none")
    weighted = (plain * of_class[held_out]).sum() / of_class[held_out].sum()
    assert training.history[1].holdout_loss == pytest.approx(float(weighted), rel=1e-5)


def test_training_with_equal_class_weights_is_that_without_any(tmp_path: Path) -> None:
    plain = train(tmp_path / "1")
    equal = train(tmp_path / "2", identity={"class_weights": (1.0, 1.0, 1.0)})
    assert read_state(equal.learner) == read_state(plain.learner)


def test_training_with_class_weights_does_not_give_up_the_rare_classes(tmp_path: Path) -> None:
    # Of each 14 images, 12 are of class 0, under much noise.
    y = np.maximum(np.arange(56) % 14 - 11, 0)
    examples = build_examples(y)
    options: dict[str, Any] = {"examples": examples, "maps": draw_maps(y, noise=3)}
    weights = tuple(weigh_classes("balanced", np.arange(3), y[examples.train]).tolist())
    shares = []
    for number, class_weights in enumerate(((), weights)):
        folder, identity = tmp_path / f"{number}", {"class_weights": class_weights}
        training = train(folder, identity=identity, **options)
        training.learner.load_state_dict(read_checkpoint(folder)["learner"])  # the last epoch
        shares.append(float(training.predict(examples.holdout).softmax(1)[:, 1:].sum(1).mean()))
    assert shares[1] > 1.5 * shares[0]


def test_training_changes_the_top_and_leaves_the_trunk(tmp_path: Path) -> None:
    cut = cut_backbone(load_backbone("lenet5", weights="random:0"), 1)
    before = {path: tensor.clone() for path, tensor in cut.network.state_dict().items()}
    examples = build_examples()
    maps = np.random.default_rng(0).normal(scale=0.1, size=(len(examples.y), *cut.shape))
    maps[np.arange(len(maps)), examples.y] += 1
    train(
        tmp_path / "1",
        cut=cut,
        classifier=build_classifier(84),
        maps=[maps.reshape(len(maps), -1).astype(np.float32)],
    )
    after = cut.network.state_dict()
    changed = {path for path in after if not torch.equal(after[path], before[path])}
    assert changed == {"f6.weight", "f6.bias"}


def test_training_leaves_its_parts_ready_to_predict(tmp_path: Path) -> None:
    training = train(tmp_path / "1")
    assert not any(part.training for part in training.learner.modules())
    assert not any(tensor.requires_grad for tensor in training.learner.parameters())


@pytest.mark.parametrize("clip_norm", [0.01, 0.02])
def test_training_clips_the_norm_of_the_gradient(tmp_path: Path, clip_norm: float) -> None:
    training = build_training(
        tmp_path / "1",
        optimizer="sgd",
        lr=1.0,
        lr_decay=1.0,
        weight_decay=0.0,
        epochs=1,
        warmup=0.0,
        train_batch_size=N_TRAIN,
        clip_norm=clip_norm,
    )
    before = [tensor.detach().clone() for tensor in training.learner.parameters()]
    training.run(progress=False)
    after = read_checkpoint(tmp_path / "1")["learner"]
    names = [name for name, _ in training.learner.named_parameters()]
    change = [after[name] - old for name, old in zip(names, before, strict=True)]
    norm = math.sqrt(sum(float(part.double().square().sum()) for part in change))
    assert norm == pytest.approx(1.9 * clip_norm, rel=1e-3)  # Nesterov's first step: 1 + momentum


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_training_moves_lower_blocks_less(tmp_path: Path, optimizer: str) -> None:
    cut = build_cut()
    before = {path: tensor.detach().clone() for path, tensor in cut.top.named_parameters()}
    train(tmp_path / "1", cut=cut, optimizer=optimizer, lr_decay=1e-20)
    after = read_checkpoint(tmp_path / "1")["learner"]
    for path, tensor in before.items():
        change = float((after[f"top.{path}"] - tensor).abs().max())
        assert change > 1e-6 if path.startswith("high.") else change < 1e-18, path


# BatchNorm


def note_modes(cut: CutNetwork) -> list[tuple[bool, bool]]:
    """Return a list that notes, at each batch, whether BatchNorm learns and dropout drops."""
    modes: list[tuple[bool, bool]] = []

    def note(*_: object) -> None:
        modes.append((get_part(cut, "low.1").training, get_part(cut, "high.5").training))

    cut.top.register_forward_hook(note)
    return modes


def get_part(cut: CutNetwork, path: str) -> nn.Module:
    return cut.top.get_submodule(path)


def read_statistics(top: nn.Module) -> dict[str, bytes]:
    return {path: values for path, values in read_state(top).items() if "running" in path}


def test_training_keeps_the_statistics_of_batchnorm(tmp_path: Path) -> None:
    cut = build_cut()
    modes, before = note_modes(cut), read_statistics(cut.top)
    (weight, _) = (part.detach().clone() for part in get_part(cut, "low.1").parameters())
    training = train(tmp_path / "1", cut=cut)
    assert read_statistics(cut.top) == before
    assert set(modes) == {(False, False), (False, True)}
    assert training.best_epoch > 0
    (learnt, _) = get_part(cut, "low.1").parameters()
    assert not torch.equal(learnt, weight)  # scale and shift do learn


def test_training_of_batchnorm_learns_its_statistics(tmp_path: Path) -> None:
    cut = build_cut()
    modes, before = note_modes(cut), read_statistics(cut.top)
    train(tmp_path / "1", cut=cut, train_batchnorm=True)
    after = read_checkpoint(tmp_path / "1")["learner"]
    assert all(after[f"top.{path}"].numpy().tobytes() != values for path, values in before.items())
    # Of the holdout nothing is learnt.
    scored = [(False, False)] * N_SCORED
    assert modes == scored + 3 * ([(True, True)] * N_STEPS + scored)


def test_training_of_batchnorm_that_was_folded_is_refused(tmp_path: Path) -> None:
    cut = build_cut(folded=True)
    with pytest.raises(TuningError, match=r"^train_batchnorm: .* of tiny .* were folded into the"):
        build_training(tmp_path / "1", cut=cut, train_batchnorm=True)


def test_training_of_batchnorm_without_any_is_refused(tmp_path: Path) -> None:
    cut = build_cut(top=Plain())
    with pytest.raises(TuningError, match=r"^train_batchnorm: .* of tiny, got none\."):
        build_training(tmp_path / "1", cut=cut, train_batchnorm=True)


def test_training_of_batchnorm_on_a_last_batch_of_one_image_keeps_its_statistics(
    tmp_path: Path,
) -> None:
    # Maps of one pixel: the variance of a single one is no number.
    cut = build_cut()
    low = get_part(cut, "low")
    assert isinstance(low, nn.Sequential)
    low.append(nn.AdaptiveAvgPool2d(3))
    modes = note_modes(cut)
    training = train(
        tmp_path / "1", cut=cut, train_batchnorm=True, train_batch_size=N_TRAIN - 1, epochs=1
    )
    assert modes == [(False, False), (True, True), (False, True), (False, False)]
    assert math.isfinite(training.history[1].train_loss)


# When it stops, and whose weights it keeps


def test_training_on_random_labels_stops_early_and_says_why_and_so_does_its_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    y = draw_random_labels(40)
    training = build_training(
        tmp_path / "1", examples=build_examples(y, 10), maps=draw_maps(y * 0), epochs=60, patience=5
    )
    training.run(progress=True)
    n_epochs, n_train = len(training.history) - 1, len(training.request.examples.train)
    assert 30 < n_epochs < 50  # the rates are at a third after three fifths of the steps
    assert training.history[n_epochs - 5].lr > 0.01 / 3 > training.history[n_epochs - 4].lr
    assert training.stopped == (
        f"after epoch {n_epochs} of 60, because 5 epochs at low learning rates brought nothing "
        "better on the holdout"
    )
    line = capsys.readouterr().err.splitlines()[-1]
    n_done = f"{n_epochs * n_train:,}"
    assert line.startswith(
        f"featx: epoch {n_epochs} of 60, stopped early: {n_done} of {n_done} images (100 %) in "
    )


def test_training_without_patience_runs_all_epochs(tmp_path: Path) -> None:
    training = train(tmp_path / "1", epochs=20, **turn_holdout())
    assert (training.best_epoch, training.stopped) == (0, "")
    assert len(training.history) == 1 + 20


def test_training_without_epochs_makes_enough_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.finetune.recipe.MIN_STEPS", 80)
    training = train(tmp_path / "1", epochs=None)
    assert training.n_epochs == math.ceil(80 / N_STEPS) > N_EPOCHS
    assert len(training.history) == 1 + training.n_epochs
    assert training.history[-1].lr < 1e-3 * training.history[1].lr


def test_training_keeps_the_weights_of_the_last_epoch(tmp_path: Path) -> None:
    examples = build_examples()
    training = train(tmp_path / "1", epochs=12, lr=0.03, maps=draw_maps(examples.y, noise=2))
    scores = [line.holdout_accuracy for line in training.history]
    assert training.best_epoch == 12
    assert scores[0] < scores[12] < max(scores)  # the luckiest epoch was another
    y = torch.from_numpy(examples.y)[examples.holdout]
    got = float(functional.cross_entropy(training.predict(examples.holdout), y))
    assert got == training.history[12].holdout_loss


def test_training_that_looks_better_by_chance_keeps_the_head_it_began_with(tmp_path: Path) -> None:
    examples = build_examples(draw_random_labels(N_HOLDOUT + N_TRAIN, seed=1))
    training = build_training(
        tmp_path / "1",
        examples=examples,
        maps=draw_maps(examples.y * 0, noise=1),
        epochs=12,
        patience=20,
    )
    before = read_state(training.learner)
    training.run(progress=False)
    scores = [line.holdout_accuracy for line in training.history]
    assert max(scores) > scores[0]
    assert training.best_epoch == 0
    assert read_state(training.learner) == before


def test_training_that_only_harms_keeps_the_head_it_began_with(tmp_path: Path) -> None:
    training = build_training(tmp_path / "1", patience=2, epochs=9, **turn_holdout())
    before = read_state(training.learner)
    training.run(progress=False)
    assert training.best_epoch == 0
    assert training.stopped.startswith("after epoch 7 of 9, because 2 epochs")
    assert len(training.history) == 1 + 7  # rates are low from epoch 6 on
    assert read_state(training.learner) == before


def test_training_out_of_patience_at_its_last_epoch_did_not_stop_early(tmp_path: Path) -> None:
    training = train(tmp_path / "1", patience=2, epochs=2, **turn_holdout())
    assert (training.best_epoch, training.stopped) == (0, "")


def test_training_on_nan_stops_and_keeps_the_last_good_weights(tmp_path: Path) -> None:
    maps = draw_maps(build_examples().y, 3)
    maps[2][30] = np.nan
    training = train(tmp_path / "1", views=3, maps=maps, epochs=9)
    assert training.best_epoch == 1
    assert len(training.history) == 2
    assert training.stopped.startswith("the loss or its gradient was not finite in epoch 2, step ")
    assert training.is_cut_short
    assert training.stopped.endswith("; a smaller lr may help")
    assert is_finite(training.learner.state_dict())
    good = train(tmp_path / "2", views=3, epochs=9)
    assert read_history(training) == read_history(good)[:2]


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_training_with_a_rate_far_too_large_stops_and_keeps_the_head(
    tmp_path: Path, optimizer: str
) -> None:
    training = build_training(tmp_path / "1", optimizer=optimizer, lr=1e6, warmup=0.0)
    before = read_state(training.learner)
    training.run(progress=False)
    assert training.best_epoch == 0
    assert "a smaller lr may help" in training.stopped
    assert read_state(training.learner) == before


class Root(nn.Module):
    """A top whose values are finite and whose gradient is not: the root's, at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(self.scale * maps.mean((1, 2, 3))[:, None])


def test_training_on_a_gradient_without_bounds_takes_no_step(tmp_path: Path) -> None:
    examples = build_examples()
    training = build_training(
        tmp_path / "1", cut=build_cut(top=Root()), maps=[np.zeros((56, 108), np.float32)]
    )
    before = read_state(training.learner)
    training.run(progress=False)
    assert math.isfinite(training.history[0].holdout_loss)
    assert training.stopped.startswith(
        "the loss or its gradient was not finite in epoch 1, step 1; "
    )
    assert len(examples.y) == 56
    after = read_checkpoint(tmp_path / "1")["learner"]
    assert is_finite(after)
    assert read_state(training.learner) == before


# What it writes


def test_training_writes_a_checkpoint_after_each_epoch(tmp_path: Path) -> None:
    states: dict[int, dict[str, Any]] = {}

    def read(number: int) -> None:
        if number % PER_EPOCH == N_SCORED:  # the first step of an epoch
            states[number // PER_EPOCH + 1] = read_checkpoint(tmp_path / "1")

    train(tmp_path / "1", act=read)
    states[4] = read_checkpoint(tmp_path / "1")
    for number in (1, 2, 3, 4):
        progress = states[number]["progress"]
        assert (progress["epoch"], len(progress["history"])) == (number, number)
    assert states[4]["selection"]["epoch"] == 3
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["checkpoint.pt", "log.csv"]


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_training_log_has_a_line_for_the_head_and_each_epoch(tmp_path: Path) -> None:
    training = train(tmp_path / "1")
    header = (
        "epoch,train_loss,holdout_loss,holdout_accuracy,holdout_balanced_accuracy,lr,seconds,"
        "images_per_s"
    )
    text = (tmp_path / "1" / "log.csv").read_text()
    assert text.splitlines()[0] == header
    lines = read_log(tmp_path / "1")
    assert [line["epoch"] for line in lines] == ["0", "1", "2", "3"]
    assert (lines[0]["train_loss"], lines[0]["lr"]) == ("nan", "0.0")
    for line, epoch in zip(lines[1:], training.history[1:], strict=True):
        assert {name: float(value) for name, value in line.items()} == vars(epoch)
        assert epoch.seconds > 0
        assert epoch.images_per_s == pytest.approx(N_TRAIN / epoch.seconds)


def test_training_log_grows_with_each_epoch(tmp_path: Path) -> None:
    counts: list[int] = []

    def count(number: int) -> None:
        if number % PER_EPOCH == N_SCORED:
            counts.append(len(read_log(tmp_path / "1")))

    train(tmp_path / "1", act=count)
    assert counts == [1, 2, 3]


def test_training_log_tells_the_rate_of_the_last_step(tmp_path: Path) -> None:
    training = train(tmp_path / "1", lr_decay=0.5)
    recipe = training.recipe
    expected = [
        recipe.lr * recipe.scale_rate(epoch * N_STEPS - 1, 3 * N_STEPS) for epoch in (1, 2, 3)
    ]
    assert [line.lr for line in training.history] == [0.0, *expected]


# How it goes on


class Killed(BaseException):
    """What ends a process at once: nothing is written any more."""


@pytest.fixture
def _terminated() -> Iterator[None]:
    """SIGTERM ends in an exception, as under the command line."""

    def exit_(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, exit_)
    yield
    signal.signal(signal.SIGTERM, before)


def end_at(number: int, ending: str) -> Act:
    """Return a function that ends a training before its batch of this number is read."""

    def act(at: int) -> None:
        if at == number:
            if ending == "SIGKILL":
                raise Killed
            os.kill(os.getpid(), getattr(signal, ending))

    return act


ENDINGS: dict[str, type[BaseException]] = {
    "SIGINT": KeyboardInterrupt,
    "SIGTERM": SystemExit,
    "SIGKILL": Killed,
}

LAST = N_SCORED + 3 * PER_EPOCH - 1
PLACES = {
    "before the first step": 0,
    "at the first step": N_SCORED,
    "in epoch 1": N_SCORED + 2,
    "at the last step of epoch 1": N_SCORED + N_STEPS - 1,
    "while epoch 1 is scored": N_SCORED + N_STEPS,
    "at the first step of epoch 2": N_SCORED + PER_EPOCH,
    "in the last epoch": LAST - N_SCORED - 1,
    "at the last step": LAST - N_SCORED,
    "while the last epoch is scored": LAST,
}

FULL: dict[str, Any] = {"views": 2, "train_batchnorm": True, "patience": 9, "warmup": 0.2}
"""A recipe with all that a checkpoint must bring back."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Return the result of a training that nothing ended; a factory."""
    results: dict[str, tuple[object, ...]] = {}

    def get(**options: Any) -> tuple[object, ...]:
        key = repr(options)
        if key not in results:
            folder = tmp_path_factory.mktemp("undisturbed")
            results[key] = read_result(train(folder, **options))
        return results[key]

    return get


@pytest.mark.usefixtures("_terminated")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("place", PLACES)
def test_training_that_was_ended_goes_on_to_the_same_last_bit(
    tmp_path: Path, undisturbed: Undisturbed, place: str, ending: str
) -> None:
    training = build_training(tmp_path / "1", act=end_at(PLACES[place], ending), **FULL)
    with pytest.raises(ENDINGS[ending]):
        training.run(progress=False)
    resumed = train(tmp_path / "1", resume=True, **FULL)
    assert read_result(resumed) == undisturbed(**FULL)
    assert len(read_log(tmp_path / "1")) == 4


@pytest.mark.usefixtures("_terminated")
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_training_that_is_ended_at_every_step_goes_on_to_the_same_last_bit(
    tmp_path: Path, undisturbed: Undisturbed, optimizer: str
) -> None:
    options = FULL | {"optimizer": optimizer}
    n_ended = 0
    for n_ended in range(100):
        ending = SIGNALS[n_ended % 2]
        training = build_training(tmp_path / "1", act=end_at(0, ending), **options)
        try:
            training.run(resume=True, progress=False)
        except ENDINGS[ending]:
            continue
        break
    assert n_ended > 2 * N_STEPS
    assert read_result(training) == undisturbed(**options)


@pytest.mark.parametrize("ending", SIGNALS)
@pytest.mark.usefixtures("_terminated")
def test_training_ended_by_a_signal_loses_no_step(tmp_path: Path, ending: str) -> None:
    act = end_at(N_SCORED + PER_EPOCH + 2, ending)
    training = build_training(tmp_path / "1", act=act, **FULL)
    with pytest.raises(ENDINGS[ending]):
        training.run(progress=False)
    state = read_checkpoint(tmp_path / "1")["progress"]
    assert (state["epoch"], state["step"], state["n_seen"]) == (2, 3, 24)
    resumed = train(tmp_path / "1", resume=True, **FULL)
    assert get_features(resumed).n_read == LAST + 1 - (N_SCORED + PER_EPOCH + 3)


@pytest.mark.parametrize("ending", SIGNALS)
def test_training_goes_on_where_a_signal_is_let_pass(
    tmp_path: Path, undisturbed: Undisturbed, ending: str
) -> None:
    caught: list[int] = []
    number: signal.Signals = getattr(signal, ending)
    before = signal.signal(number, lambda *_: caught.append(1))
    try:
        training = train(tmp_path / "1", act=end_at(N_SCORED + 2, ending), **FULL)
    finally:
        signal.signal(number, before)
    assert caught == [1]
    assert read_result(training) == undisturbed(**FULL)


@pytest.mark.usefixtures("_terminated")
@pytest.mark.parametrize("ending", [None, *ENDINGS])
def test_training_gives_the_signals_back(tmp_path: Path, ending: str | None) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    act = end_at(N_SCORED + 1, ending) if ending else pass_by
    training = build_training(tmp_path / "1", act=act)
    if ending:
        with pytest.raises(ENDINGS[ending]):
            training.run(progress=False)
    else:
        training.run(progress=False)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_training_resumed_where_cores_are_others_gives_the_same(
    tmp_path: Path, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed()
    training = build_training(tmp_path / "1", act=end_at(N_SCORED + PER_EPOCH, "SIGKILL"))
    assert training.learner.n_parts == 2
    with pytest.raises(Killed):
        training.run(progress=False)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 3)
    resumed = train(tmp_path / "1", resume=True)
    assert read_result(resumed) == expected
    assert read_result(train(tmp_path / "2")) != expected  # three parts, other dropout


def test_training_in_another_thread_gives_the_same(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    training = build_training(tmp_path / "1", **FULL)
    thread = threading.Thread(target=training.run, kwargs={"progress": False})
    thread.start()
    thread.join(60)
    assert read_result(training) == undisturbed(**FULL)


def test_training_resumed_with_no_checkpoint_begins_anew(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    assert read_result(train(tmp_path / "1", resume=True, **FULL)) == undisturbed(**FULL)


def test_training_not_resumed_ignores_the_checkpoint(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    train(tmp_path / "1", seed=5)
    training = train(tmp_path / "1", **FULL)
    assert read_result(training) == undisturbed(**FULL)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="whole"),
        pytest.param({"patience": 1, "epochs": 9, **turn_holdout()}, id="early"),
        pytest.param({"lr": 1e6, "warmup": 0.0}, id="nan"),
    ],
)
def test_training_resumed_after_its_end_reads_nothing_and_has_the_same(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    ended = train(tmp_path / "1", **options)
    resumed = train(tmp_path / "1", resume=True, **options)
    assert get_features(resumed).n_read == 0
    assert read_result(resumed) == read_result(ended)


def test_training_ended_before_its_last_line_is_logged_logs_it_when_resumed(tmp_path: Path) -> None:
    training = train(tmp_path / "1")
    log = tmp_path / "1" / "log.csv"
    whole = log.read_text()
    log.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    train(tmp_path / "1", resume=True)
    assert log.read_text() == whole
    assert len(read_log(tmp_path / "1")) == len(training.history)


def test_training_resumed_after_a_kill_in_the_midst_of_writing_leaves_no_rest(
    tmp_path: Path,
) -> None:
    train(tmp_path / "1")
    leave_draft(tmp_path / "1" / "log.csv")
    train(tmp_path / "1", resume=True)
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["checkpoint.pt", "log.csv"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"lr": 0.02}, "lr"), ({"identity": {"images": "others"}, "epochs": 4}, "images, epochs")],
)
def test_training_resumed_after_another_run_is_refused_and_told_what_differs(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    train(tmp_path / "1", epochs=1)
    before = (tmp_path / "1" / "checkpoint.pt").read_bytes()
    training = build_training(tmp_path / "1", **{"epochs": 1} | changes)
    with pytest.raises(TuningError, match=rf"checkpoint\.pt: .* with another {named}\. "):
        training.run(resume=True, progress=False)
    assert (tmp_path / "1" / "checkpoint.pt").read_bytes() == before


# Where it runs


def test_choose_precision_on_a_cpu_is_fp32(tmp_path: Path) -> None:
    assert choose_precision(torch.device("cpu")) == "fp32"
    assert build_training(tmp_path / "1").learner.precision == "fp32"


def test_training_in_bf16_is_near_fp32(tmp_path: Path) -> None:
    states = []
    for precision in ("fp32", "bf16"):
        training = train(tmp_path / precision, precision=precision, epochs=1)
        assert {tensor.dtype for tensor in training.learner.parameters()} == {torch.float32}
        states.append(training.history[1].train_loss)
    assert states[0] != states[1]
    assert states[0] == pytest.approx(states[1], rel=0.02)


@pytest.mark.gpu
def test_training_on_a_gpu_takes_bf16_and_learns(tmp_path: Path) -> None:
    training = train(
        tmp_path / "1",
        device="cuda:0",
        epochs=8,
        maps=draw_maps(build_examples().y, noise=0.3),
    )
    assert training.learner.precision == "bf16"
    assert training.history[-1].holdout_loss < 0.7 * training.history[0].holdout_loss
    assert {tensor.device.type for tensor in training.learner.parameters()} == {"cpu"}
    assert is_finite(training.learner.state_dict())


@pytest.mark.gpu
def test_training_on_a_gpu_that_was_ended_goes_on(tmp_path: Path) -> None:
    whole = train(tmp_path / "1", device="cuda:0", **FULL)
    training = build_training(
        tmp_path / "2", device="cuda:0", act=end_at(N_SCORED + PER_EPOCH + 2, "SIGINT"), **FULL
    )
    with pytest.raises(KeyboardInterrupt):
        training.run(progress=False)
    resumed = train(tmp_path / "2", device="cuda:0", resume=True, **FULL)
    for line, expected in zip(resumed.history[1:], whole.history[1:], strict=True):
        assert line.train_loss == pytest.approx(expected.train_loss, rel=1e-2)
        assert line.lr == expected.lr
