"""Feature denoising (Xie et al., CVPR 2019), which RobNet's Table 4 adds to its networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robnet_zoo.models.layers import conv


class Denoise(nn.Module):
    """A non-local mean of the feature map, a 1x1 convolution and a residual connection.

    Every position becomes the mean of all positions, weighted by the softmax of their embedded
    similarity. The last batch norm starts at zero, so that a new block is the identity.
    Memory grows with the square of the number of positions.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, channels // 2, 1)
        self.phi = nn.Conv2d(channels, channels // 2, 1)
        self.conv: nn.Module = conv(channels, channels, 1)
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        self.bn: nn.Module = norm

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        query, key = self.theta(x).flatten(2), self.phi(x).flatten(2)
        similarity = torch.einsum("ncp,ncq->npq", query, key) / query.shape[1] ** 0.5
        mean = torch.einsum("npq,ncq->ncp", similarity.softmax(dim=-1), x.flatten(2))
        return x + self.bn(self.conv(mean.view_as(x)))
