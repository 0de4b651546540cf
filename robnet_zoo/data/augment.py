"""Random crop, flip and cutout of a whole batch at once, on the device that holds it."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

CROPPED_SIDE = 16  # of smaller images a crop takes too much: of 8x8 digits it cost 20 points


class Sizes(Protocol):
    """What `augment` asks of a recipe: sizes as parts of the image's side."""

    @property
    def crop(self) -> float:
        """Padding of the random crop."""

    @property
    def cutout(self) -> float:
        """Side of the blanked square; 0 for none."""


def augment(
    images: Tensor,
    recipe: Sizes,
    generator: torch.Generator,
    *,
    flip: bool,
    rows: slice = slice(None),
    total: int | None = None,
) -> Tensor:
    """Return the batch, randomly shifted, mirrored and with a square blanked, per image.

    Args:
        images: pixels of any type (N, C, H, W); what moves in from outside is 0.
        recipe: holds the sizes, as parts of the image's side.
        generator: source of the draws, on the images' device.
        flip: mirror half of the images; `Dataset.flip` tells whether their classes allow it.
        rows: the place of these images in the batch over all processes.
        total: size of that batch: every process draws for all of it and takes its own rows, so
            that an image's fate does not depend on the number of processes.
    """
    _, _, height, width = images.shape
    device = images.device
    padding = round(recipe.crop * height) if height >= CROPPED_SIDE else 0
    hole = round(recipe.cutout * height)
    count = len(images) if total is None else total
    unit = torch.rand(count, 5, generator=generator, device=device)[rows]
    top, left = (unit[:, :2] * (2 * padding + 1)).long().unbind(1)
    y = torch.arange(height, device=device) + top[:, None]
    x = torch.arange(width, device=device).expand(len(images), -1)
    if flip:
        x = torch.where(unit[:, 2:3] < 0.5, x.flip(1), x)
    x = x + left[:, None]
    moved = F.pad(images, (padding,) * 4)
    image = torch.arange(len(images), device=device)[:, None, None]
    moved = moved.movedim(1, 3)[image, y[:, :, None], x[:, None, :]].movedim(3, 1)
    if hole:
        # as in the reference code: the centre is any pixel, the square is cut at the border
        hole_y = _within(height, (unit[:, 3:4] * height).long(), hole)
        hole_x = _within(width, (unit[:, 4:5] * width).long(), hole)
        moved = moved.masked_fill((hole_y[:, :, None] & hole_x[:, None, :])[:, None], 0)
    return moved.contiguous()


def _within(side: int, centre: Tensor, hole: int) -> Tensor:
    """Return which positions (N, side) lie in [centre - hole // 2, centre + hole // 2)."""
    place = torch.arange(side, device=centre.device)
    return (place >= centre - hole // 2) & (place < centre + hole // 2)
