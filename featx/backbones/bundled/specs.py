"""The zoo of bundled backbones: two come with their weights, and one without weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from featx.backbones.preprocess import ImageClassification
from featx.backbones.spec import BackboneSpec
from featx.backbones.weights import WeightsEntry

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).parent
"""Folder of the bundled weights; ``pipelines/pretrain_mini.py`` makes them."""

_CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def _build_preprocess(resize_size: int, crop_size: int) -> ImageClassification:
    return ImageClassification(
        resize_size=resize_size,
        crop_size=crop_size,
        interpolation="bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


MINI = WeightsEntry(
    name="CIFAR10_V1",
    url="",
    preprocess=_build_preprocess(64, 64),
    top1=88.63,
    n_parameters=1_946_666,
    trained_on="CIFAR-10",
    classes=_CIFAR10,
    file=FOLDER / "mini.safetensors",
    sha256="9a1ba381a00187467ed51f2499c08df2106cff0914192c2b71c2027f9e255e1e",
)

LENET5 = WeightsEntry(
    name="CIFAR10_V1",
    url="",
    preprocess=_build_preprocess(32, 32),
    top1=65.31,
    n_parameters=62_006,
    trained_on="CIFAR-10",
    classes=_CIFAR10,
    file=FOLDER / "lenet5.safetensors",
    sha256="78608912976cc477e0514eddf3e049ea065001fb550e052e46fb61d8ef82f7b7",
)


def list_specs() -> tuple[BackboneSpec, ...]:
    """List the bundled backbones."""
    return (
        BackboneSpec(
            name="mini",
            dim=768,
            paper="featx's own, after He et al. 2015, arXiv:1512.03385",
            build=_build_mini,
            list_weights=lambda: (MINI,),
            classifier="fc",
            preprocess=MINI.preprocess,
            is_builtin=True,
            blocks=r"features\.\d+|top",
        ),
        BackboneSpec(
            name="lenet5",
            dim=84,
            paper="LeCun et al. 1998, doi:10.1109/5.726791",
            build=_build_lenet5,
            list_weights=lambda: (LENET5,),
            classifier="fc",
            preprocess=LENET5.preprocess,
            is_builtin=True,
            blocks=r"[cf]\d",
        ),
        # No weights of ZFNet were published for torch: it takes a file, or random:SEED.
        BackboneSpec(
            name="zfnet",
            dim=4096,
            paper="Zeiler and Fergus 2013, arXiv:1311.2901",
            build=_build_zfnet,
            classifier="classifier.6",
            preprocess=_build_preprocess(256, 224),
            is_builtin=True,
            blocks=r"features\.\d+|classifier\.\d+",
        ),
    )


def _build_mini() -> nn.Module:
    from featx.backbones.bundled.mini import Mini

    return Mini()


def _build_lenet5() -> nn.Module:
    from featx.backbones.bundled.lenet5 import LeNet5

    return LeNet5()


def _build_zfnet() -> nn.Module:
    from featx.backbones.bundled.zfnet import ZFNet

    return ZFNet()
