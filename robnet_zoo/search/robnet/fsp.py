"""How far an attack moves the flow through each cell: the FSP distance (section 3.5, Eqs. 3, 4).

What the paper leaves open is settled so. F_in is the output of the cell before, or the stem's for
the first cell: the distances then follow the main path, each cell's F_out being the next one's
F_in; the second input, from the cell before that, is not used. Where a cell halves the maps, the
larger ones are averaged over the windows that make up each place of the smaller ones. The squared
norm of Eq. 4 sums the squares of all entries of the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fsp_matrix(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return each image's FSP matrix (N, C_in, C_out), Eq. 3.

    Args:
        inputs: the maps that enter a cell (N, C_in, H, W).
        outputs: the maps that leave it (N, C_out, H', W').
    """
    height, width = map(min, inputs.shape[2:], outputs.shape[2:])
    flat_in, flat_out = (
        F.adaptive_avg_pool2d(maps.float(), (height, width)).flatten(2)
        for maps in (inputs, outputs)
    )
    return flat_in @ flat_out.transpose(1, 2) / flat_in.shape[2]


@torch.no_grad()
def fsp_distances(
    cells: Iterable[nn.Module],
    forward: Callable[[Tensor], object],
    clean: Tensor,
    adversarial: Tensor,
) -> Tensor:
    """Return each cell's FSP distance between images and their attacked versions (cells, N).

    The mean over the images is Eq. 4. Clean and attacked images go through the network together,
    so the cells must not mix images: put batch norm in eval mode.

    Args:
        cells: the `cells` of a zoo network or of a supernet, called as cell(older, newer, ...).
        forward: runs the network, such as the network itself, or
            `lambda x: supernet(x, weights)` for one architecture of a supernet.
        clean: images (N, C, H, W) with pixels in [0,1].
        adversarial: the same images, attacked.
    """
    distances: list[Tensor] = []

    def measure(cell: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = fsp_matrix(inputs[1], output).chunk(2)
        distances.append((before - after).square().sum((1, 2)))

    hooks = [cell.register_forward_hook(measure) for cell in cells]
    try:
        forward(torch.cat([clean, adversarial]))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(distances)
