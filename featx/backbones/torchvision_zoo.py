"""The zoo of torchvision: all its convnets for classification, cut before the last Linear.

To add a backbone, add its name and dimension to a family, or add a family.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from featx.backbones.preprocess import ImageClassification
from featx.backbones.spec import BackboneSpec
from featx.backbones.weights import WeightsEntry
from featx.core.progress import stage

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Networks of one paper, whose classifiers have the same path.

    The attributes are those of `BackboneSpec`, with two exceptions: ``dims`` holds the dimension of
    each network by its name, and ``options`` holds keyword arguments of torchvision's builder.
    """

    paper: str
    classifier: str
    blocks: str
    dims: dict[str, int]
    pool: bool = False
    rename: Callable[[str], str] | None = None
    options: dict[str, Any] = field(default_factory=dict)


def _rename_densenet(name: str) -> str:
    """Turn ``denselayer1.norm.1.weight`` of published files into ``denselayer1.norm1.weight``."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


# Without transform_input both networks would normalise their input a second time for named weights
# only, and the same weights from a file would give another embedding. Auxiliary heads are for
# training only.
_INCEPTION_OPTIONS = {"transform_input": True, "aux_logits": False, "init_weights": False}

_FAMILIES = (
    _Family(
        paper="Krizhevsky 2014, arXiv:1404.5997",
        classifier="classifier.6",
        blocks=r"features\.\d+|classifier\.\d+",
        dims={"alexnet": 4096},
    ),
    _Family(
        paper="Simonyan and Zisserman 2014, arXiv:1409.1556",
        classifier="classifier.6",
        blocks=r"features\.\d+|classifier\.\d+",
        dims={f"vgg{depth}{bn}": 4096 for depth in (11, 13, 16, 19) for bn in ("", "_bn")},
    ),
    _Family(
        paper="Szegedy et al. 2014, arXiv:1409.4842",
        classifier="fc",
        blocks=r"conv\d|inception\d\w",
        dims={"googlenet": 1024},
        options=_INCEPTION_OPTIONS,
    ),
    _Family(
        paper="Szegedy et al. 2015, arXiv:1512.00567",
        classifier="fc",
        blocks=r"Conv2d_\w+|Mixed_\w+",
        dims={"inception_v3": 2048},
        options=_INCEPTION_OPTIONS,
    ),
    _Family(
        paper="He et al. 2015, arXiv:1512.03385",
        classifier="fc",
        blocks=r"conv1|layer\d\.\d+",
        dims={
            "resnet18": 512,
            "resnet34": 512,
            "resnet50": 2048,
            "resnet101": 2048,
            "resnet152": 2048,
        },
    ),
    _Family(
        paper="Xie et al. 2016, arXiv:1611.05431",
        classifier="fc",
        blocks=r"conv1|layer\d\.\d+",
        dims={"resnext50_32x4d": 2048, "resnext101_32x8d": 2048, "resnext101_64x4d": 2048},
    ),
    _Family(
        paper="Zagoruyko and Komodakis 2016, arXiv:1605.07146",
        classifier="fc",
        blocks=r"conv1|layer\d\.\d+",
        dims={"wide_resnet50_2": 2048, "wide_resnet101_2": 2048},
    ),
    _Family(
        paper="Huang et al. 2016, arXiv:1608.06993",
        classifier="classifier",
        blocks=r"features\.(?:conv0|denseblock\d|transition\d)",
        dims={"densenet121": 1024, "densenet161": 2208, "densenet169": 1664, "densenet201": 1920},
        rename=_rename_densenet,
    ),
    _Family(
        paper="Iandola et al. 2016, arXiv:1602.07360",
        classifier="classifier",
        blocks=r"features\.\d+",
        dims={"squeezenet1_0": 512, "squeezenet1_1": 512},
        pool=True,
    ),
    _Family(
        paper="Sandler et al. 2018, arXiv:1801.04381",
        classifier="classifier.1",
        blocks=r"features\.\d+",
        dims={"mobilenet_v2": 1280},
    ),
    _Family(
        paper="Howard et al. 2019, arXiv:1905.02244",
        classifier="classifier.3",
        blocks=r"features\.\d+|classifier\.\d+",
        dims={"mobilenet_v3_small": 1024, "mobilenet_v3_large": 1280},
    ),
    _Family(
        paper="Ma et al. 2018, arXiv:1807.11164",
        classifier="fc",
        blocks=r"conv\d|stage\d\.\d+",
        dims={
            "shufflenet_v2_x0_5": 1024,
            "shufflenet_v2_x1_0": 1024,
            "shufflenet_v2_x1_5": 1024,
            "shufflenet_v2_x2_0": 2048,
        },
    ),
    _Family(
        paper="Tan et al. 2018, arXiv:1807.11626",
        classifier="classifier.1",
        blocks=r"layers\.\d+(?:\.\d+)?",
        dims={"mnasnet0_5": 1280, "mnasnet0_75": 1280, "mnasnet1_0": 1280, "mnasnet1_3": 1280},
    ),
    _Family(
        paper="Tan and Le 2019, arXiv:1905.11946",
        classifier="classifier.1",
        blocks=r"features\.\d+\.\d+",
        dims={
            "efficientnet_b0": 1280,
            "efficientnet_b1": 1280,
            "efficientnet_b2": 1408,
            "efficientnet_b3": 1536,
            "efficientnet_b4": 1792,
            "efficientnet_b5": 2048,
            "efficientnet_b6": 2304,
            "efficientnet_b7": 2560,
        },
    ),
    _Family(
        paper="Tan and Le 2021, arXiv:2104.00298",
        classifier="classifier.1",
        blocks=r"features\.\d+\.\d+",
        dims={"efficientnet_v2_s": 1280, "efficientnet_v2_m": 1280, "efficientnet_v2_l": 1280},
    ),
    _Family(
        paper="Radosavovic et al. 2020, arXiv:2003.13678",
        classifier="fc",
        blocks=r"stem|trunk_output\.block\d\.block\d-\d+",
        dims={
            "regnet_x_400mf": 400,
            "regnet_x_800mf": 672,
            "regnet_x_1_6gf": 912,
            "regnet_x_3_2gf": 1008,
            "regnet_x_8gf": 1920,
            "regnet_x_16gf": 2048,
            "regnet_x_32gf": 2520,
            "regnet_y_400mf": 440,
            "regnet_y_800mf": 784,
            "regnet_y_1_6gf": 888,
            "regnet_y_3_2gf": 1512,
            "regnet_y_8gf": 2016,
            "regnet_y_16gf": 3024,
            "regnet_y_32gf": 3712,
            "regnet_y_128gf": 7392,
        },
    ),
    _Family(
        paper="Liu et al. 2022, arXiv:2201.03545",
        classifier="classifier.2",
        blocks=r"features\.[02468]|features\.\d\.\d+",
        dims={
            "convnext_tiny": 768,
            "convnext_small": 768,
            "convnext_base": 1024,
            "convnext_large": 1536,
        },
    ),
)


def list_specs() -> tuple[BackboneSpec, ...]:
    """List the backbones of torchvision."""
    return tuple(
        BackboneSpec(
            name=name,
            dim=dim,
            paper=family.paper,
            build=functools.partial(_build, name, family.options),
            list_weights=functools.partial(_list_weights, name),
            classifier=family.classifier,
            pool=family.pool,
            rename=family.rename,
            is_builtin=True,
            blocks=family.blocks,
        )
        for family in _FAMILIES
        for name, dim in family.dims.items()
    )


def _import_torchvision() -> Any:
    # The import takes seconds.
    with stage("loading torchvision", is_long="torchvision" not in sys.modules):
        import torchvision
    return torchvision


def _build(name: str, options: dict[str, Any]) -> nn.Module:
    network: nn.Module = _import_torchvision().models.get_model(name, weights=None, **options)
    return network


def _list_weights(name: str) -> tuple[WeightsEntry, ...]:
    weights = _import_torchvision().models.get_model_weights(name)
    # DEFAULT of torchvision is an alias: put the weights that it stands for last.
    ordered = sorted(weights, key=lambda member: member is weights.DEFAULT)
    return tuple(
        WeightsEntry(
            name=member.name,
            url=member.url,
            preprocess=ImageClassification.from_torchvision(member.transforms()),
            top1=member.meta["_metrics"]["ImageNet-1K"]["acc@1"],
            n_parameters=member.meta["num_params"],
            classes=tuple(member.meta["categories"] or ()),  # VGG-16's features have none
        )
        for member in ordered
    )
