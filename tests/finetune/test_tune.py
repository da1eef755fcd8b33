"""From a cache, its images and a head to tuned weights with a head of their own."""

import csv
import json
import math
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

import featx
from featx.backbones.load import load_backbone
from featx.backbones.metadata import read_metadata
from featx.backbones.state_dict import digest_weights, read_state_dict
from featx.cache.reader import open_cache
from featx.cache.writer import rewrite_cache
from featx.core.errors import (
    CacheError,
    FeatxError,
    FingerprintError,
    HeadError,
    TuningError,
    WeightsError,
)
from featx.finetune import task as task_module
from featx.finetune import tune as tune_module
from featx.finetune.cut import cut_backbone
from featx.finetune.recipe import Recipe
from featx.finetune.result import TuningReport, build_classifier, save_weights
from featx.finetune.train import Training
from featx.finetune.tune import fine_tune
from featx.fitting.evaluate import evaluate
from featx.fitting.fit import fit_head
from featx.heads.compare import PairedScores, compare_predictions
from featx.heads.head import load_head
from featx.images.content import Content
from featx.prediction.predict import predict

CLASSES = ("checks", "columns", "rows")
COUNTS = {"train": 14, "val": 6, "test": 3}
HOW = {"engine": "torch", "device": "cpu", "progress": False}
RECIPE = Recipe(epochs=2, batch_size=8, lr=3e-3, warmup=0)


def read_tuned(path):
    """Read the metadata of tuned weights, as a dictionary."""
    return asdict(read_metadata(path))


