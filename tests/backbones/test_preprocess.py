"""Preprocessing equals torchvision's, and a user's own is named truthfully."""

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torchvision import transforms

from featx.backbones.load import check_size, load_backbone, register_backbone
from featx.backbones.preprocess import MAX_ASPECT, CustomTransform, ImageClassification
from featx.backbones.registry import get_backbone_spec, list_backbones
from featx.core.errors import BackboneError, WeightsError

SIZES = [(40, 30), (1, 1), (333, 517), (500, 375), (7, 200), (224, 224), (255, 256), (257, 231)]
V1 = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()


def build_image(size, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def run(preprocess, *images):
    batch = np.stack([preprocess.prepare(image) for image in images])
    return preprocess.normalise(torch.from_numpy(batch))


def measure_difference(transform, image):
    ours = run(ImageClassification.from_torchvision(transform), image)[0]
    theirs = transform(image)
    assert ours.shape == theirs.shape
    return (ours - theirs).abs().max().item()


# --- ImageClassification


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_image_classification_equals_torchvisions_on_any_size(name, size):
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    assert measure_difference(transform, build_image(size)) <= 1e-6


def list_presets():
    """List torchvision's presets, each once, by the weights that first bring it."""
    presets = {}
    for name in list_backbones("*net*") + list_backbones("vgg*"):
        if name in torchvision.models.list_models():
            for member in torchvision.models.get_model_weights(name):
                presets.setdefault(repr(member.transforms()), member)
    return presets.values()


@pytest.mark.parametrize("member", list_presets(), ids=str)
def test_image_classification_equals_each_preset_of_torchvision(member):
    assert measure_difference(member.transforms(), build_image((333, 251))) <= 1e-6


def prepare_by_torchvision(transform, image):
    """Return the pixels that torchvision resizes and crops, before it normalises them."""
    resized = transforms.functional.resize(
        image, transform.resize_size, interpolation=transform.interpolation
    )
    return np.asarray(transforms.functional.center_crop(resized, transform.crop_size))


@pytest.mark.parametrize("size", [(333, 251), (251, 500), (13, 9)], ids=str)
@pytest.mark.parametrize("member", list_presets(), ids=str)
def test_prepare_exact_is_torchvision_to_the_last_bit(member, size):
    transform, image = member.transforms(), build_image(size)
    prepared = ImageClassification.from_torchvision(transform).prepare(image)
    np.testing.assert_array_equal(prepared, prepare_by_torchvision(transform, image))


def check_step(transform, image):
    """Check pixels prepared in one step: within 1 of the exact, but for one of a thousand in noise.

    There a rounding between rows and columns may be doubled.
    """
    preprocess = ImageClassification.from_torchvision(transform)
    exact, fast = preprocess.prepare(image), preprocess.prepare(image, exact=False)
    assert (fast.dtype, fast.shape) == (exact.dtype, exact.shape)
    difference = np.abs(fast.astype(int) - exact)
    assert difference.max() <= 2
    assert np.mean(difference > 1) <= 1e-3


@pytest.mark.parametrize("size", [(333, 251), (640, 480), (13, 9), (300, 300)], ids=str)
@pytest.mark.parametrize("member", list_presets(), ids=str)
def test_prepare_in_one_step_is_close_to_the_exact(member, size):
    check_step(member.transforms(), build_image(size))


BILINEAR = torchvision.models.ResNet50_Weights.IMAGENET1K_V2.transforms()
BICUBIC = torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1.transforms()
SIDES = st.integers(1, 400)


def test_prepare_in_one_step_of_a_tall_picture_is_close_to_the_exact():
    check_step(BILINEAR, build_image((251, 500)))


def test_prepare_in_one_step_by_bicubic_of_a_tall_picture_stays_near():
    """Pillow then resizes columns first, and rounds at other places than for whole pictures."""
    preprocess = ImageClassification.from_torchvision(BICUBIC)
    image = build_image((251, 500))
    exact, fast = preprocess.prepare(image), preprocess.prepare(image, exact=False)
    assert 0 < np.abs(fast.astype(int) - exact).mean() < 0.5


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(width=SIDES, height=SIDES, transform=st.sampled_from([BILINEAR, BICUBIC]))
def test_prepare_of_any_size_is_torchvisions(width, height, transform):
    assume(max(width, height) <= 50 * min(width, height))
    image = build_image((width, height))
    prepared = ImageClassification.from_torchvision(transform).prepare(image)
    np.testing.assert_array_equal(prepared, prepare_by_torchvision(transform, image))
    if transform is BILINEAR:
        check_step(transform, image)


def test_prepare_presets_cover_both_filters():
    filters = {member.transforms().interpolation.value for member in list_presets()}
    assert filters == {"bilinear", "bicubic"}


def test_custom_transform_is_what_it_is_in_one_step_too():
    preprocess, image = CustomTransform(scale), build_image((9, 7))
    assert preprocess.min_side is None
    np.testing.assert_array_equal(
        preprocess.prepare(image, exact=False), preprocess.prepare(image, exact=True)
    )


def test_image_classification_batch_equals_its_images():
    preprocess = ImageClassification.from_torchvision(V1)
    images = [build_image((40, 30), 1), build_image((30, 40), 2)]
    together = run(preprocess, *images)
    assert together.shape == (2, 3, 224, 224)
    assert torch.equal(together, torch.cat([run(preprocess, image) for image in images]))


def test_image_classification_prepares_small_uint8_pixels():
    prepared = ImageClassification.from_torchvision(V1).prepare(build_image((500, 375)))
    assert (prepared.dtype, prepared.shape) == (np.uint8, (224, 224, 3))


def test_image_classification_example_has_the_shape_of_prepared_pixels():
    example = ImageClassification.from_torchvision(V1).build_example()
    assert (example.dtype, example.shape) == (np.uint8, (224, 224, 3))


@pytest.mark.parametrize("size", [(MAX_ASPECT, 1), (1, MAX_ASPECT)], ids=str)
def test_image_classification_longest_aspect_is_prepared(size):
    prepared = ImageClassification.from_torchvision(V1).prepare(build_image(size))
    assert prepared.shape == (224, 224, 3)


@pytest.mark.parametrize("size", [(MAX_ASPECT + 1, 1), (1, MAX_ASPECT + 1), (20_000, 3)], ids=str)
def test_image_classification_extreme_aspect_is_refused(size):
    preprocess = ImageClassification.from_torchvision(V1)
    image = Image.new("RGB", size)
    message = f"expected sides within 1:200, got {size[0]} x {size[1]}"
    with pytest.raises(ValueError, match=message):
        preprocess.prepare(image)


def test_image_classification_description_names_every_number():
    text = ImageClassification.from_torchvision(V1).describe()
    assert text == (
        "resize 256 bilinear antialiased, crop 224, "
        "mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)"
    )


def test_image_classification_descriptions_differ_where_presets_differ():
    descriptions = {
        ImageClassification.from_torchvision(member.transforms()).describe()
        for member in list_presets()
    }
    assert len(descriptions) == len(list_presets())


# --- which preprocessing belongs to the weights


def test_load_backbone_random_weights_take_the_first_preset():
    default, first = (
        ImageClassification.from_torchvision(member.transforms())
        for member in (
            torchvision.models.MobileNet_V2_Weights.DEFAULT,
            torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1,
        )
    )
    assert default != first
    assert load_backbone("mobilenet_v2", weights="random:0").preprocess == first


@pytest.mark.parametrize(
    ("file_name", "member"),
    [
        ("mine.pth", "IMAGENET1K_V1"),
        ("mobilenet_v2-7ebf99e0.pth", "IMAGENET1K_V2"),
        ("mobilenet_v2-b0353104.pth", "IMAGENET1K_V1"),
    ],
)
def test_load_backbone_file_takes_the_preset_of_its_name(tmp_path, file_name, member):
    network = torchvision.models.mobilenet_v2()
    torch.save(network.state_dict(), tmp_path / file_name)
    expected = torchvision.models.MobileNet_V2_Weights[member].transforms()
    backbone = load_backbone("mobilenet_v2", weights=str(tmp_path / file_name))
    assert backbone.preprocess == ImageClassification.from_torchvision(expected)
    assert backbone.preprocess_from == member


def test_load_backbone_preprocess_asked_for_is_taken():
    backbone = load_backbone("mobilenet_v2", weights="random:0", preprocess="IMAGENET1K_V2")
    assert backbone.preprocess == get_backbone_spec("mobilenet_v2").list_weights()[-1].preprocess
    assert backbone.preprocess_from == "IMAGENET1K_V2"


def test_load_backbone_unknown_preprocess_is_refused():
    with pytest.raises(
        WeightsError,
        match=r"^mobilenet_v2: expected preprocessing of one of IMAGENET1K_V1, .*, got 'V2'",
    ):
        load_backbone("mobilenet_v2", weights="random:0", preprocess="V2")


# --- a size of one's own


@pytest.mark.parametrize("size", [(333, 251), (251, 500), (13, 9)], ids=str)
def test_resized_equals_torchvisions_resize_and_crop_to_it(size):
    image = build_image(size)
    resize = transforms.Compose([transforms.Resize(48), transforms.CenterCrop(48)])
    prepared = ImageClassification.from_torchvision(V1).resized(48).prepare(image)
    np.testing.assert_array_equal(prepared, np.asarray(resize(image)))


def test_load_backbone_size_replaces_the_two_sizes_alone():
    own, resized = load_backbone("mini"), load_backbone("mini", size=96)
    sizes = {"resize_size": 96, "crop_size": 96}
    assert vars(resized.preprocess) == vars(own.preprocess) | sizes != vars(own.preprocess)
    assert resized.preprocess.min_side == 96
    assert resized.pixel_shape == (96, 96, 3)
    assert (own.size, resized.size) == (None, 96)
    for field in ("weights", "weights_digest", "dims", "preprocess_from"):
        assert getattr(resized, field) == getattr(own, field)


def test_load_backbone_size_and_preprocess_are_both_taken():
    backbone = load_backbone(
        "efficientnet_b0", weights="random:0", preprocess="IMAGENET1K_V1", size=64
    )
    assert (backbone.preprocess_from, backbone.size) == ("IMAGENET1K_V1", 64)
    assert backbone.preprocess.describe().startswith("resize 64 bicubic antialiased, crop 64, ")


def test_load_backbone_size_serves_every_layer():
    layers = ["penultimate", "features.3"]
    backbone = load_backbone("squeezenet1_1", weights="random:0", layers=layers, size=64)
    assert dict(backbone.dims) == {"penultimate": 512, "features.3": 128}
    assert backbone.pixel_shape == (64, 64, 3)


@pytest.mark.parametrize("size", [None, 1, 224, 4096])
def test_check_size_within_its_bounds_is_taken(size):
    check_size(size)


@pytest.mark.parametrize("size", [-224, 0, 4097, 5000])
def test_load_backbone_size_out_of_bounds_is_refused(size):
    with pytest.raises(BackboneError, match=rf"^size: expected 1 to 4096 pixels, got {size}\. "):
        load_backbone("mini", size=size)


@pytest.mark.parametrize(
    ("name", "size"), [("mini", 8), ("lenet5", 16), ("lenet5", 64), ("squeezenet1_1", 16)]
)
def test_load_backbone_size_that_the_network_cannot_take_is_refused(name, size):
    with pytest.raises(
        BackboneError,
        match=rf"^{name}, size {size}: expected a size that the network can take, got .*"
        r"\. Pass one nearer to its own\.$",
    ):
        load_backbone(name, weights="random:0", size=size)


def test_load_backbone_size_beside_a_transform_of_ones_own_is_refused(tiny_backbone):
    with pytest.raises(
        BackboneError, match=rf"^{tiny_backbone}: expected no size beside a transform .*, got 64\. "
    ):
        load_backbone(tiny_backbone, size=64)


# --- CustomTransform


def scale(image):
    return torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)


