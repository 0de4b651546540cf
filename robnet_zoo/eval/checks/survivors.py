"""Whether images that survived every attack survive a short one on the margin as well.

The margin has no scale: whatever was done to the size of the logits, the way that it shows is the
same. So this small attack looks at a verdict itself, not for one of its possible flaws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from msgspec import UNSET
from torch import Tensor

from robnet_zoo.attacks.losses import margin
from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.attacks.noise import noise_for
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.eval.checks.attack_facts import weakness
from robnet_zoo.eval.checks.gaps import ENOUGH, allowed
from robnet_zoo.eval.checks.registry import Finding, Skipped, check, run_checks
from robnet_zoo.eval.checks.softmax_scale import scale_of, scale_remedy
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.eval.record.check import Check
from robnet_zoo.threat_models import ThreatModel

FEW, MANY, PART = 64, 256, 5  # a fifth of the survivors is attacked, within these bounds
STEPS = (1, 1 / 2, 1 / 2, 1 / 4, 1 / 4, 1 / 8)  # of epsilon: six broke as many as twelve
BROKEN = 0.075  # of n that may survive all attacks and not this one
ODD = 0.03  # the same where the size of the logits says why


@dataclass(frozen=True, kw_only=True, eq=False)
class Survivors:
    """Images that every attack of an evaluation left standing, evenly spread over them.

    Attributes:
        record: of the evaluation; its own `checks` are not read.
        indices: of the images in the data.
        images: (N, C, H, W).
        labels: (N,).
        model: as attacks see it.
        threat_model: sets the ball.
        seed: of the start.
    """

    record: EvaluationRecord
    indices: Sequence[int]
    images: Tensor
    labels: Tensor
    model: AttackedModel
    threat_model: ThreatModel
    seed: int


def chosen_survivors(record: EvaluationRecord) -> Tensor:
    """Return the indices of the surviving images that `check_survivors` is to be given."""
    verdicts = record.totals.verdicts
    standing = torch.tensor([i for i, verdict in enumerate(verdicts) if verdict == "1"]).long()
    count = min(len(standing), MANY, max(FEW, len(standing) // PART))
    return standing[torch.arange(count) * len(standing) // max(1, count)]


def check_survivors(survivors: Survivors) -> tuple[Check, ...]:
    """Check whether images that survived all attacks do so rightly; the model stays as it was."""
    with preserve_state(survivors.model.model, survivors.seed):
        return run_checks("survivors", survivors)


@check(
    "survivors",
    kind="survivors",
    catches="logits that were divided, squashed, bent or multiplied, and whatever else leads the "
    "attacks of the run astray and not this one",
    fails_if="6 PGD steps on the margin break so many of a sample of the images that survive all "
    "attacks that these are over 7.5 % of n; or over 3 % where their mean confidence is under 0.4 "
    "of the accuracy, or the softmax rounds to 1 on over 25 % of them",
)
def check_margin_attack(given: Survivors) -> Finding | Skipped:
    """Images that survive a strong attack survive a short one on the margin, nearly all."""
    record, n = given.record, given.record.data.n
    eot = 1 if record.settings.eot is UNSET else record.settings.eot
    epsilon = record.threat_model.epsilon_value
    if all(weakness(attack, epsilon, eot) for attack in record.attacks):
        return Skipped("There is no strong attack in the run")
    if n < ENOUGH or not len(given.images):
        return Skipped(f"{record.totals.robust.correct} of {n} images survive all attacks")
    if given.model.adaptive.randomised:
        return Skipped("A randomised model is judged by draws")
    fell, logits = _attack(given)
    broken, looked, scale = int(fell.sum()), len(fell), scale_of(logits, given.labels)
    lost = broken * record.totals.robust.correct / looked
    return (
        lost <= allowed(ODD if scale.odd else BROKEN, n),
        f"{len(STEPS)} PGD steps on the margin break {broken} of {looked} images that survive all "
        f"attacks, {100 * lost / n:.1f} % of all",
        f"the accuracy is too high by that much at least; {scale_remedy(scale)}, and quote attacks "
        "that know no scale (apgd-t, autoattack)",
    )


@torch.no_grad()
def _attack(given: Survivors) -> tuple[Tensor, Tensor]:
    """Return which images (N,) some iterate breaks, and the logits at the start (N, classes)."""
    ball = given.threat_model.for_gradients(given.images[0].numel())
    noise = noise_for(
        given.indices, given.images.shape[1:], seed=given.seed, attack="survivors", norm=ball.norm
    )
    size, left = ball.epsilon.value, torch.arange(len(given.images), device=given.images.device)
    steps = [
        Adversary(epsilon=size, step_size=part * size, steps=1, norm=ball.norm, loss="margin")
        for part in STEPS
    ]
    broken = torch.zeros_like(left, dtype=torch.bool)
    current, seen = steps[0].begin(given.images, noise.to(given.images.device)), []
    for step in steps:
        images, labels = given.images[left], given.labels[left]
        moved, _, logits = step.ascend(given.model, current, images, labels)
        seen.append(logits)
        fell = _confirmed(given.model, current, logits, labels)
        broken[left[fell]] = True
        left, current = left[~fell], moved[~fell]
        if not len(left):
            return broken, seen[0]
    fell = _confirmed(given.model, current, given.model(current), given.labels[left])
    broken[left[fell]] = True
    return broken, seen[0]


def _confirmed(model: AttackedModel, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    return model.confirm(margin(logits, labels) > 0, images, labels)
