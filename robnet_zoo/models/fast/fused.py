"""A separable convolution of a folded network as one kernel, for GPUs in half precision.

A dense convolution in place of a separable one has up to 25 times its arithmetic and wastes half of
that where channels do not fill its tiles. One Triton kernel does all in one pass over memory: the
taps of the depthwise convolution, the product with the pointwise weights, the bias and the ReLU.
The backward pass, by the input alone, is the same kernel twice.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

PIXELS = 64  # that a program computes


@triton.jit
def _separable(  # type: ignore[no-untyped-def]
    x,
    taps,
    mixing,
    bias,
    mask,
    y,
    pixels,
    height: tl.constexpr,
    width: tl.constexpr,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    step_in: tl.constexpr,
    step_out: tl.constexpr,
    size: tl.constexpr,
    dilation: tl.constexpr,
    flipped: tl.constexpr,
    mixes: tl.constexpr,
    shifts: tl.constexpr,
    rectifies: tl.constexpr,
    masks: tl.constexpr,
    block: tl.constexpr,
    block_in: tl.constexpr,
    block_out: tl.constexpr,
):
    pixel = tl.program_id(0) * block + tl.arange(0, block)
    inside = pixel < pixels
    row = (pixel // width) % height
    column = pixel % width
    channel = tl.arange(0, block_in)
    known = channel < inputs
    if size == 1:
        place = pixel[:, None] * inputs + channel[None, :]
        real = inside[:, None] & known[None, :]
        value = tl.load(x + place, mask=real, other=0.0)
        if masks:
            value = tl.where(tl.load(mask + place, mask=real, other=0.0) > 0, value, 0.0)
    else:
        total = tl.zeros((block, block_in), dtype=tl.float32)
        for tap in tl.static_range(size * size):
            down = (tap // size - size // 2) * dilation
            right = (tap % size - size // 2) * dilation
            there = inside & (row + down >= 0) & (row + down < height)
            there = there & (column + right >= 0) & (column + right < width)
            seen = tl.load(
                x + (pixel + down * width + right)[:, None] * inputs + channel[None, :],
                mask=there[:, None] & known[None, :],
                other=0.0,
            )
            number = size * size - 1 - tap if flipped else tap
            factor = tl.load(taps + channel * (size * size) + number, mask=known, other=0.0)
            total += seen.to(tl.float32) * factor.to(tl.float32)[None, :]
        value = total
    if mixes:
        out = tl.arange(0, block_out)
        wanted = out < outputs
        matrix = tl.load(
            mixing + channel[:, None] * step_in + out[None, :] * step_out,
            mask=known[:, None] & wanted[None, :],
            other=0.0,
        )
        result = tl.dot(value.to(matrix.dtype), matrix)
    else:
        out, wanted, result = channel, known, value.to(tl.float32)
    if shifts:
        result += tl.load(bias + out, mask=wanted, other=0.0).to(tl.float32)[None, :]
    if rectifies:
        result = tl.maximum(result, 0.0)
    tl.store(
        y + pixel[:, None] * outputs + out[None, :],
        result.to(y.dtype.element_ty),
        mask=inside[:, None] & wanted[None, :],
    )


def _launch(
    x: Tensor,
    taps: Tensor | None,
    mixing: Tensor | None,
    *,
    transposed: bool = False,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    rectifies: bool = False,
    dilation: int = 1,
) -> Tensor:
    """Run the kernel on a channels_last map.

    Args:
        x: (N, inputs, H, W).
        taps: depthwise weights (inputs, 1, k, k); None for none.
        mixing: pointwise weights (out, in, 1, 1); None for none.
        transposed: with taps flipped and `mixing` from its outputs to its inputs.
        bias: is added to each output channel.
        mask: a map of x's shape; where it is not above 0, x counts as 0. Not with taps.
        rectifies: whether a ReLU follows.
        dilation: of the taps.
    """
    count, inputs, height, width = x.shape
    outputs, step_in, step_out = inputs, 0, 0
    if mixing is not None:
        outputs, step_in, step_out = len(mixing), 1, mixing.shape[1]
        if transposed:
            outputs, step_in, step_out = mixing.shape[1], mixing.shape[1], 1
    y = torch.empty(
        (count, outputs, height, width),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )
    pixels = count * height * width
    block_in, block_out = (max(16, triton.next_power_of_2(size)) for size in (inputs, outputs))
    _separable[(triton.cdiv(pixels, PIXELS),)](
        *(x if tensor is None else tensor for tensor in (x, taps, mixing, bias, mask)),
        y,
        pixels,
        height=height,
        width=width,
        inputs=inputs,
        outputs=outputs,
        step_in=step_in,
        step_out=step_out,
        size=1 if taps is None else taps.shape[2],
        dilation=dilation,
        flipped=transposed,
        mixes=mixing is not None,
        shifts=bias is not None,
        rectifies=rectifies,
        masks=mask is not None,
        block=PIXELS,
        block_in=block_in,
        block_out=block_out,
        num_warps=4 if max(block_in, block_out) <= 64 else 8,
    )
    return y


class _Separable(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, taps: Tensor, mixing: Tensor, bias: Tensor, dilation: int, relu: bool
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y = _launch(x, taps, mixing, bias=bias, rectifies=relu, dilation=dilation)
        ctx.save_for_backward(taps, mixing, *([y] if relu else []))
        ctx.dilation = dilation
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        taps, mixing, *rectified = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        mask = rectified[0] if rectified else None
        hidden = _launch(gradient, None, mixing, transposed=True, mask=mask)
        own = _launch(hidden, taps, None, transposed=True, dilation=ctx.dilation)
        return own, None, None, None, None, None


class _Trained(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor, mixing: Tensor, dilation: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, taps, mixing)
        ctx.dilation = dilation
        return _launch(x, taps, mixing, dilation=dilation)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, taps, mixing = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        hidden = _launch(gradient, None, mixing, transposed=True)
        own = _launch(hidden, taps, None, transposed=True, dilation=ctx.dilation)
        # by the weights, of the dense convolution that the two make, then of its factors
        like = (mixing * taps.transpose(0, 1)).contiguous(memory_format=torch.channels_last)
        around, apart = [ctx.dilation * (taps.shape[2] // 2)] * 2, [ctx.dilation] * 2
        _, dense, _ = torch.ops.aten.convolution_backward(
            *(gradient, x, like, None, [1, 1], around, apart, False, [0, 0], 1),
            [False, True, False],
        )
        dense = dense.float()
        by_taps = (dense * mixing.float()).sum(0)[:, None]
        by_mixing = (dense * taps.float().transpose(0, 1)).sum((2, 3), keepdim=True)
        return own, by_taps.to(taps.dtype), by_mixing.to(mixing.dtype), None


def trained(x: Tensor, taps: Tensor, mixing: Tensor, *, dilation: int) -> Tensor:
    """Return depthwise and pointwise convolution of a map; differentiable by all three.

    Args:
        x: (N, C, H, W).
        taps: (C, 1, k, k).
        mixing: (out, C, 1, 1).
        dilation: of the taps.
    """
    return _Trained.apply(x, taps.contiguous(), mixing.contiguous(), dilation)


def separable(
    x: Tensor, taps: Tensor, mixing: Tensor, bias: Tensor, *, dilation: int, relu: bool
) -> Tensor:
    """Return depthwise, pointwise, bias and perhaps ReLU of a map; differentiable by the map alone.

    Args:
        x: (N, C, H, W).
        taps: (C, 1, k, k), in the order of memory of a contiguous tensor.
        mixing: (out, C, 1, 1), likewise.
        bias: (out,).
        dilation: of the taps.
        relu: whether a ReLU follows.
    """
    return _Separable.apply(x, taps, mixing, bias, dilation, relu)
