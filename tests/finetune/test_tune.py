"""From a cache, its images and a head to tuned weights with a head of their own, end to end."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import featx
from featx.backbones.load import load_backbone
from featx.backbones.metadata import WeightsMetadata, read_metadata
from featx.backbones.state_dict import read_state_dict
from featx.cache.joined import open_cache
from featx.core.errors import (
    CacheError,
    FeatxError,
    FeatxWarning,
    FingerprintError,
    TuningError,
    WeightsError,
)
from featx.core.learnt import join_digests
from featx.core.typing import Array
from featx.embedding.options import RunOptions
from featx.finetune import result as result_module
from featx.finetune import tune as tune_module
from featx.finetune.log import Epoch
from featx.finetune.recipe import Recipe
from featx.finetune.report import TuningReport
from featx.finetune.train import Training
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head
from featx.heads.head import Head
from featx.heads.load import load_head
from featx.images.content import Content
from featx.prediction.predict import predict

from .doubles_scene import (
    CLASSES,
    HOW,
    RECIPE,
    Scene,
    decide,
    extract_scene,
    list_names,
    open_training,
    read_scene,
    tune,
)

MakeScene = Callable[..., Scene]
MakeImage = Callable[..., Path]
WatchBatches = Callable[..., Any]

ONE = replace(RECIPE, epochs=1)
OUTPUTS = ("tuned.joblib", "tuned.log.csv", "tuned.safetensors")

# ---- where training begins


def assert_same_logits(training: Training, expected: Array) -> None:
    got = training.predict(np.arange(len(expected))).numpy()
    assert np.ptp(expected, axis=0).max() > 0.1  # there is something to be wrong about
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["logreg", "linear-svm"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_training_begins_as_the_head(
    make_scene: MakeScene, tmp_path: Path, kind: str, n_classes: int
) -> None:
    scene = make_scene(n_classes)
    head = fit_head(scene.cache, kind=kind, C=1.0)  # it saw the holdout: another one begins
    data, training = open_training(scene, tmp_path, head=head)
    assert_same_logits(training, decide(data.start, scene.read("train")[0]))


@pytest.mark.parametrize("changes", [{"max_trunk_bytes": 0}, {"unfreeze": 4}])
def test_training_begins_as_the_head_however_the_trunk_is_run(
    make_scene: MakeScene, tmp_path: Path, changes: dict[str, Any]
) -> None:
    scene, head = make_scene(), fit_head(make_scene(seed=1).cache, C=1.0)
    _, training = open_training(scene, tmp_path, head=head, **changes)
    assert_same_logits(training, decide(head.estimator, scene.read("train")[0]))


def test_training_begins_as_the_head_with_the_engine_of_the_machine(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    scene, head = make_scene(), fit_head(make_scene(seed=1).cache, C=1.0)
    options = RunOptions(device="cpu", progress=False)
    _, training = open_training(scene, tmp_path, head=head, options=options)
    assert_same_logits(training, decide(head.estimator, scene.read("train")[0]))


@pytest.mark.gpu
def test_training_on_a_gpu_begins_as_on_the_cpu(make_scene: MakeScene, tmp_path: Path) -> None:
    scene, head = make_scene(), fit_head(make_scene(seed=1).cache, C=1.0)
    recipe = replace(RECIPE, precision="fp32")
    expected = decide(head.estimator, scene.read("train")[0])
    _, training = open_training(scene, tmp_path, head=head, device="cuda:0", recipe=recipe)
    got = training.predict(np.arange(len(expected))).cpu().numpy()
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
    report = tune(scene, tmp_path / "gpu.safetensors", head=head, device="cuda:0")
    assert math.isfinite(report.history[-1].train_loss)
    assert read_tuned(report.path).device == "cuda:0"


# ---- a whole run


def read_tuned(path: Path) -> WeightsMetadata:
    metadata = read_metadata(path)
    assert metadata is not None
    return metadata


def test_fine_tune_learns_and_says_what_it_did(tuned: TuningReport) -> None:
    assert tuned.backbone == "lenet5"
    assert tuned.blocks == ("f6", "c5")
    assert (tuned.n_train, tuned.n_holdout) == (34, 8)
    assert [epoch.epoch for epoch in tuned.history] == list(range(len(tuned.history)))
    first, best = tuned.history[0], tuned.history[tuned.best_epoch]
    assert math.isnan(first.train_loss)
    assert tuned.best_epoch > 0
    assert best.holdout_loss < first.holdout_loss
    assert best.holdout_accuracy == max(epoch.holdout_accuracy for epoch in tuned.history)
    assert tuned.history[2].train_loss < tuned.history[1].train_loss
    assert (tuned.stopped, tuned.split, tuned.advice) == ("", "val", None)
    assert tuned.trunk_s > 0
    assert tuned.train_s > 0
    scores = tuned.scores  # the tests below tell the two models apart
    assert scores.n_only_first + scores.n_only_second > 0


def test_fine_tune_history_begins_with_the_head_that_lacks_the_holdout(
    tuned: TuningReport, scene: Scene, weak_head: Head
) -> None:
    data = read_scene(scene, head=weak_head)
    examples, (X, y) = data.examples, scene.read("train")
    losses = {
        name: torch.nn.functional.cross_entropy(
            torch.from_numpy(decide(estimator, X[examples.holdout])),
            torch.from_numpy(examples.y[examples.holdout]),
        ).item()
        for name, estimator in (("without", data.start), ("with", weak_head.estimator))
    }
    assert tuned.history[0].holdout_loss == pytest.approx(losses["without"], rel=1e-4)
    assert abs(losses["with"] - losses["without"]) > 1e-3
    right = data.start.predict(X[examples.holdout]) == y[examples.holdout]
    assert tuned.history[0].holdout_accuracy == pytest.approx(right.mean())


def test_fine_tune_leaves_its_outputs_and_nothing_else(tuned: TuningReport) -> None:
    assert list_names(tuned.path.parent) == sorted([*OUTPUTS, "tuned.trunk.h5"])
    assert tuned.head_path == tuned.path.with_suffix(".joblib")
    assert tuned.trunk_path == tuned.path.with_suffix(".trunk.h5")
    assert tuned.trunk_excess == ""


def test_fine_tune_log_is_the_history(tuned: TuningReport) -> None:
    with tuned.log_path.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(tuned.history)
    for line, epoch in zip(lines, tuned.history, strict=True):
        for name, value in asdict(epoch).items():
            np.testing.assert_equal(float(line[name]), float(value))


def test_fine_tune_metadata_says_how_the_weights_were_made(
    tuned: TuningReport, scene: Scene
) -> None:
    metadata = read_tuned(tuned.path)
    assert metadata.backbone == "lenet5"
    assert metadata.classes == CLASSES
    assert metadata.blocks == ("f6", "c5")
    assert (metadata.n_train, metadata.n_holdout) == (34, 8)
    assert metadata.recipe == asdict(replace(RECIPE, epochs=4))
    assert metadata.best_epoch == tuned.best_epoch
    assert metadata.holdout_loss == tuned.history[tuned.best_epoch].holdout_loss
    assert metadata.scores["second"] == tuned.scores.second
    assert metadata.precision == "fp32"
    with open_cache(scene.cache) as cache:
        fingerprint = cache.get_info().fingerprint
    assert metadata.from_weights_digest == fingerprint.weights_digest


def test_fine_tune_changes_the_top_blocks_alone(tuned: TuningReport) -> None:
    before = load_backbone("lenet5").module.network.state_dict()
    after = read_state_dict(tuned.path)
    assert set(after) == {*before, "fc.weight", "fc.bias"}
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"c5", "f6"}
    assert after["fc.weight"].shape == (3, 84)


def test_fine_tune_first_scores_are_those_of_the_head(
    tuned: TuningReport, scene: Scene, weak_head: Head
) -> None:
    expected = evaluate(weak_head, scene.cache, split="val")
    assert tuned.scores.first == expected.accuracy
    assert tuned.scores.first_ci95 == expected.accuracy_ci95


def test_fine_tune_report_is_json(tuned: TuningReport) -> None:
    read = json.loads(json.dumps(tuned.to_dict(), default=str))
    assert read["verdict"] == tuned.verdict
    assert read["scores"]["is_better"] == tuned.scores.is_better
    assert [epoch["epoch"] for epoch in read["history"]] == [0, 1, 2, 3, 4]


def test_fine_tune_reads_no_other_split_before_the_comparison(
    scene: Scene, weak_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[str] = []
    before: list[str] = []
    read_whole, compare = Content.read_whole, result_module.compare

    def note(self: Content, *options: Any) -> Any:
        files.append(Path(self.file).relative_to(scene.folder).parts[0])
        return read_whole(self, *options)

    def note_and_compare(*args: Any, **options: Any) -> Any:
        before.extend(files)
        return compare(*args, **options)

    monkeypatch.setattr(Content, "read_whole", note)
    monkeypatch.setattr(result_module, "compare", note_and_compare)
    report = tune(scene, tmp_path / "t.safetensors", head=weak_head, recipe=ONE, max_trunk_gb=0)
    assert set(before) == {"train"}
    assert files[len(before) :] == ["val"] * 18
    assert report.n_train + report.n_holdout == 42
    assert report.scores.n_rows == 18


def test_fine_tune_has_one_engine_at_a_time(
    scene: Scene, weak_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    build = RunOptions.build_engine

    def note(self: RunOptions, *args: Any, **options: Any) -> Any:
        assert all(engine.slots == () for engine in built)  # those before are closed
        built.append(build(self, *args, **options))
        return built[-1]

    monkeypatch.setattr(RunOptions, "build_engine", note)
    tune(scene, tmp_path / "t.safetensors", head=weak_head, recipe=ONE, max_trunk_gb=0)
    assert len(built) == 2  # of the trunk, and of the comparison


# ---- the result is a backbone with its head


def test_tuned_weights_give_embeddings_of_their_own(tuned_cache: Path, scene: Scene) -> None:
    with open_cache(tuned_cache) as cache, open_cache(scene.cache) as before:
        new, old = cache.get_info().fingerprint, before.get_info().fingerprint
        assert new.weights_digest != old.weights_digest
        assert replace(new, weights_digest=old.weights_digest) == old
        assert np.abs(cache.read_vectors() - before.read_vectors()).max() > 1e-2


def test_tuned_weights_take_a_new_head(tuned_cache: Path) -> None:
    with pytest.warns(featx.FeatxWarning, match=r"^42 of 42 rows were learnt from by the network"):
        head = fit_head(tuned_cache, C=1.0)
    assert evaluate(head, tuned_cache).accuracy > 0.5


def score_folder(head: Path, folder: Path) -> float:
    """Predict the images of class folders; return the accuracy."""
    predictions = predict(head, folder, **HOW)
    return float(np.mean([one.label == Path(one.path).parent.name for one in predictions]))


def test_tuned_head_predicts_as_well_as_the_report_says(
    tuned: TuningReport, tuned_cache: Path, scene: Scene
) -> None:
    assert tuned.scores.n_rows == 18
    assert score_folder(tuned.head_path, scene.folder / "val") == pytest.approx(tuned.scores.second)
    of_cache = evaluate(tuned.head_path, tuned_cache)
    assert of_cache.accuracy == pytest.approx(tuned.scores.second)
    assert of_cache.n_seen == 0
    with pytest.warns(featx.FeatxWarning, match=r"^42 of 42 rows were learnt from by"):
        assert evaluate(tuned.head_path, tuned_cache, split="train").n_seen == 42


def test_tuned_head_knows_its_weights_and_what_it_learnt_from(tuned: TuningReport) -> None:
    head = load_head(tuned.head_path)
    assert head.origin.weights == str(tuned.path.resolve())
    digest = load_backbone("lenet5", weights=str(tuned.path)).weights_digest
    assert head.fingerprint.weights_digest == digest
    assert head.fitted_on.fine_tuned


def test_heads_refuse_embeddings_of_other_weights(
    tuned: TuningReport, tuned_cache: Path, scene: Scene, weak_head: Head
) -> None:
    for head, cache in ((tuned.head_path, scene.cache), (weak_head, tuned_cache)):
        with pytest.raises(FingerprintError, match=r"weights"):
            predict(head, cache)


def test_tuned_weights_are_refused_as_those_of_another_network(tuned: TuningReport) -> None:
    with pytest.raises(WeightsError, match=r"mini.*lenet5"):
        load_backbone("mini", weights=str(tuned.path))


@pytest.mark.filterwarnings("ignore:.*were learnt from by the network")
def test_tuned_weights_can_be_tuned_again(
    tuned: TuningReport, tuned_cache: Path, scene: Scene, tmp_path: Path
) -> None:
    # Another cut than before: three blocks in place of two. The head has seen one image more.
    head = load_head(tuned.head_path)
    head = replace(head, seen=join_digests([head.seen, np.array([7], np.uint64)]))
    again = Scene(scene.folder, tuned_cache)
    options = {"head": head, "unfreeze": 3, "recipe": ONE}
    with pytest.warns(featx.FeatxWarning, match=r"^8 of 8 rows of the holdout were learnt from"):
        report = tune(again, tmp_path / "twice.safetensors", **options)
    assert report.scores.first == tuned.scores.second
    metadata = read_tuned(report.path)
    assert metadata.from_weights == str(tuned.path.resolve())
    digest = load_backbone("lenet5", weights=str(tuned.path)).weights_digest
    assert metadata.from_weights_digest == digest
    cache = extract_with(scene, report, tmp_path)
    assert evaluate(report.head_path, cache).accuracy == pytest.approx(report.scores.second)
    assert len(load_head(report.head_path).seen) == 43


def extract_with(scene: Scene, report: TuningReport, folder: Path, **options: Any) -> Path:
    """Extract the images with tuned weights; return the cache."""
    options = {"backbone": report.backbone, "weights": str(report.path)} | options
    return extract_scene(scene.folder, folder / "with.h5", **options)


@pytest.fixture(scope="module")
def small_scene(make_scene: MakeScene) -> Scene:
    """Few images, embedded by a network that reads them at a size that the user chose."""
    counts = {"train": 10, "val": 3}
    return make_scene(
        2, seed=2, backbone="mobilenet_v2", weights="random:0", size=48, counts=counts
    )


@pytest.fixture(scope="module")
def small_tuned(small_scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> TuningReport:
    output = tmp_path_factory.mktemp("small") / "tuned.safetensors"
    head = fit_head(small_scene.cache, C=1.0)
    return tune(small_scene, output, head=head, unfreeze=1, recipe=ONE)


def test_tuned_weights_bring_their_preprocessing_along(
    small_tuned: TuningReport, small_scene: Scene, tmp_path: Path
) -> None:
    backbone = load_backbone("mobilenet_v2", weights=str(small_tuned.path))
    assert (backbone.origin.size, backbone.pixel_shape) == (48, (48, 48, 3))
    assert backbone.origin.preprocess_from == "IMAGENET1K_V1"
    path = extract_with(small_scene, small_tuned, tmp_path)
    with open_cache(path) as cache, open_cache(small_scene.cache) as before:
        new, old = cache.get_info(), before.get_info()
        assert new.fingerprint.preprocess == old.fingerprint.preprocess
        assert new.provenance.origin.size == 48
    assert evaluate(small_tuned.head_path, path).accuracy == small_tuned.scores.second
    accuracy = score_folder(small_tuned.head_path, small_scene.folder / "val")
    assert accuracy == pytest.approx(small_tuned.scores.second)


def test_tuned_weights_can_be_read_at_another_size(
    small_tuned: TuningReport, small_scene: Scene, tmp_path: Path
) -> None:
    path = extract_with(small_scene, small_tuned, tmp_path, size=64)
    with open_cache(path) as cache:
        assert cache.get_info().fingerprint.preprocess["crop"] == 64
    with pytest.raises(FingerprintError, match=r"crop 48.*crop 64"):
        evaluate(small_tuned.head_path, path)


def test_tuned_weights_in_plain_torchvision_predict_the_same(
    small_tuned: TuningReport, small_scene: Scene
) -> None:
    from PIL import Image
    from torchvision.models import mobilenet_v2

    network = mobilenet_v2(num_classes=2).eval()
    network.load_state_dict(read_state_dict(small_tuned.path))
    preprocess = load_backbone("mobilenet_v2", weights=str(small_tuned.path)).preprocess
    found = predict(small_tuned.head_path, small_scene.folder / "val", top=2, **HOW)
    images = [preprocess.prepare(Image.open(one.path)) for one in found]
    with torch.inference_mode():
        batch = preprocess.normalise(torch.from_numpy(np.stack(images)))
        expected = network(batch).softmax(1).numpy()
    got = [[dict(one.top)[label] for label in CLASSES[:2]] for one in found]
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


# ---- the same again


def drop_times(history: tuple[Epoch, ...]) -> list[tuple[float, ...]]:
    return [
        (one.epoch, one.train_loss, one.holdout_loss, one.holdout_accuracy, one.lr)
        for one in history
    ]


def test_fine_tune_twice_with_a_seed_gives_the_same_bytes(
    scene: Scene, weak_head: Head, tuned: TuningReport, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, epochs=4)
    again = tune(scene, tmp_path / "again.safetensors", head=weak_head, recipe=recipe)
    np.testing.assert_equal(drop_times(again.history), drop_times(tuned.history))
    first, second = read_state_dict(tuned.path), read_state_dict(again.path)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert again.scores == tuned.scores


def test_fine_tune_with_another_seed_gives_others(
    scene: Scene, weak_head: Head, tuned: TuningReport, tmp_path: Path
) -> None:
    other = tune(scene, tmp_path / "other.safetensors", head=weak_head, recipe=replace(ONE, seed=1))
    assert other.history[1].train_loss != tuned.history[1].train_loss


@pytest.mark.parametrize("views", [0, 2])
def test_fine_tune_learns_the_same_with_the_trunk_kept_or_not(
    scene: Scene, weak_head: Head, tmp_path: Path, views: int
) -> None:
    recipe = replace(RECIPE, epochs=3, views=views, patience=3)
    reports = []
    for name, limit in (("kept", None), ("live", 0)):
        (tmp_path / name).mkdir()
        output = tmp_path / name / "tuned.safetensors"
        options: dict[str, Any] = {"head": weak_head, "recipe": recipe, "max_trunk_gb": limit}
        reports.append(tune(scene, output, **options))
    kept, live = reports
    assert kept.trunk_path is not None
    assert kept.trunk_path.exists()
    assert live.trunk_path is None
    assert live.trunk_excess == "it would be 0.00 GB, max_trunk_gb is 0.00 GB"
    assert not (tmp_path / "live/tuned.trunk.h5").exists()
    assert len(kept.history) == len(live.history) == 4
    for one, other in zip(kept.history[1:], live.history[1:], strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-4)
        assert one.holdout_loss == pytest.approx(other.holdout_loss, abs=1e-4)


def test_fine_tune_with_a_trunk_that_is_there_runs_it_for_no_image(
    scene: Scene,
    weak_head: Head,
    tuned: TuningReport,
    tmp_path: Path,
    watch_batches: WatchBatches,
) -> None:
    numbers: list[int] = []
    with watch_batches(numbers.append):
        report = tune(
            scene,
            tmp_path / "t.safetensors",
            head=weak_head,
            trunk=tuned.trunk_path,
            recipe=ONE,
            split="test",
        )
    assert report.trunk_path == tuned.trunk_path
    assert not (tmp_path / "t.trunk.h5").exists()
    assert len(numbers) == math.ceil(9 / 8)  # of the comparison
    assert (report.split, report.scores.n_rows) == ("test", 9)


def test_fine_tune_that_harms_keeps_the_frozen_network_and_says_so(
    scene: Scene, tmp_path: Path
) -> None:
    head = fit_head(scene.cache, C=1.0)
    recipe = Recipe(epochs=2, train_batch_size=8, lr=1e6, optimizer="sgd", clip_norm=1e6, warmup=0)
    report = tune(scene, tmp_path / "t.safetensors", head=head, recipe=recipe)
    assert report.best_epoch == 0
    assert "Stay with the frozen head: " in report.verdict
    before = load_backbone("lenet5")
    assert load_backbone("lenet5", weights=str(report.path)).weights_digest == (
        before.weights_digest
    )
    # The head itself, though training began with one that lacks the holdout.
    X, _ = scene.read("all")
    tuned_probabilities = load_head(report.head_path).predict_proba(X)
    probabilities = head.predict_proba(X)
    assert tuned_probabilities is not None
    assert probabilities is not None
    np.testing.assert_allclose(tuned_probabilities, probabilities, rtol=1e-3, atol=1e-6)
    assert report.scores.gain == 0


def test_fine_tune_that_changes_nothing_leaves_a_support_vector_machine_one(
    scene: Scene, tmp_path: Path
) -> None:
    svm = fit_head(scene.cache, kind="linear-svm", C=1.0)
    recipe = Recipe(epochs=1, train_batch_size=8, lr=1e6, optimizer="sgd", clip_norm=1e6, warmup=0)
    report = tune(scene, tmp_path / "t.safetensors", head=svm, recipe=recipe)
    assert (report.best_epoch, report.scores.gain) == (0, 0)
    head = load_head(report.head_path)
    assert (head.kind, head.fitted_on, head.params) == (svm.kind, svm.fitted_on, svm.params)
    assert head.origin.weights == str(report.path.resolve())
    X, _ = scene.read("val")
    assert head.temperature == svm.temperature != 1
    np.testing.assert_array_equal(head.score_classes(X), svm.score_classes(X))
    np.testing.assert_array_equal(head.predict_proba(X), svm.predict_proba(X))


def test_fine_tune_of_a_support_vector_machine_makes_a_logistic_regression_and_says_so(
    scene: Scene, tmp_path: Path
) -> None:
    svm = fit_head(scene.cache, kind="linear-svm", C=1e-6, class_weight="balanced")
    options: dict[str, Any] = {"head": svm, "recipe": replace(RECIPE, epochs=4)}
    with pytest.warns(
        FeatxWarning,
        match=r"t\.joblib: training with cross-entropy made a logreg of the linear-svm",
    ):
        report = tune(scene, tmp_path / "t.safetensors", **options)
    assert report.best_epoch > 0
    head = load_head(report.head_path)
    assert (head.kind, head.class_weight) == ("logreg", "balanced")
    assert head.measure == report.scores.measure == "balanced_accuracy"


def test_fine_tune_fits_a_head_if_none_is_given(scene: Scene, tmp_path: Path) -> None:
    report = tune(scene, tmp_path / "t.safetensors", recipe=ONE)
    head = fit_head(scene.cache, split="train")
    assert report.scores.first == evaluate(head, scene.cache).accuracy


def test_fine_tune_follows_the_advice(
    scene: Scene, weak_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = featx.advise(scene.cache)
    assert advice.unfreeze == 0
    output = tmp_path / "t.safetensors"
    with pytest.raises(TuningError, match=r"got no advice\. .*frozen head is right .*=1"):
        tune(scene, output, head=weak_head, unfreeze="auto")
    asked: list[dict[str, Any]] = []

    def advise(_cache: object, **options: Any) -> featx.Advice:
        asked.append(options)
        return replace(advice, unfreeze=1)

    monkeypatch.setattr(tune_module, "advise", advise)
    report = tune(scene, output, head=weak_head, unfreeze="auto", recipe=replace(ONE, seed=4))
    assert (report.blocks, report.advice) == (("f6",), replace(advice, unfreeze=1))
    assert asked == [{"embedding": "lenet5", "seed": 4}]


# ---- what is refused, and what is left


def test_fine_tune_with_overwrite_replaces_outputs_and_drops_an_unfinished_run(
    scene: Scene, weak_head: Head, tmp_path: Path
) -> None:
    for name in (*OUTPUTS, "tuned.safetensors.partial/checkpoint.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before")
    output = tmp_path / "tuned.safetensors"
    tune(scene, output, head=weak_head, recipe=ONE, overwrite=True)
    assert list_names(tmp_path) == sorted((*OUTPUTS, "tuned.trunk.h5"))
    assert all(b"before" not in (tmp_path / name).read_bytes() for name in OUTPUTS)


@pytest.mark.parametrize(
    ("module", "stage"),
    [(tune_module, "Training"), (result_module, "build_tuned_head"), (result_module, "compare")],
    ids=["Training", "build_tuned_head", "compare"],
)
def test_fine_tune_that_fails_leaves_what_was_at_the_output(
    scene: Scene,
    weak_head: Head,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    stage: str,
) -> None:
    for name in OUTPUTS:
        (tmp_path / name).write_text("before")
    monkeypatch.setattr(module, stage, fail)
    with pytest.raises(TuningError, match=r"out of luck"):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head, recipe=ONE, overwrite=True)
    assert all((tmp_path / name).read_text() == "before" for name in OUTPUTS)


def fail(*_: object, **__: object) -> None:
    raise TuningError(subject="t", expected="luck", got="out of luck", remedy="Try again.")


def test_fine_tune_that_failed_in_the_comparison_resumes_after_the_last_epoch(
    scene: Scene, weak_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "tuned.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(result_module, "compare", fail)
        with pytest.raises(TuningError, match=r"out of luck"):
            tune(scene, output, head=weak_head, recipe=ONE)
    checkpoint = tmp_path / "tuned.safetensors.partial/checkpoint.pt"
    assert checkpoint.read_bytes()
    steps: list[object] = []
    monkeypatch.setattr(Training, "_step", lambda *args: steps.append(args))
    with pytest.warns(FeatxWarning, match=r"\.partial: training goes on after epoch 1$"):
        report = tune(scene, output, head=weak_head, recipe=ONE, resume=True)
    assert steps == []
    assert len(report.history) == 2
    assert not checkpoint.parent.exists()


def test_fine_tune_leaves_a_file_that_came_during_the_run(
    scene: Scene, weak_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "tuned.safetensors"

    def compare_late(*arguments: Any, **options: Any) -> Any:
        output.write_text("of somebody")
        return compare(*arguments, **options)

    compare = result_module.compare
    with monkeypatch.context() as patch:
        patch.setattr(result_module, "compare", compare_late)
        with pytest.raises(TuningError, match=r"a new file, or one with the same content, got a f"):
            tune(scene, output, head=weak_head, recipe=ONE)
    assert output.read_text() == "of somebody"
    output.unlink()
    with pytest.warns(FeatxWarning, match=r"training goes on after epoch 1"):
        tune(scene, output, head=weak_head, recipe=ONE, resume=True)
    assert list_names(tmp_path) == sorted((*OUTPUTS, "tuned.trunk.h5"))


def test_fine_tune_refused_for_its_normalisations_leaves_no_unfinished_run(
    scene: Scene, weak_head: Head, tmp_path: Path
) -> None:
    recipe = replace(ONE, train_batchnorm=True)
    with pytest.raises(TuningError, match=r"train_batchnorm: expected BatchNorm .* of lenet5"):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head, recipe=recipe)
    assert list_names(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "train"}, r"split: expected val or test"),
        ({"embedding": "x"}, r"expected one of its embeddings"),
        ({"recipe": replace(ONE, precision="bf16")}, r"precision: .* got bf16 on cpu"),
        ({"trunk": "t.h5", "max_trunk_gb": 0}, r"^trunk: expected a limit .* got t\.h5\. Leave"),
        ({"unfreeze": "two"}, r"unfreeze: expected a number of blocks or auto, got 'two'"),
    ],
)
def test_fine_tune_is_refused_before_a_network_is_loaded(
    scene: Scene,
    weak_head: Head,
    tmp_path: Path,
    no_trunk: None,
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(FeatxError, match=message):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head, **options)
    assert list_names(tmp_path) == []


def test_fine_tune_takes_no_batch_size_of_the_engine(
    scene: Scene, weak_head: Head, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=r"batch_size"):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head, batch_size=4)


def test_fine_tune_without_a_trunk_file_leaves_what_is_there(
    scene: Scene, weak_head: Head, tmp_path: Path
) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(b"no cache")
    options: dict[str, Any] = {"recipe": ONE, "trunk": other, "max_trunk_gb": 1e-9}
    report = tune(scene, tmp_path / "tuned.safetensors", head=weak_head, **options)
    assert report.trunk_path is None
    assert other.read_bytes() == b"no cache"


@pytest.mark.parametrize("unfreeze", [0, 5])
def test_fine_tune_of_blocks_that_are_not_there_is_refused(
    scene: Scene, weak_head: Head, tmp_path: Path, unfreeze: int
) -> None:
    with pytest.raises(
        TuningError, match=rf"unfreeze: expected 1 to 4 blocks of lenet5, got {unfreeze}\."
    ):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head, unfreeze=unfreeze)
    assert list_names(tmp_path) == []


@pytest.mark.parametrize("name", ["tuned.pth", "no/tuned.safetensors"])
def test_fine_tune_to_an_output_that_cannot_be_is_refused(
    scene: Scene, weak_head: Head, tmp_path: Path, no_trunk: None, name: str
) -> None:
    with pytest.raises(TuningError, match=r"ends in \.safetensors|mkdir"):
        tune(scene, tmp_path / name, head=weak_head)
    assert list_names(tmp_path) == []


def test_fine_tune_with_an_output_or_an_unfinished_run_in_the_way_is_refused(
    scene: Scene, weak_head: Head, tmp_path: Path, no_trunk: None
) -> None:
    output = tmp_path / "tuned.safetensors"
    (tmp_path / "tuned.safetensors.partial").mkdir()
    with pytest.raises(TuningError, match=r"expected no unfinished run, got one"):
        tune(scene, output, head=weak_head)
    output.write_text("before")
    with pytest.raises(TuningError, match=r"expected a new file"):
        tune(scene, output, head=weak_head)
    assert output.read_text() == "before"


@pytest.mark.parametrize("limit", [None, 0])
def test_fine_tune_with_an_image_that_changed_names_it(
    own_scene: Scene, weak_head: Head, tmp_path: Path, make_image: MakeImage, limit: float | None
) -> None:
    make_image(own_scene.folder / "train/rows/03.png", seed=5)
    with pytest.raises(TuningError, match=r"rows/03\.png: expected the image that was extracted"):
        tune(own_scene, tmp_path / "t.safetensors", head=weak_head, max_trunk_gb=limit)


@pytest.mark.filterwarnings("ignore:more images failed than the 0:featx.FeatxWarning")
@pytest.mark.parametrize("limit", [None, 0])
def test_fine_tune_with_an_image_that_was_damaged_names_it(
    own_scene: Scene, weak_head: Head, tmp_path: Path, limit: float | None
) -> None:
    (own_scene.folder / "train/rows/03.png").write_bytes(b"no image")
    with pytest.raises(FeatxError, match=r"rows/03\.png: expected an image"):
        tune(own_scene, tmp_path / "t.safetensors", head=weak_head, max_trunk_gb=limit)


def test_compare_with_an_image_that_changed_or_was_damaged_names_it(
    own_scene: Scene, weak_head: Head, tmp_path: Path, make_image: MakeImage
) -> None:
    image, output = own_scene.folder / "val/rows/03.png", tmp_path / "t.safetensors"
    make_image(image, seed=5)
    with pytest.raises(TuningError, match=r"rows/03\.png: expected the image that was extracted"):
        tune(own_scene, output, head=weak_head, recipe=ONE)
    image.write_bytes(b"no image")
    with (
        pytest.warns(FeatxWarning, match=r"training goes on after epoch 1$"),
        pytest.raises(TuningError, match=r"rows/03\.png: expected an image .*, got a decode"),
    ):
        tune(own_scene, output, head=weak_head, recipe=ONE, resume=True)


def test_fine_tune_of_a_network_of_ones_own_is_refused(
    photos: Path, photos_cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(TuningError, match=r"tests-tiny: expected a backbone that featx ships"):
        tune(Scene(photos, photos_cache), tmp_path / "tuned.safetensors", unfreeze=1)


def test_fine_tune_with_a_cache_as_the_trunk_is_refused_and_leaves_it(
    own_scene: Scene, weak_head: Head, tmp_path: Path, make_cache: Callable[..., Path]
) -> None:
    output, other = tmp_path / "tuned.safetensors", make_cache("other.h5")
    for path, message in (
        (other, r"other\.h5: expected the output of a trunk, got a cache"),
        (own_scene.cache, r"photos\.h5: expected a file of its own"),
    ):
        before = path.read_bytes()
        with pytest.raises(TuningError, match=message):
            tune(own_scene, output, head=weak_head, trunk=path)
        assert path.read_bytes() == before


def test_fine_tune_over_the_head_that_it_reads_is_refused(
    scene: Scene, tmp_path: Path, no_trunk: None
) -> None:
    head = tmp_path / "tuned.joblib"
    fit_head(scene.cache, head, C=1.0)
    before = head.read_bytes()
    with pytest.raises(TuningError, match=r"tuned\.joblib: expected a file of its own"):
        tune(scene, tmp_path / "tuned.safetensors", head=head, overwrite=True)
    assert head.read_bytes() == before


@pytest.mark.filterwarnings("ignore:.*were learnt from by the network")
def test_fine_tune_over_the_weights_that_it_reads_is_refused(
    tuned: TuningReport, tuned_cache: Path, scene: Scene, tmp_path: Path
) -> None:
    copy = tmp_path / "tuned.safetensors"
    shutil.copy(tuned.path, copy)
    before = copy.read_bytes()
    options = {"head": tuned.head_path, "weights": str(copy), "overwrite": True}
    with pytest.raises(TuningError, match=r"tuned\.safetensors: expected a file of its own"):
        tune(Scene(scene.folder, tuned_cache), copy, **options)
    assert copy.read_bytes() == before


def test_fine_tune_of_a_cache_that_is_not_there_is_refused(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "tuned.trunk.h5").write_text("of a run before")
    with pytest.raises(CacheError, match=r"gone\.h5: expected a cache, got no such file"):
        tune(Scene(scene.folder, tmp_path / "gone.h5"), tmp_path / "tuned.safetensors")
    assert list_names(tmp_path) == ["tuned.trunk.h5"]


@pytest.mark.filterwarnings("ignore:.*were learnt from by the network")
def test_fine_tune_of_weights_that_were_moved_takes_them_from_where_they_are(
    tuned: TuningReport, scene: Scene, tmp_path: Path
) -> None:
    moved, elsewhere = tmp_path / "moved.safetensors", tmp_path / "elsewhere.safetensors"
    shutil.copy(tuned.path, moved)
    cache = extract_scene(
        scene.folder, tmp_path / "moved.h5", backbone="lenet5", weights=str(moved)
    )
    moved.rename(elsewhere)
    again, options = Scene(scene.folder, cache), {"head": fit_head(cache, C=1.0), "recipe": ONE}
    with pytest.raises(WeightsError, match=r"moved\.safetensors.*weights"):
        tune(again, tmp_path / "t.safetensors", **options)
    report = tune(again, tmp_path / "t.safetensors", weights=str(elsewhere), **options)
    assert read_tuned(report.path).from_weights == str(elsewhere)


# ---- real weights and images


@pytest.fixture
def real_scene(shared: Path, tmp_path: Path) -> Scene:
    """Sixty images of ants and bees, embedded by MobileNetV2 at 96 pixels."""
    for split, count in (("train", 20), ("val", 10)):
        for label in ("ants", "bees"):
            (tmp_path / "photos" / split / label).mkdir(parents=True)
            images = sorted((shared / "data/hymenoptera_data" / split / label).glob("*.jpg"))
            for image in images[:count]:
                (tmp_path / "photos" / split / label / image.name).symlink_to(image)
    weights = shared / "weights/mobilenet_v2-imagenet-backbone.pth"
    options = {"backbone": "mobilenet_v2", "weights": str(weights), "size": 96}
    cache = extract_scene(tmp_path / "photos", tmp_path / "photos.h5", **options)
    return Scene(tmp_path / "photos", cache)


@pytest.mark.slow
@pytest.mark.shared
def test_fine_tune_real_images_begins_with_the_frozen_head_and_ends_in_a_model(
    real_scene: Scene, tmp_path: Path
) -> None:
    recipe = Recipe(epochs=1, train_batch_size=16)
    head = fit_head(real_scene.cache, C=0.01)
    data, training = open_training(real_scene, tmp_path, head=head, unfreeze=1, recipe=recipe)
    assert_same_logits(training, decide(data.start, real_scene.read("train")[0]))
    output = tmp_path / "tuned.safetensors"
    report = tune(real_scene, output, head=head, unfreeze=1, recipe=recipe)
    assert report.blocks == ("features.18",)
    assert report.scores.n_rows == 20
    assert report.scores.second >= 0.7
    accuracy = score_folder(report.head_path, real_scene.folder / "val")
    assert accuracy == pytest.approx(report.scores.second)


@pytest.mark.shared
def test_fine_tune_of_folded_normalisations_is_refused(real_scene: Scene, tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, train_batchnorm=True)
    with pytest.raises(TuningError, match=r"of mobilenet_v2 .* folded into the convolut"):
        tune(real_scene, tmp_path / "tuned.safetensors", unfreeze=1, recipe=recipe)
    assert not list(tmp_path.glob("tuned*"))  # before the trunk is run
