"""ZFNet, the convolutional network of Zeiler and Fergus (2013)."""

from __future__ import annotations

from torch import Tensor, nn


class ZFNet(nn.Module):
    """ZFNet for images of 224 x 224 pixels.

    AlexNet with a finer first layer: 96 filters of 7 x 7 with stride 2 and 256 filters of 5 x 5
    with stride 2, each followed by pooling; 384, 384 and 256 filters of 3 x 3; pooling; two hidden
    layers of 4096 units. The activations of the second one are the embedding.

    Parameters
    ----------
    num_classes : int, default 1000
        Number of outputs of the classifier.
    dropout : float, default 0.5
        Probability of dropping an input of either hidden layer in training.

    Attributes
    ----------
    classifier : nn.Sequential
        The fully connected layers; the last one is the classifier proper. Replaced by
        ``nn.Identity()``, the network returns the embedding.

    Notes
    -----
    Deviations from the paper:

    - The contrast normalisation across feature maps after the first two poolings, which the paper
      does not specify further, is the local response normalisation of Krizhevsky, Sutskever and
      Hinton (2012).
    - The input is normalised by the ImageNet mean and standard deviation instead of the mean image.
    - The renormalisation of first-layer filters during training is left to the training loop.
    - An adaptive average pooling to 6 x 6, the identity at 224 x 224, admits other input sizes.
    - The initial weights are those of PyTorch instead of 0.01 with zero biases.

    References
    ----------
    M. D. Zeiler, R. Fergus (2013). Visualizing and Understanding Convolutional Networks.
    arXiv:1311.2901.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
            nn.Conv2d(96, 256, 5, stride=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
            nn.Conv2d(256, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images.

        Parameters
        ----------
        x : Tensor
            Normalised images of shape ``(n, 3, height, width)``, 224 x 224 by design.

        Returns
        -------
        Tensor
            Logits of shape ``(n, num_classes)``.
        """
        x = self.avgpool(self.features(x))
        return self.classifier(x.flatten(1))  # type: ignore[no-any-return]
