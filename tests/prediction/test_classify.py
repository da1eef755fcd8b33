"""The answers of a network's own classifier."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import featx


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """SqueezeNet with a classifier, in a file."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("own") / "own.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), file)
    return file


def classify_by_torchvision(paths: list[Path], file: Path) -> Any:
    """Return the probabilities that torchvision itself gives, with its own preprocessing."""
    own = torchvision.models.squeezenet1_1()
    own.load_state_dict(torch.load(file, weights_only=True))
    transform = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms()
    batch = torch.stack([transform(Image.open(path)) for path in paths])
    with torch.inference_mode():
        return own.eval()(batch).softmax(1).numpy()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.filterwarnings("ignore::featx.FeatxWarning")
def test_classify_says_what_torchvision_says(photos: Path, weights: Path, engine: Any) -> None:
    paths = sorted(photos.rglob("*.jpg"))[:3]
    expected = classify_by_torchvision(paths, weights)
    names = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.meta["categories"]
    found = featx.classify(
        paths, backbone="squeezenet1_1", weights=str(weights), top=1000, engine=engine
    )
    for one, line in zip(found, expected, strict=True):
        got = dict(one.top)
        np.testing.assert_allclose([got[name] for name in names], line, atol=1e-6)
        assert (one.label, one.score) == one.top[0]
        assert [score for _, score in one.top] == sorted(got.values(), reverse=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::featx.FeatxWarning")
def test_classify_says_what_torchvision_says_on_real_images(shared: Path) -> None:
    file = shared / "weights" / "squeezenet1_1-imagenet.pth"
    paths = sorted((shared / "data" / "hymenoptera_data" / "val").rglob("*.jpg"))[::10]
    expected = classify_by_torchvision(paths, file)
    names = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.meta["categories"]
    found = featx.classify(paths, backbone="squeezenet1_1", weights=str(file), progress=False)
    assert [one.label for one in found] == [names[code] for code in expected.argmax(1)]
    np.testing.assert_allclose([one.top[0][1] for one in found], expected.max(1), atol=1e-4)


def test_classify_notes_that_the_names_are_assumed(photos: Path, weights: Path) -> None:
    with pytest.warns(
        featx.FeatxWarning, match=r"own\.pth: the file does not name its classes; its 1,000 .*Image"
    ):
        (one,) = featx.classify(
            photos / "val/ants/0.jpg", backbone="squeezenet1_1", weights=str(weights)
        )
    assert len(one.top) == 5


def test_classify_numbers_the_outputs_of_other_classes(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(num_classes=3).state_dict(), tmp_path / "3.pth")
    with pytest.warns(featx.FeatxWarning, match=r"its 3 outputs are numbered from 0"):
        (one,) = featx.classify(
            photos / "val/ants/0.jpg", backbone="squeezenet1_1", weights=str(tmp_path / "3.pth")
        )
    assert {name for name, _ in one.top} == {"class 0", "class 1", "class 2"}
    assert sum(score for _, score in one.top) == pytest.approx(1)


def test_classify_takes_a_folder_and_a_loaded_backbone(photos: Path) -> None:
    backbone = featx.load_backbone("lenet5", layers=["logits"])
    found = featx.classify(photos, backbone=backbone, top=2)
    assert found == featx.classify(photos, backbone="lenet5", top=2)
    assert [(one.true_label, one.split) for one in found[:1]] == [("ants", "train")]
    assert len(found) == 12
    logits = featx.embed(photos, backbone=backbone)
    assert np.argmax(logits, axis=1).tolist() == [
        featx.get_backbone_spec("lenet5").list_weights()[-1].classes.index(one.label or "")
        for one in found
    ]


def test_classify_names_an_image_that_it_cannot_read(photos: Path) -> None:
    with pytest.warns(featx.FeatxWarning, match=r"no prediction for 1 of 2 images"):
        good, bad = featx.classify(
            [photos / "val/ants/0.jpg", photos / "missing.jpg"], backbone="lenet5"
        )
    assert (good.error, bad.label, bad.top) == (None, None, ())
    assert bad.error == "No such file or directory"


def test_classify_without_images_says_nothing() -> None:
    assert featx.classify([], backbone="lenet5") == []


def test_classify_refuses_a_backbone_with_another_layer(photos: Path) -> None:
    with pytest.raises(
        featx.BackboneError,
        match=r"lenet5: expected a backbone with the layer 'logits', got penultimate\. "
        r"Load it with featx\.load_backbone\('lenet5', layers=\['logits'\]\)",
    ):
        featx.classify(photos, backbone=featx.load_backbone("lenet5"))


@pytest.mark.parametrize("top", [0, -1])
def test_classify_refuses_a_number_of_classes_below_1(photos: Path, top: int) -> None:
    with pytest.raises(featx.FeatxError, match=r"^top: expected at least 1"):
        featx.classify(photos, backbone="lenet5", top=top)


def test_logits_are_an_embedding_like_any_other(photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "logits.h5"
    featx.extract(photos, cache, backbone="lenet5", progress=False)
    featx.extract(photos, cache, backbone="lenet5", layers=["logits"], progress=False)
    with featx.open_cache(cache) as opened:
        assert opened.embeddings == ("lenet5", "lenet5@logits")
        info = opened.get_info("lenet5@logits")
    assert (info.fingerprint.layer, info.fingerprint.dim) == ("logits", 10)
    assert not featx.verify_cache(cache).problems
    head = featx.fit_head(cache, embedding="lenet5@logits", cv=3)
    from_cache = featx.predict(head, cache)
    from_images = featx.predict(head, photos, progress=False)
    assert [one.label for one in from_cache] == [one.label for one in from_images]
    for one, other in zip(from_cache, from_images, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
