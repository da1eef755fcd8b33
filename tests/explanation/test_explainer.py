"""Exact maps: their mean plus the bias is the logit, for every linear head and many networks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchvision import transforms

import featx
from featx.explanation.explainer import NOT_FINITE

LIMIT = 1e-4
"""Largest difference, relative to the largest logit."""

STEPS = transforms.Compose(
    [transforms.Resize(36), transforms.CenterCrop(32), transforms.ToTensor()]
)


def check_exact(maps: Any, head: featx.Head, backbone: Any, images: Any) -> None:
    """Check maps against the scores of the head's own estimator on embeddings of `featx.embed`."""
    scores = head.score_classes(featx.embed(images, backbone=backbone, engine="torch"))
    if len(head.classes) == 2:
        scores = scores - scores[:, ::-1]
    codes = {label: code for code, label in enumerate(head.classes)}
    assert maps
    limit = LIMIT * abs(scores).max()
    for one in maps:
        expected = scores[one.number, codes[one.label]]
        assert one.is_exact
        assert one.mean + one.bias == pytest.approx(expected, abs=limit)
        assert one.logit == pytest.approx(expected, abs=limit)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_image: Any) -> Any:
    """A folder of eighteen images of three classes, and its cache by the bundled network."""
    folder = tmp_path_factory.mktemp("maps")
    for number, label in enumerate(("ants", "bees", "cats")):
        colour = [30, 30, 30]
        colour[number] = 200
        for seed in range(6):
            make_image(folder / f"photos/{label}/{seed}.jpg", (48, 36), seed, colour=colour)
    featx.extract(folder / "photos", folder / "mini.h5", backbone="mini", progress=False)
    return folder


def explain(*args: Any, **options: Any) -> Any:
    return featx.explain(*args, device="cpu", progress=False, **options)


def list_images(place: Any, n_images: int = 3) -> list[Path]:
    return sorted((place / "photos").rglob("*.jpg"))[:: 18 // n_images]


@pytest.fixture(scope="module")
def fitted(place: Any) -> featx.Head:
    """A head for the three classes."""
    return featx.fit_head(place / "mini.h5", C=1.0)


def fit(place: Any, fitted: featx.Head, n_classes: int, *args: Any, **options: Any) -> featx.Head:
    """Fit another estimator on the first classes."""
    with featx.open_cache(place / "mini.h5") as cache:
        X, y = cache.read_vectors(), cache.labels.astype(str)
    kept = np.isin(y, ["ants", "bees", "cats"][:n_classes])
    classifier = featx.HeadClassifier(*args, **options).fit(X[kept], y[kept])
    return replace(fitted, estimator=classifier.pipeline_)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"kind": "logreg"}, id="logreg"),
        pytest.param({"kind": "logreg", "scaling": "l2"}, id="l2"),
        pytest.param({"kind": "logreg", "scaling": "none", "pca": 3}, id="pca"),
        pytest.param({"kind": "linear-svm"}, id="svm"),
        pytest.param({"kind": "ridge"}, id="ridge"),
        pytest.param({"kind": "lda", "C": 0.1}, id="lda"),
        pytest.param({"kind": "nearest-mean", "C": "auto"}, id="nearest-mean"),
    ],
)
def test_map_of_a_linear_head_is_exact(
    place: Any, fitted: featx.Head, options: Any, n_classes: int
) -> None:
    head = fit(place, fitted, n_classes, **{"C": 1.0, **options})
    images = list_images(place)
    with featx.Explainer(head, progress=False) as explainer:
        maps = explainer.explain(images, list(head.classes))
    assert len(maps) == len(images) * n_classes
    check_exact(maps, head, "mini", images)


def test_maps_of_one_vs_rest_are_exact(place: Any, fitted: featx.Head) -> None:
    with featx.open_cache(place / "mini.h5") as cache:
        X, y = cache.read_vectors(), cache.labels.astype(str)
    steps = make_pipeline(StandardScaler(), PCA(8), OneVsRestClassifier(RidgeClassifier()))
    head = replace(fitted, estimator=steps.fit(X, y), kind="one-vs-rest")
    images = list_images(place)
    check_exact(explain(head, images, top=3), head, "mini", images)


def test_maps_of_two_classes_are_opposite(place: Any, fitted: featx.Head) -> None:
    head = fit(place, fitted, 2, C=1.0)
    first, second = explain(head, list_images(place)[0], ["ants", "bees"])
    np.testing.assert_array_equal(first.values, -second.values)
    assert (first.logit, first.bias) == (-second.logit, -second.bias)
    odds = np.log(first.probability / (1 - first.probability))
    assert odds == pytest.approx(first.logit / head.temperature, abs=1e-3)


