"""BatchNorm while its network is fine-tuned: statistics stay, unless they are asked to learn."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from featx.core.errors import TuningError


def set_train(module: nn.Module, *, train_batchnorm: bool) -> None:
    """Let dropout drop; normalisations keep their statistics unless they are to learn."""
    module.train()
    if not train_batchnorm:
        for part in module.modules():
            if isinstance(part, _BatchNorm):
                part.eval()


def check_statistics(top: nn.Module, name: str) -> None:
    """Refuse to train normalisations that were folded into the convolutions before them.

    Raises
    ------
    TuningError
        If they have none, or all have the mean 0 and the variance 1.
    """
    found = [part for part in top.modules() if isinstance(part, _BatchNorm)]
    if not found:
        raise TuningError(
            f"{name}: expected BatchNorm in the blocks to train, got none. Leave it out."
        )
    if all(_is_identity(part) for part in found):
        raise TuningError(
            f"{name}: expected BatchNorm with statistics to go on learning, got ones of mean 0 and "
            "variance 1: they were folded into the convolutions. Leave BatchNorm as it is, or take "
            "weights that are not folded."
        )


def _is_identity(norm: _BatchNorm) -> bool:
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        return True
    return bool(mean.abs().max() < 1e-6 and (var - 1).abs().max() < 1e-3)
