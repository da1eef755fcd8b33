"""Feature maps, and the averages of them that an embedding consists of: records without torch."""

from __future__ import annotations

from dataclasses import dataclass

from featx.core.typing import Float64Array


@dataclass(frozen=True, kw_only=True)
class FeaturePart:
    """Columns of an embedding that are averages of one feature map.

    Attributes
    ----------
    source : int
        Number of the feature map among those of the network.
    n_channels : int
        Number of channels of the feature map.
    n_bins : tuple of int
        Numbers of rows and columns of averages that each channel has: ``(1, 1)`` for the average
        over the whole image. The columns of the embedding are those of channel 0, then of channel
        1, and so on.
    """

    source: int
    n_channels: int
    n_bins: tuple[int, int]

    @property
    def n_columns(self) -> int:
        """Number of columns of the embedding."""
        return self.n_channels * self.n_bins[0] * self.n_bins[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerNorm:
    """A normalisation of each embedding by its own mean and deviation, as ConvNeXt ends in.

    Attributes
    ----------
    weight, bias : ndarray of float64
        ``(dim,)``, what the normalised values are multiplied by, and what is added.
    eps : float
        Number that is added to the variance.
    """

    weight: Float64Array
    bias: Float64Array
    eps: float
