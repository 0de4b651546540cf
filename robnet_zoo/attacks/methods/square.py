"""Square Attack (Andriushchenko 2020): random search with nothing but the model's outputs.

Under Linf its proposals do not depend on the model's answers: a square, one sign a channel, drawn
once for all images. So each image can go through them at its own pace, and an image that has stood
still for a while can try several at once: whatever comes behind the first success was asked in
vain. That takes a fraction of the passes, and ends at the library's images, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robnet_zoo.attacks.base import Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.library import LibraryAttack, require
from robnet_zoo.attacks.logit_cache import LogitCache
from robnet_zoo.attacks.losses import margin
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import NORMS, ThreatModel

FIRST = 0.8  # of the pixels in the first squares


@dataclass(frozen=True, kw_only=True)
class Square(LibraryAttack):
    """Square Attack with the margin as its loss.

    Attributes:
        queries: proposals an image.
    """

    queries: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queries < 1:
            raise ZooError(f"queries {self.queries} is out of range; it must be at least 1.")

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        return Traits(gradients=False, loss="margin", norms=NORMS)

    def cost(self) -> int:
        """Return the forward passes of an image that stays robust."""
        return self.queries + 2

    @torch.no_grad()
    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch and count each image's queries."""
        seed = batch.seed + batch.number
        keep = not (batch.images.is_cuda or model.adaptive.randomised)
        queried = LogitCache(model) if keep else model
        attack = require(self.name, "pyautoattack.square").SquareAttack(
            queried,
            p_init=FIRST,
            n_queries=self.queries,
            eps=threat_model.epsilon.value,
            norm=threat_model.norm,
            seed=seed,
            resc_schedule=False,
            device=batch.images.device,
        )
        torch.manual_seed(seed)
        if threat_model.norm == "Linf":
            queries, points = ahead(queried, attack, batch, model.chunk)
        else:
            attack.init_hyperparam(batch.images)  # with the seed, what `perturb` does; but that
            queries, points = attack.attack_single_run(batch.images, batch.labels)  # drops counts
        broken = model.predict(points) != batch.labels
        adversarial = torch.where(broken[:, None, None, None], points, batch.images)
        return AttackOutput(adversarial=adversarial, queries=queries)


def ahead(
    model: Callable[[Tensor], Tensor], attack: Any, batch: AttackBatch, room: int
) -> tuple[Tensor, Tensor]:
    """Return queries (B,) and points (B, C, H, W) of pyautoattack's SquareAttack under Linf.

    Args:
        model: whom to ask.
        attack: the library's, for its settings; the global generator is at its seed.
        batch: what to attack.
        room: proposals to try together at most, where there are fewer images.
    """
    images, labels = batch.images, batch.labels
    n, channels, _, width = images.shape
    epsilon, total = attack.eps, attack.n_queries
    start = attack.random_choice([n, channels, 1, width])
    proposals = _Proposals(attack, images)
    best = (images + epsilon * start).clamp(0, 1)
    leads = -margin(model(best), labels)  # of the label, above all others
    step = torch.zeros_like(labels)  # whose proposal is next
    calm = torch.zeros_like(labels)  # proposals in a row that failed
    while len(rows := ((leads > 0) & (step < total)).nonzero()[:, 0]):
        depth = (calm[rows] + 1).clamp(max=max(room // len(rows), 1)).minimum(total - step[rows])
        begins = depth.cumsum(0) - depth  # each image's proposals, among all that are tried
        owner = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), depth)
        place = torch.arange(len(owner), device=rows.device) - begins[owner]
        whose = rows[owner]
        tried = best[whose] + proposals(step[whose] + place)
        clean = images[whose]
        tried = tried.max(clean - epsilon).min(clean + epsilon).clamp(0, 1)
        reached = -margin(model(tried), labels[whose])
        better = ~(reached >= leads[whose])  # what is not a number ends an image's run too
        first = depth.scatter_reduce(0, owner[better], place[better], "amin")  # depth: none
        won = (first < depth).nonzero()[:, 0]
        hit = (begins + first)[won]
        best[rows[won]], leads[rows[won]] = tried[hit], reached[hit]
        taken = torch.minimum(first + 1, depth)
        step[rows] += taken
        calm[rows] += taken
        calm[rows[won]] = 0
        batch.watch(leads > 0)
    return 1.0 + step, best


class _Proposals:
    """What each step adds to an image (C, H, W), drawn like the library's."""

    def __init__(self, attack: Any, images: Tensor) -> None:
        channels, height, width = images.shape[1:]
        boxes, signs = [], []
        for step in range(attack.n_queries):
            proportion = attack.p_selection(step)
            side = min(max(round(math.sqrt(proportion * height * width)), 1), height, width)
            top, left = (attack.random_int(0, length - side) for length in (height, width))
            boxes.append(torch.cat([top, left, top + side, left + side]))
            signs.append(attack.random_choice([channels, 1, 1]))
        self.boxes, self.changes = torch.stack(boxes), 2.0 * attack.eps * torch.stack(signs)
        self.rows = torch.arange(height, device=images.device)[:, None]
        self.columns = torch.arange(width, device=images.device)

    def __call__(self, steps: Tensor) -> Tensor:
        """Return the changes (K, C, H, W) of some steps (K,)."""
        top, left, bottom, right = self.boxes[steps].T[..., None, None, None]
        inside = (self.rows >= top) & (self.rows < bottom)
        inside = inside & (self.columns >= left) & (self.columns < right)
        return inside * self.changes[steps]
