"""The layers of a folded form: convolutions that stand for several linear layers of a network.

Their weights are computed from other modules, without gradients; `refresh.py` gives them values.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from robnet_zoo.models.fast.chains import Chain, first_convolution
from robnet_zoo.models.layers import conv2d

Join = Literal["outputs", "inputs"]


@dataclass(frozen=True)
class Zeros:
    """Channels of zeros that a chain's convolution has besides its own.

    Attributes:
        outputs: how many follow the outputs.
        inputs: how many follow each part of the inputs.
        parts: how many equal parts the inputs consist of.
    """

    outputs: int = 0
    inputs: int = 0
    parts: int = 1


NO_ZEROS = Zeros()


class FoldedConv(nn.Module):
    """A convolution whose weight and bias are computed from other modules, without gradients.

    Several chains of one geometry and kind, without groups, make one convolution: side by side
    over their "outputs", or over their "inputs", so that their results are summed. Convolutions
    follow their weights in the order of memory, and these are in channels_last. `refresh` gives
    them their values.

    Attributes:
        zeros: what is added to each chain's channels.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, *chains: Chain, join: Join = "outputs", zeros: Zeros = NO_ZEROS) -> None:
        super().__init__()
        self.chains, self.join, self.zeros = chains, join, zeros
        self.stride, self.padding, self.dilation, self.groups = chains[0].geometry
        if self.groups > 1:
            self.groups += zeros.outputs
        out, inputs, height, width = chains[0].shape
        out, inputs = out + zeros.outputs, inputs + zeros.parts * zeros.inputs
        out, inputs = (
            (len(chains) * out, inputs) if join == "outputs" else (out, len(chains) * inputs)
        )
        like = first_convolution(chains[0].layers[0]).weight.detach()
        weight = like.new_empty(out, height, width, inputs).permute(0, 3, 1, 2)
        self.register_buffer("weight", weight, persistent=False)
        bias = like.new_empty(out) if chains[0].biased else None
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H', W')."""
        geometry = self.stride, self.padding, self.dilation, self.groups
        return conv2d(x, self.weight, self.bias, *geometry)


class FusedSeparable(nn.Module):
    """A depthwise and a pointwise convolution, which a GPU computes as one kernel.

    Attributes:
        relu: whether a ReLU is part of it.
    """

    def __init__(self, depthwise: FoldedConv, pointwise: FoldedConv, *, relu: bool) -> None:
        super().__init__()
        self.depthwise, self.pointwise, self.relu = depthwise, pointwise, relu

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W)."""
        if not x.is_cuda:
            x = self.pointwise(self.depthwise(x))
            return x.relu_() if self.relu else x
        from robnet_zoo.models.fast.fused import separable

        taps, mixing, bias = self.depthwise.weight, self.pointwise.weight, self.pointwise.bias
        assert bias is not None
        dilation = self.depthwise.dilation[0]
        return separable(x.to(taps.dtype), taps, mixing, bias, dilation=dilation, relu=self.relu)


class FoldedLinear(FoldedConv):
    """A linear layer, held as a 1x1 convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return F.linear(x, self.weight.flatten(1), self.bias)


class FoldedNorm(nn.Module):
    """A copy of a batch norm that has no convolution before it to go into."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.source = (norm,)  # in a tuple, so that it is not a part of this module
        self.own = copy.deepcopy(norm).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return self.own(x)
