"""From images, or a cache, to predictions."""

import io
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featx.cache.joined import open_cache
from featx.core.errors import (
    FeatxError,
    FeatxWarning,
    FingerprintError,
    HeadError,
    SourceError,
    WeightsError,
)
from featx.core.provenance import Origin
from featx.extraction.extract import extract
from featx.fitting.fit import fit_head
from featx.heads.head import Head
from featx.heads.load import load_head
from featx.prediction.answers import Prediction
from featx.prediction.predict import iter_predictions, predict
from featx.prediction.predictor import open_predictor
from tests.builders import rewrite_values

EMPTY = "expected an image, got an empty file. Copy the image again, or leave it out"


@pytest.fixture
def head(photos_cache: Path) -> Head:
    return fit_head(photos_cache)


def list_scores(predictions: list[Prediction]) -> list[float]:
    """Return the score of each prediction, every one of which has one."""
    scores = [one.score for one in predictions if one.score is not None]
    assert len(scores) == len(predictions)
    return scores


def refuse_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr("featx.backbones.load.load_backbone", refuse)
    monkeypatch.setattr("featx.embedding.identity.load_backbone", refuse)


def test_predict_images_are_told_apart_in_order(head: Head, photos: Path) -> None:
    inputs = [
        photos / "val/bees/1.jpg",
        photos / "val/ants/0.jpg",
        photos / "val/bees/0.jpg",
        photos / "val/ants/1.jpg",
    ]
    found = predict(head, inputs, progress=False)
    assert [p.label for p in found] == ["bees", "ants", "bees", "ants"]
    assert [p.path for p in found] == [str(path) for path in inputs]
    assert all(p.error is None for p in found)
    assert all(0.5 < score <= 1 for score in list_scores(found))


@pytest.mark.parametrize(
    "convert",
    [
        lambda paths: np.array([str(path) for path in paths]),
        lambda paths: np.array(paths, object),
        lambda paths: (path for path in paths),
        lambda paths: [io.BytesIO(path.read_bytes()) for path in paths],
    ],
    ids=["array of text", "array of paths", "generator", "files in memory"],
)
def test_predict_takes_what_a_notebook_holds(head: Head, photos: Path, convert: Any) -> None:
    paths = [photos / "val/bees/1.jpg", photos / "val/ants/0.jpg"]
    found = predict(head, convert(paths), progress=False)
    assert [p.label for p in found] == ["bees", "ants"]


def test_predict_of_one_image_in_memory_is_that_of_its_file(head: Head, photos: Path) -> None:
    path = photos / "val/bees/1.jpg"
    with Image.open(path) as image:
        pixels = np.asarray(image)
    forms: list[Any] = [pixels, Image.open(path), path.read_bytes(), pixels[None], iter([pixels])]
    with open_predictor(head, progress=False) as predictor:
        (expected,) = predictor.predict(path)
        for form in forms:
            (found,) = predictor.predict(form)
            assert (found.label, found.score) == (expected.label, expected.score)
    (alone,) = predict(head, pixels, progress=False)
    assert (alone.label, alone.path, alone.id) == (expected.label, "image 0", "0")


def test_iter_predictions_gives_each_one_when_it_is_known(head: Head, photos: Path) -> None:
    """Memory holds a few batches, however many images the caller has."""
    paths = sorted(photos.glob("val/*/*.jpg"))
    taken: list[Path] = []

    def iter_many() -> Iterator[Path]:
        for path in paths * 1000:
            taken.append(path)
            yield path

    found = iter_predictions(head, iter_many(), batch_size=2, workers=1, progress=False)
    assert not taken
    some = list(itertools.islice(found, 5))
    assert [one.path for one in some] == [str(path) for path in (paths * 2)[:5]]
    assert len(taken) < 400
    found.close()  # type: ignore[attr-defined]


def test_iter_predictions_checks_its_arguments_at_once(head: Head, photos: Path) -> None:
    with pytest.raises(FeatxError, match="top"):
        iter_predictions(head, photos, top=0)


def test_predict_array_with_the_path_of_a_cache_is_the_cache(
    head: Head, photos_cache: Path
) -> None:
    assert predict(head, np.array([str(photos_cache)])) == predict(head, photos_cache)