def draw_texture(label, rng, size=40):
    """Draw stripes or a checkerboard of any period and phase, faint below noise."""
    period, phase = rng.uniform(6, 12), rng.uniform(0, 12, 2)
    x, y = np.meshgrid(np.arange(size) + phase[0], np.arange(size) + phase[1])
    waves = np.sin(2 * np.pi * x / period), np.sin(2 * np.pi * y / period)
    wave = {"columns": waves[0], "rows": waves[1], "checks": waves[0] * waves[1]}[label]
    pixels = 128 + 8 * wave[..., None] + rng.normal(0, 45, (size, size, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def draw_photos(folder, classes, counts, seed):
    from PIL import Image

    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for label in classes:
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = draw_texture(label, rng)
                Image.fromarray(pixels).save(folder / split / label / f"{number:02}.png")
    return folder


@dataclass(frozen=True)
class Scene:
    """Photos, and a cache of them."""

    folder: Path
    cache: Path

    def read(self, split):
        """Read vectors and labels of a split."""
        with open_cache(self.cache) as cache:
            rows = cache.select_rows(split)
            return cache.read_vectors(rows=rows), cache.labels[rows]


@pytest.fixture(scope="module")
def make_scene(tmp_path_factory):
    """Draw photos and extract them, once for all tests; a factory."""
    made = {}

    def make(n_classes=3, *, seed=0, backbone="lenet5", counts=None, **options):
        key = (n_classes, seed, backbone, *sorted(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("scene")
            draw_photos(folder / "photos", CLASSES[:n_classes], counts or COUNTS, seed)
            cache = folder / "photos.h5"
            featx.extract(folder / "photos", cache, backbone=backbone, **HOW | options)
            made[key] = Scene(folder / "photos", cache)
        return made[key]

    return make


@pytest.fixture(scope="module")
def scene(make_scene):
    return make_scene()


@pytest.fixture
def own_scene(scene, tmp_path):
    """A copy of the scene that a test may change."""
    shutil.copytree(scene.folder, tmp_path / "photos")
    shutil.copy(scene.cache, tmp_path / "photos.h5")
    return Scene(tmp_path / "photos", tmp_path / "photos.h5")


@pytest.fixture(scope="module")
def weak_head(scene):
    """A head that knows little: there is something to learn after it."""
    return fit_head(scene.cache, C=1e-4)


def tune(scene, output, **options):
    return fine_tune(
        scene.folder, scene.cache, output, **{"unfreeze": 2, "recipe": RECIPE} | HOW | options
    )


class Caught(Exception):  # noqa: N818
    """Carries a training that was about to begin."""


@pytest.fixture
def catch_training(monkeypatch, tmp_path):
    """Do all that comes before the first step, and return the training; a factory."""

    class Stopped(Training):
        def run(self, **options):
            raise Caught(self)

    def catch(scene, **options):
        options = {"overwrite": True} | options
        with monkeypatch.context() as patch:
            patch.setattr(tune_module, "Training", Stopped)
            with pytest.raises(Caught) as caught:
                tune(scene, tmp_path / "caught.safetensors", **options)
        return caught.value.args[0]

    return catch


@pytest.fixture
def no_trunk(monkeypatch):
    """Fail where a network is loaded."""

    def refuse(*args, **options):
        raise AssertionError("a network was loaded")

    monkeypatch.setattr(tune_module, "restore_backbone", refuse)


# ---- where training begins


def decide(estimator, X):
    """Return the decision function as logits ``(n_rows, n_classes)``."""
    found = estimator.decision_function(X)
    return np.stack([0 * found, found], axis=1) if found.ndim == 1 else found


def assert_same_logits(training, expected):
    got = training.predict(np.arange(len(expected))).numpy()
    assert np.ptp(expected, axis=0).max() > 0.1  # there is something to be wrong about
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["logreg", "linear-svm"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_warm_start_of_a_head_that_never_saw_the_images_is_that_head(
    make_scene, catch_training, kind, n_classes
):
    scene, other = make_scene(n_classes), make_scene(n_classes, seed=1)
    head = fit_head(other.cache, kind=kind, C=1.0)
    X, _ = scene.read("train")
    assert_same_logits(catch_training(scene, head=head), decide(head.estimator, X))


@pytest.mark.parametrize("kind", ["logreg", "linear-svm"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_warm_start_of_a_head_that_saw_the_holdout_is_one_that_did_not(
    make_scene, catch_training, kind, n_classes
):
    scene = make_scene(n_classes)
    head = fit_head(scene.cache, kind=kind, C=1.0)
    training = catch_training(scene, head=head)
    X, y = scene.read("train")
    train = training.examples.train
    expected = decide(head.refit(X[train], y[train]), X)
    assert_same_logits(training, expected)
    difference = np.abs(decide(head.estimator, X) - expected).max()
    assert difference > 1e-2 * np.abs(expected).max()


@pytest.mark.parametrize("options", [{"engine": "auto"}, {"max_trunk_bytes": 0}, {"unfreeze": 4}])
def test_warm_start_is_exact_however_the_trunk_is_run(make_scene, catch_training, options):
    scene = make_scene()
    head = fit_head(make_scene(seed=1).cache, C=1.0)
    X, _ = scene.read("train")
    assert_same_logits(catch_training(scene, head=head, **options), decide(head.estimator, X))


@pytest.mark.gpu
def test_warm_start_on_a_gpu_is_that_of_the_cpu(make_scene, catch_training, tmp_path):
    scene = make_scene()
    head = fit_head(make_scene(seed=1).cache, C=1.0)
    recipe = replace(RECIPE, precision="fp32")
    X, _ = scene.read("train")
    expected = decide(head.estimator, X)
    training = catch_training(scene, head=head, device="cuda:0", recipe=recipe)
    got = training.predict(np.arange(len(X))).cpu().numpy()
    # Convolutions of a GPU round their inputs to TF32, of 10 bits.
    assert np.abs(got - expected).max() <= 1e-2 * np.abs(expected).max()
    report = tune(scene, tmp_path / "gpu.safetensors", head=head, device="cuda:0")
    assert math.isfinite(report.history[-1].train_loss)
    assert read_tuned(report.path)["device"] == "cuda:0"


@pytest.mark.parametrize(
    "steps",
    [
        [Normalizer(), LogisticRegression()],
        [StandardScaler(), PCA(5), LogisticRegression()],
        [LogisticRegression()],
    ],
)
def test_fine_tune_with_a_head_that_is_no_matrix_is_refused_before_the_trunk(
    scene, weak_head, tmp_path, no_trunk, steps
):
    X, y = scene.read("train")
    names = [type(step).__name__ for step in steps]
    estimator = Pipeline(list(zip(names, steps, strict=True))).fit(X, y)
    head = replace(weak_head, estimator=estimator)
    with pytest.raises(HeadError, match=rf"expected a StandardScaler.*got {', '.join(names)}\. "):
        tune(scene, tmp_path / "tuned.safetensors", head=head)
    assert list(tmp_path.iterdir()) == []


# ---- what is learnt from, and what is held out


def test_holdout_is_a_fifth_of_few_rows_with_each_class_in_it(scene, catch_training, weak_head):
    training = catch_training(scene, head=weak_head)
    examples = training.examples
    assert len(examples.holdout) == 8  # of 42
    together = np.concatenate([examples.train, examples.holdout])
    assert sorted(together) == list(range(42))
    assert set(examples.y[examples.holdout]) == set(examples.y[examples.train]) == {0, 1, 2}


def test_holdout_of_many_rows_is_a_tenth(scene, catch_training, weak_head, monkeypatch):
    monkeypatch.setattr(task_module, "FEW_ROWS", 42)
    assert len(catch_training(scene, head=weak_head).examples.holdout) == 4


def test_fine_tune_where_the_holdout_takes_a_whole_class_is_refused(
    scene, weak_head, tmp_path, no_trunk, monkeypatch
):
    def take_all_but_one_class(labels, *_):
        is_first = labels == labels[0]
        return np.flatnonzero(is_first), np.flatnonzero(~is_first)

    monkeypatch.setattr(task_module, "_hold_out", take_all_but_one_class)
    with pytest.raises(TuningError, match=r"rows of each class beside the holdout, got none of"):
        tune(scene, tmp_path / "t.safetensors", head=weak_head)


def test_holdout_is_another_with_another_seed(scene, catch_training, weak_head):
    first, again, other = (
        catch_training(scene, head=weak_head, recipe=replace(RECIPE, seed=seed)).examples.holdout
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_examples_have_the_labels_of_their_rows(scene, catch_training, weak_head):
    training = catch_training(scene, head=weak_head)
    _, y = scene.read("train")
    np.testing.assert_array_equal(weak_head.classes[training.examples.y], y)


def test_holdout_does_not_part_groups(scene, catch_training, tmp_path):
    table = tmp_path / "photos.csv"
    lines = [
        (path, split, label, f"{label}{number // 2}")
        for split in ("train", "val")
        for label in CLASSES
        for number, path in enumerate(sorted((scene.folder / split / label).iterdir()))
    ]
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "split", "label", "group"), *lines])
    featx.extract(table, tmp_path / "table.h5", backbone="lenet5", **HOW)
    examples = catch_training(Scene(table, tmp_path / "table.h5")).examples
    with open_cache(tmp_path / "table.h5") as cache:
        groups = cache.groups[cache.select_rows("train")]
    assert len(groups) == 42
    assert len(examples.train) + len(examples.holdout) == 42
    assert len(examples.holdout) >= 4
    assert set(groups[examples.train]).isdisjoint(groups[examples.holdout])


def test_images_of_other_splits_are_not_read_before_the_comparison(
    scene, weak_head, tmp_path, monkeypatch
):
    files, before = [], []
    read_whole, compare = Content.read_whole, tune_module.compare

    def note(self):
        files.append(Path(self.file).relative_to(scene.folder).parts[0])
        return read_whole(self)

    def note_and_compare(*args):
        before.extend(files)
        return compare(*args)

    monkeypatch.setattr(Content, "read_whole", note)
    monkeypatch.setattr(tune_module, "compare", note_and_compare)
    report = tune(scene, tmp_path / "t.safetensors", head=weak_head, max_trunk_bytes=0)
    assert set(before) == {"train"}
    assert files[len(before) :] == ["val"] * 18
    assert report.n_train + report.n_holdout == 42
    assert report.scores.n_rows == 18


def test_split_test_is_compared_on_where_it_is_asked_for(scene, weak_head, tmp_path):
    recipe = replace(RECIPE, epochs=1)
    report = tune(scene, tmp_path / "t.safetensors", head=weak_head, split="test", recipe=recipe)
    assert (report.split, report.scores.n_rows) == ("test", 9)


def test_rows_that_the_head_has_seen_are_not_compared_on(
    own_scene, make_scene, weak_head, tmp_path
):
    # Two of the split train lie in val again: whoever learnt from one knows the other.
    for number in range(2):
        shutil.copy(
            own_scene.folder / f"train/rows/0{number}.png",
            own_scene.folder / f"val/rows/0{number}.png",
        )
    featx.extract(own_scene.folder, own_scene.cache, backbone="lenet5", **HOW)
    recipe = replace(RECIPE, epochs=1)
    output = tmp_path / "t.safetensors"
    report = tune(own_scene, output, head=fit_head(own_scene.cache, C=1.0), recipe=recipe)
    assert report.scores.n_rows == 16
    # The tuned model learns from them, whether the head did or not.
    head = fit_head(make_scene(seed=1).cache, C=1.0)
    report = tune(own_scene, output, head=head, recipe=recipe, overwrite=True)
    assert report.scores.n_rows == 16


@pytest.mark.parametrize("split", ["val", "all"])
def test_fine_tune_with_a_head_that_has_seen_the_whole_split_is_refused(
    scene, tmp_path, no_trunk, split
):
    head = fit_head(scene.cache, C=1.0, split=split)
    with pytest.raises(TuningError, match=r"split val: expected images that neither .*got none"):
        tune(scene, tmp_path / "tuned.safetensors", head=head)


# ---- a whole run


@pytest.fixture(scope="module")
def tuned(scene, weak_head, tmp_path_factory):
    """The report of one run."""
    folder = tmp_path_factory.mktemp("tuned")
    recipe = replace(RECIPE, epochs=4)
    return tune(scene, folder / "tuned.safetensors", head=weak_head, recipe=recipe)


@pytest.fixture(scope="module")
def tuned_cache(tuned, scene, tmp_path_factory):
    """The photos, extracted with the tuned weights."""
    path = tmp_path_factory.mktemp("again") / "again.h5"
    featx.extract(scene.folder, path, backbone="lenet5", weights=str(tuned.path), **HOW)
    return path


def test_fine_tune_learns_and_says_what_it_did(tuned):
    assert tuned.backbone == "lenet5"
    assert tuned.blocks == ("f6", "c5")
    assert (tuned.n_train, tuned.n_holdout) == (34, 8)
    assert [line.epoch for line in tuned.history] == list(range(len(tuned.history)))
    first, best = tuned.history[0], tuned.history[tuned.best_epoch]
    assert math.isnan(first.train_loss)
    assert tuned.best_epoch > 0
    assert best.holdout_loss < first.holdout_loss
    assert best.holdout_accuracy == max(line.holdout_accuracy for line in tuned.history)
    assert tuned.history[2].train_loss < tuned.history[1].train_loss
    assert (tuned.stopped, tuned.split, tuned.advice) == ("", "val", None)
    assert tuned.trunk_s > 0
    assert tuned.train_s > 0
    # So that the tests below can tell the two models apart, and from one that is always right.
    assert len({tuned.scores.first, tuned.scores.second, 1.0}) == 3


def test_fine_tune_history_begins_with_the_head_that_lacks_the_holdout(
    tuned, scene, weak_head, catch_training
):
    examples = catch_training(scene, head=weak_head).examples
    X, y = scene.read("train")
    start = weak_head.refit(X[examples.train], y[examples.train])
    losses = {
        name: torch.nn.functional.cross_entropy(
            torch.from_numpy(decide(estimator, X[examples.holdout])),
            torch.from_numpy(examples.y[examples.holdout]),
        ).item()
        for name, estimator in (("without", start), ("with", weak_head.estimator))
    }
    assert tuned.history[0].holdout_loss == pytest.approx(losses["without"], rel=1e-4)
    assert abs(losses["with"] - losses["without"]) > 1e-3
    right = start.predict(X[examples.holdout]) == y[examples.holdout]
    assert tuned.history[0].holdout_accuracy == pytest.approx(right.mean())


def test_fine_tune_leaves_its_outputs_and_nothing_else(tuned):
    names = ["tuned.joblib", "tuned.log.csv", "tuned.safetensors", "tuned.trunk.h5"]
    assert sorted(path.name for path in tuned.path.parent.iterdir()) == names
    assert tuned.head_path == tuned.path.with_suffix(".joblib")
    assert tuned.trunk_path == tuned.path.with_suffix(".trunk.h5")
    assert tuned.trunk_excess == ""


def test_fine_tune_log_is_the_history(tuned):
    with tuned.log_path.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(tuned.history)
    for line, epoch in zip(lines, tuned.history, strict=True):
        for name, value in asdict(epoch).items():
            np.testing.assert_equal(float(line[name]), float(value))


def test_fine_tune_record_says_how_the_weights_were_made(tuned, scene):
    record = read_tuned(tuned.path)
    assert record["backbone"] == "lenet5"
    assert record["classes"] == tuple(CLASSES)
    assert record["blocks"] == ("f6", "c5")
    assert (record["n_train"], record["n_holdout"]) == (34, 8)
    assert record["recipe"] == asdict(replace(RECIPE, epochs=4))
    assert record["best_epoch"] == tuned.best_epoch
    assert record["holdout_loss"] == tuned.history[tuned.best_epoch].holdout_loss
    assert record["scores"]["second"] == tuned.scores.second
    assert record["precision"] == "fp32"
    with open_cache(scene.cache) as cache:
        fingerprint = cache.get_info().fingerprint
    assert record["from_weights_digest"] == fingerprint.weights_digest


def test_fine_tune_changes_the_top_blocks_alone(tuned):
    before = load_backbone("lenet5").module.network.state_dict()
    after = read_state_dict(tuned.path)
    assert set(after) == {*before, "fc.weight", "fc.bias"}
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"c5", "f6"}
    assert after["fc.weight"].shape == (3, 84)


def test_fine_tune_first_scores_are_the_heads(tuned, scene, weak_head):
    found = evaluate(weak_head, scene.cache, split="val")
    assert tuned.scores.first == found.accuracy
    assert tuned.scores.first_ci95 == found.accuracy_ci95


def test_fine_tune_report_is_json(tuned):
    found = json.loads(json.dumps(tuned.to_dict(), default=str))
    assert found["verdict"] == tuned.verdict
    assert found["scores"]["is_better"] == tuned.scores.is_better
    assert [line["epoch"] for line in found["history"]] == [0, 1, 2, 3, 4]


# ---- the result is a backbone with its head


def test_tuned_weights_give_embeddings_of_their_own(tuned_cache, scene):
    with open_cache(tuned_cache) as cache, open_cache(scene.cache) as before:
        new, old = cache.get_info().fingerprint, before.get_info().fingerprint
        assert new.weights_digest != old.weights_digest
        assert replace(new, weights_digest=old.weights_digest) == old
        assert np.abs(cache.read_vectors() - before.read_vectors()).max() > 1e-2


def test_tuned_weights_take_a_new_head(tuned_cache):
    assert evaluate(fit_head(tuned_cache, C=1.0), tuned_cache).accuracy > 0.5


def test_tuned_head_predicts_as_well_as_the_report_says(tuned, tuned_cache, scene):
    found = predict(tuned.head_path, scene.folder / "val", **HOW)
    labels = [Path(one.path).parent.name for one in found]
    right = [one.label == label for one, label in zip(found, labels, strict=True)]
    assert len(right) == tuned.scores.n_rows == 18
    assert np.mean(right) == pytest.approx(tuned.scores.second)
    of_cache = evaluate(tuned.head_path, tuned_cache)
    assert of_cache.accuracy == pytest.approx(tuned.scores.second)
    assert of_cache.n_seen == 0
    assert evaluate(tuned.head_path, tuned_cache, split="train").n_seen == 42


def test_tuned_head_has_seen_what_the_head_before_it_had(scene, tmp_path):
    head = replace(fit_head(scene.cache, C=1.0), seen=np.array([7], dtype=np.uint64))
    report = tune(scene, tmp_path / "t.safetensors", head=head, recipe=replace(RECIPE, epochs=1))
    assert len(load_head(report.head_path).seen) == 43


def test_tuned_head_knows_its_weights_by_their_final_place(tuned):
    head = load_head(tuned.head_path)
    assert head.origin.weights == str(tuned.path.resolve())
    assert (
        head.fingerprint.weights_digest
        == load_backbone("lenet5", weights=str(tuned.path)).weights_digest
    )
    assert head.fitted_on.fine_tuned


def test_tuned_head_refuses_embeddings_of_the_untuned_weights(tuned, scene):
    with pytest.raises(FingerprintError, match=r"weights_digest|weights"):
        predict(tuned.head_path, scene.cache)


def test_untuned_head_refuses_embeddings_of_the_tuned_weights(weak_head, tuned_cache):
    with pytest.raises(FingerprintError, match=r"weights_digest|weights"):
        predict(weak_head, tuned_cache)


def test_tuned_weights_are_refused_as_those_of_another_network(tuned):
    with pytest.raises(WeightsError, match=r"expected weights of mini, got some of lenet5"):
        load_backbone("mini", weights=str(tuned.path))


def test_tuned_weights_can_be_tuned_again(tuned, tuned_cache, scene, tmp_path):
    # Another cut than before: three blocks in place of two.
    report = tune(
        Scene(scene.folder, tuned_cache),
        tmp_path / "twice.safetensors",
        head=tuned.head_path,
        unfreeze=3,
        recipe=replace(RECIPE, epochs=1),
    )
    assert report.scores.first == tuned.scores.second
    record = read_tuned(report.path)
    assert record["from_weights"] == str(tuned.path.resolve())
    digest = load_backbone("lenet5", weights=str(tuned.path)).weights_digest
    assert record["from_weights_digest"] == digest
    found = evaluate(report.head_path, extract_with(scene, report, tmp_path))
    assert found.accuracy == pytest.approx(report.scores.second)


def extract_with(scene, report, folder, **options):
    """Extract the photos with tuned weights; return the cache."""
    path = folder / "with.h5"
    options = {"backbone": report.backbone, "weights": str(report.path)} | options
    featx.extract(scene.folder, path, **HOW | options)
    return path


@pytest.fixture(scope="module")
def small_scene(make_scene):
    """Few photos, embedded by a network that sees them at a size of the user's own."""
    counts = {"train": 10, "val": 3}
    return make_scene(
        2, seed=2, backbone="mobilenet_v2", weights="random:0", size=48, counts=counts
    )


@pytest.fixture(scope="module")
def small_tuned(small_scene, tmp_path_factory):
    output = tmp_path_factory.mktemp("small") / "tuned.safetensors"
    head = fit_head(small_scene.cache, C=1.0)
    return tune(small_scene, output, head=head, unfreeze=1, recipe=replace(RECIPE, epochs=1))


def test_tuned_weights_bring_their_preprocessing_along(small_tuned, small_scene, tmp_path):
    backbone = load_backbone("mobilenet_v2", weights=str(small_tuned.path))
    assert (backbone.size, backbone.pixel_shape) == (48, (48, 48, 3))
    assert backbone.preprocess_from == "IMAGENET1K_V1"
    path = extract_with(small_scene, small_tuned, tmp_path)
    with open_cache(path) as cache, open_cache(small_scene.cache) as before:
        new, old = cache.get_info(), before.get_info()
        assert new.fingerprint.preprocess == old.fingerprint.preprocess
        assert new.provenance.origin.size == 48
    assert evaluate(small_tuned.head_path, path).accuracy == small_tuned.scores.second
    found = predict(small_tuned.head_path, small_scene.folder / "val", **HOW)
    right = [one.label == Path(one.path).parent.name for one in found]
    assert np.mean(right) == pytest.approx(small_tuned.scores.second)


def test_tuned_weights_can_be_read_at_another_size(small_tuned, small_scene, tmp_path):
    path = extract_with(small_scene, small_tuned, tmp_path, size=64)
    with open_cache(path) as cache:
        assert cache.get_info().fingerprint.preprocess["crop"] == 64
    with pytest.raises(FingerprintError, match=r"crop 48.*crop 64"):
        evaluate(small_tuned.head_path, path)


def test_tuned_weights_in_plain_torchvision_predict_the_same(small_tuned, small_scene):
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


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1"])
def test_save_weights_of_other_families_are_read_back(name, tmp_path):
    import torchvision

    backbone = load_backbone(name, weights="random:0", size=64)
    cut = cut_backbone(backbone, 1)
    with torch.no_grad():
        for parameter in cut.top.parameters():
            parameter.mul_(1.5)
    classifier = torch.nn.Linear(backbone.dims["penultimate"], 4)
    record = {"backbone": name, "preprocess_from": "IMAGENET1K_V1", "size": 64}
    path = tmp_path / "tuned.safetensors"
    save_weights(path, cut.network, classifier, record)
    again = load_backbone(name, weights=str(path))
    assert again.weights_digest == digest_weights(cut.network) != backbone.weights_digest
    assert again.size == 64
    if name != "squeezenet1_1":  # torchvision's classifier is a convolution there
        network = getattr(torchvision.models, name)(num_classes=4)
        network.load_state_dict(read_state_dict(path))
        (last,) = [part for part in network.modules() if isinstance(part, torch.nn.Linear)]
        assert torch.equal(last.weight, classifier.weight)


def test_build_classifier_has_the_heads_decision_function(scene, weak_head):
    X, _ = scene.read("val")
    layer = build_classifier(weak_head.estimator)
    expected = decide(weak_head.estimator, X)
    np.testing.assert_allclose(
        layer(torch.from_numpy(X)).detach(), expected, atol=1e-5 * np.abs(expected).max()
    )


# ---- the same again


def drop_times(history):
    return [
        (line.epoch, line.train_loss, line.holdout_loss, line.holdout_accuracy, line.lr)
        for line in history
    ]


def test_fine_tune_twice_with_a_seed_gives_the_same_bytes(scene, weak_head, tuned, tmp_path):
    recipe = replace(RECIPE, epochs=4)
    again = tune(scene, tmp_path / "again.safetensors", head=weak_head, recipe=recipe)
    np.testing.assert_equal(drop_times(again.history), drop_times(tuned.history))
    first, second = read_state_dict(tuned.path), read_state_dict(again.path)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert again.scores == tuned.scores


def test_fine_tune_with_another_seed_gives_others(scene, weak_head, tuned, tmp_path):
    recipe = replace(RECIPE, epochs=1, seed=1)
    other = tune(scene, tmp_path / "other.safetensors", head=weak_head, recipe=recipe)
    assert other.history[1].train_loss != tuned.history[1].train_loss


@pytest.mark.parametrize("views", [0, 2])
def test_fine_tune_learns_the_same_with_the_trunk_kept_or_not(scene, weak_head, tmp_path, views):
    recipe = replace(RECIPE, epochs=3, views=views, patience=3)
    kept, live = (
        tune(
            scene,
            tmp_path / name / "tuned.safetensors",
            head=weak_head,
            recipe=recipe,
            max_trunk_bytes=limit,
        )
        for name, limit in (("kept", None), ("live", 0))
        if not (tmp_path / name).mkdir()
    )
    assert kept.trunk_path.exists()
    assert live.trunk_path is None
    assert live.trunk_excess == "it would be 0.00 GB, it may be 0.00 GB"
    assert not (tmp_path / "live/tuned.trunk.h5").exists()
    assert len(kept.history) == len(live.history) == 4
    for one, other in zip(kept.history[1:], live.history[1:], strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-4)
        assert one.holdout_loss == pytest.approx(other.holdout_loss, abs=1e-4)


def test_fine_tune_with_a_trunk_that_is_there_runs_it_for_no_image(
    scene, weak_head, tuned, tmp_path, watch_batches
):
    numbers = []
    with watch_batches(numbers.append):
        report = tune(
            scene,
            tmp_path / "t.safetensors",
            head=weak_head,
            trunk=tuned.trunk_path,
            recipe=replace(RECIPE, epochs=1),
        )
    assert report.trunk_path == tuned.trunk_path
    assert not (tmp_path / "t.trunk.h5").exists()
    assert len(numbers) == math.ceil(18 / 8)  # of the comparison


# ---- what the report says


def build_report(scores, **changes):
    fields = {
        "path": Path("tuned.safetensors"),
        "head_path": Path("tuned.joblib"),
        "log_path": Path("tuned.log.csv"),
        "backbone": "lenet5",
        "blocks": ("f6",),
        "n_train": 34,
        "n_holdout": 8,
        "history": (),
        "best_epoch": 0,
        "stopped": "",
        "split": "val",
        "scores": scores,
        "advice": None,
        "trunk_path": None,
        "trunk_excess": "",
        "trunk_s": 0.0,
        "train_s": 0.0,
    }
    return TuningReport(**fields | changes)


@pytest.mark.parametrize(
    ("n_mended", "n_spoilt", "begin", "use"),
    [
        (40, 2, "Tuning helped: +19.0 points on 200 val images", "Use tuned.safetensors with"),
        (2, 40, "Tuning did harm: -19.0 points on 200 val images", "Stay with the frozen head."),
        (6, 4, "Tuning did not help for certain: +1.0 points", "Stay with the frozen head."),
        (4, 6, "Tuning did not help for certain: -1.0 points", "Stay with the frozen head."),
        (0, 0, "Tuning did not help for certain: +0.0 points", "Stay with the frozen head."),
    ],
)
def test_verdict_recommends_the_tuned_pair_only_where_it_is_surely_better(
    n_mended, n_spoilt, begin, use
):
    y = np.array(["a"] * 200)
    first, second = y.copy(), y.copy()
    first[:n_mended] = "b"
    second[n_mended : n_mended + n_spoilt] = "b"
    report = build_report(compare_predictions(y, first, second))
    assert report.verdict.startswith(begin)
    assert use in report.verdict
    low, high = report.scores.gain_ci95
    assert f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f}, p = " in report.verdict
    assert report.to_dict()["verdict"] == report.verdict


@pytest.mark.parametrize(
    ("interval", "p_value", "begin"),
    [
        ((0.0, 0.1), 0.01, "Tuning did not help for certain"),
        ((0.001, 0.1), 0.01, "Tuning helped"),
        ((0.001, 0.1), 0.06, "Tuning did not help for certain"),
        ((-0.1, 0.0), 0.01, "Tuning did not help for certain"),
        ((-0.1, -0.001), 0.01, "Tuning did harm"),
    ],
)
def test_verdict_goes_by_whether_the_interval_holds_nought_and_by_the_test(
    interval, p_value, begin
):
    gain = sum(interval) / 2
    scores = PairedScores(
        100, 0.5, (0.4, 0.6), 0.5 + gain, (0.4, 0.6), gain, interval, 1, 2, p_value
    )
    assert build_report(scores).verdict.startswith(begin)


def test_fine_tune_that_harms_keeps_the_frozen_network_and_says_so(scene, tmp_path):
    head = fit_head(scene.cache, C=1.0)
    recipe = Recipe(epochs=2, batch_size=8, lr=1e6, optimizer="sgd", clip_norm=1e6, warmup=0)
    report = tune(scene, tmp_path / "t.safetensors", head=head, recipe=recipe)
    assert report.best_epoch == 0
    assert "Stay with the frozen head." in report.verdict
    before = load_backbone("lenet5")
    assert load_backbone("lenet5", weights=str(report.path)).weights_digest == (
        before.weights_digest
    )
    # The head itself, though training began with one that lacks the holdout.
    X, _ = scene.read("all")
    np.testing.assert_allclose(
        load_head(report.head_path).predict_proba(X), head.predict_proba(X), rtol=1e-3, atol=1e-6
    )
    assert report.scores.gain == 0


# ---- what is refused, and what is left


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["tuned.pth", "tuned", "tuned.joblib"])
def test_fine_tune_to_another_suffix_is_refused(scene, weak_head, tmp_path, no_trunk, name):
    with pytest.raises(TuningError, match=r"expected a name that ends in \.safetensors"):
        tune(scene, tmp_path / name, head=weak_head)
    assert list_names(tmp_path) == []


@pytest.mark.parametrize("name", ["tuned.safetensors", "tuned.joblib", "tuned.log.csv"])
def test_fine_tune_over_an_output_that_is_there_is_refused(
    scene, weak_head, tmp_path, no_trunk, name
):
    (tmp_path / name).write_text("before")
    with pytest.raises(TuningError, match=rf"{name}: expected a new file.*--overwrite"):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head)
    assert (tmp_path / name).read_text() == "before"
    assert list_names(tmp_path) == [name]


def test_fine_tune_into_a_folder_that_is_missing_is_refused(scene, weak_head, tmp_path, no_trunk):
    with pytest.raises(TuningError, match=r"tuned\.safetensors: expected its folder .*mkdir"):
        tune(scene, tmp_path / "no/tuned.safetensors", head=weak_head)


def test_fine_tune_where_an_unfinished_run_is_in_the_way_is_refused(
    scene, weak_head, tmp_path, no_trunk
):
    folder = tmp_path / "tuned.safetensors.partial"
    folder.mkdir()
    (folder / "checkpoint.pt").write_text("begun")
    with pytest.raises(TuningError, match=r"expected no unfinished run, got one\. Pass --resume"):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head)
    assert (folder / "checkpoint.pt").read_text() == "begun"


