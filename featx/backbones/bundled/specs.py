"""Backbones that torchvision lacks: two whose weights come with featx, and one without weights."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from featx.backbones.preprocess import ImageClassification
from featx.backbones.registry import BackboneSpec, register_spec
from featx.backbones.weights import WeightsEntry

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).parent
"""The weights that come with featx; ``pipelines/pretrain_mini.py`` makes them."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_AT_64 = ImageClassification(64, 64, "bilinear", _MEAN, _STD)
_AT_32 = ImageClassification(32, 32, "bilinear", _MEAN, _STD)
_AT_224 = ImageClassification(256, 224, "bilinear", _MEAN, _STD)

MINI = WeightsEntry(
    name="CIFAR10_V1",
    url="",
    preprocess=_AT_64,
    top1=88.63,
    n_parameters=1_946_666,
    trained_on="CIFAR-10",
    file=FOLDER / "mini.safetensors",
    sha256="9a1ba381a00187467ed51f2499c08df2106cff0914192c2b71c2027f9e255e1e",
)

LENET5 = WeightsEntry(
    name="CIFAR10_V1",
    url="",
    preprocess=_AT_32,
    top1=65.31,
    n_parameters=62_006,
    trained_on="CIFAR-10",
    file=FOLDER / "lenet5.safetensors",
    sha256="78608912976cc477e0514eddf3e049ea065001fb550e052e46fb61d8ef82f7b7",
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


@functools.cache
def register_embedded() -> None:
    """Register all of them, once."""
    register_spec(
        BackboneSpec(
            name="mini",
            dim=768,
            paper="featx's own, after He et al. 2015, arXiv:1512.03385",
            build=_build_mini,
            list_weights=lambda: (MINI,),
            classifier="fc",
            preprocess=_AT_64,
            is_builtin=True,
            blocks=r"features\.\d+|top",
        )
    )
    register_spec(
        BackboneSpec(
            name="lenet5",
            dim=84,
            paper="LeCun et al. 1998, doi:10.1109/5.726791",
            build=_build_lenet5,
            list_weights=lambda: (LENET5,),
            classifier="fc",
            preprocess=_AT_32,
            is_builtin=True,
            blocks=r"[cf]\d",
        )
    )
    # Nobody published weights of it for torch: it takes a file, or random:SEED.
    register_spec(
        BackboneSpec(
            name="zfnet",
            dim=4096,
            paper="Zeiler and Fergus 2013, arXiv:1311.2901",
            build=_build_zfnet,
            classifier="classifier.6",
            preprocess=_AT_224,
            is_builtin=True,
            blocks=r"features\.\d+|classifier\.\d+",
        )
    )