class WithoutRepr:
    def __call__(self, image):
        return scale(image)


class WithRepr(WithoutRepr):
    def __repr__(self):
        return "scale to 0..1"


def test_custom_transform_gives_what_the_transform_gives():
    transform = transforms.Compose([transforms.CenterCrop(16), transforms.ToTensor()])
    image = build_image((40, 30))
    got = run(CustomTransform(transform), image)
    assert got.dtype == torch.float32
    assert torch.equal(got[0], transform(image))


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (scale, f"{__name__}.scale"),
        (WithRepr(), "scale to 0..1"),
        (
            transforms.Compose([transforms.CenterCrop(16), transforms.ToTensor()]),
            "Compose( CenterCrop(size=(16, 16)) ToTensor() )",
        ),
    ],
    ids=["function", "repr", "torchvision"],
)
def test_custom_transform_description_is_one_stable_line(transform, text):
    assert CustomTransform(transform).identify() == {"kind": "custom/1", "transform": text}


@pytest.mark.parametrize(
    "transform",
    [
        lambda image: image,
        WithoutRepr(),
        WithoutRepr().__call__,
        transforms.Compose([scale, lambda tensor: tensor]),
    ],
    ids=["lambda", "object", "bound method", "lambda inside"],
)
def test_custom_transform_without_a_stable_repr_is_refused(transform):
    with pytest.raises(BackboneError, match="expected a repr that names what it does, got"):
        CustomTransform(transform).identify()