def test_fine_tune_with_overwrite_replaces_outputs_and_drops_an_unfinished_run(
    scene, weak_head, tmp_path
):
    outputs = ("tuned.safetensors", "tuned.joblib", "tuned.log.csv")
    for name in (*outputs, "tuned.safetensors.partial/checkpoint.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before")
    recipe = replace(RECIPE, epochs=1)
    tune(scene, tmp_path / "tuned.safetensors", head=weak_head, recipe=recipe, overwrite=True)
    assert list_names(tmp_path) == sorted((*outputs, "tuned.trunk.h5"))
    assert all(b"before" not in (tmp_path / name).read_bytes() for name in outputs)


@pytest.mark.parametrize("stage", ["Training", "build_pair", "compare"])
def test_fine_tune_that_fails_leaves_what_was_at_the_output(
    scene, weak_head, tmp_path, monkeypatch, stage
):
    def fail(*args, **options):
        raise TuningError("out of luck")

    outputs = ("tuned.safetensors", "tuned.joblib", "tuned.log.csv")
    for name in outputs:
        (tmp_path / name).write_text("before")
    recipe = replace(RECIPE, epochs=1)
    monkeypatch.setattr(tune_module, stage, fail)
    with pytest.raises(TuningError, match=r"out of luck"):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head, recipe=recipe, overwrite=True)
    assert all((tmp_path / name).read_text() == "before" for name in outputs)


