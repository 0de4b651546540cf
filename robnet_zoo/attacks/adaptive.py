"""Attacks adapted to a defence, and verdicts on a randomised one.

Two of the three ways of Athalye et al. (2018) around a defence that hides its gradients are
wrappers here: `Bpda` for a step that has none, `Eot` for one that is random. The third,
reparametrisation, is a model of another form, or a loss of one's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from robnet_zoo.attacks.calling import logits_of
from robnet_zoo.attacks.verdicts import classes
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.randomness import seeded

Decide = Literal["majority", "mean"]
MOST_DRAWS = 10_000


class Bpda(nn.Module):
    """A model with the gradients of another: backward pass differentiable approximation.

    Logits are the model's, bit for bit; the backward pass goes through the surrogate (Athalye et
    al. 2018, section 4.1). A random step draws the same in both.

    Args:
        model: from images (N, C, H, W) to logits (N, classes), with or without gradients.
        surrogate: a model of the same form whose gradients lead to the other's mistakes, such as
            the same network without the step that has none.
    """

    def __init__(self, model: nn.Module, surrogate: nn.Module) -> None:
        super().__init__()
        self.model, self.surrogate = model, surrogate

    def forward(self, images: Tensor) -> Tensor:
        """Return the model's logits (N, classes).

        Raises:
            ZooError: the surrogate's have another shape.
        """
        if not (torch.is_grad_enabled() and images.requires_grad):
            return logits_of(self.model, images)
        seed = _draw_seeds(1)[0]
        with seeded(seed):
            approximate = logits_of(self.surrogate, images)
        with seeded(seed), torch.no_grad():
            exact = logits_of(self.model, images.detach())
        if approximate.shape != exact.shape:
            raise ZooError(
                f"The surrogate must return logits of shape {list(exact.shape)}, as the model "
                f"does; it returned {list(approximate.shape)}."
            )
        straight: Tensor = _StraightThrough.apply(approximate, exact)
        return straight


class _StraightThrough(torch.autograd.Function):
    """The second value with the gradient of the first."""

    @staticmethod
    def forward(ctx: Any, approximate: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class Eot(nn.Module):
    """The mean of a randomised model's logits over several draws: expectation over transformation.

    The gradient is that of the mean (Athalye et al. 2018, section 4.2). Memory is that of one
    draw; a backward pass recomputes them.

    Args:
        model: draws from the global generators of torch, NumPy or Python.
        draws: passes averaged, new ones each time.
        seed: of the draws, which are then the same each time.
    """

    def __init__(self, model: nn.Module, draws: int, seed: int | None = None) -> None:
        super().__init__()
        self.model, self.draws, self.seed = model, draws, seed

    def forward(self, images: Tensor) -> Tensor:
        """Return mean logits (N, classes) for images (N, C, H, W)."""
        seeds = _draw_seeds(self.draws, self.seed)
        if len(seeds) > 1 and torch.is_grad_enabled() and images.requires_grad:
            passes = [
                checkpoint(self._draw, images, seed, use_reentrant=False, preserve_rng_state=False)
                for seed in seeds
            ]
        else:
            passes = [self._draw(images, seed) for seed in seeds]
        return torch.stack(passes).mean(0) if len(passes) > 1 else passes[0]

    def _draw(self, images: Tensor, seed: int) -> Tensor:
        with seeded(seed):
            return logits_of(self.model, images)


@dataclass(frozen=True, kw_only=True, eq=False)
class Adaptive:
    """How attacks are adapted to a defence, and by what a randomised one is judged.

    Attributes:
        surrogate: gives the gradients in the model's place (`Bpda`); None for the model's own.
        eot: draws averaged in each pass of an attack (`Eot`).
        draws: passes that give a verdict.
        decide: "majority": the class that more than half of the draws give, none where there is
            no such class, so that an image is broken unless most draws are right. "mean": the
            class of the largest mean probability.

    Raises:
        ZooError: a setting outside its range.
    """

    surrogate: nn.Module | None = None
    eot: int = 1
    draws: int = 1
    decide: Decide = "majority"

    def __post_init__(self) -> None:
        for name in ("eot", "draws"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ZooError(f"{name} {value!r} is no int; give a whole number of draws.")
            if not 1 <= value <= MOST_DRAWS:
                raise ZooError(
                    f"{name} {value} is out of range; it must lie from 1 to {MOST_DRAWS:,}."
                )
        if self.decide not in get_args(Decide):
            raise unknown_name("rule for a verdict", str(self.decide), get_args(Decide))

    @property
    def randomised(self) -> bool:
        """Whether the model is taken for a randomised one, whose every pass is a draw."""
        return self.eot > 1 or self.draws > 1

    @property
    def plain(self) -> bool:
        """Whether attacks see the model itself, and one pass gives the verdict."""
        return self.surrogate is None and not self.randomised

    def view(self, model: nn.Module, seed: int | None = None) -> nn.Module:
        """Return the model as attacks see it, with the same draws each time if a seed is given."""
        seen = model if self.surrogate is None else Bpda(model, self.surrogate)
        return Eot(seen, self.eot, seed) if self.randomised else seen

    def passes(self, *, gradient: bool) -> int:
        """Return the passes through a network that an image takes in one pass of an attack."""
        return self.eot * (2 if gradient and self.surrogate is not None else 1)

    def verdict(self, logits: Tensor) -> Tensor:
        """Return the class (N,) that draws of logits (draws, N, classes) give; -1 for none."""
        if len(logits) == 1:
            return classes(logits[0])
        if self.decide == "mean":
            return classes(logits.softmax(2).mean(0))
        given = torch.stack([classes(draw) for draw in logits])
        most = given.mode(0).values
        return most.masked_fill(2 * (given == most).sum(0) <= len(given), -1)


def _draw_seeds(count: int, seed: int | None = None) -> list[int]:
    """Return seeds from the global generator, or from a seed."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randint(2**31, (count,), generator=generator).tolist()
