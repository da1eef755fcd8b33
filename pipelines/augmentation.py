"""Change small images at random, a whole batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges and shares of the random changes of an image before training.

    Attributes
    ----------
    margin : int
        Number of pixels by which a crop may reach beyond the image; the image continues as its
        reflection there.
    min_scale, max_scale : float
        Range of the side of a crop, relative to the image.
    max_turn : float
        Largest rotation to either side, in degrees.
    colour : float
        Largest relative change of brightness, contrast and saturation.
    gray : float
        Share of images that lose their colours.
    invert : float
        Share of images that become their negative.
    coarse : float
        Share of images that are reduced to a half or a quarter of their pixels per side.
    """

    margin: int = 4
    min_scale: float = 1.0
    max_scale: float = 1.0
    max_turn: float = 0.0
    colour: float = 0.0
    gray: float = 0.0
    invert: float = 0.0
    coarse: float = 0.0


def to_gray(pixels: Tensor) -> Tensor:
    """Convert a batch to gray: float32 ``(n, 1, height, width)``."""
    # Rec. 601 luma, which Pillow uses as well.
    luma = torch.tensor((0.299, 0.587, 0.114), device=pixels.device).view(1, 3, 1, 1)
    return (pixels.float() * luma).sum(1, keepdim=True)


def change_colours(pixels: Tensor, plan: Augmentation, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and sharpness at random, within [0, 255]."""
    count, _, height, width = pixels.shape
    chance = torch.rand(7, count, 1, 1, 1, generator=generator).to(pixels.device)
    brightness, contrast, saturation = 1 + plan.colour * (2 * chance[:3] - 1)
    gray = to_gray(pixels)
    pixels = gray + (saturation * (chance[3] >= plan.gray)) * (pixels - gray)
    mean = gray.mean((2, 3), keepdim=True)
    pixels = ((pixels - mean) * contrast + mean) * brightness
    pixels = torch.where(chance[4] < plan.invert, 255 - pixels, pixels).clamp(0, 255)
    if plan.coarse:
        for part, factor in ((chance[5] < plan.coarse, 2), (chance[6] < plan.coarse / 2, 4)):
            small = functional.avg_pool2d(pixels, factor)
            again = functional.interpolate(
                small, (height, width), mode="bilinear", align_corners=False
            )
            pixels = torch.where(part, again, pixels)
    return pixels


def crop(pixels: Tensor, size: int, plan: Augmentation, generator: torch.Generator) -> Tensor:
    """Crop and turn images at random, flip half of them and resize all, in one interpolation."""
    count, _, side, _ = pixels.shape
    chance = torch.rand(5, count, generator=generator)
    scale = plan.min_scale + (plan.max_scale - plan.min_scale) * chance[0]
    slack = side * (1 - scale) + 2 * plan.margin + 1
    corner = (chance[1:3] * slack.clamp(min=1)).floor() - plan.margin
    centre = 2 * corner / side + scale - 1
    flip = torch.where(chance[3] < 0.5, -1.0, 1.0)
    turn = torch.deg2rad(plan.max_turn * (2 * chance[4] - 1))
    # grid_sample measures in half images from the centre.
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = scale * flip * turn.cos()
    theta[:, 0, 1] = -scale * turn.sin()
    theta[:, 1, 0] = scale * flip * turn.sin()
    theta[:, 1, 1] = scale * turn.cos()
    theta[:, :, 2] = centre.T
    grid = functional.affine_grid(theta, [count, 3, size, size], align_corners=False)
    return functional.grid_sample(
        pixels, grid.to(pixels.device), padding_mode="reflection", align_corners=False
    )


def augment(pixels: Tensor, size: int, plan: Augmentation, generator: torch.Generator) -> Tensor:
    """Change a batch of images at random.

    Parameters
    ----------
    pixels : Tensor
        Images uint8 ``(n, 3, side, side)``.
    size : int
        Pixels per side of the result.
    plan : Augmentation
        Ranges and shares of the changes.
    generator : torch.Generator
        Source of the random numbers.

    Returns
    -------
    Tensor
        float32 ``(n, 3, size, size)`` with values in [0, 255].
    """
    return crop(change_colours(pixels.float(), plan, generator), size, plan, generator)