def test_fine_tune_that_failed_in_the_comparison_resumes_after_the_last_epoch(
    scene, weak_head, tmp_path, monkeypatch
):
    def fail(*args, **options):
        raise TuningError("out of luck")

    recipe = replace(RECIPE, epochs=1)
    output = tmp_path / "tuned.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(tune_module, "compare", fail)
        with pytest.raises(TuningError, match=r"out of luck"):
            tune(scene, output, head=weak_head, recipe=recipe)
    checkpoint = tmp_path / "tuned.safetensors.partial/checkpoint.pt"
    before = checkpoint.read_bytes()
    steps = []
    monkeypatch.setattr(Training, "_step", lambda *args: steps.append(args))
    report = tune(scene, output, head=weak_head, recipe=recipe, resume=True)
    assert before
    assert steps == []
    assert len(report.history) == 2
    assert not checkpoint.parent.exists()


def test_fine_tune_refused_for_its_normalisations_leaves_no_unfinished_run(
    scene, weak_head, tmp_path
):
    recipe = replace(RECIPE, epochs=1, train_batchnorm=True)
    with pytest.raises(TuningError, match=r"lenet5: expected BatchNorm in the blocks"):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head, recipe=recipe)
    tune(scene, tmp_path / "tuned.safetensors", head=weak_head, recipe=replace(RECIPE, epochs=1))


