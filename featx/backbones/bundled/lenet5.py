"""LeNet-5, the convolutional network of LeCun, Bottou, Bengio and Haffner (1998)."""

from __future__ import annotations

from torch import Tensor, nn


class LeNet5(nn.Module):
    """LeNet-5 for colour images of 32 x 32 pixels.

    The layers have the names of the paper: C1 (6 maps, 5 x 5), S2, C3 (16 maps, 5 x 5), S4,
    C5 (120 units), F6 (84 units) and the output. The 84 activations of F6 are the embedding.

    Parameters
    ----------
    num_classes : int, default 10
        Number of outputs of the classifier.

    Attributes
    ----------
    fc : nn.Linear
        The classifier. Replaced by ``nn.Identity()``, the network returns the embedding.

    Notes
    -----
    Deviations from the paper:

    - The input is RGB, normalised by the ImageNet mean and standard deviation, instead of one
      grey channel.
    - C3 sees all maps of S2 instead of the subsets of the paper's Table I.
    - S2 and S4 average without trainable coefficient, bias and squashing.
    - The squashing function is the plain hyperbolic tangent instead of ``1.7159 tanh(2/3 a)``.
    - The output is a linear layer trained by softmax cross-entropy instead of Euclidean radial
      basis functions with fixed target codes.
    - The initial weights are those of PyTorch, and the training is stochastic gradient descent
      with momentum instead of the stochastic diagonal Levenberg-Marquardt method.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998). Gradient-Based Learning Applied to Document
    Recognition. Proceedings of the IEEE 86 (11), 2278-2324.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(3, 6, 5)
        self.s2 = nn.AvgPool2d(2)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.s4 = nn.AvgPool2d(2)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.fc = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images.

        Parameters
        ----------
        x : Tensor
            Normalised images of shape ``(n, 3, 32, 32)``.

        Returns
        -------
        Tensor
            Logits of shape ``(n, num_classes)``.
        """
        x = self.s2(self.c1(x).tanh())
        x = self.s4(self.c3(x).tanh())
        x = self.c5(x).tanh().flatten(1)
        x = self.f6(x).tanh()
        return self.fc(x)  # type: ignore[no-any-return]
