"""DeepFool for all images of a block at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robnet_zoo.attacks.base import Attack, Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.threat_models import NORMS, ThreatModel


@dataclass(frozen=True, kw_only=True)
class DeepFool(Attack):
    """DeepFool (Moosavi-Dezfooli 2016): steps to the nearest linearised boundary, in L2.

    The steps are those of torchattacks, and tested against it; but that library goes image by
    image, which takes minutes for what takes seconds here.

    Attributes:
        steps: at most this many; an image is left alone once it is misclassified.
        overshoot: by which part of its length each step goes beyond the boundary.
    """

    steps: int = 50
    overshoot: float = 0.02

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        return Traits(minimal=True, norms=NORMS)

    def cost(self) -> int:
        """Return the passes of an image of ten classes, roughly; few need all the steps.

        Each step takes a backward pass a class.
        """
        return 70

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch; images that no step fooled come back where their steps ended."""
        adversarial = batch.images.clone()
        left = torch.arange(len(batch.labels), device=batch.labels.device)
        for _ in range(self.steps):
            moved = [
                self._step(model, adversarial, part, batch.labels[part])
                for part in left.split(model.chunk)
            ]
            left = torch.cat(moved) if moved else left
            if not len(left):
                break
        return AttackOutput(adversarial=adversarial)

    def _step(
        self, model: AttackedModel, adversarial: Tensor, part: Tensor, labels: Tensor
    ) -> Tensor:
        """Move those of `part` that are classified correctly; return their positions."""
        with torch.enable_grad():
            images = adversarial[part].requires_grad_()
            logits = model(images)
            gradients = torch.stack(
                [
                    torch.autograd.grad(logits[:, k].sum(), images, retain_graph=True)[0]
                    for k in range(logits.shape[1])
                ],
                1,
            )
        standing = logits.argmax(1) == labels
        rows = torch.arange(len(part), device=part.device)
        gaps = (logits - logits[rows, labels][:, None]).detach().abs()
        normals = (gradients - gradients[rows, labels][:, None]).flatten(2)
        sizes = normals.norm(dim=2)
        ways = (gaps / sizes).scatter(1, labels[:, None], torch.inf)
        nearest = ways.argmin(1)
        lengths = gaps[rows, nearest] / sizes[rows, nearest] ** 2
        change = (lengths[:, None] * normals[rows, nearest]).view_as(images)
        moved = (images.detach() + (1 + self.overshoot) * change).clamp(0, 1)
        adversarial[part[standing]] = moved[standing]
        return part[standing]
