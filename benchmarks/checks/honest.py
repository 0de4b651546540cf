"""Honest networks: no check may fail on one, whatever its architecture and training.

Both sets were written down before any check looked at them, the second after the first had led to
changes of the checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from benchmarks.checks import architectures
from benchmarks.checks.changes import Set
from benchmarks.checks.networks import ADVERSARIALLY, NORMALLY, TWO_STEPS, fit, seeded

TRAININGS = (NORMALLY, ADVERSARIALLY)


@dataclass(frozen=True)
class Honest:
    """An architecture and how it is trained.

    Attributes:
        name: of the architecture, in words.
        set: which of the two it belongs to.
        build: makes it untrained.
        seed: of weights and training.
        rate: of learning.
        epochs: over all training images, of each training.
        first_normally: adversarial training starts from normal training, at half the rate; it
            leads nowhere otherwise.
    """

    name: str
    set: Set
    build: Callable[[], nn.Module]
    seed: int
    rate: float
    epochs: int
    first_normally: bool = False

    def train(self, training: str) -> nn.Module:
        """Return the network trained in one of TRAININGS, in eval mode."""
        network = seeded(self.build, self.seed)
        adversarially = training == ADVERSARIALLY
        if not adversarially or self.first_normally:
            fit(network, self.epochs, seed=self.seed, rate=self.rate)
        if adversarially:
            rate = self.rate / 2 if self.first_normally else self.rate
            fit(network, self.epochs, seed=self.seed, rate=rate, adversary=TWO_STEPS)
        return network


HONEST = (
    Honest("VGG", "first", architectures.vgg, 108, 3e-3, 5),
    Honest("MLP, layer norm", "first", architectures.mlp_layer_norm, 105, 1e-3, 8),
    Honest("deep CNN, group norm", "first", architectures.deep_group_norm, 102, 3e-3, 6),
    Honest("CNN, tanh", "first", architectures.tanh, 107, 3e-3, 10),
    Honest("linear", "first", architectures.linear, 103, 1e-2, 15),
    Honest("wide CNN, dropout", "first", architectures.wide_dropout, 110, 2e-3, 5),
    Honest("ViT", "first", architectures.vit, 109, 1e-3, 12, True),
    Honest("ConvNeXt", "first", architectures.convnext, 101, 2e-3, 8, True),
    Honest("ConvMixer", "first", architectures.convmixer, 100, 1e-2, 4),
    Honest("MLP-Mixer", "first", architectures.mixer, 104, 2e-3, 8, True),
    Honest("ResNet, SiLU", "first", architectures.resnet_silu, 106, 3e-3, 4),
    Honest("LeNet", "second", architectures.lenet, 102, 3e-3, 6),
    Honest("MLP, batch norm", "second", architectures.mlp_batch_norm, 101, 3e-3, 8),
    Honest("wide CNN, batch norm", "second", architectures.wide_batch_norm, 109, 5e-3, 4),
    Honest("separable CNN, Mish", "second", architectures.separable, 105, 3e-3, 4),
    Honest("CNN, PReLU", "second", architectures.prelu_group_norm, 100, 5e-3, 8),
    Honest("CNN, squeeze", "second", architectures.squeeze_and_excite, 106, 3e-3, 5, True),
    Honest("timm's test_vit", "second", architectures.test_vit, 108, 1e-3, 10, True),
    Honest("timm's test_resnet", "second", architectures.test_resnet, 107, 3e-3, 4, True),
    Honest("LeNet, 60 epochs", "second", architectures.lenet, 104, 3e-3, 60),
    Honest("linear, 40 epochs", "second", architectures.linear, 103, 1e-1, 40),
)
