"""What fine-tuning gained where it was measured: the table behind the advice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

PARTS: tuple[Literal["top", "more"], ...] = ("top", "more")
"""Parts of a network whose gains are measured."""

NEAR = 1.5
"""Factor between two numbers of rows that are about the same."""


@dataclass(frozen=True)
class Spread:
    """A mean, with the smallest and the largest value that it is a mean of.

    Attributes
    ----------
    mean, low, high : float
        Mean, smallest and largest value.
    """

    mean: float
    low: float
    high: float

    def scale(self, factor: Spread) -> Spread:
        """Multiply by a factor that is not negative and has a range of its own.

        Parameters
        ----------
        factor : Spread
            The factor.
        """
        ends = [end * other for end in (self.low, self.high) for other in (factor.low, factor.high)]
        return Spread(self.mean * factor.mean, min(ends), max(ends))

    @staticmethod
    def join(shares: Sequence[Spread]) -> Spread:
        """Join several spreads: the mean of their means, from the lowest end to the highest.

        Parameters
        ----------
        shares : sequence of Spread
            The spreads, at least one.
        """
        mean = sum(share.mean for share in shares) / len(shares)
        return Spread(mean, min(x.low for x in shares), max(x.high for x in shares))


@dataclass(frozen=True, kw_only=True)
class MeasuredGain:
    """The gain of fine-tuning at one number of rows per class.

    Attributes
    ----------
    rows_per_class : float
        Number of training rows per class.
    top, more : Spread
        Share of the errors of the frozen head that the top block, and half of the blocks,
        remove, with its range over the seeds; of one seed, with its 95 % interval.
    n_seeds : int
        Number of seeds; each draws other images, another holdout and another order.
    """

    rows_per_class: float
    top: Spread
    more: Spread
    n_seeds: int


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The gains of fine-tuning on one data set.

    `benchmarks/tuning_recipes.py` measures them.

    Attributes
    ----------
    backbone : str
        Name of the backbone, with ImageNet weights.
    data : str
        Name of the data set.
    size : int
        Pixels per side of an image as the network sees it.
    gains : tuple of MeasuredGain
        Gains by rows per class, ascending.
    """

    backbone: str
    data: str
    size: int
    gains: tuple[MeasuredGain, ...]

    def interpolate(self, per_class: float) -> tuple[Spread, Spread]:
        """Interpolate the gains over the logarithm of the number of rows per class.

        Parameters
        ----------
        per_class : float
            Number of rows per class. Outside the measured range, the nearest measured number is
            used.

        Returns
        -------
        top, more : Spread
            Share of the errors that the top block, and half of the blocks, remove.
        """
        logs = [math.log(gain.rows_per_class) for gain in self.gains]
        at = math.log(max(per_class, 1))

        def read(part: Literal["top", "more"], end: str) -> float:
            return float(np.interp(at, logs, [getattr(getattr(x, part), end) for x in self.gains]))

        top, more = (
            Spread(*(read(part, end) for end in ("mean", "low", "high"))) for part in PARTS
        )
        return top, more

    def measure_distance(self, per_class: float) -> float:
        """Return by how much a number of rows lies outside the measured range, as a logarithm.

        Parameters
        ----------
        per_class : float
            Number of rows per class.
        """
        at = math.log(max(per_class, 1))
        first, last = (math.log(self.gains[end].rows_per_class) for end in (0, -1))
        return max(first - at, at - last, 0.0)

    def describe(self, per_class: float) -> str:
        """Describe what was measured next to a number of rows per class, in one sentence.

        Parameters
        ----------
        per_class : float
            Number of rows per class.
        """
        below = [gain for gain in self.gains if gain.rows_per_class <= per_class]
        above = [gain for gain in self.gains if gain.rows_per_class >= per_class]
        nearest = [*below[-1:], *above[:1]]
        if len(nearest) == 2 and nearest[0] == nearest[1]:
            nearest = nearest[:1]
        texts = [
            " and ".join(
                f"{_describe_share(getattr(gain, part), gain.n_seeds)} at "
                f"{gain.rows_per_class:g} rows per class"
                for gain in nearest
            )
            for part in PARTS
        ]
        between = "between " if len(nearest) == 2 else ""
        return (
            f"{self.backbone} on {self.data} at {self.size} pixels: one "
            f"block removed {between}{texts[0]}; half of the blocks, {between}{texts[1]}."
        )


def _describe_share(share: Spread, n_seeds: int) -> str:
    mean, low, high = (round(100 * value) for value in (share.mean, share.low, share.high))
    return f"{mean} % ({low} to {high} %, {n_seeds} seed{'s' if n_seeds > 1 else ''})"


MEASURED: tuple[Measurement, ...] = (
    Measurement(
        backbone="mobilenet_v2",
        data="CIFAR-10",
        size=96,
        gains=(
            MeasuredGain(
                rows_per_class=25,
                top=Spread(0.000, 0.000, 0.000),
                more=Spread(0.075, 0.000, 0.133),
                n_seeds=3,
            ),
            MeasuredGain(
                rows_per_class=200,
                top=Spread(0.000, 0.000, 0.000),
                more=Spread(0.316, 0.314, 0.318),
                n_seeds=3,
            ),
            MeasuredGain(
                rows_per_class=500,
                top=Spread(-0.022, -0.041, -0.003),
                more=Spread(0.376, 0.347, 0.406),
                n_seeds=1,
            ),
            MeasuredGain(
                rows_per_class=2000,
                top=Spread(0.036, 0.015, 0.058),
                more=Spread(0.457, 0.420, 0.490),
                n_seeds=1,
            ),
        ),
    ),
    Measurement(
        backbone="mobilenet_v2",
        data="digits",
        size=96,
        gains=(
            MeasuredGain(
                rows_per_class=25,
                top=Spread(0.000, 0.000, 0.000),
                more=Spread(0.843, 0.802, 0.896),
                n_seeds=3,
            ),
        ),
    ),
    Measurement(
        backbone="mobilenet_v2",
        data="ants and bees",
        size=224,
        gains=(
            MeasuredGain(
                rows_per_class=98,
                top=Spread(0.000, 0.000, 0.000),
                more=Spread(0.000, 0.000, 0.000),
                n_seeds=1,
            ),
        ),
    ),
    Measurement(
        backbone="mobilenet_v2",
        data="dogs and cats (ten to one)",
        size=96,
        gains=(
            MeasuredGain(
                rows_per_class=330,
                top=Spread(-0.002, -0.005, 0.000),
                more=Spread(0.030, -0.012, 0.101),
                n_seeds=3,
            ),
        ),
    ),
)
"""The measurements behind the advice. Those over three seeds are by `benchmarks/tuning_recipes.py`;
those of one seed on CIFAR-10 by an earlier run of `pipelines/fine_tune_cifar.py`."""


def find_measurements(
    per_class: float, measured: Sequence[Measurement] = MEASURED
) -> tuple[Measurement, ...]:
    """Find the measurements at about a number of rows per class.

    Parameters
    ----------
    per_class : float
        Number of rows per class.
    measured : sequence of Measurement
        Measured gains of fine-tuning, at least one.

    Returns
    -------
    tuple of Measurement
        All measurements whose range holds the number or lies within a factor of `NEAR`; else those
        whose range ends nearest to it.
    """
    distances = [one.measure_distance(per_class) for one in measured]
    largest = max(math.log(NEAR), min(distances))
    return tuple(
        one for one, distance in zip(measured, distances, strict=True) if distance <= largest
    )
