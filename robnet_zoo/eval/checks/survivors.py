"""Whether images that survived every attack survive a short one on the margin as well.

The margin has no scale: whatever was done to the size of the logits, the way that it shows is the
same. So this small attack looks at a verdict itself, not for one of its possible flaws.
"""

from __future__ import annotations

import math
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
from robnet_zoo.eval.record.fields import flags_of, positions
from robnet_zoo.threat_models import ThreatModel

FEW, MANY = 48, 256  # survivors that are attacked: more where these few leave it open
OPEN = 0.5  # of what is allowed: below, the few are enough
STEPS = (1, 1 / 2, 1 / 2, 1 / 4, 1 / 4)  # of epsilon: five broke nearly as many as twelve
BROKEN = 0.06  # of n that may survive all attacks and not this one, and a standard error more
SATURATED = 0.025  # the same where the softmax rounds to 1


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
    standing = torch.tensor(positions(flags_of(record.totals.verdicts))).long()
    return standing[_spread(MANY, len(standing))]


def check_survivors(survivors: Survivors) -> tuple[Check, ...]:
    """Check whether images that survived all attacks do so rightly; the model stays as it was."""
    with preserve_state(survivors.model.model, survivors.seed):
        return run_checks("survivors", survivors)


@check(
    "survivors",
    kind="survivors",
    catches="logits that were divided, squashed, bent or multiplied, and whatever else leads the "
    "attacks of the run astray and not this one",
    fails_if="5 PGD steps on the margin break so many of a sample of the images that survive all "
    "attacks that these are over 6 % of n, or 2.5 % where the softmax rounds to 1 on over 25 % of "
    "them, by more than the square root of that number",
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
    few = torch.zeros(len(given.images), dtype=torch.bool)
    few[_spread(FEW, len(few))] = True
    fell, logits = _attack(given, few)
    scale, standing = scale_of(logits, given.labels[few]), record.totals.robust.correct
    limit = allowed(SATURATED if scale.saturated else BROKEN, n)
    limit += math.sqrt(limit)
    if float(fell.float().mean()) * standing > OPEN * limit and not few.all():
        fell = torch.cat([fell, _attack(given, ~few)[0]])
    broken, looked = int(fell.sum()), len(fell)
    lost = broken * standing / looked
    return (
        lost <= limit,
        f"{len(STEPS)} PGD steps on the margin break {broken} of {looked} images that survive all "
        f"attacks, {100 * lost / n:.1f} % of all",
        f"the accuracy is too high by that much at least; {scale_remedy(scale)}, and quote attacks "
        "that know no scale (apgd-t, autoattack)",
    )


def _spread(most: int, n: int) -> Tensor:
    """Return at most so many indices, spread evenly over n."""
    count = min(most, n)
    return torch.arange(count) * n // max(1, count)


@torch.no_grad()
def _attack(given: Survivors, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return which chosen images (n,) some iterate breaks, and their logits at the start."""
    every, names = given.images[chosen], given.labels[chosen]
    indices = [index for index, taken in zip(given.indices, chosen, strict=True) if taken]
    ball = given.threat_model.for_gradients(every[0].numel())
    noise = noise_for(indices, every.shape[1:], seed=given.seed, attack="survivors", norm=ball.norm)
    size, left = ball.epsilon.value, torch.arange(len(every), device=every.device)
    steps = [
        Adversary(epsilon=size, step_size=part * size, steps=1, norm=ball.norm, loss="margin")
        for part in STEPS
    ]
    broken = torch.zeros_like(left, dtype=torch.bool)
    current, seen = steps[0].begin(every, noise.to(every.device)), []
    for step in steps:
        images, labels = every[left], names[left]
        moved, _, logits = step.ascend(given.model, current, images, labels)
        seen.append(logits)
        fell = _confirmed(given.model, current, logits, labels)
        broken[left[fell]] = True
        left, current = left[~fell], moved[~fell]
        if not len(left):
            return broken, seen[0]
    fell = _confirmed(given.model, current, given.model(current), names[left])
    broken[left[fell]] = True
    return broken, seen[0]


def _confirmed(model: AttackedModel, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    return model.confirm(margin(logits, labels) > 0, images, labels)
