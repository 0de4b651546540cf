"""What an attack of ours and that of a tool are both run on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.threat_models import ThreatModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A model, images, the ball around them, and how attacks are run.

    Attributes:
        model: from images with pixels in [0,1] to logits, on the device to use.
        images: (N, C, H, W), float32.
        labels: (N,).
        threat_model: the ball, of both.
        seed: of both.
        batch_size: images in a forward pass, and in a batch of the tool's.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    threat_model: ThreatModel
    seed: int
    batch_size: int

    def batches(self, size: int) -> tuple[Tensor, ...]:
        """Return the positions of the images in batches of at most `size`."""
        return torch.arange(len(self.labels)).split(size)

    def survivors(self, adversarial: Tensor) -> list[bool]:
        """Return whether the model is right on each adversarial image (N, C, H, W)."""
        with preserve_state(self.model, self.seed):
            predicted = AttackedModel(self.model, self.batch_size).predict(adversarial)
        robust: list[bool] = (predicted == self.labels).tolist()
        return robust