def test_predict_folder_equals_its_cache(head: Head, photos: Path, photos_cache: Path) -> None:
    of_folder = predict(head, photos, batch_size=4, progress=False)
    of_cache = predict(head, photos_cache)
    assert [p.path for p in of_folder] == [p.path for p in of_cache]
    assert [p.label for p in of_folder] == [p.label for p in of_cache]
    np.testing.assert_allclose(list_scores(of_folder), list_scores(of_cache), atol=1e-6)


def test_predict_scores_are_the_heads_probabilities(head: Head, photos_cache: Path) -> None:
    with open_cache(photos_cache) as cache:
        expected = head.predict_proba(cache.read_vectors())
    found = predict(head, photos_cache, top=2)
    for prediction, line in zip(found, expected, strict=True):
        assert dict(prediction.top) == pytest.approx(dict(zip(["ants", "bees"], line, strict=True)))


def test_predict_cache_runs_no_network(
    head: Head, photos_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_loading(monkeypatch)
    assert [p.label for p in predict(head, photos_cache)] == (
        ["ants"] * 4 + ["bees"] * 4 + ["ants"] * 2 + ["bees"] * 2
    )


def test_predict_cache_refuses_an_unknown_option(head: Head, photos_cache: Path) -> None:
    typo: Any = {"devise": "cpu"}
    with pytest.raises(TypeError, match="unexpected keyword argument 'devise'"):
        predict(head, photos_cache, **typo)


@pytest.fixture
def several_classes(make_cache: Any, make_info: Any) -> Any:
    """A cache of four classes, where order matters."""
    path = make_cache("several.h5", infos=[make_info(dim=4)])
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 4
    rewrite_values(path, "labels/label", np.array(["1", "2", "10", "a"], dtype=object)[codes])
    rewrite_values(path, "embeddings/tiny/vectors", rng.normal(size=(60, 4)) + np.eye(4)[codes])
    return path


@pytest.mark.parametrize("kind", ["logreg", "linear-svm"])
@pytest.mark.parametrize(("top", "n_classes"), [(1, 1), (3, 3), (4, 4), (99, 4)])
def test_predict_top_classes_are_sorted(
    several_classes: Any, kind: Any, top: Any, n_classes: Any
) -> None:
    head = fit_head(several_classes, kind=kind)
    for prediction in predict(head, several_classes, top=top):
        labels, scores = zip(*prediction.top, strict=True)
        assert len(set(labels)) == n_classes
        assert list(scores) == sorted(scores, reverse=True)
        assert (prediction.label, prediction.score) == prediction.top[0]


@pytest.mark.parametrize("top", [0, -1])
def test_predict_top_below_one_is_refused(head: Head, photos_cache: Path, top: Any) -> None:
    with pytest.raises(FeatxError, match=rf"top: expected at least 1, got {top}"):
        predict(head, photos_cache, top=top)


def test_predict_svm_scores_are_probabilities(photos_cache: Path) -> None:
    head = fit_head(photos_cache, kind="linear-svm")
    for prediction in predict(head, photos_cache, top=2):
        (_, best), (_, other) = prediction.top
        assert best >= 0.5
        assert best + other == pytest.approx(1)


def test_predict_unreadable_file_is_a_row_with_its_reason(
    head: Head, photos: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    inputs = [photos / "val/ants/0.jpg", bad, tmp_path / "gone.jpg", photos / "val/bees/0.jpg"]
    with pytest.warns(
        FeatxWarning, match=r"^no prediction for 2 of 4 images, such as .*bad\.jpg: "
    ):
        found = predict(head, inputs, progress=False)
    assert [p.label for p in found] == ["ants", None, None, "bees"]
    assert [p.path for p in found] == [str(path) for path in inputs]
    assert "expected an image in a format that featx reads" in str(found[1].error)
    assert "No such file" in str(found[2].error)
    assert found[1].score is None
    assert found[1].top == ()


def test_predict_files_that_all_fail_all_have_a_reason(head: Head, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(FeatxWarning, match=r"^no prediction for 2 of 2 images"):
        found = predict(head, [tmp_path / "a.jpg", tmp_path / "b.jpg"], progress=False)
    assert [(p.label, p.error) for p in found] == [(None, EMPTY)] * 2


def test_predict_failures_of_a_cache_come_last(
    photos: Path, tiny_backbone: str, tmp_path: Path
) -> None:
    (photos / "train/ants/0.jpg").write_bytes(b"")
    with pytest.warns(FeatxWarning, match=r"^1 image failed\. List them with featx\.read_failures"):
        extract(photos, tmp_path / "c.h5", backbone=tiny_backbone, max_failures=1, progress=False)
    with pytest.warns(FeatxWarning, match=r"^no prediction for 1 of 12 images, such as .*0\.jpg: "):
        found = predict(fit_head(tmp_path / "c.h5"), tmp_path / "c.h5")
    assert len(found) == 12
    assert (found[-1].path, found[-1].error) == (str(photos / "train/ants/0.jpg"), EMPTY)
    assert all(p.error is None for p in found[:-1])


def test_predict_of_no_images_is_empty(head: Head) -> None:
    nothing: Any
    for nothing in ([], iter(()), np.empty((0, 5, 5, 3), np.uint8)):
        assert predict(head, nothing, progress=False) == []


def test_predict_with_a_missing_head_is_refused(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(
        HeadError, match=r"no\.joblib: expected a head that featx wrote, got no such file"
    ):
        predict(tmp_path / "no.joblib", photos)


def test_predict_cache_of_another_backbone_is_refused_naming_both(
    head: Head, cache_path: Path
) -> None:
    with pytest.raises(FingerprintError, match=r"expected backbone tests-tiny.*got backbone tiny"):
        predict(head, cache_path)


def test_prediction_to_dict_is_json(head: Head, photos_cache: Path) -> None:
    prediction = predict(head, photos_cache, top=2)[0]
    found = json.loads(json.dumps(prediction.to_dict()))
    assert found["label"] == found["top"][0][0] == "ants"
    assert found["error"] is None


@pytest.fixture
def weights_file(tiny_backbone: str, tmp_path: Path) -> Any:
    """Write the tiny network's tensors, scaled, to a file; a factory."""
    import torch

    from featx.backbones.load import load_backbone

    def write(name: str, scale: Any) -> Any:
        state = load_backbone(tiny_backbone).module.network.state_dict()
        torch.save({key: tensor * scale for key, tensor in state.items()}, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def moved(weights_file: Any, photos: Path, tiny_backbone: str, tmp_path: Path) -> Any:
    """A saved head of weights whose file has been moved since, and where the file is now."""
    file = weights_file("weights.pth", 0.5)
    extract(photos, tmp_path / "m.h5", backbone=tiny_backbone, weights=str(file), progress=False)
    fit_head(tmp_path / "m.h5", tmp_path / "head.joblib")
    return tmp_path / "head.joblib", shutil.move(file, tmp_path / "elsewhere.pth")


def test_predict_weights_not_moved_are_found_by_the_head(moved: Any, photos: Path) -> None:
    path, file = moved
    shutil.copy(file, file.with_name("weights.pth"))
    assert predict(path, photos / "val/bees/0.jpg", progress=False)[0].label == "bees"


def test_predict_weights_moved_says_to_pass_them(moved: Any, photos: Path) -> None:
    path, _ = moved
    with pytest.raises(WeightsError, match=r"weights\.pth: expected a file of .*weights=FILE"):
        predict(path, photos / "val", progress=False)


def test_predict_weights_moved_and_passed_work(moved: Any, photos: Path) -> None:
    path, file = moved
    found = predict(path, photos / "val", weights=str(file), progress=False)
    assert [p.label for p in found] == ["ants", "ants", "bees", "bees"]


def test_predict_other_weights_are_refused_naming_digests(
    moved: Any, photos: Path, weights_file: Any
) -> None:
    path, _ = moved
    other = weights_file("other.pth", 2.0)
    expected = load_head(path).fingerprint.weights_digest
    with pytest.raises(
        FingerprintError, match=rf"expected weights {expected[:12]}, got weights [0-9a-f]"
    ):
        predict(path, photos / "val", weights=str(other), progress=False)


def test_predict_weights_passed_that_are_missing_are_refused(moved: Any, photos: Path) -> None:
    path, _ = moved
    with pytest.raises(WeightsError, match=r"gone\.pth: expected a file of weights, got no such"):
        predict(path, photos / "val", weights="gone.pth", progress=False)


@pytest.fixture
def small_head(photos: Path, tmp_path: Path) -> Any:
    """Paths of a head, and of its cache, of images smaller than the weights' own size."""
    extract(photos, tmp_path / "s.h5", backbone="mini", size=40, progress=False)
    fit_head(tmp_path / "s.h5", tmp_path / "small.joblib", C=1.0)
    return tmp_path / "small.joblib", tmp_path / "s.h5"


def test_predict_runs_at_the_size_of_the_head(small_head: Any, photos: Path) -> None:
    path, cache = small_head
    assert load_head(path).origin.size == 40
    found, expected = predict(path, photos, progress=False), predict(path, cache)
    assert [p.label for p in found] == [p.label for p in expected]
    np.testing.assert_allclose(list_scores(found), list_scores(expected), atol=1e-5)


def test_predict_recorded_weights_that_were_moved_run_at_their_size(
    photos: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    from featx.backbones.load import load_backbone

    state = load_backbone("lenet5", weights="random:1").module.network.state_dict()
    file = tmp_path / "mine.safetensors"
    record = {"backbone": "lenet5", "preprocess_from": None, "size": 33}
    save_file(
        {name: torch.clone(tensor) for name, tensor in state.items()},
        file,
        metadata={"featx": json.dumps(record)},
    )
    extract(photos, tmp_path / "r.h5", backbone="lenet5", weights=str(file), progress=False)
    head = fit_head(tmp_path / "r.h5", C=1.0)
    moved = shutil.move(file, tmp_path / "elsewhere.safetensors")
    found = predict(head, photos, weights=str(moved), progress=False)
    expected = predict(head, tmp_path / "r.h5")
    assert head.origin == Origin(weights=str(file), size=33)
    np.testing.assert_allclose(list_scores(found), list_scores(expected), atol=1e-5)


def test_predict_several_layers_uses_the_heads_own(
    photos: Path, tiny_backbone: str, tmp_path: Path
) -> None:
    layers = ["penultimate", "conv"]
    extract(photos, tmp_path / "l.h5", backbone=tiny_backbone, layers=layers, progress=False)
    head = fit_head(tmp_path / "l.h5", embedding=f"{tiny_backbone}@conv")
    found = predict(head, photos / "val", progress=False)
    assert [p.label for p in found] == ["ants", "ants", "bees", "bees"]


def test_predict_image_of_odd_mode_is_predicted(
    head: Head, tmp_path: Path, make_image: Any
) -> None:
    path = make_image(tmp_path / "p.png", mode="P", colour=(40, 90, 210))
    with Image.open(path) as image:
        assert image.mode == "P"
    assert predict(head, path, progress=False)[0].label == "bees"


def test_predict_image_asked_for_twice_is_told_twice(head: Head, photos: Path) -> None:
    path = next(photos.glob("val/ants/*"))
    assert [p.path for p in predict(head, [path, path])] == [str(path), str(path)]


def test_predict_cache_among_images_is_refused(
    head: Head, photos: Path, photos_cache: Path
) -> None:
    with pytest.raises(FeatxError, match=r"expected caches alone, without weights"):
        predict(head, [photos, photos_cache])


def test_predict_missing_image_is_a_row_with_its_reason(head: Head, photos: Path) -> None:
    path = next(photos.glob("val/ants/*"))
    with pytest.warns(FeatxWarning, match=r"^no prediction for 1 of 2 images, such as .*gone\.jpg"):
        found = predict(head, [path, photos / "gone.jpg"])
    assert found[0].error is None
    assert "No such file" in str(found[1].error)


def test_predict_missing_folder_is_refused(head: Head, photos: Path) -> None:
    with pytest.raises(SourceError, match=r"gone: expected a folder"):
        predict(head, [photos, photos / "gone"])
