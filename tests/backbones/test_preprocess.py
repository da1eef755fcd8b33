"""Preprocessing equals torchvision's, and a user's own is named truthfully."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from featx.backbones.preprocess import MAX_ASPECT, ImageClassification
from featx.backbones.registry import list_backbones
from featx.core.errors import DecodeError
from featx.core.typing import Array

SIZES = [(40, 30), (1, 1), (333, 517), (500, 375), (7, 200), (224, 224), (255, 256), (257, 231)]
V1 = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()


def build_image(size: tuple[int, int], seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def run(preprocess: ImageClassification, *images: Image.Image) -> torch.Tensor:
    batch = np.stack([preprocess.prepare(image) for image in images])
    return preprocess.normalise(torch.from_numpy(batch))


def measure_difference(transform: Any, image: Image.Image) -> float:
    ours = run(ImageClassification.from_torchvision(transform), image)[0]
    theirs = transform(image)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


# --- ImageClassification


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_image_classification_equals_torchvisions_on_any_size(name: str, size: Any) -> None:
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    assert measure_difference(transform, build_image(size)) <= 1e-6


def list_presets() -> Collection[Any]:
    """List torchvision's presets, each once, by the weights that first bring it."""
    presets: dict[str, Any] = {}
    for name in list_backbones("*net*") + list_backbones("vgg*"):
        if name in torchvision.models.list_models():
            for member in torchvision.models.get_model_weights(name):
                presets.setdefault(repr(member.transforms()), member)
    return presets.values()


@pytest.mark.parametrize("member", list_presets(), ids=str)
def test_image_classification_equals_each_preset_of_torchvision(member: Any) -> None:
    assert measure_difference(member.transforms(), build_image((333, 251))) <= 1e-6


def prepare_by_torchvision(transform: Any, image: Image.Image) -> Array:
    """Return the pixels that torchvision resizes and crops, before it normalises them."""
    resized = transforms.functional.resize(
        image, transform.resize_size, interpolation=transform.interpolation
    )
    return np.asarray(transforms.functional.center_crop(resized, transform.crop_size))


@pytest.mark.parametrize("size", [(333, 251), (251, 500), (13, 9)], ids=str)
@pytest.mark.parametrize("member", list_presets(), ids=str)
def test_prepare_exact_is_torchvision_to_the_last_bit(member: Any, size: Any) -> None:
    transform, image = member.transforms(), build_image(size)
    prepared = ImageClassification.from_torchvision(transform).prepare(image)
    np.testing.assert_array_equal(prepared, prepare_by_torchvision(transform, image))


def check_step(transform: Any, image: Image.Image) -> None:
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
def test_prepare_in_one_step_is_close_to_the_exact(member: Any, size: Any) -> None:
    check_step(member.transforms(), build_image(size))


BILINEAR = torchvision.models.ResNet50_Weights.IMAGENET1K_V2.transforms()
BICUBIC = torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1.transforms()
SIDES = st.integers(1, 400)


def test_prepare_in_one_step_of_a_tall_image_is_close_to_the_exact() -> None:
    check_step(BILINEAR, build_image((251, 500)))


def test_prepare_in_one_step_by_bicubic_of_a_tall_image_stays_near() -> None:
    """Pillow then resizes columns first, and rounds at other places than for whole images."""
    preprocess = ImageClassification.from_torchvision(BICUBIC)
    image = build_image((251, 500))
    exact, fast = preprocess.prepare(image), preprocess.prepare(image, exact=False)
    assert 0 < np.abs(fast.astype(int) - exact).mean() < 0.5


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(width=SIDES, height=SIDES, transform=st.sampled_from([BILINEAR, BICUBIC]))
def test_prepare_of_any_size_is_torchvisions(width: Any, height: Any, transform: Any) -> None:
    assume(max(width, height) <= 50 * min(width, height))
    image = build_image((width, height))
    prepared = ImageClassification.from_torchvision(transform).prepare(image)
    np.testing.assert_array_equal(prepared, prepare_by_torchvision(transform, image))
    if transform is BILINEAR:
        check_step(transform, image)


def test_prepare_presets_cover_both_filters() -> None:
    filters = {member.transforms().interpolation.value for member in list_presets()}
    assert filters == {"bilinear", "bicubic"}


def test_image_classification_batch_equals_its_images() -> None:
    preprocess = ImageClassification.from_torchvision(V1)
    images = [build_image((40, 30), 1), build_image((30, 40), 2)]
    together = run(preprocess, *images)
    assert together.shape == (2, 3, 224, 224)
    assert torch.equal(together, torch.cat([run(preprocess, image) for image in images]))


def test_image_classification_prepares_small_uint8_pixels() -> None:
    prepared = ImageClassification.from_torchvision(V1).prepare(build_image((500, 375)))
    assert prepared.dtype == np.uint8
    assert prepared.shape == (224, 224, 3)


def test_image_classification_example_has_the_shape_of_prepared_pixels() -> None:
    example = ImageClassification.from_torchvision(V1).build_example()
    assert example.dtype == np.uint8
    assert example.shape == (224, 224, 3)


@pytest.mark.parametrize("size", [(MAX_ASPECT, 1), (1, MAX_ASPECT)], ids=str)
def test_image_classification_longest_aspect_is_prepared(size: Any) -> None:
    prepared = ImageClassification.from_torchvision(V1).prepare(build_image(size))
    assert prepared.shape == (224, 224, 3)


@pytest.mark.parametrize("size", [(MAX_ASPECT + 1, 1), (1, MAX_ASPECT + 1), (20_000, 3)], ids=str)
def test_image_classification_extreme_aspect_is_refused(size: Any) -> None:
    preprocess = ImageClassification.from_torchvision(V1)
    image = Image.new("RGB", size)
    message = f"expected sides within 1:200, got {size[0]} x {size[1]}"
    with pytest.raises(DecodeError, match=message):
        preprocess.prepare(image)


def test_image_classification_description_names_every_number() -> None:
    text = ImageClassification.from_torchvision(V1).describe()
    assert text == (
        "resize 256 bilinear antialiased, crop 224, "
        "mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)"
    )


def test_image_classification_descriptions_differ_where_presets_differ() -> None:
    descriptions = {
        ImageClassification.from_torchvision(member.transforms()).describe()
        for member in list_presets()
    }
    assert len(descriptions) == len(list_presets())


# --- resized


@pytest.mark.parametrize("size", [(333, 251), (251, 500), (13, 9)], ids=str)
def test_resized_equals_torchvisions_resize_and_crop_to_it(size: Any) -> None:
    image = build_image(size)
    resize = transforms.Compose([transforms.Resize(48), transforms.CenterCrop(48)])
    prepared = ImageClassification.from_torchvision(V1).resized(48).prepare(image)
    np.testing.assert_array_equal(prepared, np.asarray(resize(image)))