@pytest.mark.parametrize("options", [{"kind": "knn"}, {"kind": "rbf-svm"}], ids=["knn", "rbf-svm"])
def test_head_that_is_not_linear_is_refused(place: Any, fitted: featx.Head, options: Any) -> None:
    head = fit(place, fitted, 3, **options)
    for approximation in (None, "grad-cam"):
        with pytest.raises(featx.HeadError, match=r"class maps: expected a linear head.*kind="):
            featx.Explainer(head, approximation=approximation)


class Whole(nn.Module):
    """A convolution, and what a test puts behind it."""

    def __init__(self, end: nn.Module, n_channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, n_channels, 5, stride=4, padding=2)
        self.relu = nn.ReLU(inplace=True)
        self.end = end

    def forward(self, batch: torch.Tensor) -> Any:
        return self.end(self.relu(self.conv(batch)))


class Means(nn.Module):
    """The mean over both axes, as many networks write it."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean([2, 3])


class MeansOrNan(Means):
    """The mean over both axes, and NaN for a black image, as 0 / 0."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        means = super().forward(features)
        total = means.sum(1, keepdim=True)
        return means * (total / total)


class LastMeans(nn.Module):
    """The mean over the last axes, which stay, then no more of them."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean((-1, -2), keepdim=True).squeeze(-1).squeeze(-1)


class OldPool(nn.Module):
    """The average as older networks for CIFAR-10 write it."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.avg_pool2d(features, features.shape[3])
        return nn.functional.dropout(pooled.view(pooled.size(0), -1), 0.5, self.training)


class Branching(nn.Module):
    """A network that torch.fx cannot trace, because it looks at its values."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features if features.sum() > 0 else features * 1.0


class BranchingMeans(Branching):
    """The same, averaged inside."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return super().forward(features).mean([2, 3])


