"""The logits of a network: its classifier is kept, and loaded with the rest of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from featx.backbones.spec import LOGITS, PENULTIMATE, BackboneSpec
from featx.core.errors import BackboneError, WeightsError


def keeps_classifier(spec: BackboneSpec, layers: Sequence[str]) -> bool:
    """Return whether the classifier of a network is needed, because the logits are to be read.

    Parameters
    ----------
    spec : BackboneSpec
        The backbone. If it names no classifier, ``logits`` is a name like any other.
    layers : sequence of str
        Names of the layers to read.

    Raises
    ------
    BackboneError
        If other layers are to be read beside the logits. The digest of the weights covers the
        classifier for the logits, and for no other layer.
    """
    if not spec.classifier or LOGITS not in layers:
        return False
    if len(layers) > 1:
        raise BackboneError(
            subject="layers",
            expected=f"{LOGITS!r} alone, since it needs the network with its classifier",
            got=", ".join(layers),
            remedy=f"Read {LOGITS!r} in a call of its own.",
        )
    return True


def fit_classifier(
    network: nn.Module, state: Mapping[str, torch.Tensor], spec: BackboneSpec, *, subject: str
) -> None:
    """Give the classifier of a network as many outputs as it has in a file of weights.

    Parameters
    ----------
    network : nn.Module
        The network with its classifier, which is changed in place.
    state : mapping of str to Tensor
        Tensors of the file by name.
    spec : BackboneSpec
        The backbone.
    subject : str
        Path of the file, for the error.

    Raises
    ------
    WeightsError
        If the file has no classifier.
    """
    for path, module in network.get_submodule(spec.classifier).named_modules():
        for key, parameter in [*module.named_parameters(recurse=False)]:
            name = ".".join(filter(None, (spec.classifier, path, key)))
            if name not in state:
                raise WeightsError(
                    subject=subject,
                    expected=f"weights of {spec.name} with their classifier ({name})",
                    got="a file without it",
                    remedy="Pass weights that have it, such as weights='DEFAULT'. Or read "
                    f"layers=[{PENULTIMATE!r}], and fit a head on it.",
                )
            shape = state[name].shape
            if shape != parameter.shape and shape[1:] == parameter.shape[1:]:
                setattr(module, key, nn.Parameter(parameter.new_empty(shape)))
                # Layers compute with the shape of the tensors alone; their repr shows the number.
                side = "out_channels" if isinstance(module, nn.Conv2d) else "out_features"
                setattr(module, side, shape[0])
