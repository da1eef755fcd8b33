"""BatchNorm in fine-tuning: statistics are kept unless the caller asks to update them."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from featx.core.errors import TuningError


def set_train(module: nn.Module, *, train_batchnorm: bool) -> None:
    """Set a module to training mode.

    Parameters
    ----------
    module : nn.Module
        Module to set. Its dropout layers become active.
    train_batchnorm : bool
        True to update the statistics of BatchNorm layers; False to keep them.
    """
    module.train()
    if not train_batchnorm:
        for part in module.modules():
            if isinstance(part, _BatchNorm):
                part.eval()


def check_statistics(top: nn.Module, name: str) -> None:
    """Refuse to train BatchNorm layers that were folded into the convolutions before them.

    Parameters
    ----------
    top : nn.Module
        Unfrozen blocks.
    name : str
        Name of the backbone, for the error.

    Raises
    ------
    TuningError
        If there are no BatchNorm layers, or if all of them have mean 0 and variance 1.
    """
    norms = [part for part in top.modules() if isinstance(part, _BatchNorm)]
    if not norms:
        raise TuningError(
            subject="train_batchnorm",
            expected=f"BatchNorm in the top blocks of {name}",
            got="none",
            remedy="Leave train_batchnorm out.",
        )
    if all(_is_identity(part) for part in norms):
        raise TuningError(
            subject="train_batchnorm",
            expected=f"BatchNorm in the top blocks of {name} with statistics to update",
            got="mean 0 and variance 1 everywhere, because the statistics of these weights were "
            "folded into the convolutions",
            remedy="Leave train_batchnorm out, or use weights that are not folded.",
        )


def _is_identity(norm: _BatchNorm) -> bool:
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        return True
    return bool(mean.abs().max() < 1e-6 and (var - 1).abs().max() < 1e-3)
