"""The constraint relaxation attack: a first verdict at a fraction of AutoAttack's cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robnet_zoo.attacks.base import Attack, Traits
from robnet_zoo.attacks.batch import AttackBatch, AttackOutput
from robnet_zoo.attacks.losses import Loss, cross_entropy
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.attacks.noise import noise_for
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.attacks.verdicts import classes, into_ball, within
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel

SCOUTING = 5  # steps towards each candidate
SMALLEST = 0.05  # step, in parts of epsilon
FAR = 1.0  # gap between label and target, in parts of the logits' spread and of the step
CLOSE = 0.1  # the same, in parts of the logits' spread


@dataclass(frozen=True, kw_only=True)
class ConstraintRelaxation(Attack):
    """Targeted ascents of the margin that may leave the ball for a while.

    From "Efficient Robustness Evaluation via Constraint Relaxation" (AAAI 2025). A few steps of
    PGD on the cross-entropy tell which other classes are near. Towards each target an ascent
    from a random start goes through cycles, each with half the step of the one before. A third of
    a cycle climbs in a ball that is larger by one step, and its iterates are judged after
    projection; a third climbs in the ball itself; then the image is pulled one step inwards,
    shaken, and climbs again. Ascents that are far from their target after two thirds are given
    up, and only those that came close are tried again from another start.

    Three things differ from the paper's attack. It aims at the classes that are near after PGD;
    here five long steps towards each candidate choose the targets, since the class within reach
    may be far down PGD's list. Its limits for "far" and "close" are differences of logits; here
    they are parts of the spread of the image's own clean logits, so that a model's scale does not
    matter. All targets are met at once, not in turn, which fills a batch better. The sizes of the
    limits and the form under L2 are reconstructed.

    An image is broken once the model itself misclassifies an iterate within the threat model, and
    is then left alone: what stands is an upper bound of the robust accuracy, as after any attack.
    Two classes are enough.

    Attributes:
        steps: gradients towards a target at most.
        cycle: gradients between two step sizes.
        candidates: other classes that are looked at, the nearest first.
        targets: of the candidates to aim at.
        restarts: starts towards a target at most.
    """

    steps: int = 150
    cycle: int = 30
    candidates: int = 9
    targets: int = 3
    restarts: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"cycle": 3, "steps": self.cycle, "candidates": 1, "targets": 1, "restarts": 1}
        for what, bound in least.items():
            value = getattr(self, what)
            if value < bound:
                raise ZooError(f"{what} {value} is out of range; it must be at least {bound}.")

    @property
    def traits(self) -> Traits:
        """What the attack needs and is."""
        return Traits(loss="margin", restarts=True)

    def cost(self) -> int:
        """Return the passes, forward and backward, of an image that stays robust, roughly.

        Most ascents are given up in their first or second cycle.
        """
        looks = 2 * (self.cycle // 3) + 2 * SCOUTING * self.candidates
        return looks + 3 * self.targets * self.cycle

    @torch.no_grad()
    def run(
        self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel
    ) -> AttackOutput:
        """Attack a batch; images that nothing broke come back as they were."""
        images = _Images(model, batch, threat_model)
        third = self.cycle // 3
        rows, pairs = images.nearest(third, self.candidates, self.targets)
        for restart in range(self.restarts):
            ascents = _Ascents(images, rows, pairs, towards, f"{restart}")
            for number in range(self.steps // self.cycle):
                ascents.cycle(third, max(0.5 ** (number + 1), SMALLEST), f"{restart}/{number}")
            again = ascents.close & images.standing[rows]
            rows, pairs = rows[again], pairs[again]
        return AttackOutput(adversarial=images.adversarial)


def away(logits: Tensor, pairs: Tensor) -> Tensor:
    """Return the cross-entropy (N,) of the first classes of pairs (N, 2)."""
    return cross_entropy(logits, pairs[:, 0])


def towards(logits: Tensor, pairs: Tensor) -> Tensor:
    """Return the margin (N,) of the second class of pairs (N, 2) over the first."""
    chosen = logits.gather(1, pairs)
    return chosen[:, 1] - chosen[:, 0]


class _Images:
    """The images of a batch: which of them stand, and what broke the others."""

    def __init__(self, model: AttackedModel, batch: AttackBatch, threat_model: ThreatModel) -> None:
        self.model, self.batch, self.threat_model = model, batch, threat_model
        self.epsilon = threat_model.epsilon.value
        self.adversarial = batch.images.clone()
        self.standing = torch.ones_like(batch.labels, dtype=torch.bool)
        logits = model(batch.images)
        self.classes, self.spread = logits.shape[1], logits.std(1)

    def judge(self, rows: Tensor, images: Tensor, logits: Tensor) -> None:
        """Judge iterates within the threat model; of several of a row the first counts."""
        labels = self.batch.labels[rows]
        if self.model.adaptive.randomised:
            broken = self.model.predict(images) != labels
        else:
            broken = self.model.confirm(classes(logits) != labels, images, labels)
        broken &= within(images, self.batch.images[rows], self.threat_model)
        for row, image in zip(rows[broken].tolist(), images[broken], strict=True):
            if self.standing[row]:
                self.adversarial[row], self.standing[row] = image, False

    def nearest(self, steps: int, candidates: int, targets: int) -> tuple[Tensor, Tensor]:
        """Return each image that stands, once for every target, and its label with the target.

        PGD on the cross-entropy chooses the candidates, and breaks the weakest images. A few
        steps towards each candidate choose the targets.
        """
        labels = self.batch.labels
        everything = torch.arange(len(labels), device=labels.device)
        first = _Ascents(self, everything, torch.stack([labels, labels], 1), away, "first")
        first.climb(steps - steps // 2, 0.5)
        first.climb(steps // 2, 0.25)
        others = first.logits.scatter(1, first.pairs[:, :1], -torch.inf)
        number = min(candidates, self.classes - 1)
        near = torch.zeros(len(labels), number, dtype=torch.long, device=labels.device)
        near[first.rows] = others.argsort(dim=1, descending=True, stable=True)[:, :number]
        gaps = torch.full_like(near, torch.inf, dtype=self.spread.dtype)
        for place in range(number if number > targets else 0):
            rows = self.standing.nonzero()[:, 0]
            pairs = torch.stack([labels[rows], near[rows, place]], 1)
            scout = _Ascents(self, rows, pairs, towards, "scout")
            scout.climb(SCOUTING, 1.0)
            gaps[scout.rows, place] = scout.gaps()
        rows = self.standing.nonzero()[:, 0]
        best = near[rows].gather(1, gaps[rows].argsort(dim=1, stable=True)[:, :targets])
        rows = rows.repeat_interleave(best.shape[1])
        return rows, torch.stack([labels[rows], best.flatten()], 1)


class _Ascents:
    """Ascents from random starts, each of an image (`rows`) with its pair of classes.

    `rows`, `pairs`, `current` and `logits` lose those of broken images and those that are given
    up; `places` says which of all ascents the others are. `close` is about all of them.
    """

    def __init__(
        self, images: _Images, rows: Tensor, pairs: Tensor, loss: Loss, stream: str
    ) -> None:
        self.images, self.loss, self.rows, self.pairs = images, loss, rows, pairs
        self.places = torch.arange(len(rows), device=rows.device)
        self.close = torch.zeros_like(rows, dtype=torch.bool)
        self.logits = torch.zeros(len(rows), images.classes, device=rows.device)
        noise = images.epsilon * self._noise(stream)
        self.current = self._project(images.batch.images[rows] + noise)

    def cycle(self, third: int, step: float, stream: str) -> None:
        """Climb in a larger ball, in the ball, and there again from a point further inside."""
        self.climb(third, step, ball=1 + step)
        self.current = self._project(self.current)
        self.climb(third, step)
        self._keep(self.gaps() <= FAR * step * self.images.spread[self.rows])
        inside = self._project(self.current, 1 - step)
        self.current = self._project(inside + step * self.images.epsilon * self._noise(stream))
        self.climb(third, step)

    def climb(self, steps: int, step: float, ball: float = 1.0) -> None:
        """Take steps and judge every iterate, after projection where the ball is a larger one.

        Args:
            steps: gradients.
            step: length of each, in parts of epsilon.
            ball: in parts of epsilon.
        """
        images, model = self.images, self.images.model
        adversary = Adversary(
            epsilon=ball * images.epsilon,
            step_size=step * images.epsilon,
            steps=1,
            norm=images.threat_model.norm,
            loss=self.loss,
        )
        for _ in range(steps):
            if not len(self.rows):
                return
            for part in torch.arange(len(self.rows), device=self.rows.device).split(model.chunk):
                rows, here = self.rows[part], self.current[part]
                clean = images.batch.images[rows]
                moved, _, logits = adversary.ascend(model, here, clean, self.pairs[part])
                if ball > 1:
                    here = into_ball(moved, clean, images.threat_model)
                    logits = model(here)
                images.judge(rows, here, logits)
                self.current[part], self.logits[part] = moved, logits
            self._keep(images.standing[self.rows])
            images.batch.watch(images.standing)
        self.close[self.places] |= self.gaps() < CLOSE * images.spread[self.rows]

    def gaps(self) -> Tensor:
        """Return by how much each label's logit lies above the target's, at the last iterate."""
        return -towards(self.logits, self.pairs)

    def _keep(self, kept: Tensor) -> None:
        self.rows, self.pairs, self.places = self.rows[kept], self.pairs[kept], self.places[kept]
        self.current, self.logits = self.current[kept], self.logits[kept]

    def _project(self, moved: Tensor, ball: float = 1.0) -> Tensor:
        """Return images moved into a ball, in parts of epsilon, and into [0,1]."""
        threat_model = self.images.threat_model
        if ball < 1:
            threat_model = threat_model.at(ball * self.images.epsilon)
        return into_ball(moved, self.images.batch.images[self.rows], threat_model)

    def _noise(self, stream: str) -> Tensor:
        """Return unit noise that depends on nothing but an image's index and the target."""
        batch = self.images.batch
        indices = batch.indices.to(self.rows.device)[self.rows] * self.images.classes
        noise = noise_for(
            indices + self.pairs[:, 1],
            batch.images.shape[1:],
            seed=batch.seed,
            attack=f"cr/{stream}",
            norm=self.images.threat_model.norm,
        )
        return noise.to(batch.images.device)