def test_fine_tune_of_a_cache_without_splits_says_how_to_record_them(scene, tmp_path, no_trunk):
    featx.extract(scene.folder / "train", tmp_path / "flat.h5", backbone="lenet5", **HOW)
    flat = Scene(scene.folder / "train", tmp_path / "flat.h5")
    with pytest.raises(TuningError, match=r"flat\.h5: expected a split train.*featx split"):
        tune(flat, tmp_path / "tuned.safetensors")


@pytest.mark.parametrize("split", ["train", "all", "tset"])
def test_fine_tune_compared_on_other_than_val_or_test_is_refused(
    scene, weak_head, tmp_path, no_trunk, split
):
    with pytest.raises(TuningError, match=rf"split: expected val or test.*got '{split}'"):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head, split=split)


@pytest.mark.parametrize("name", ["train/rows/03.png", "val/rows/03.png"])
def test_fine_tune_from_a_source_that_lacks_rows_is_refused_naming_one(
    own_scene, weak_head, tmp_path, no_trunk, name
):
    (own_scene.folder / name).unlink()
    with pytest.raises(TuningError, match=rf"got none of 1, such as {name}\. Name the source"):
        tune(own_scene, tmp_path / "tuned.safetensors", head=weak_head)


def test_fine_tune_from_another_source_is_refused(scene, weak_head, tmp_path, no_trunk, good):
    with pytest.raises(TuningError, match=r"got none of 42, such as train/"):
        tune(Scene(good[0].parent, scene.cache), tmp_path / "tuned.safetensors", head=weak_head)


