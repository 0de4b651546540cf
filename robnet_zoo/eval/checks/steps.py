"""Whether one step along the gradient, as long as those of attacks, does what the gradient says."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robnet_zoo.attacks.losses import margin
from robnet_zoo.attacks.norms import TINY, l2_norms
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.eval.checks.forms import attacked
from robnet_zoo.eval.checks.gradients import NO_WAY, noise
from robnet_zoo.eval.checks.model import ModelUnderTest
from robnet_zoo.eval.checks.registry import Finding, Skipped, check

IMAGES = 32  # that take a step
DRAWS = 2  # of noise
NEAR, FAR = 1 / 4, 1 / 2  # of epsilon: steps along the gradient
IN_NOISE = 0.25  # of the images may change as much by noise as the gradient gains
KEPT = 4  # a step may gain this many times less or more than the gradient promises
BENT = 0.5  # of the images that are right may gain otherwise


class _Steps(NamedTuple):
    """Margins (N,) at the images, behind steps along the gradient, and in noise (DRAWS, N).

    `promise` is what the gradient says that the far step gains.
    """

    start: Tensor
    near: Tensor
    far: Tensor
    noisy: Tensor
    promise: Tensor


@torch.no_grad()
def _steps(given: ModelUnderTest) -> _Steps:
    """Take all steps in one batch. For `once`."""
    images, labels = given.images[:IMAGES], given.labels[:IMAGES]
    model, size = attacked(given), given.threat_model.epsilon.value
    assert given.gradients is not None, "asked for where gradients can be followed"
    gradient, norm = given.gradients[1][:IMAGES], given.threat_model.norm
    direction = gradient.sign() if norm == "Linf" else gradient / l2_norms(gradient)
    near, far = ((images + part * size * direction).clamp(0, 1) for part in (NEAR, FAR))
    probe = Adversary(epsilon=NEAR * size, step_size=NEAR * size, steps=1, norm=norm)
    noisy = [probe.begin(images, noise(given, images, draw=draw)) for draw in range(DRAWS)]
    moved = margin(model(torch.cat([near, far, *noisy])), labels.repeat(2 + DRAWS))
    by_step = moved.view(2 + DRAWS, len(images))
    return _Steps(
        start=margin(given.logits[:IMAGES], labels),
        near=by_step[0],
        far=by_step[1],
        noisy=by_step[2:],
        promise=((far - images) * gradient).flatten(1).sum(1),
    )


@check(
    "beats-noise",
    kind="model",
    catches="shattered gradients",
    fails_if="on over 25 % of images a step of epsilon/4 along the gradient gains no more than "
    "noise of that size changes",
    needs=("gradient-path",),
)
def check_beats_noise(given: ModelUnderTest) -> Finding | Skipped:
    """A step of epsilon / 4 along the gradient gains more than noise of that size changes."""
    if not given.follows_gradients:
        return Skipped(NO_WAY)
    start, near, _, noisy, _ = given.once(_steps)
    lost = int(((noisy - start).square().mean(0).sqrt() >= near - start).sum())
    return (
        lost <= IN_NOISE * len(start),
        "A step of epsilon/4 along the gradient gains no more than noise on "
        f"{lost} of {len(start)} images",
        "the loss is too rough for gradients to lead anywhere (shattered gradients); add square "
        "to the attacks",
    )


@check(
    "local-linearity",
    kind="model",
    catches="fine waves on pixels, activations or logits, steps and jumps between which the "
    "gradient is true",
    fails_if="on over half of the images that are right a step of epsilon/2 along the gradient "
    "gains under a quarter of what the gradient promises, and does not break the image; or over "
    "four times as much",
    needs=("gradient-path",),
)
def check_local_linearity(given: ModelUnderTest) -> Finding | Skipped:
    """A step of epsilon / 2 along the gradient gains about what the gradient promises.

    A step that breaks its image has done its work, however much less than promised it gained.
    """
    if not given.follows_gradients:
        return Skipped(NO_WAY)
    start, _, far, _, promise = given.once(_steps)
    right = start <= 0
    if not right.any():
        return Skipped("The model is right on none of the images")
    ratio = ((far - start) / promise.clamp(min=TINY))[right]
    bent = int((((ratio < 1 / KEPT) & (far[right] <= 0)) | (ratio > KEPT)).sum())
    return given.judge_gradient(
        bent <= BENT * len(ratio),
        f"Where the gradient promises 1, a step of epsilon/2 gains {float(ratio.median()):.2f} "
        f"(median), and under {1 / KEPT:.2f} or over {KEPT} on {bent} of {len(ratio)} images",
        "the loss has waves or jumps much finer than the steps of an attack, so that its gradient "
        "says little of where to go; take out what makes them, attack a surrogate without it, or "
        "trust square",
    )
