"""The compact residual network behind the bundled backbone ``mini``."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvNormAct(nn.Sequential):
    """A 3 x 3 convolution, batch normalisation and ReLU.

    Parameters
    ----------
    in_channels : int
        Number of input channels.
    out_channels : int
        Number of output channels.
    stride : int, default 1
        Stride of the convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two convolution blocks bridged by an identity shortcut.

    Parameters
    ----------
    channels : int
        Number of input and of output channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNormAct(channels, channels), ConvNormAct(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Add the transformed feature map to the feature map itself.

        Parameters
        ----------
        x : Tensor
            Feature map of shape ``(n, channels, height, width)``.

        Returns
        -------
        Tensor
            Feature map of the same shape.
        """
        return x + self.body(x)  # type: ignore[no-any-return]


class Mini(nn.Module):
    """A residual network of ten convolutions with a 768-dimensional embedding.

    Four resolutions halve from the stem on (1/2, 1/4, 1/8, 1/16 of the input) while the channels
    double (32, 64, 128, 256); the last three carry one residual block each. The embedding joins
    two averages: the third resolution over each quarter of the image (2 x 2 x 128), which keeps
    shape and position, and the last resolution over the whole image (256), which is nearer to the
    classes that the network was trained on. Inputs of at least 32 x 32 pixels are accepted; the
    bundled weights were trained at 64 x 64.

    Parameters
    ----------
    num_classes : int, default 10
        Number of outputs of the classifier.

    Attributes
    ----------
    fc : nn.Linear
        The classifier. Replaced by ``nn.Identity()``, the network returns the embedding.
    n_quarters : int
        Length of the first part of the embedding, that of the quarters.

    Notes
    -----
    The input is RGB in [0, 1], normalised by the ImageNet mean and standard deviation.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvNormAct(3, 32, stride=2),
            ConvNormAct(32, 64, stride=2),
            Residual(64),
            ConvNormAct(64, 128),
            nn.MaxPool2d(2),
            Residual(128),
        )
        self.top = nn.Sequential(ConvNormAct(128, 256), nn.MaxPool2d(2), Residual(256))
        self.quarters = nn.AdaptiveAvgPool2d(2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.n_quarters = 4 * 128
        self.fc = nn.Linear(self.n_quarters + 256, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images.

        Parameters
        ----------
        x : Tensor
            Normalised images of shape ``(n, 3, height, width)``, both sides at least 32.

        Returns
        -------
        Tensor
            Logits of shape ``(n, num_classes)``.
        """
        x = self.features(x)
        quarters = self.quarters(x).flatten(1)  # (n, 512)
        whole = self.pool(self.top(x)).flatten(1)  # (n, 256)
        return self.fc(torch.cat([quarters, whole], dim=1))  # type: ignore[no-any-return]