def test_fine_tune_with_images_beside_those_of_the_cache_leaves_them_out(
    own_scene, weak_head, catch_training, make_image
):
    make_image(own_scene.folder / "train/rows/99.png")
    examples = catch_training(own_scene, head=weak_head).examples
    assert len(examples.train) + len(examples.holdout) == 42


@pytest.mark.parametrize("limit", [None, 0])
def test_fine_tune_with_an_image_that_was_changed_names_it(
    own_scene, weak_head, tmp_path, make_image, limit
):
    make_image(own_scene.folder / "train/rows/03.png", seed=5)
    with pytest.raises(TuningError, match=r"rows/03\.png: expected the image that was extracted"):
        tune(own_scene, tmp_path / "t.safetensors", head=weak_head, max_trunk_bytes=limit)


@pytest.mark.parametrize("limit", [None, 0])
def test_fine_tune_with_an_image_that_was_damaged_names_it(own_scene, weak_head, tmp_path, limit):
    (own_scene.folder / "train/rows/03.png").write_bytes(b"no image")
    with pytest.raises(FeatxError, match=r"rows/03\.png: expected an image"):
        tune(own_scene, tmp_path / "t.safetensors", head=weak_head, max_trunk_bytes=limit)


def test_compare_with_an_image_that_was_changed_names_it(
    own_scene, weak_head, tmp_path, make_image
):
    make_image(own_scene.folder / "val/rows/03.png", seed=5)
    recipe = replace(RECIPE, epochs=1)
    with pytest.raises(TuningError, match=r"rows/03\.png: expected the image that was extracted"):
        tune(own_scene, tmp_path / "t.safetensors", head=weak_head, recipe=recipe)


