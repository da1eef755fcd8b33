"""Networks and transforms of the user."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.backbones.registry import add_spec
from featx.backbones.spec import BackboneSpec
from featx.core.errors import BackboneError
from featx.core.fingerprint import Identity
from featx.core.torch_state import DEFAULT_FLOAT32, plain_torch_thread
from featx.core.typing import Float32Array

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class CustomTransform:
    """Preprocessing by a transform of the user.

    Attributes
    ----------
    transform : callable
        Function from an upright RGB Pillow image to a float tensor ``(3, height, width)``.
    """

    transform: Callable[[Any], Any]

    @property
    def min_side(self) -> None:
        """None, because a transform that featx does not know gets images at full size."""

    def prepare(self, image: Any, *, exact: bool = True) -> Float32Array:  # noqa: ARG002
        """Apply the transform to one image.

        Parameters
        ----------
        image : PIL.Image.Image
            Upright image of mode RGB.
        exact : bool
            Has no effect: the transform is always applied as it is.

        Returns
        -------
        ndarray of float32
            The output of the transform, ``(3, height, width)``.
        """
        with DEFAULT_FLOAT32:  # ToTensor, for example, divides in the default dtype
            return np.asarray(self.transform(image), dtype=np.float32)

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the batch unchanged: the transform has normalised it."""
        return batch

    def build_example(self) -> Float32Array:
        """Apply the transform to a black image of 64 × 64 pixels.

        Raises
        ------
        BackboneError
            If the output is not a tensor of shape ``(3, height, width)``.
        """
        import torch
        from torchvision.transforms.functional import to_pil_image

        with plain_torch_thread():
            black = to_pil_image(torch.zeros(3, 64, 64, dtype=torch.uint8))
            array = self.prepare(black)
        if array.ndim != 3 or array.shape[0] != 3:
            raise BackboneError(
                subject="transform",
                expected="an output of shape (3, height, width)",
                got=str(array.shape),
                remedy="End the transform with ToTensor and Normalize of torchvision.",
            )
        return array

    def identify(self) -> Identity:
        """Name the transform for the fingerprint.

        Returns
        -------
        mapping
            The kind ``"custom/1"``, and the full name of a function or else the repr.

        Raises
        ------
        BackboneError
            If the name does not say what the transform does, as for a lambda.
        """
        text = " ".join(repr(self.transform).split())
        if isinstance(self.transform, types.FunctionType):
            text = f"{self.transform.__module__}.{self.transform.__qualname__}"
        if any(word in text for word in (" at 0x", "<lambda>", "<locals>", "Lambda()")):
            raise BackboneError(
                subject="transform",
                expected="a repr that names what it does",
                got=text,
                remedy="Use transforms of torchvision, a function of a module, or a class with a "
                "__repr__.",
            )
        return {"kind": "custom/1", "transform": text}


def register_backbone(
    name: str,
    network: nn.Module | Callable[[], nn.Module],
    *,
    transform: Callable[[Any], Any],
    classifier: str = "",
    paper: str = "",
) -> None:
    """Register your own network under a name, for this process.

    Parameters
    ----------
    name : str
        New name: letters, digits and ``. _ + -``.
    network : nn.Module or callable
        The network with its weights, or a function that builds it. Its output is the embedding:
        ``(n, dim)``, or ``(n, channels, height, width)``, which is averaged over the image. Name
        the parts of a mapping, a dataclass or a tuple as layers.
    transform : callable
        Function from an upright RGB Pillow image to a float tensor ``(3, height, width)``. Its repr
        (or the full name of a function) goes into the fingerprint and must say what it does.
    classifier : str
        Path of a module to remove first, such as ``"fc"``. Default: remove none.
    paper : str
        Publication of the network.

    Raises
    ------
    BackboneError
        If the name is taken, the repr of the transform does not say what it does, or `network` is
        neither a network nor callable.

    See Also
    --------
    load_backbone : Load a registered backbone.
    list_backbones : List all names.

    Examples
    --------
    >>> import featx
    >>> from torch import nn
    >>> from torchvision import transforms
    >>> featx.register_backbone(
    ...     "example-mean", nn.AdaptiveAvgPool2d(1), transform=transforms.ToTensor()
    ... )
    >>> dict(featx.load_backbone("example-mean").dims)
    {'penultimate': 3}
    """
    from torch import nn

    preprocess = CustomTransform(transform)
    preprocess.identify()
    if not isinstance(network, nn.Module) and not callable(network):
        raise BackboneError(
            subject=f"backbone {name!r}",
            expected="an nn.Module or a function that builds one",
            got=type(network).__name__,
            remedy="Pass the network itself.",
        )

    def build() -> nn.Module:
        return copy.deepcopy(network) if isinstance(network, nn.Module) else network()

    add_spec(
        BackboneSpec(
            name=name,
            dim=None,
            paper=paper,
            build=build,
            classifier=classifier,
            preprocess=preprocess,
            has_own_weights=True,
        )
    )