def drop_colour(image):
    return scale(image)[:1]


def drop_axis(image):
    return scale(image)[0]


@pytest.mark.parametrize(
    ("transform", "shape"), [(drop_colour, r"\(1, 64, 64\)"), (drop_axis, r"\(64, 64\)")]
)
def test_register_backbone_transform_of_other_shape_is_refused(transform, shape):
    name = f"preprocess-{transform.__name__}"
    register_backbone(name, nn.Identity(), transform=transform)
    with pytest.raises(BackboneError, match=rf"expected it to give a tensor \(3, .* got {shape}"):
        load_backbone(name)


def test_load_backbone_weights_moved_with_preprocess_from_are_the_same(tmp_path):
    network = torchvision.models.mobilenet_v2()
    torch.save(network.state_dict(), tmp_path / "mobilenet_v2-7ebf99e0.pth")
    torch.save(network.state_dict(), tmp_path / "moved.pth")
    first = load_backbone("mobilenet_v2", weights=str(tmp_path / "mobilenet_v2-7ebf99e0.pth"))
    moved = load_backbone(
        "mobilenet_v2", weights=str(tmp_path / "moved.pth"), preprocess=first.preprocess_from
    )
    assert moved.preprocess == first.preprocess
    assert moved.weights_digest == first.weights_digest
