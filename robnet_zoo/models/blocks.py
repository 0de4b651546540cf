"""The blocks of the human-designed networks, with torchvision's layer names where it has them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robnet_zoo.models.layers import conv


class BasicBlock(nn.Module):
    """Residual block of ResNet-18: two 3x3 convolutions (He 2016).

    Args:
        inputs, width: channels that come in, and of the convolutions.
        stride: of the first convolution.
        downsample: maps the input onto the output's shape; None where they agree.
    """

    expansion: ClassVar[int] = 1  # output channels / width

    def __init__(
        self, inputs: int, width: int, stride: int, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) -> (N, width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + shortcut)


class Bottleneck(nn.Module):
    """Residual block of ResNet-50: 1x1, 3x3 and 1x1 convolutions, the stride in the 3x3 one.

    Args:
        inputs, width: channels that come in, and of the first two convolutions.
        stride: of the 3x3 convolution.
        downsample: maps the input onto the output's shape; None where they agree.
    """

    expansion: ClassVar[int] = 4  # output channels / width

    def __init__(
        self, inputs: int, width: int, stride: int, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, self.expansion * width, 1)
        self.bn3 = nn.BatchNorm2d(self.expansion * width)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) -> (N, 4 * width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + shortcut)


class WideBlock(nn.Module):
    """Pre-activation residual block of WideResNet (Zagoruyko and Komodakis 2016).

    Args:
        inputs, outputs: channels that come in and go out.
        stride: of the first convolution and the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, outputs, 3, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3)
        self.shortcut = conv(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        active = F.relu(self.bn1(x))
        residual = x if self.shortcut is None else self.shortcut(active)
        return residual + self.conv2(F.relu(self.bn2(self.conv1(active))))


class DenseLayer(nn.Module):
    """Layer of DenseNet-BC, which adds `growth` maps to those before it (Huang et al. 2017)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, 4 * growth, 1)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = conv(4 * growth, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) -> (N, inputs + growth, H, W), its input first."""
        out = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        return torch.cat([x, out], 1)
