"""Our gradient attack with settings that other tools and scripts choose differently."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from robnet_zoo.attacks.methods.gradient import GradientAttack
from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.attacks.noise import noise_for
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.attacks.verdicts import classes
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel


@dataclass(frozen=True, kw_only=True)
class PgdSettings:
    """What tools choose differently.

    Attributes:
        epsilon: radius of the ball.
        step_size: length of a step.
        steps: gradients taken.
        start: at the image, or uniform in the ball.
        restarts: runs that an image must survive.
        random_numbers: drawn for each image by itself, or one stream for all, as the tool has it.
        judged: the last iterate, or any.
        clean_mistakes: broken whatever the attack does, or attacked like other images.
        gradients: from the network's folded form, or from itself.
    """

    epsilon: float
    step_size: float
    steps: int
    start: Literal["clean", "uniform"]
    restarts: int = 1
    random_numbers: Literal["image", "stream"] = "stream"
    judged: Literal["any", "last"] = "last"
    clean_mistakes: Literal["broken", "attacked"] = "attacked"
    gradients: Literal["folded", "itself"] = "itself"


class PgdRunner:
    """Our attack on a model and images, with any settings.

    Args:
        attack: ours, untargeted on the cross-entropy.
        model: from images with pixels in [0,1] to logits, on the device to use.
        images: (N, C, H, W), float32.
        labels: (N,).
        threat_model: the ball.
        seed: of all randomness.
        batch_size: images in a forward pass.

    Raises:
        ZooError: a targeted attack, or one on another loss.
    """

    def __init__(
        self,
        attack: GradientAttack,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        threat_model: ThreatModel,
        *,
        seed: int,
        batch_size: int,
    ) -> None:
        if attack.targeted or attack.loss != "ce":
            raise ZooError(
                f"diff cannot explain '{attack.name}', which is targeted or on another loss than "
                "the cross-entropy; compare fgsm, bimN, pgdN or mifgsmN."
            )
        self.attack, self.model = attack, model
        self.images, self.labels, self.norm = images, labels, threat_model.norm
        self.seed, self.batch_size = seed, batch_size
        kernel = attack.adversary(threat_model)
        form = fold(model, image_size=images.shape[-1])
        self.asked = AttackedModel(model, batch_size, attack_model=form)
        self.ours = PgdSettings(
            epsilon=kernel.epsilon,
            step_size=kernel.step_size,
            steps=attack.steps,
            start=attack.start,
            restarts=attack.restarts,
            random_numbers="image" if attack.start == "uniform" else "stream",
            judged="any",
            clean_mistakes="broken",
            gradients="itself" if form is model else "folded",
        )

    def run(self, settings: PgdSettings) -> list[bool]:
        """Return whether each image survives our attack with these settings."""
        with preserve_state(self.model, self.seed):
            asked = self.asked if settings.gradients == "folded" else self.asked.plain()
            robust = torch.ones_like(self.labels, dtype=torch.bool)
            for restart in range(settings.restarts):
                noise = self._noise(settings, restart)
                for part in torch.arange(len(self.labels)).split(asked.chunk):
                    started = None if noise is None else noise[part]
                    robust[part] &= self._survive(asked, settings, part, started)
            if settings.clean_mistakes == "broken":
                robust &= self.correct
        flags: list[bool] = robust.tolist()
        return flags

    @cached_property
    def correct(self) -> Tensor:
        """Whether the model is right on each clean image (N,)."""
        return self.asked.predict(self.images) == self.labels

    def _survive(
        self, asked: AttackedModel, settings: PgdSettings, part: Tensor, noise: Tensor | None
    ) -> Tensor:
        """Run one restart on some of the images; return whether each survives."""
        images, labels = self.images[part], self.labels[part]
        kernel = Adversary(
            epsilon=settings.epsilon,
            step_size=settings.step_size,
            steps=settings.steps,
            norm=self.norm,
            start=settings.start,
            momentum=self.attack.momentum,
        )
        current, velocity = kernel.begin(images, noise), None
        broken = torch.zeros_like(labels, dtype=torch.bool)
        for _ in range(settings.steps):
            moved, velocity, logits = kernel.ascend(asked, current, images, labels, velocity)
            suspected = (classes(logits) != labels) & ~broken
            broken |= asked.confirm(suspected, current, labels) & suspected
            current = moved
        last = asked.predict(current) != labels
        return ~(last if settings.judged == "last" else broken | last)

    def _noise(self, settings: PgdSettings, restart: int) -> Tensor | None:
        if settings.start == "clean":
            return None
        if settings.random_numbers == "stream":
            generator = torch.Generator(self.images.device).manual_seed(self.seed + restart)
            parts = self.images.split(self.batch_size)
            return torch.cat([self._drawn(part, generator) for part in parts])
        noise = noise_for(
            torch.arange(len(self.labels)),
            self.images.shape[1:],
            seed=self.seed,
            attack="pgd",
            restart=restart,
            norm=self.norm,
        )
        return noise.to(self.images.device)

    def _drawn(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the unit noise of one stream of random numbers for a batch (B, C, H, W)."""
        raise NotImplementedError
