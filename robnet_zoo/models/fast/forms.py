"""Which form the separable convolutions of a folded network take, by device and size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from robnet_zoo.models.cells import CellBlock
from robnet_zoo.models.operations import fusible

Form = Literal["separable", "dense", "fused"]
Dense = Callable[[Sequence[nn.Module]], bool]  # of a row of linear layers
# A dense convolution's arithmetic grows with the square of channels times map side times kernel
# side. Up to this product dense ones are faster on a CPU, where fewer calls then count for more.
SMALL = 320


def suited_form(form: Form | None, weight: Tensor, dtype: torch.dtype | None) -> Form | None:
    """Return the form of a whole network; None for what suits each of its maps.

    Args:
        form: as wished; None for what suits the device.
        weight: one of the network's.
        dtype: that the weights are to be held in; None for their own.
    """
    if form is not None or not weight.is_cuda:
        return form
    half = (dtype or weight.dtype) == torch.bfloat16 or torch.is_autocast_enabled("cuda")
    return "dense" if half or torch.backends.cudnn.allow_tf32 else "separable"


def denseness(cell: CellBlock, form: Form | None, side: int | None) -> Dense:
    """Return which of a cell's stages are computed densely.

    Args:
        cell: the cell.
        form: of all of them; None for what suits the map.
        side: of the cell's output, in pixels; None for a large one.
    """
    if form == "fused":
        return lambda stage: not _fusible(stage)
    if form is not None or side is None:
        return lambda stage: form == "dense"
    weight = next(cell.preprocess1.parameters())  # of a convolution to the cell's width

    def dense(stage: Sequence[nn.Module]) -> bool:
        kernel = max(stage[0].kernel_size) if isinstance(stage[0], nn.Conv2d) else 1
        return len(weight) * side * kernel <= SMALL

    return dense


def _fusible(stage: Sequence[nn.Module]) -> bool:
    first = stage[0]
    return (
        isinstance(first, nn.Conv2d)
        and first.groups == first.in_channels > 1
        and fusible(first)
        and len(stage) > 1
    )