def test_compare_with_an_image_that_was_damaged_names_it(own_scene, weak_head, tmp_path):
    (own_scene.folder / "val/rows/03.png").write_bytes(b"no image")
    recipe = replace(RECIPE, epochs=1)
    with pytest.raises(TuningError, match=r"rows/03\.png: expected an image .*, got a decode"):
        tune(own_scene, tmp_path / "t.safetensors", head=weak_head, recipe=recipe)


def test_fine_tune_with_labels_that_the_head_does_not_know_is_refused(
    make_scene, scene, tmp_path, no_trunk
):
    head = fit_head(make_scene(2).cache, C=1.0)
    with pytest.raises(TuningError, match=r"expected labels that the head knows, got 'rows'"):
        tune(scene, tmp_path / "tuned.safetensors", head=head)


def test_fine_tune_of_an_inner_layer_is_refused(scene, tmp_path, no_trunk):
    path = tmp_path / "inner.h5"
    featx.extract(scene.folder, path, backbone="lenet5", layers=["c5"], **HOW)
    with pytest.raises(TuningError, match=r"expected the input of the classifier.*got layer c5"):
        tune(Scene(scene.folder, path), tmp_path / "tuned.safetensors", head=fit_head(path, C=1.0))


def test_fine_tune_with_a_head_of_another_network_is_refused(
    scene, small_scene, tmp_path, no_trunk
):
    head = fit_head(small_scene.cache, C=1.0)
    with pytest.raises(FingerprintError, match=r"expected backbone mobilenet_v2"):
        tune(scene, tmp_path / "tuned.safetensors", head=head)


def test_fine_tune_of_a_network_of_ones_own_is_refused(photos, photos_cache, tmp_path):
    with pytest.raises(TuningError, match=r"tests-tiny: expected one of featx's own backbones"):
        tune(Scene(photos, photos_cache), tmp_path / "tuned.safetensors", unfreeze=1)


@pytest.mark.parametrize(
    ("unfreeze", "message"),
    [
        (0, "expected 1 to 4 blocks of lenet5, got 0"),
        (5, "expected 1 to 4 blocks of lenet5, got 5"),
        ("two", "expected a number of blocks or auto, got 'two'"),
    ],
)
def test_fine_tune_of_blocks_that_are_not_there_is_refused(
    scene, weak_head, tmp_path, unfreeze, message
):
    with pytest.raises(TuningError, match=rf"unfreeze: {message}\."):
        tune(scene, tmp_path / "tuned.safetensors", head=weak_head, unfreeze=unfreeze)
    assert list_names(tmp_path) == []