class MaxPool(nn.Module):
    """The largest value of each channel, which is no average."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.amax((2, 3))


def pool(*behind: nn.Module) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), *behind)


def build_linear() -> nn.Linear:
    """Build weights that tell images apart: those of chance may not, behind a ReLU."""
    linear = nn.Linear(4, 5)
    with torch.no_grad():
        linear.weight.copy_(torch.linspace(-1, 1, 20).reshape(5, 4).roll(3, 1))
        linear.bias.fill_(0.5)
    return linear


ENDS = {
    "map": nn.Identity(),
    "pool": pool(nn.Dropout(0.5), nn.Identity()),
    "means": Means(),
    "last-means": LastMeans(),
    "old-pool": OldPool(),
    "flat": nn.Flatten(),
    "halves": nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten()),
    "layer-norm": pool(nn.LayerNorm(4)),
    "untraceable": Branching(),
}
REFUSED = {
    "linear": (pool(build_linear(), nn.ReLU()), "ReLU"),
    "largest": (MaxPool(), "amax"),
    "untraceable": (BranchingMeans(), "torch.fx can trace"),
    "one-cell": (nn.AdaptiveAvgPool2d(1), "several cells, got 1 x 1"),
}


def register(name: str, end: nn.Module) -> str:
    torch.manual_seed(0)
    network = Whole(end)
    with torch.no_grad():
        network.conv.reset_parameters()
    featx.register_backbone(name, network, transform=STEPS)
    return name


def fit_on(place: Any, name: str, **options: Any) -> featx.Head:
    path = place / f"{name}.h5"
    if not path.exists():
        featx.extract(place / "photos", path, backbone=name, engine="torch", progress=False,
                      **options)  # fmt: skip
    return featx.fit_head(path, C=1.0)


@pytest.mark.parametrize("end", ENDS)
def test_map_of_a_users_network_that_ends_in_an_average_is_exact(place: Any, end: str) -> None:
    name = register(f"maps-{end}", ENDS[end])
    head = fit_on(place, name)
    maps = explain(head, list_images(place), top=3)
    check_exact(maps, head, name, list_images(place))
    assert {one.values.shape for one in maps} == {(8, 8)}
    assert {one.image.shape for one in maps} == {(32, 32, 3)}
    assert {one.box for one in maps} == {None}


@pytest.mark.parametrize("end", REFUSED)
def test_other_network_is_refused_with_the_reason(place: Any, end: str) -> None:
    network, reason = REFUSED[end]
    head = fit_on(place, register(f"maps-not-{end}", network))
    with pytest.raises(featx.BackboneError, match=reason):
        featx.Explainer(head)


@pytest.mark.parametrize("end", ["linear", "largest"])
def test_other_network_is_approximated_on_request(place: Any, end: str) -> None:
    name = f"maps-not-{end}"
    if name not in featx.list_backbones():
        register(name, REFUSED[end][0])
    head = fit_on(place, name)
    maps = explain(head, list_images(place), approximation="grad-cam", top=2)
    assert len(maps) == 6
    for one in maps:
        assert (one.method, one.is_exact, one.bias) == ("grad-cam", False, None)
        assert one.values.shape == (8, 8)
        assert one.values.min() >= 0


def test_grad_cam_of_a_mean_is_the_positive_part_of_the_exact_map(place: Any) -> None:
    name = "maps-means"
    if name not in featx.list_backbones():
        register(name, ENDS["means"])
    head = fit_on(place, name)
    images = list_images(place)
    exact = explain(head, images, top=3)
    close = explain(head, images, top=3, approximation="grad-cam")
    for one, other in zip(exact, close, strict=True):
        # The gradient of the mean over 64 cells is a 64th.
        expected = np.maximum(one.values, 0) / 64
        np.testing.assert_allclose(other.values, expected, atol=1e-6 * abs(one.values).max())


def test_classes_are_predicted_or_given_for_all_or_for_each(place: Any, fitted: featx.Head) -> None:
    head = fitted
    images = list_images(place)
    with featx.Explainer(head, progress=False) as explainer:
        predicted = featx.predict(head, images, top=2, progress=False)
        found = explainer.explain(iter(images), top=2)
        assert [(one.number, one.label) for one in found] == [
            (number, label) for number, one in enumerate(predicted) for label, _ in one.top
        ]
        scores = [score for one in predicted for _, score in one.top]
        assert [one.probability for one in found] == pytest.approx(scores, abs=1e-4)
        assert [one.label for one in explainer.explain(images, "cats")] == ["cats"] * 3
        given = explainer.explain(images, [["cats"], [], ["ants", "bees"]])
        assert [(one.number, one.label) for one in given] == [
            *((0, "cats"), (2, "ants"), (2, "bees"))
        ]
        with pytest.raises(featx.HeadError, match=r"classes of the head, got 'dogs'"):
            explainer.explain(images, ["dogs"])
        for classes in ([["cats"]], [["cats"]] * 4):
            with pytest.raises(featx.FeatxError, match=r"a list of classes for each of 3 images"):
                explainer.explain(images, classes)
        with pytest.raises(featx.FeatxError, match=r"top: expected"):
            explainer.explain(images, top=0)
    with pytest.raises(featx.FeatxError, match=r"explainer: expected an open one"):
        explainer.explain(images)


def test_an_image_that_fails_has_an_error_and_others_go_on(
    place: Any, fitted: featx.Head, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    images = [tmp_path / "bad.jpg", *list_images(place), tmp_path / "none.jpg"]
    with pytest.warns(featx.FeatxWarning, match=r"no map for 2 of 5 images, such as .*bad\.jpg"):
        found = explain(fitted, images, batch_size=2)
    assert [one.number for one in found] == [0, 1, 2, 3, 4]
    assert [one.error is None for one in found] == [False, True, True, True, False]


def test_an_embedding_that_is_not_finite_has_an_error(place: Any) -> None:
    network = Whole(MeansOrNan())
    network.conv.bias = None
    featx.register_backbone("maps-nan", network, transform=STEPS)
    images = [Image.new("RGB", (40, 30)), list_images(place)[0]]
    head = fit_on(place, "maps-nan")
    with pytest.warns(featx.FeatxWarning, match=r"no map for 1 of 2 images"):
        found = explain(head, images, approximation="grad-cam")
    assert [one.error for one in found] == [NOT_FINITE, None]


def test_layer_whose_output_is_averaged_is_exact(place: Any) -> None:
    backbone = featx.load_backbone("mini", layers=["features.3"])
    featx.extract(place / "photos", place / "layer.h5", backbone=backbone, progress=False)
    head = featx.fit_head(place / "layer.h5", C=1.0)
    maps = explain(head, list_images(place), top=3)
    check_exact(maps, head, backbone, list_images(place))
    assert maps[0].values.shape == (16, 16)


def test_precision_of_the_cache_does_not_matter(place: Any, fitted: featx.Head) -> None:
    head = fitted
    embedding = head.embeddings[0]
    half = replace(embedding, fingerprint=replace(embedding.fingerprint, precision="bf16"))
    images = list_images(place)
    expected = explain(head, images)
    found = explain(replace(head, embeddings=(half,)), images)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_head_of_several_embeddings_is_refused(place: Any, fitted: featx.Head) -> None:
    head = fitted
    with pytest.raises(featx.HeadError, match=r"a head that reads one embedding"):
        featx.Explainer(replace(head, embeddings=head.embeddings * 2))


def test_vectors_of_another_program_are_refused_as_such(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(8, 3)).astype("f4"))
    lines = [f"{n},{'ab'[n % 2]}" for n in range(8)]
    (tmp_path / "ids.csv").write_text("\n".join(["id,label", *lines]))
    cache = tmp_path / "imported.h5"
    featx.import_embeddings(tmp_path / "v.npy", ids=tmp_path / "ids.csv", output=cache)
    head = featx.fit_head(cache, C=1.0, progress=False)
    with pytest.raises(
        featx.FingerprintError, match="embeddings that featx can compute, got impor"
    ):
        featx.Explainer(head)
