"""Changes inside the network: of activations and their gradients, of weights and precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.checks.changed import (
    Change,
    OfActivations,
    OfGradients,
    detached,
    false_gradient,
    inside,
    straight_through,
)
from benchmarks.checks.networks import FIRST_NORM, FIRST_RELU, SECOND_NORM, SECOND_RELU


def every(nth: int, activations: Tensor) -> Tensor:
    """Return which channels are every n-th one, for activations (N, channels, H, W)."""
    return (torch.arange(activations.shape[1]) % nth == 0)[:, None, None]


def channels_scaled(nth: int, factor: float) -> OfActivations:
    """Return a change of the gradient of every n-th channel."""
    return false_gradient(
        lambda gradient: torch.where(every(nth, gradient), factor * gradient, gradient)
    )


def half_detached(activations: Tensor) -> Tensor:
    channels = activations.shape[1]
    return detached((torch.arange(channels) >= channels // 2)[:, None, None], activations)


class ReversedLeak(torch.autograd.Function):
    """Changes nothing but the gradient, which it turns around where activations are negative."""

    @staticmethod
    def forward(ctx: Any, activations: Tensor) -> Tensor:
        """Return the activations."""
        ctx.save_for_backward(activations)
        return activations.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient, with the wrong sign below 0."""
        (activations,) = ctx.saved_tensors
        return torch.where(activations > 0, gradient, -gradient)


def rounded(levels: int) -> OfActivations:
    """Return a change that rounds activations, with the gradient of not rounding."""
    return lambda values: straight_through(values, (values * levels).round() / levels)


def spikes(activations: Tensor) -> Tensor:
    """Return one of four levels, with the gradient of a clamp."""
    thresholds = torch.tensor([0.3, 1, 2])
    level = (activations[..., None] > thresholds).sum(-1)
    return straight_through(activations.clamp(0, 3), 0.75 * level)


def winners(activations: Tensor) -> Tensor:
    """Keep the 60 largest activations of each image."""
    least = activations.flatten(1).topk(60, 1).values[:, -1:, None, None]
    return torch.where(activations >= least, activations, 0 * activations)


def noisy(gradient: Tensor) -> Tensor:
    return gradient + 2 * gradient.std() * torch.randn_like(gradient)


def dropped(gradient: Tensor) -> Tensor:
    return gradient * (torch.rand_like(gradient) > 0.7)


def some_reversed(gradient: Tensor) -> Tensor:
    """Turn the gradient around at a quarter of the places, the same ones each time."""
    generator = torch.Generator().manual_seed(0)
    return gradient * torch.sign(torch.rand(gradient.shape[1:], generator=generator) - 0.25)


def hooked(layer: int, change: OfGradients) -> Change:
    return inside(layer, false_gradient(change))


@torch.no_grad()
def rounded_weights(network: nn.Sequential) -> nn.Module:
    """Round each parameter to 31 levels."""
    for values in network.parameters():
        step = values.abs().amax() / 15
        values.copy_((values / step).round() * step)
    return network


class Autocast(nn.Module):
    """A network in bfloat16 with logits in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.network(images)
        return logits.float()


FIRST: dict[str, Change] = {
    "noise on the gradient inside": hooked(FIRST_RELU, noisy),
    "the gradient of every third channel reversed": inside(FIRST_RELU, channels_scaled(3, -1)),
    "the gradient of every second channel / 100": inside(FIRST_RELU, channels_scaled(2, 0.01)),
    "the gradient of every second channel / 3": inside(FIRST_RELU, channels_scaled(2, 0.33)),
    "half of the channels detached": inside(FIRST_RELU, half_detached),
    "half of the last channels detached": inside(SECOND_RELU, half_detached),
    "every fourth channel detached": inside(
        SECOND_RELU, lambda values: detached(every(4, values), values)
    ),
    "the gradient's sign inside": hooked(SECOND_RELU, torch.sign),
    "a false gradient of ReLU": inside(FIRST_NORM, ReversedLeak.apply),
    "coarse activations, straight through": inside(FIRST_RELU, rounded(2)),
    "fine activations, straight through": inside(FIRST_RELU, rounded(16)),
    "coarse last activations, straight through": inside(SECOND_RELU, rounded(2)),
    "spikes, straight through": inside(SECOND_RELU, spikes),
    "activations in bfloat16": inside(FIRST_RELU, lambda values: values.bfloat16().float()),
    "activations in float16": inside(FIRST_RELU, lambda values: values.half().float()),
    "waves on activations": inside(
        FIRST_RELU, lambda values: values + 0.1 * torch.sin(50 * values)
    ),
    "the gradient clipped inside": hooked(
        SECOND_RELU, lambda gradient: gradient.clamp(-1e-3, 1e-3)
    ),
    "the largest activations alone": inside(SECOND_RELU, winners),
    "the gradient dropped at random inside": hooked(FIRST_RELU, dropped),
    "weights rounded to 31 levels": rounded_weights,
    "autocast to bfloat16": lambda network: Autocast(network).eval(),
}
SECOND: dict[str, Change] = {
    "waves on the last activations": inside(
        SECOND_RELU, lambda values: values + 0.2 * torch.sin(30 * values)
    ),
    "the gradient of every fourth channel / 20": inside(SECOND_NORM, channels_scaled(4, 0.05)),
    "a jump in activations": inside(
        FIRST_RELU, lambda values: values + 0.3 * (values > 0.4).float()
    ),
    "the gradient reversed in places inside": hooked(SECOND_RELU, some_reversed),
}
OTHER_DECISIONS: frozenset[str] = frozenset()
