"""What changes of a network share: where they act, false gradients, and chance by content.

A change is a function from a network to one with the same images and classes, in eval mode.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.checks.data import SIDE

Change = Callable[[nn.Sequential], nn.Module]
OfPixels = Callable[[Tensor], Tensor]  # from images (N, 1, 8, 8) to images
OfLogits = Callable[[Tensor, Tensor], Tensor]  # from logits (N, 10) and images to logits
OfActivations = Callable[[Tensor], Tensor]
OfGradients = Callable[[Tensor], Tensor]

ROW, COLUMN = torch.arange(SIDE)[:, None], torch.arange(SIDE)[None, :]


class Changed(nn.Module):
    """A network with something before it, on its pixels, and behind it, on its logits."""

    def __init__(
        self, network: nn.Module, before: OfPixels | None = None, behind: OfLogits | None = None
    ) -> None:
        super().__init__()
        self.network, self.before, self.behind = network, before, behind

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        logits = self.network(self.before(images) if self.before else images)
        return self.behind(logits, images) if self.behind else logits


class ChangedInside(nn.Module):
    """A sequence of layers with something behind one of them."""

    def __init__(self, network: nn.Sequential, layer: int, change: OfActivations) -> None:
        super().__init__()
        self.first, self.rest = network[: layer + 1], network[layer + 1 :]
        self.change = change

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10)."""
        return self.rest(self.change(self.first(images)))


def before(change: OfPixels) -> Change:
    """Return a change of the pixels."""
    return lambda network: Changed(network, before=change).eval()


def behind(change: OfLogits) -> Change:
    """Return a change of the logits that sees the images too."""
    return lambda network: Changed(network, behind=change).eval()


def bent(change: Callable[[Tensor], Tensor]) -> Change:
    """Return a change of the logits alone."""
    return behind(lambda logits, images: change(logits))


def inside(layer: int, change: OfActivations) -> Change:
    """Return a change of the activations behind a layer."""
    return lambda network: ChangedInside(network, layer, change).eval()


# ---- false gradients


class FalseGradient(torch.autograd.Function):
    """Changes nothing but the gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, change: OfGradients) -> Tensor:
        """Return the values."""
        ctx.change = change
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the changed gradient."""
        return ctx.change(gradient), None


def false_gradient(change: OfGradients) -> Callable[[Tensor], Tensor]:
    """Return a function that keeps values and changes their gradient."""
    return lambda values: FalseGradient.apply(values, change)


mirrored = false_gradient(lambda gradient: gradient.flip(3))  # from right to left


def straight_through(values: Tensor, changed: Tensor) -> Tensor:
    """Return changed values with the gradient of leaving them."""
    return values + (changed - values).detach()


def detached(mask: Tensor, values: Tensor) -> Tensor:
    """Return the values, of which those under a mask have no gradient."""
    return torch.where(mask, values.detach(), values)


# ---- chance that the content of an image decides


def seeds(images: Tensor) -> list[int]:
    """Return a number for each image that every bit of it decides."""
    return [
        int.from_bytes(hashlib.sha256(image.numpy().tobytes()).digest()[:4], "little")
        for image in images.detach().contiguous()
    ]


def coarse_seeds(images: Tensor) -> list[int]:
    """Return a number for each image that its pixels decide, rounded to quarters."""
    return seeds((images * 4).round())


def chances(images: Tensor, number: Callable[[Tensor], list[int]] = seeds) -> Tensor:
    """Return a number in [0,1) for each image (N, 1)."""
    return torch.tensor([[each / 2**32] for each in number(images)])


def drawn(
    images: Tensor,
    draw: Callable[..., Tensor],
    number: Callable[[Tensor], list[int]] = coarse_seeds,
) -> Tensor:
    """Return numbers for each pixel that the image's content decides, drawn by torch.randn, say."""
    generators = [torch.Generator().manual_seed(each) for each in number(images)]
    return torch.stack([draw(1, SIDE, SIDE, generator=each) for each in generators])


# ---- what is seen of logits and images


def confidence(logits: Tensor) -> Tensor:
    """Return the largest probability of each image (N, 1)."""
    return logits.softmax(1).amax(1, keepdim=True)


def margin(logits: Tensor) -> Tensor:
    """Return the best logit minus the second of each image (N, 1)."""
    best = logits.topk(2, 1).values
    return best[:, :1] - best[:, 1:]


def of_images(condition: Tensor) -> Tensor:
    """Return a condition of each image as one of its pixels (N, 1, 1, 1)."""
    return condition.reshape(-1, 1, 1, 1)


def off_grey_levels(images: Tensor) -> Tensor:
    """Return how far each pixel is from the nearest of the data's 17 grey levels."""
    return (grey(images) - images).abs()


def grey(images: Tensor) -> Tensor:
    """Return the images with every pixel at a grey level of the data."""
    return (images * 16).round() / 16


def median(images: Tensor) -> Tensor:
    """Return the median of 3x3 pixels around each."""
    return around(images).median(-1).values


def around(images: Tensor) -> Tensor:
    """Return the 3x3 pixels around each (N, 1, 8, 8, 9)."""
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    return padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