def test_fine_tune_with_a_cache_as_the_trunk_is_refused_and_leaves_it(
    own_scene, weak_head, tmp_path, make_cache
):
    other = make_cache("other.h5")
    before = other.read_bytes()
    with pytest.raises(TuningError, match=r"other\.h5: expected a trunk's output, got a cache"):
        tune(own_scene, tmp_path / "tuned.safetensors", head=weak_head, trunk=other)
    assert other.read_bytes() == before
    before = own_scene.cache.read_bytes()
    with pytest.raises(TuningError, match=r"photos\.h5: expected a file of its own"):
        tune(own_scene, tmp_path / "tuned.safetensors", head=weak_head, trunk=own_scene.cache)
    assert own_scene.cache.read_bytes() == before


def test_fine_tune_over_the_head_that_it_reads_is_refused(scene, tmp_path, no_trunk):
    fit_head(scene.cache, tmp_path / "tuned.joblib", C=1.0)
    before = (tmp_path / "tuned.joblib").read_bytes()
    options = {"head": tmp_path / "tuned.joblib", "overwrite": True}
    with pytest.raises(TuningError, match=r"tuned\.joblib: expected a file of its own"):
        tune(scene, tmp_path / "tuned.safetensors", **options)
    assert (tmp_path / "tuned.joblib").read_bytes() == before


def test_fine_tune_over_the_weights_that_it_reads_is_refused(
    tuned, tuned_cache, scene, tmp_path, monkeypatch
):
    copy = tmp_path / "tuned.safetensors"
    shutil.copy(tuned.path, copy)
    again = Scene(scene.folder, tuned_cache)
    before = copy.read_bytes()
    with pytest.raises(TuningError, match=r"tuned\.safetensors: expected a file of its own"):
        tune(again, copy, head=tuned.head_path, weights=str(copy), overwrite=True)
    assert copy.read_bytes() == before


def test_fine_tune_of_a_cache_that_is_not_there_is_refused(scene, tmp_path):
    (tmp_path / "tuned.trunk.h5").write_text("of a run before")
    with pytest.raises(CacheError, match=r"gone\.h5: expected a cache, got no such file"):
        tune(Scene(scene.folder, tmp_path / "gone.h5"), tmp_path / "tuned.safetensors")


def test_fine_tune_of_weights_that_were_moved_takes_them_from_where_they_are(
    tuned, tuned_cache, scene, tmp_path
):
    moved = tmp_path / "moved.safetensors"
    shutil.copy(tuned.path, moved)
    path = tmp_path / "moved.h5"
    featx.extract(scene.folder, path, backbone="lenet5", weights=str(moved), **HOW)
    moved.rename(tmp_path / "elsewhere.safetensors")
    again = Scene(scene.folder, path)
    options = {"head": fit_head(path, C=1.0), "recipe": replace(RECIPE, epochs=1)}
    with pytest.raises(WeightsError, match=r"moved\.safetensors.*--weights"):
        tune(again, tmp_path / "t.safetensors", **options)
    elsewhere = str(tmp_path / "elsewhere.safetensors")
    report = tune(again, tmp_path / "t.safetensors", weights=elsewhere, **options)
    assert read_tuned(report.path)["from_weights"] == elsewhere


def test_fine_tune_fits_a_head_where_none_is_given(scene, tmp_path):
    report = tune(scene, tmp_path / "t.safetensors", recipe=replace(RECIPE, epochs=1))
    assert (
        report.scores.first == evaluate(fit_head(scene.cache, split="train"), scene.cache).accuracy
    )


def test_fine_tune_leaves_rows_without_a_label_out(own_scene, catch_training, weak_head):
    with rewrite_cache(own_scene.cache) as file:
        labels = file["rows/label"][:]
        ids = file["rows/id"][:].astype(str)
        labels[ids == "train/rows/03.png"] = b""
        file["rows/label"][:] = labels
    examples = catch_training(own_scene, head=weak_head).examples
    assert len(examples.train) + len(examples.holdout) == 41


# ---- real weights and photos


@pytest.fixture
def real_scene(shared, tmp_path):
    """Sixty photos of ants and bees, embedded by MobileNetV2 at 96 pixels."""
    for split, count in (("train", 20), ("val", 10)):
        for label in ("ants", "bees"):
            (tmp_path / "photos" / split / label).mkdir(parents=True)
            photos = sorted((shared / "data/hymenoptera_data" / split / label).glob("*.jpg"))
            for photo in photos[:count]:
                (tmp_path / "photos" / split / label / photo.name).symlink_to(photo)
    weights = shared / "weights/mobilenet_v2-imagenet-backbone.pth"
    featx.extract(
        tmp_path / "photos",
        tmp_path / "photos.h5",
        backbone="mobilenet_v2",
        weights=str(weights),
        size=96,
        **HOW,
    )
    return Scene(tmp_path / "photos", tmp_path / "photos.h5")


@pytest.mark.slow
@pytest.mark.shared
def test_fine_tune_real_photos_begins_with_the_frozen_head_and_ends_in_a_model(
    real_scene, catch_training, tmp_path
):
    options = {"unfreeze": 1, "recipe": Recipe(epochs=1, batch_size=16)}
    head = fit_head(real_scene.cache, C=0.01)
    training = catch_training(real_scene, head=head, **options)
    X, y = real_scene.read("train")
    train = training.examples.train
    assert_same_logits(training, decide(head.refit(X[train], y[train]), X))
    report = tune(real_scene, tmp_path / "tuned.safetensors", head=head, **options)
    assert report.blocks == ("features.18",)
    assert report.scores.n_rows == 20
    assert report.scores.second >= 0.7
    found = predict(report.head_path, real_scene.folder / "val", progress=False)
    right = [one.label == Path(one.path).parent.name for one in found]
    assert np.mean(right) == pytest.approx(report.scores.second)


@pytest.mark.shared
def test_fine_tune_of_folded_normalisations_is_refused(real_scene, tmp_path):
    recipe = Recipe(epochs=1, train_batchnorm=True)
    with pytest.raises(TuningError, match=r"mobilenet_v2: .*they were folded into the convolut"):
        tune(real_scene, tmp_path / "tuned.safetensors", unfreeze=1, recipe=recipe)
    assert not list(tmp_path.glob("tuned*"))  # before the trunk is run
