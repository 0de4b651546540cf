"""Our gradient attack with settings that other tools and scripts choose differently."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from robnet_zoo.attacks.methods.gradient import GradientAttack
from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.attacks.noise import noise_for
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.attacks.verdicts import classes
from robnet_zoo.eval.studies.diff.case import Case
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.runtime.errors import ZooError


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
    """Our attack on a case, with any settings.

    Args:
        attack: ours, untargeted on the cross-entropy.
        case: the model, images and ball.

    Raises:
        ZooError: a targeted attack, or one on another loss.
    """

    def __init__(self, attack: GradientAttack, case: Case) -> None:
        if attack.targeted or attack.loss != "ce":
            raise ZooError(
                f"diff cannot explain '{attack.name}', which is targeted or on another loss than "
                "the cross-entropy; compare fgsm, bimN, pgdN or mifgsmN."
            )
        self.attack, self.case = attack, case
        kernel = attack.adversary(case.threat_model)
        form = fold(case.model, image_size=case.images.shape[-1])
        self.attacked = AttackedModel(case.model, case.batch_size, attack_model=form)
        self.ours = PgdSettings(
            epsilon=kernel.epsilon,
            step_size=kernel.step_size,
            steps=attack.steps,
            start=attack.start,
            restarts=attack.restarts,
            random_numbers="image" if attack.start == "uniform" else "stream",
            judged="any",
            clean_mistakes="broken",
            gradients="itself" if form is case.model else "folded",
        )

    def run(self, settings: PgdSettings) -> list[bool]:
        """Return whether each image survives our attack with these settings."""
        with preserve_state(self.case.model, self.case.seed):
            attacked = self.attacked if settings.gradients == "folded" else self.attacked.plain()
            robust = torch.ones_like(self.case.labels, dtype=torch.bool)
            for restart in range(settings.restarts):
                noise = self._noise(settings, restart)
                for part in self.case.batches(attacked.chunk):
                    started = None if noise is None else noise[part]
                    robust[part] &= self._survive(attacked, settings, part, started)
            if settings.clean_mistakes == "broken":
                robust &= self.correct
        flags: list[bool] = robust.tolist()
        return flags

    @cached_property
    def correct(self) -> Tensor:
        """Whether the model is right on each clean image (N,)."""
        return self.attacked.predict(self.case.images) == self.case.labels

    def _survive(
        self, attacked: AttackedModel, settings: PgdSettings, part: Tensor, noise: Tensor | None
    ) -> Tensor:
        """Run one restart on some of the images; return whether each survives."""
        images, labels = self.case.images[part], self.case.labels[part]
        kernel = Adversary(
            epsilon=settings.epsilon,
            step_size=settings.step_size,
            steps=settings.steps,
            norm=self.case.threat_model.norm,
            start=settings.start,
            momentum=self.attack.momentum,
        )
        current, velocity = kernel.begin(images, noise), None
        broken = torch.zeros_like(labels, dtype=torch.bool)
        for _ in range(settings.steps):
            moved, velocity, logits = kernel.ascend(attacked, current, images, labels, velocity)
            suspected = (classes(logits) != labels) & ~broken
            broken |= attacked.confirm(suspected, current, labels) & suspected
            current = moved
        last = attacked.predict(current) != labels
        return ~(last if settings.judged == "last" else broken | last)

    def _noise(self, settings: PgdSettings, restart: int) -> Tensor | None:
        if settings.start == "clean":
            return None
        case = self.case
        if settings.random_numbers == "stream":
            generator = torch.Generator(case.images.device).manual_seed(case.seed + restart)
            parts = case.images.split(case.batch_size)
            return torch.cat([self._drawn(part, generator) for part in parts])
        noise = noise_for(
            torch.arange(len(case.labels)),
            case.images.shape[1:],
            seed=case.seed,
            attack="pgd",
            restart=restart,
            norm=case.threat_model.norm,
        )
        return noise.to(case.images.device)

    def _drawn(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the unit noise of one stream of random numbers for a batch (B, C, H, W)."""
        raise NotImplementedError
