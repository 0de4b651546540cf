"""The inner maximisation that training, search and evaluation share.

Every method of the gradient family is a choice of settings of one kernel:

| method                       | steps | step_size     | start         | other                 |
| ---------------------------- | ----- | ------------- | ------------- | --------------------- |
| FGSM (Goodfellow 2015)       | 1     | epsilon       | clean         |                       |
| BIM (Kurakin 2017)           | k     | epsilon / 4   | clean         |                       |
| PGD (Madry 2018)             | k     | epsilon / 4   | uniform       |                       |
| MI-FGSM (Dong 2018)          | k     | epsilon / 4   | clean         | momentum=1.0          |
| FGSM-RS (Wong 2020)          | 1     | 1.25 epsilon  | uniform       |                       |
| N-FGSM (de Jorge 2022)       | 1     | epsilon       | uniform, 2 epsilon | project=False    |
| TRADES (Zhang 2019)          | k     | epsilon / 4   | gaussian      | loss="kl"             |

Images never influence one another: losses are summed over the batch and every norm is taken per
image, so an image's path is the same in whatever batch it travels (given a model in eval mode).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from robnet_zoo.attacks.losses import LOSSES, Loss
from robnet_zoo.attacks.noise import Start, draw_noise
from robnet_zoo.attacks.norms import TINY, l2_norms
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.threat_models import GRADIENT_NORMS, NORMS, Norm

Model = Callable[[Tensor], Tensor]
STARTS: tuple[str, ...] = get_args(Start)

GAUSSIAN_SIZE = 0.001  # the usual standard deviation of a Gaussian start (TRADES, ARNAS, AdvRush)


class Ascent(NamedTuple):
    """What one step gives: the next iterate, its momentum, and the logits before the step.

    The logits are those of the iterate the step left from, so that a caller who looks at every
    iterate need not pay for another forward pass.
    """

    adversarial: Tensor
    velocity: Tensor | None
    logits: Tensor


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """Settings of a projected gradient ascent on the loss, within a norm ball and [0,1].

    Attributes:
        epsilon: radius of the ball, as a fraction of the pixel range.
        step_size: length of a step, in the same unit and norm.
        steps: number of gradients taken, at least 1.
        norm: the ball and the direction of a step: the gradient's sign, or its unit L2 vector.
        start: where the ascent begins: at the image, or uniform or Gaussian noise away from it.
        start_size: half-width (L2: radius) of uniform noise, epsilon if None; or standard
            deviation of Gaussian noise, 0.001 if None.
        clip_start: keep the start in [0,1]; RobNet's training code does not.
        project: keep every iterate in the ball; N-FGSM does not.
        momentum: decay of MI-FGSM's accumulated gradient (its Eq. 6); None for no momentum.
        loss: "ce", "kl", "margin", or a function of (logits, labels) that returns one loss an
            image. "kl" takes the clean logits (N, classes) in place of labels.
        targeted: labels name the classes to reach, and the loss is descended.

    Raises:
        ZooError: a setting outside its range.
    """

    epsilon: float
    step_size: float
    steps: int
    norm: Norm = "Linf"
    start: Start = "uniform"
    start_size: float | None = None
    clip_start: bool = True
    project: bool = True
    momentum: float | None = None
    loss: str | Loss = "ce"
    targeted: bool = False

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise unknown_name("norm", self.norm, NORMS)
        if self.norm not in GRADIENT_NORMS:
            raise ZooError(
                f"Gradient ascent does not work under {self.norm}; use Linf or L2, or attack with "
                "apgd-ce, apgd-t, fab-t, square or autoattack."
            )
        if self.start not in STARTS:
            raise unknown_name("start", self.start, STARTS)
        if isinstance(self.loss, str) and self.loss not in LOSSES:
            raise unknown_name("loss", self.loss, LOSSES)
        for name in ("epsilon", "step_size", "start_size"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ZooError(f"{name} {value} is out of range; it must be above 0.")
        if self.steps < 1:
            raise ZooError(f"steps {self.steps} is out of range; it must be at least 1.")

    def draw_noise(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return unit noise (N, C, H, W) for a start, as `noise.draw_noise`; `begin` scales it."""
        return draw_noise(images, self.start, self.norm, generator)

    def begin(
        self, images: Tensor, noise: Tensor | None = None, scale: Tensor | None = None
    ) -> Tensor:
        """Return the first iterate for images (N, C, H, W) and unit noise of the same shape.

        Args:
            images: the clean images.
            noise: as from `draw_noise`.
            scale: multiplies the ball, as in `ascend`.

        Raises:
            ZooError: the start is random and no noise was given.
        """
        if self.start == "clean":
            return images
        if noise is None:
            raise ZooError(
                f"An adversary with start '{self.start}' needs noise or a generator; "
                "give one, or use start 'clean'."
            )
        default = GAUSSIAN_SIZE if self.start == "gaussian" else self.epsilon
        size = default if self.start_size is None else self.start_size
        moved = _moved(images, noise, size, scale)
        return self._bound(moved, images, scale, clip=self.clip_start)

    def ascend(
        self,
        model: Model,
        adversarial: Tensor,
        images: Tensor,
        labels: Tensor,
        velocity: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> Ascent:
        """Take one step from `adversarial`; its tensors are left as they are.

        Only the gradient by the input is computed: parameters' `.grad`, the model's mode and the
        global random state are not touched. Under autocast the iterate stays in float32.

        Args:
            model: from pixels in [0,1] to logits.
            adversarial: the present iterate (N, C, H, W).
            images: the clean images.
            labels: classes (N,), or what the loss takes in their place.
            velocity: the momentum that the last step returned, None at the first.
            scale: a number on the images' device that multiplies epsilon, step size and start,
                None for 1. A recorded step follows a tensor, but no setting that changes.
        """
        loss = LOSSES[self.loss] if isinstance(self.loss, str) else self.loss
        with torch.enable_grad():
            leaf = adversarial.detach().requires_grad_()
            logits = model(leaf)
            total = loss(logits.to(images.dtype), labels).sum()
            (gradient,) = torch.autograd.grad(-total if self.targeted else total, leaf)
        if self.momentum is not None:
            gradient = gradient / gradient.abs().mean((1, 2, 3), keepdim=True).clamp_(min=TINY)
            if velocity is not None:
                gradient.add_(velocity, alpha=self.momentum)
            velocity = gradient
        direction = gradient.sign() if self.norm == "Linf" else gradient / l2_norms(gradient)
        moved = _moved(adversarial.detach(), direction, self.step_size, scale)
        return Ascent(self._bound(moved, images, scale), velocity, logits.detach())

    def _bound(
        self, moved: Tensor, images: Tensor, scale: Tensor | None, clip: bool = True
    ) -> Tensor:
        """Bring a tensor of our own into the ball around the images and into [0,1], in place."""
        if self.project:
            moved.sub_(images)
            if self.norm == "L2":
                radius = self.epsilon if scale is None else self.epsilon * scale
                moved.mul_((radius / l2_norms(moved)).clamp_(max=1))
            elif scale is None:
                moved.clamp_(-self.epsilon, self.epsilon)
            else:
                moved.clamp_(-self.epsilon * scale, self.epsilon * scale)
            moved.add_(images)
        return moved.clamp_(0, 1) if clip else moved

    def __call__(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor,
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Return the last iterate for images (N, C, H, W) in [0,1].

        Args:
            model: from pixels to logits.
            images: the clean images.
            labels: classes (N,), or what the loss takes in their place.
            noise: unit noise for the start, as from `noise_for`.
            generator: draws that noise where none is given.
            scale: multiplies the ball, as in `ascend`.
        """
        if noise is None and generator is not None and self.start != "clean":
            noise = self.draw_noise(images, generator)
        adversarial, velocity = self.begin(images, noise, scale), None
        for _ in range(self.steps):
            adversarial, velocity, _ = self.ascend(
                model, adversarial, images, labels, velocity, scale
            )
        return adversarial


def _moved(images: Tensor, direction: Tensor, size: float, scale: Tensor | None) -> Tensor:
    if scale is None:
        return torch.add(images, direction, alpha=size)
    return torch.addcmul(images, direction, scale, value=size)
