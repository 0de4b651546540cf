"""Whether the cross-entropy, which knows the scale of logits, leads as far as the margin does."""

from __future__ import annotations

import torch

from robnet_zoo.attacks.norms import TINY
from robnet_zoo.eval.checks.gradient_attacks import STEPS, ascend
from robnet_zoo.eval.checks.gradients import NO_WAY
from robnet_zoo.eval.checks.model import ModelUnderTest
from robnet_zoo.eval.checks.registry import Finding, Skipped, check
from robnet_zoo.eval.checks.softmax_scale import FLAT, LOST, scale_of, scale_remedy

MISSED = 0.2  # of the images may be broken on the margin alone
FLATTEST = 0.25  # of the accuracy, whatever is gained
GAINED = 0.9  # of the margin's gain that flat logits must leave to the cross-entropy
HALF = 0.5  # of the margin's gain: images below it lost their way


@check(
    "logit-scale",
    kind="model",
    catches="logits divided or multiplied by a number, a temperature that depends on the image",
    fails_if="7 PGD steps on the margin break over 20 % of images more than on the "
    "cross-entropy; the mean confidence is under 0.25 of the accuracy, or under 0.4 while the "
    "cross-entropy gains less than 0.9 as much (median); or it gains less than half on over 25 % "
    "of images while the softmax rounds to 1 on as many",
    needs=("gradient-path",),
)
def check_logit_scale(given: ModelUnderTest) -> Finding | Skipped:
    """Attacks on the cross-entropy get as far as attacks on the margin, which has no scale."""
    if not given.follows_gradients:
        return Skipped(NO_WAY)
    entropy, other = given.once(ascend)
    ratio = entropy.gain / torch.maximum(other.gain, entropy.gain).clamp(min=TINY)
    gained, lost = float(ratio.median()), float((ratio < HALF).float().mean())
    scale = scale_of(given.logits, given.labels)
    confidence, full = scale
    wrong = (
        other.broken - entropy.broken > MISSED * len(ratio)
        or confidence < FLATTEST
        or (confidence < FLAT and gained < GAINED)
        or (full > LOST and lost > LOST)
    )
    return (
        not wrong,
        f"{STEPS} PGD steps on the margin break {other.broken} of {len(ratio)} images, and on the "
        f"cross-entropy {entropy.broken}, where they gain {gained:.2f} as much (median)",
        f"{scale_remedy(scale)}, or trust attacks on the margin (apgd-t, fab-t) alone",
    )
