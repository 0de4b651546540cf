"""The gradient family (FGSM, BIM, PGD, MI-FGSM), judged at every iterate."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from robnet_zoo.attacks.base import Attack, Suite, Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.losses import Loss
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.attacks.noise import noise_for
from robnet_zoo.attacks.own_loss import OwnLoss
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.attacks.verdicts import classes, within
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.threat_models import Epsilon, ThreatModel

LossName = Literal["ce", "margin"]
WATCH_EVERY = 5  # steps


@dataclass(frozen=True, kw_only=True)
class GradientAttack(Attack):
    """Projected gradient ascent with the shared kernel, noise drawn for each image by itself.

    Attributes:
        steps: gradients taken.
        step: length of a step, such as "2/255"; None for the threat model's, "epsilon" for its
            epsilon.
        restarts: independent runs; an image must survive all of them.
        start: at the image or at uniform noise in the ball.
        momentum: decay of MI-FGSM's accumulated gradient.
        loss: cross-entropy, the margin between the best other logit and the label's, or a function
            of your own, from logits (N, classes) and labels (N,) to losses (N,) to raise.
        targeted: towards a random other class, drawn for each image; an image counts as broken
            wherever it is misclassified.
        early_exit: leave an image alone once an iterate broke it: about twice as fast, but the
            last iterate is then not known.
    """

    steps: int = 1
    step: str | None = None
    restarts: int = 1
    start: Literal["clean", "uniform"] = "clean"
    momentum: float | None = None
    loss: LossName | Loss = "ce"
    targeted: bool = False
    early_exit: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if callable(self.loss) and not isinstance(self.loss, OwnLoss):
            object.__setattr__(self, "loss", OwnLoss.of(self.loss))
        for what in ("steps", "restarts"):
            if getattr(self, what) < 1:
                raise ZooError(
                    f"{what} {getattr(self, what)} is out of range; it must be at least 1."
                )
        if self.restarts > 1 and not self.traits.restarts:
            raise ZooError(
                f"'{self.name}' starts at the clean image, so restarts would repeat it; "
                "use restarts with attacks that start at random, such as pgd20."
            )

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        loss = next((name for name in get_args(LossName) if name == self.loss), None)
        return Traits(loss=loss, restarts=self.start == "uniform")

    def check(self) -> None:
        """Raise ZooError if the loss is none of those known by a name."""
        if not isinstance(self.loss, OwnLoss) and self.loss not in get_args(LossName):
            raise unknown_name("loss", str(self.loss), get_args(LossName))

    def adversary(self, threat_model: ThreatModel) -> Adversary:
        """Return the kernel with this attack's settings."""
        return Adversary(
            epsilon=threat_model.epsilon.value,
            step_size=self._step(threat_model).value,
            steps=self.steps,
            norm=threat_model.norm,
            start=self.start,
            momentum=self.momentum,
            loss=self.loss,
            targeted=self.targeted,
        )

    def _step(self, threat_model: ThreatModel) -> Epsilon:
        if self.step == "epsilon":
            return threat_model.epsilon
        return threat_model.step if self.step is None else Epsilon.parse(self.step, "step")

    def cost(self) -> int:
        """Return the passes, forward and backward, of an image that stays robust."""
        return self.restarts * (2 * self.steps + 1)

    def settings(self, threat_model: ThreatModel) -> dict[str, Any]:
        """Return the settings, with the step as a number too."""
        step = self._step(threat_model)
        own = self.loss.settings() if isinstance(self.loss, OwnLoss) else {}
        return {**asdict(self), **own, "step": step.text, "step_value": step.value}

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch; an image that several restarts met is returned as the first broke it."""
        aims = self._targets(model, batch) if self.targeted else batch.labels
        n, device = len(batch.labels), batch.labels.device
        robust_at_step = torch.ones(self.steps + 1, n, dtype=torch.bool, device=device)
        adversarial, first_broken = batch.images.clone(), batch.images.clone()
        for restart in range(self.restarts):
            standing = robust_at_step[-1].clone()
            pursued = torch.arange(n, device=device)[standing | (not self.early_exit)]
            final, robust_at_step, first_broken = model.step(self._ascend)(
                model, batch, threat_model, aims, restart, robust_at_step, first_broken, pursued
            )
            adversarial[standing] = final[standing]
        robust = robust_at_step.all(0)[:, None, None, None]
        return AttackOutput(
            adversarial=adversarial,
            robust_at_step=robust_at_step,
            complete=not self.early_exit,
            first_broken=torch.where(robust, adversarial, first_broken),
        )

    def _ascend(
        self,
        model: AttackedModel,
        batch: AttackBatch,
        threat_model: ThreatModel,
        aims: Tensor,
        restart: int,
        robust_at_step: Tensor,
        first_broken: Tensor,
        pursued: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one restart on the pursued images; return final iterates.

        Beside them come `robust_at_step` with its verdicts, and `first_broken` with the iterates
        that first broke an image.

        Where attacks see a faster form of the model, the model itself is asked about the iterate
        that first breaks an image, and about the last one; of a randomised model, about all.
        """
        adversary, images = self.adversary(threat_model), batch.images
        current = adversary.begin(images, self._noise(batch, threat_model, restart)).clone()
        velocity = None if self.momentum is None else torch.zeros_like(images)
        for step in range(self.steps + 1):
            for part in pursued.split(model.chunk):
                here, moved = current[part], None
                if step < self.steps:
                    moved, pushed, logits = adversary.ascend(
                        model,
                        here,
                        images[part],
                        aims[part],
                        None if velocity is None else velocity[part],
                    )
                    if velocity is not None and pushed is not None:
                        velocity[part] = pushed
                if moved is None or model.adaptive.randomised:
                    broken = model.predict(here) != batch.labels[part]
                else:
                    broken = classes(logits) != batch.labels[part]
                    first = broken & robust_at_step[:, part].all(0)
                    broken &= ~first | model.confirm(first, here, batch.labels[part])
                broken &= within(here, images[part], threat_model)
                fresh = broken & robust_at_step[:, part].all(0)
                first_broken[part[fresh]] = here[fresh]
                robust_at_step[step, part] &= ~broken
                if moved is not None:
                    going = part[~broken] if self.early_exit else part
                    current[going] = moved[~broken] if self.early_exit else moved
            if self.early_exit:
                robust_at_step[step:] &= robust_at_step[step].clone()
                pursued = pursued[robust_at_step[step, pursued]]
            if step % WATCH_EVERY == 0:
                batch.watch(robust_at_step.all(0))
        return current, robust_at_step, first_broken

    def _noise(self, batch: AttackBatch, threat_model: ThreatModel, restart: int) -> Tensor | None:
        if self.start == "clean":
            return None
        noise = noise_for(  # one name for all lengths, so that PGD-100 begins as PGD-10 does
            batch.indices,
            batch.images.shape[1:],
            seed=batch.seed,
            attack="pgd",
            restart=restart,
            norm=threat_model.norm,
        )
        return noise.to(batch.images.device)

    def _targets(self, model: AttackedModel, batch: AttackBatch) -> Tensor:
        """Return a class other than the label for each image (B,), drawn for it by itself."""
        with torch.no_grad():
            others = model(batch.images[:1]).shape[1] - 1
        drawn = noise_for(batch.indices, (1, 1, 1), seed=batch.seed, attack="target").flatten()
        offset = 1 + ((drawn + 1) / 2 * others).long().clamp(max=others - 1)
        return (batch.labels + offset.to(batch.labels.device)) % (others + 1)


def with_loss(attack: Attack | Suite, loss: str | Loss) -> GradientAttack:
    """Return an attack of the gradient family with another loss.

    Raises:
        ZooError: it is not of the family, or the loss is none.
    """
    if not isinstance(attack, GradientAttack):
        raise ZooError(
            f"Attack '{attack.name}' raises a loss of its own; give a loss to fgsm, bimN, pgdN "
            "or mifgsmN."
        )
    changed = replace(attack, loss=loss)  # type: ignore[arg-type]
    changed.check()
    return changed
