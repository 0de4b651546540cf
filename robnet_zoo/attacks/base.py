"""Blocks: the unit in which images are attacked, stored and shared out.

The images that an attack has to meet, in data-set order, are cut into blocks of BLOCK_SIZE. Some
libraries draw one stream of random numbers for all images they are given: with blocks that are
always the same, so are their results, whatever the batch size, and whichever process does them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.threat_models import ThreatModel

BLOCK_SIZE = 256  # images


@dataclass(frozen=True, kw_only=True)
class AttackBatch:
    """Images that are attacked together.

    Attributes:
        number: position of the block among its attack's blocks.
        indices: positions of the images among all evaluated images (B,).
        images: (B, C, H, W) in [0,1], float32.
        labels: (B,).
        seed: the evaluation's seed.
        watch: told now and then which images (B,) are still robust.
    """

    number: int
    indices: Tensor
    images: Tensor
    labels: Tensor
    seed: int
    watch: Callable[[Tensor], None] = lambda robust: None


@dataclass(frozen=True, kw_only=True)
class AttackOutput:
    """What an attack returns for a block.

    Attributes:
        adversarial: the images to judge (B, C, H, W).
        robust_at_step: whether each image is robust at each iterate (steps + 1, B), over all
            restarts; row 0 is the start. Only attacks whose every iterate was judged fill it.
        complete: whether `robust_at_step` goes on behind an image's first broken iterate.
        queries: forward passes spent on each image (B,), of attacks that count them.
        on_source: whether the model that a transferred image was made on still classifies it
            correctly (B,).
    """

    adversarial: Tensor
    robust_at_step: Tensor | None = None
    complete: bool = True
    queries: Tensor | None = None
    on_source: Tensor | None = None


class Attack(Protocol):
    """A named attack with its settings; instances are frozen dataclasses."""

    @property
    def name(self) -> str:
        """As on the command line and in the record."""

    @property
    def minimal(self) -> bool:
        """Whether it looks for the smallest perturbation, whatever epsilon is."""

    def check(self) -> None:
        """Raise ZooError if the attack cannot run here."""

    def cost(self) -> int:
        """Return the forward passes that an image which stays robust takes, roughly."""

    def settings(self, threat_model: ThreatModel) -> dict[str, Any]:
        """Return everything a repetition needs, as JSON-ready values."""

    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch of images that the model classifies correctly."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Attacks in turn, each on the images that those before it left standing."""

    name: str
    parts: tuple[Attack, ...]


def parts_of(attack: Attack | Suite) -> tuple[Attack, ...]:
    """Return a suite's attacks, or the attack alone."""
    return attack.parts if isinstance(attack, Suite) else (attack,)
